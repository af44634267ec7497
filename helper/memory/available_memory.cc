#include "helper/memory/available_memory.h"

#include <unistd.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "helper/procfs/process_files.h"

namespace stillpoint {
namespace {

std::optional<uint64_t> number_in(const std::string& path) {
  const absl::StatusOr<std::string> text = procfs::read_text(path);
  uint64_t number = 0;
  if (!text.ok() || !absl::SimpleAtoi(absl::StripAsciiWhitespace(*text), &number)) return std::nullopt;
  return number;
}

uint64_t droppable_cache(const std::string& directory) {
  const absl::StatusOr<std::string> text = procfs::read_text(directory + "/memory.stat");
  if (!text.ok()) return 0;
  // Version 1 counts what lies below under names of its own.
  for (const char* key : {"total_inactive_file", "inactive_file"}) {
    if (const std::optional<uint64_t> value = procfs::find_field(*text, key); value.has_value()) return *value;
  }
  return 0;
}

// Where the cgroup of `line` stands below `mount`; empty when it does not.
std::string directory_of(const procfs::CgroupLine& line, const procfs::Mount& mount) {
  absl::string_view below = line.path;
  if (mount.root != "/" && !absl::ConsumePrefix(&below, mount.root)) return "";
  return absl::StrCat(mount.mount_point, below == "/" ? "" : below);
}

bool is_memory_hierarchy(const procfs::CgroupLine& line, const procfs::Mount& mount) {
  if (line.hierarchy == 0) return mount.filesystem == "cgroup2";
  const auto& controllers = line.controllers;
  return mount.filesystem == "cgroup" && absl::EndsWith(mount.mount_point, "memory") &&
         std::find(controllers.begin(), controllers.end(), "memory") != controllers.end();
}

uint64_t room_up_to(std::string directory, const std::string& mount_point) {
  uint64_t room = kNoLimit;
  while (directory.size() >= mount_point.size() && absl::StartsWith(directory, mount_point)) {
    room = std::min(room, cgroup_room(directory));
    const size_t slash = directory.rfind('/');
    if (slash == std::string::npos || slash == 0) break;
    directory.resize(slash);
  }
  return room;
}

}  // namespace

uint64_t cgroup_room(const std::string& directory) {
  std::optional<uint64_t> limit = number_in(directory + "/memory.max");  // "max" is no number
  std::optional<uint64_t> used = number_in(directory + "/memory.current");
  if (!limit.has_value()) {
    limit = number_in(directory + "/memory.limit_in_bytes");
    used = number_in(directory + "/memory.usage_in_bytes");
  }
  if (!limit.has_value() || !used.has_value()) return kNoLimit;
  const uint64_t really_used = *used - std::min(*used, droppable_cache(directory));
  return *limit > really_used ? *limit - really_used : 0;
}

uint64_t available_memory() {
  uint64_t room = kNoLimit;
  if (const absl::StatusOr<std::string> text = procfs::read_text("/proc/meminfo"); text.ok()) {
    const std::optional<uint64_t> kib = procfs::find_field(*text, "MemAvailable:");
    if (kib.has_value()) room = std::min(room, *kib << 10);
  }
  const absl::StatusOr<std::vector<procfs::CgroupLine>> lines = procfs::read_cgroups(::getpid());
  const absl::StatusOr<std::vector<procfs::Mount>> mounts = procfs::read_mountinfo(::getpid());
  if (!lines.ok() || !mounts.ok()) return room;
  for (const procfs::CgroupLine& line : *lines) {
    for (const procfs::Mount& mount : *mounts) {
      if (!is_memory_hierarchy(line, mount)) continue;
      if (const std::string directory = directory_of(line, mount); !directory.empty()) {
        room = std::min(room, room_up_to(directory, mount.mount_point));
      }
    }
  }
  return room;
}

}  // namespace stillpoint
