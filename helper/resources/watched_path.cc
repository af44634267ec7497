#include "helper/resources/watched_path.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <cstring>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/base/test_switch.h"
#include "helper/base/unique_fd.h"
#include "helper/procfs/process_files.h"

namespace stillpoint {
namespace {

// The program stands still while this looks.
constexpr int kMostEntries = 20'000;

// struct file_handle with room for the longest handle.
struct HandleBuffer {
  alignas(file_handle) char bytes[sizeof(file_handle) + MAX_HANDLE_SZ] = {};
  file_handle* get() { return reinterpret_cast<file_handle*>(bytes); }
};

// btrfs and overlayfs report other device numbers in stat than the superblock's; there the handle decides.
bool has_handle(const std::string& path, const WatchedInode& watched) {
  HandleBuffer buffer;
  buffer.get()->handle_bytes = MAX_HANDLE_SZ;
  int mount_id = 0;
  return watched.handle_type >= 0 && ::name_to_handle_at(AT_FDCWD, path.c_str(), buffer.get(), &mount_id, 0) == 0 &&
         buffer.get()->handle_type == watched.handle_type && buffer.get()->handle_bytes == watched.handle.size() &&
         std::memcmp(buffer.get()->f_handle, watched.handle.data(), watched.handle.size()) == 0;
}

bool leads_to(const std::string& path, const WatchedInode& watched) {
  struct stat there = {};
  if (::lstat(path.c_str(), &there) != 0 || there.st_ino != watched.inode) return false;
  return there.st_dev == watched.device || has_handle(path, watched);
}

std::optional<std::string> open_handle(const std::vector<procfs::Mount>& mounts, const WatchedInode& watched) {
  if (watched.handle_type < 0 || watched.handle.size() > MAX_HANDLE_SZ || feature_disabled("open_by_handle")) {
    return std::nullopt;
  }
  HandleBuffer buffer;
  buffer.get()->handle_bytes = static_cast<unsigned>(watched.handle.size());
  buffer.get()->handle_type = watched.handle_type;
  std::memcpy(buffer.get()->f_handle, watched.handle.data(), watched.handle.size());
  for (const procfs::Mount& mount : mounts) {
    if (mount.device != watched.device) continue;
    const UniqueFd root(::open(mount.mount_point.c_str(), O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC));
    if (!root.valid()) continue;
    const UniqueFd fd(::open_by_handle_at(root.get(), buffer.get(), O_PATH | O_CLOEXEC));
    if (!fd.valid()) continue;
    const absl::StatusOr<std::string> path = procfs::read_link(absl::StrCat("/proc/self/fd/", fd.get()));
    if (path.ok() && leads_to(*path, watched)) return *path;
  }
  return std::nullopt;
}

void add_with_parents(std::string path, std::set<std::string>& paths) {
  while (absl::StartsWith(path, "/") && paths.insert(path).second && path.size() > 1) {
    path.resize(std::max<size_t>(path.rfind('/'), 1));
  }
}

// Everything whose path the process's entries in /proc tell.
std::set<std::string> paths_in_use(pid_t pid) {
  std::set<std::string> paths;
  for (const absl::string_view name : {"cwd", "root", "exe"}) {
    const absl::StatusOr<std::string> path = procfs::read_link(absl::StrCat("/proc/", pid, "/", name));
    if (path.ok()) add_with_parents(*path, paths);
  }
  const absl::StatusOr<std::vector<int>> numbers = procfs::read_fds(pid);
  for (const int number : numbers.ok() ? *numbers : std::vector<int>()) {
    const absl::StatusOr<std::string> path = procfs::read_link(absl::StrCat("/proc/", pid, "/fd/", number));
    if (path.ok()) add_with_parents(*path, paths);
  }
  return paths;
}

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

// Breadth first, because what programs watch is rarely deep.
std::optional<std::string> walk(std::deque<std::string> directories, const WatchedInode& watched) {
  int entries = 0;
  while (!directories.empty()) {
    const std::string directory = directories.front() == "/" ? "" : directories.front();
    const std::unique_ptr<DIR, CloseDirectory> listing(::opendir(directories.front().c_str()));
    directories.pop_front();
    if (listing == nullptr) continue;
    while (const dirent* entry = ::readdir(listing.get())) {
      if (++entries > kMostEntries) return std::nullopt;
      if (std::strcmp(entry->d_name, ".") == 0 || std::strcmp(entry->d_name, "..") == 0) continue;
      std::string path = absl::StrCat(directory, "/", entry->d_name);
      if (entry->d_ino == watched.inode && leads_to(path, watched)) return path;
      if (entry->d_type == DT_DIR) directories.push_back(std::move(path));
    }
  }
  return std::nullopt;
}

}  // namespace

absl::StatusOr<std::string> find_watched_path(pid_t pid, const WatchedInode& watched) {
  ASSIGN_OR_RETURN(const std::vector<procfs::Mount> mounts, procfs::read_mountinfo(pid));
  if (std::optional<std::string> path = open_handle(mounts, watched); path.has_value()) return *path;
  for (const std::string& path : paths_in_use(pid)) {
    if (leads_to(path, watched)) return path;
  }
  std::deque<std::string> roots;
  const absl::StatusOr<std::string> working_directory = procfs::read_link(absl::StrCat("/proc/", pid, "/cwd"));
  if (working_directory.ok()) roots.push_back(*working_directory);
  for (const procfs::Mount& mount : mounts) {
    if (mount.device != watched.device) continue;
    if (leads_to(mount.mount_point, watched)) return mount.mount_point;
    roots.push_back(mount.mount_point);
  }
  if (std::optional<std::string> path = walk(std::move(roots), watched); path.has_value()) return *path;
  return absl::NotFoundError(absl::StrCat("no path found to inode ", watched.inode, " of device ",
                                          major(watched.device), ":", minor(watched.device)));
}

}  // namespace stillpoint
