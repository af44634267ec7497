#include "helper/resources/file_fingerprint.h"

#include <linux/magic.h>
#include <sys/vfs.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <string>

#include "helper/base/errors.h"
#include "helper/base/syscalls.h"

namespace stillpoint {
namespace {

constexpr uint64_t kSampleSize = 4096;

absl::StatusOr<uint64_t> hash_at(int fd, uint64_t offset, size_t length, absl::string_view what) {
  std::array<char, kSampleSize> sample;
  RETURN_IF_ERROR(pread_all(fd, sample.data(), length, offset, what));
  return XXH3_64bits(sample.data(), length);
}

}  // namespace

absl::StatusOr<resources::Fingerprint> fingerprint(int fd, uint64_t size, absl::string_view what) {
  const uint64_t length = std::min(size, kSampleSize);
  resources::Fingerprint result;
  result.set_length(static_cast<uint32_t>(length));
  ASSIGN_OR_RETURN(const uint64_t head, hash_at(fd, 0, length, what));
  ASSIGN_OR_RETURN(const uint64_t tail, hash_at(fd, size - length, length, what));
  result.set_head(head);
  result.set_tail(tail);
  return result;
}

bool on_pseudo_filesystem(int fd) {
  static constexpr uint64_t kPseudo[] = {
      SYSFS_MAGIC,
      CGROUP_SUPER_MAGIC,
      CGROUP2_SUPER_MAGIC,
      DEBUGFS_MAGIC,
      TRACEFS_MAGIC,
      SECURITYFS_MAGIC,
      PROC_SUPER_MAGIC,
      BPF_FS_MAGIC,
      SELINUX_MAGIC,
      SMACK_MAGIC,
      EFIVARFS_MAGIC,
      0x62656570 /* configfs */,
      0x65735543 /* fusectl */,
      0x7655821 /* resctrl */,
      0x6165676c /* pstore */,
  };
  struct statfs filesystem = {};
  if (::fstatfs(fd, &filesystem) != 0) return false;
  return std::find(std::begin(kPseudo), std::end(kPseudo), static_cast<uint32_t>(filesystem.f_type)) !=
         std::end(kPseudo);
}

}  // namespace stillpoint
