#include <sys/utsname.h>
#include <unistd.h>

#include <charconv>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/check/probes.h"
#include "helper/procfs/process_files.h"

namespace stillpoint::check {
namespace {

constexpr int kOldestMajor = 5;
constexpr int kOldestMinor = 14;

}  // namespace

bool kernel_at_least(const std::string& release, int wanted_major, int wanted_minor) {
  const char* const end = release.data() + release.size();
  int found_major = 0;
  int found_minor = 0;
  const auto [dot, error] = std::from_chars(release.data(), end, found_major);
  if (error != std::errc() || dot == end || *dot != '.') return false;
  if (std::from_chars(dot + 1, end, found_minor).ec != std::errc()) return false;
  return found_major > wanted_major || (found_major == wanted_major && found_minor >= wanted_minor);
}

Probe probe_kernel_version() {
  utsname name = {};
  if (::uname(&name) != 0) return failed("uname");
  return {kernel_at_least(name.release, kOldestMajor, kOldestMinor),
          absl::StrCat("Linux ", name.release, ", oldest supported ", kOldestMajor, ".", kOldestMinor)};
}

Probe probe_capability(int capability) {
  const absl::StatusOr<procfs::TaskStatus> status = procfs::read_status(::getpid(), ::gettid());
  if (!status.ok()) return from_status(status.status());
  if ((status->cap_effective >> capability & 1) != 0) return yes("effective");
  if ((status->cap_permitted >> capability & 1) != 0) return no("permitted, not effective");
  return no((status->cap_bounding >> capability & 1) != 0 ? "not held" : "not in the bounding set");
}

}  // namespace stillpoint::check
