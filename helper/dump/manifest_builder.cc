#include "helper/dump/manifest_builder.h"

#include <sys/utsname.h>
#include <time.h>

#include <cerrno>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "helper/base/errors.h"
#include "helper/image/image.h"
#include "helper/model/cpu.h"
#include "helper/procfs/process_files.h"
#include "stillpoint/version.h"

namespace stillpoint {
namespace {

// argv as /proc/PID/cmdline shows it, for people.
std::string program_of(const model::Tree& tree) {
  const pid_t pid = tree.processes(0).pid();
  absl::StatusOr<std::string> text = procfs::read_text(absl::StrCat("/proc/", pid, "/cmdline"));
  if (!text.ok() || text->empty()) return tree.processes(0).threads(0).name();
  while (!text->empty() && text->back() == '\0') text->pop_back();
  for (char& c : *text) {
    if (c == '\0') c = ' ';
  }
  constexpr size_t kMaxShown = 1000;
  if (text->size() > kMaxShown) text->resize(kMaxShown);
  return *text;
}

}  // namespace

absl::Status describe_image(const model::Tree& tree, uint64_t sequence, image::Manifest& manifest) {
  utsname system{};
  if (::uname(&system) != 0) return errno_status(errno, "uname");
  timespec now{};
  if (::clock_gettime(CLOCK_REALTIME, &now) != 0) return errno_status(errno, "clock_gettime");
  ASSIGN_OR_RETURN(const std::string boot_id, procfs::read_text("/proc/sys/kernel/random/boot_id"));
  manifest.set_format_version(image::kFormatVersion);
  manifest.set_sequence(sequence);
  manifest.set_created_ns(now.tv_sec * int64_t{1'000'000'000} + now.tv_nsec);
  manifest.set_stillpoint_version(STILLPOINT_VERSION_STRING);
  manifest.set_kernel(system.release);
  manifest.set_host(system.nodename);
  manifest.set_boot_id(std::string(absl::StripAsciiWhitespace(boot_id)));
  for (const std::string& feature : model::cpu_features()) manifest.add_cpu_features(feature);
  manifest.set_xsave_features(model::xsave_features());
  manifest.set_program(program_of(tree));
  manifest.set_process_count(static_cast<uint32_t>(tree.processes_size()));
  uint32_t threads = 0;
  for (const model::Process& process : tree.processes()) threads += static_cast<uint32_t>(process.threads_size());
  manifest.set_thread_count(threads);
  manifest.set_root_pid(tree.processes(0).pid());
  return absl::OkStatus();
}

}  // namespace stillpoint
