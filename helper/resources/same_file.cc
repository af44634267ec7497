#include "helper/resources/same_file.h"

#include <fcntl.h>

#include <map>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "helper/procfs/process_files.h"
#include "helper/resources/fdinfo.h"

namespace stillpoint {

bool same_inode(const struct stat& a, const struct stat& b) { return a.st_dev == b.st_dev && a.st_ino == b.st_ino; }

std::optional<struct stat> stat_fd(pid_t pid, int number) {
  struct stat found = {};
  if (::stat(absl::StrCat("/proc/", pid, "/fd/", number).c_str(), &found) != 0) return std::nullopt;
  return found;
}

std::optional<struct stat> stat_path(pid_t pid, absl::string_view path) {
  struct stat found = {};
  if (::lstat(absl::StrCat("/proc/", pid, "/root", path).c_str(), &found) != 0) return std::nullopt;
  return found;
}

bool link_is_current(const OpenFileView& file) {
  if (file.link.empty() || file.link[0] != '/') return false;
  const std::optional<struct stat> there = stat_path(file.pid, file.link);
  return there.has_value() && same_inode(*there, file.stat);
}

uint64_t lowest_description(const OpenFileView& file, const OpenFileDumpContext& context) {
  const std::vector<OpenFileReference> all = context.same_object(file);
  return all.empty() ? context.open_file_of(file.pid, file.number) : all.front().id;
}

std::vector<OpenFileReference> OpenFileDumpContext::same_object(const OpenFileView& file) const {
  std::map<uint64_t, uint32_t> found;
  const absl::StatusOr<std::vector<int>> numbers = procfs::read_fds(file.pid);
  for (const int number : numbers.ok() ? *numbers : file.numbers) {
    const std::optional<struct stat> other = stat_fd(file.pid, number);
    const uint64_t id = open_file_of(file.pid, number);
    if (id == 0 || found.count(id) != 0 || !other.has_value() || !same_inode(*other, file.stat)) continue;
    absl::StatusOr<std::string> fdinfo = procfs::read_text(absl::StrCat("/proc/", file.pid, "/fdinfo/", number));
    if (!fdinfo.ok()) continue;
    OpenFileView view;
    view.fdinfo = *std::move(fdinfo);
    const absl::StatusOr<uint64_t> flags = fdinfo_unsigned(view, "flags", 8);
    if (flags.ok()) found[id] = static_cast<uint32_t>(*flags) & ~uint32_t{O_CLOEXEC};
  }
  std::vector<OpenFileReference> references;
  references.reserve(found.size());
  for (const auto& [id, flags] : found) references.push_back({id, flags});
  return references;
}

}  // namespace stillpoint
