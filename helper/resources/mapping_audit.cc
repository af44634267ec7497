#include "helper/resources/mapping_audit.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <optional>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "helper/resources/printable.h"
#include "helper/resources/same_file.h"

namespace stillpoint {
namespace {

using procfs::Mapping;

constexpr char kUnmapAround[] =
    "unmap it in a stillpoint::on_pre_dump hook and map it again in stillpoint::on_post_resume and "
    "stillpoint::on_post_restore";

struct NamedMapping {
  absl::string_view prefix;
  absl::string_view code;
  absl::string_view reason;
  absl::string_view remedy;
};

constexpr NamedMapping kNamedMappings[] = {
    {"/[aio]", "SP-AIO", "an asynchronous I/O context (io_setup) whose requests only the kernel knows",
     "call io_destroy in a stillpoint::on_pre_dump hook and io_setup in stillpoint::on_post_resume and "
     "stillpoint::on_post_restore"},
    {"[aio]", "SP-AIO", "an asynchronous I/O context (io_setup) whose requests only the kernel knows",
     "call io_destroy in a stillpoint::on_pre_dump hook and io_setup in stillpoint::on_post_resume and "
     "stillpoint::on_post_restore"},
    {"/secretmem", "SP-SECRETMEM", "memfd_secret(2) memory, which cannot be read from outside", kUnmapAround},
    {"[uprobes]", "SP-UPROBES", "a tracing tool has placed probes in the program's code",
     "remove the uprobes (perf probe, bpftrace, ...) before the checkpoint"},
    {"anon_inode:[io_uring]", "SP-IOURING", "rings of an io_uring", kUnmapAround},
    {"anon_inode:[perf_event]", "SP-PERF", "a ring of performance counter samples", kUnmapAround},
    {"anon_inode:bpf", "SP-BPF", "a bpf map", kUnmapAround},
    {"anon_inode:", "SP-ANON-INODE", "memory of a kernel object that this release does not know", kUnmapAround},
    {"/dmabuf:", "SP-DEVICE-MAP", "a DMA buffer, which is memory of a device", kUnmapAround},
    {"socket:[", "SP-SOCKET-MAP", "a packet socket's ring", kUnmapAround},
};

bool has_flag(const Mapping& mapping, absl::string_view flag) {
  return std::find(mapping.vm_flags.begin(), mapping.vm_flags.end(), flag) != mapping.vm_flags.end();
}

std::string object(const Mapping& mapping) {
  return absl::StrCat("mapping ", absl::Hex(mapping.start), "-", absl::Hex(mapping.end),
                      mapping.name.empty() ? "" : " ", printable(mapping.name));
}

// The device a mapping shows; nothing for files, and for /dev/zero, which is memory as any other.
std::optional<dev_t> mapped_device(pid_t pid, const Mapping& mapping) {
  if (!absl::StartsWith(mapping.name, "/")) return std::nullopt;
  const std::optional<struct stat> there = stat_path(pid, mapping.name);
  if (!there.has_value() || there->st_ino != mapping.inode) return std::nullopt;
  if (!S_ISCHR(there->st_mode) && !S_ISBLK(there->st_mode)) return std::nullopt;
  if (S_ISCHR(there->st_mode) && there->st_rdev == makedev(1, 5)) return std::nullopt;
  return there->st_rdev;
}

void audit_flags(const Mapping& mapping, Findings& findings) {
  // The kernel's own ([vvar], [vvar_vclock]) are I/O and PFN mappings too.
  const bool kernels_own = absl::StartsWith(mapping.name, "[v");
  if (!kernels_own && (has_flag(mapping, "io") || has_flag(mapping, "pf"))) {
    findings.add(
        {"SP-DEVICE-MAP", object(mapping), "it maps memory of a device",
         "save the device's state and unmap it in a stillpoint::on_pre_dump hook; map it and load the state again in "
         "stillpoint::on_post_resume and stillpoint::on_post_restore"});
  }
  if (has_flag(mapping, "um") || has_flag(mapping, "ui")) {
    findings.add({"SP-USERFAULTFD", object(mapping), "its page faults go to a userfaultfd",
                  "unregister the range (UFFDIO_UNREGISTER) in a stillpoint::on_pre_dump hook and register it again in "
                  "stillpoint::on_post_resume and stillpoint::on_post_restore"});
  }
  if (has_flag(mapping, "ss")) {
    findings.add({"SP-SHADOW-STACK", object(mapping), "it is a shadow stack, which cannot be restored yet",
                  "start the program without shadow stacks: GLIBC_TUNABLES=glibc.cpu.x86_shstk=off"});
  }
}

void audit_mapping(pid_t pid, const Mapping& mapping, Findings& findings) {
  for (const NamedMapping& named : kNamedMappings) {
    if (!absl::StartsWith(mapping.name, named.prefix)) continue;
    findings.add({std::string(named.code), object(mapping), std::string(named.reason), std::string(named.remedy)});
    return;
  }
  if (const std::optional<dev_t> device = mapped_device(pid, mapping); device.has_value()) {
    findings.add(
        {"SP-DEVICE-MAP", object(mapping), absl::StrCat("it maps the device ", major(*device), ":", minor(*device)),
         "save the device's state and unmap it in a stillpoint::on_pre_dump hook; map it and load the state again in "
         "stillpoint::on_post_resume and stillpoint::on_post_restore"});
    return;
  }
  audit_flags(mapping, findings);
}

}  // namespace

void audit_mappings(pid_t pid, const std::vector<Mapping>& mappings, Findings& findings) {
  for (const Mapping& mapping : mappings) audit_mapping(pid, mapping, findings);
}

}  // namespace stillpoint
