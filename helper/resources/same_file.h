// Finding the other fds of a process that lead to the same object.
#ifndef STILLPOINT_HELPER_RESOURCES_SAME_FILE_H_
#define STILLPOINT_HELPER_RESOURCES_SAME_FILE_H_

#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "helper/resources/open_file_kind.h"

namespace stillpoint {

bool same_inode(const struct stat& a, const struct stat& b);

// What fd `number` of `pid` leads to; nothing when there is no such fd.
std::optional<struct stat> stat_fd(pid_t pid, int number);
// `path` as the frozen process sees it, its root taken into account.
std::optional<struct stat> stat_path(pid_t pid, absl::string_view path);

// True when `file.link` still names the file behind the fd (not deleted, not replaced by a rename over it).
bool link_is_current(const OpenFileView& file);

// The lowest id among the open file descriptions of the image that lead to the same object, the file's own included;
// 0 when none of them is part of the image.
uint64_t lowest_description(const OpenFileView& file, const OpenFileDumpContext& context);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESOURCES_SAME_FILE_H_
