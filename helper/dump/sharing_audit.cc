#include "helper/dump/sharing_audit.h"

#include <dirent.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "helper/memory/excluded.h"
#include "helper/procfs/process_files.h"
#include "helper/procfs/sysv_segments.h"
#include "helper/resources/sysv_segment.h"

namespace stillpoint {
namespace {

// What a line of maps shows for the object: "00:01 1234 ".
std::string maps_key(const procfs::Mapping& mapping) {
  return absl::StrFormat(" %02x:%02x %u ", major(mapping.device), minor(mapping.device), mapping.inode);
}

std::vector<pid_t> all_pids() {
  std::vector<pid_t> pids;
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir("/proc"), &::closedir);
  if (directory == nullptr) return pids;
  while (const dirent* entry = ::readdir(directory.get())) {
    pid_t pid = 0;
    if (absl::SimpleAtoi(entry->d_name, &pid)) pids.push_back(pid);
  }
  return pids;
}

// Whether every byte of the object is mapped by somebody.
bool covers(const SharedMemoryRegistry::Object& object) {
  std::vector<Range> parts;
  for (const SharedMemoryRegistry::Object::Place& place : object.places) {
    const procfs::Mapping& mapping = place.mapping;
    parts.push_back({mapping.offset, mapping.offset + (mapping.end - mapping.start)});
  }
  return subtract({{0, object.message.size()}}, excluded_pages(std::move(parts))).empty();
}

std::string name_of(pid_t pid) {
  const absl::StatusOr<procfs::Stat> stat = procfs::read_stat(pid);
  return stat.ok() ? absl::StrCat("pid ", pid, " (", stat->comm, ")") : absl::StrCat("pid ", pid);
}

}  // namespace

void audit_sharing(const std::set<pid_t>& tree, const SharedMemoryRegistry& registry, Findings& findings) {
  if (registry.objects().empty()) return;
  for (const pid_t other : all_pids()) {
    if (tree.contains(other) || other == ::getpid()) continue;
    const absl::StatusOr<std::string> maps = procfs::read_text(absl::StrCat("/proc/", other, "/maps"));
    if (!maps.ok()) continue;  // gone, or another user's
    for (const SharedMemoryRegistry::Object& object : registry.objects()) {
      if (object.places.empty() || object.segment || !absl::StrContains(*maps, maps_key(object.places.front().mapping)))
        continue;
      const procfs::Mapping& mapping = object.places.front().mapping;
      findings.add({"SP-SHARED-MEMORY", absl::StrCat(mapping.name, " mapped at 0x", absl::Hex(mapping.start)),
                    absl::StrCat("it is shared with ", name_of(other), ", which is not part of the image"),
                    "unmap it in a stillpoint::on_pre_dump hook and map it again in stillpoint::on_post_resume and "
                    "stillpoint::on_post_restore hooks; or end the other process first"});
    }
  }
}

void audit_segments(SharedMemoryRegistry& registry, Findings& findings) {
  std::optional<absl::StatusOr<std::vector<procfs::SysvSegment>>> all;
  for (SharedMemoryRegistry::Object& object : registry.objects()) {
    if (!object.segment) continue;
    if (!all.has_value()) all = procfs::read_sysv_segments();
    const procfs::Mapping& mapping = object.places.front().mapping;
    if (!all->ok()) {
      findings.add(
          {"SP-SYSV-SHM", mapping.name, std::string(all->status().message()), "mount /proc in this container"});
      return;
    }
    // The kernel counts mappings, of which one attachment may have become several.
    audit_sysv_segment(**all, mapping, object.places.size(), object.message, findings);
    if (object.fd.valid() || covers(object)) continue;
    findings.add({"SP-SYSV-SHM", absl::StrCat(mapping.name, " attached at 0x", absl::Hex(mapping.start)),
                  "a part of it is mapped by no process of the image, and the helper may not look into it otherwise",
                  "attach all of it, or run the helper with cap_checkpoint_restore"});
  }
}

void audit_deleted_files(const OpenFilesReader& files, const SharedMemoryRegistry& registry, Findings& findings) {
  for (const SharedMemoryRegistry::Object& object : registry.objects()) {
    if (!object.deleted_file) continue;
    const procfs::Mapping& mapping = object.places.front().mapping;
    if (!files.leads_unseen_to(mapping.device, mapping.inode)) continue;
    findings.add({"SP-MAP-DELETED", absl::StrCat(mapping.name, " mapped at 0x", absl::Hex(mapping.start)),
                  "the file is deleted, mapped shared and open through a descriptor that the helper may not look into",
                  "close the descriptor once the file is mapped, or let the helper trace the program (same user, or "
                  "the capability cap_sys_ptrace)"});
  }
}

}  // namespace stillpoint
