#include <dirent.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/procfs/process_files.h"
#include "helper/procfs/scan.h"

namespace stillpoint::procfs {
namespace {

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

// The names in a directory that are numbers, ascending.
absl::StatusOr<std::vector<int>> read_numbers(const std::string& path) {
  const std::unique_ptr<DIR, CloseDirectory> directory(::opendir(path.c_str()));
  if (directory == nullptr) return errno_status(errno, absl::StrCat("opendir ", path));
  std::vector<int> numbers;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(directory.get());
    if (entry == nullptr) break;
    int number = 0;
    if (whole_number(entry->d_name, number)) numbers.push_back(number);
  }
  if (errno != 0) return errno_status(errno, absl::StrCat("readdir ", path));
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

// A task that ended since it was listed: its files are gone (ENOENT) or say so (ESRCH).
bool task_is_gone(const absl::Status& status) { return absl::IsNotFound(status); }

absl::Status append_children(const std::string& path, absl::string_view text, std::vector<pid_t>& children) {
  for (absl::string_view word = take_word(text); !word.empty(); word = take_word(text)) {
    if (!whole_number(word, children.emplace_back())) return with_context(malformed("children", 1, "pid", word), path);
  }
  return absl::OkStatus();
}

// For kernels without CONFIG_PROC_CHILDREN: every process that names `pid` as its parent.
absl::StatusOr<std::vector<pid_t>> find_children(pid_t pid) {
  ASSIGN_OR_RETURN(const std::vector<pid_t> all, read_numbers("/proc"));
  std::vector<pid_t> children;
  for (const pid_t candidate : all) {
    const absl::StatusOr<Stat> stat = read_stat(candidate);
    if (!stat.ok() && task_is_gone(stat.status())) continue;
    if (!stat.ok()) return stat.status();
    if (stat->parent_pid == pid) children.push_back(candidate);
  }
  return children;
}

}  // namespace

absl::StatusOr<std::vector<pid_t>> read_tids(pid_t pid) { return read_numbers(process_path(pid, "task")); }

absl::StatusOr<std::vector<int>> read_fds(pid_t pid) { return read_numbers(process_path(pid, "fd")); }

absl::StatusOr<std::vector<pid_t>> read_children(pid_t pid) {
  ASSIGN_OR_RETURN(const std::vector<pid_t> tids, read_tids(pid));
  std::vector<pid_t> children;
  bool any_read = false;
  for (const pid_t tid : tids) {
    const std::string path = task_path(pid, tid, "children");
    const absl::StatusOr<std::string> text = read_text(path);
    if (!text.ok() && task_is_gone(text.status())) continue;
    if (!text.ok()) return text.status();
    any_read = true;
    RETURN_IF_ERROR(append_children(path, *text, children));
  }
  if (!any_read) return find_children(pid);
  std::sort(children.begin(), children.end());
  return children;
}

}  // namespace stillpoint::procfs
