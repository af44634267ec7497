#include "helper/dump/shared_memory_registry.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"

namespace stillpoint {
namespace {

constexpr absl::string_view kMemfdPrefix = "/memfd:";
constexpr absl::string_view kDeletedSuffix = " (deleted)";

std::string memfd_name(absl::string_view link) {
  const absl::string_view name = absl::StripSuffix(link, kDeletedSuffix);
  if (absl::StartsWith(name, kMemfdPrefix)) return std::string(name.substr(kMemfdPrefix.size()));
  constexpr size_t kLongest = 249;                                           // of memfd_create(2)
  return std::string(name.substr(name.rfind('/') + 1).substr(0, kLongest));  // a deleted file's
}

// Needs cap_checkpoint_restore or cap_sys_admin; everybody else reads through the mapping.
UniqueFd open_mapped_object(pid_t pid, const procfs::Mapping& mapping) {
  const std::string path =
      absl::StrCat("/proc/", pid, "/map_files/", absl::Hex(mapping.start), "-", absl::Hex(mapping.end));
  return UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
}

absl::Status describe_memfd(int fd, absl::string_view link, model::SharedMemory& out) {
  struct stat stat {};
  if (::fstat(fd, &stat) != 0) return errno_status(errno, absl::StrCat("fstat of ", link));
  out.set_memfd(true);
  out.set_name(memfd_name(link));
  out.set_size(static_cast<uint64_t>(stat.st_size));
  out.set_mode(stat.st_mode & 07777);
  if (static_cast<size_t>(stat.st_blksize) > kPageSize && stat.st_blksize >= (2 << 20)) {
    out.set_huge_page_size(static_cast<uint64_t>(stat.st_blksize));
  }
  const int seals = ::fcntl(fd, F_GET_SEALS);
  if (seals >= 0) {
    out.set_seals(static_cast<uint32_t>(seals));
  } else if (errno != EINVAL) {
    return errno_status(errno, absl::StrCat("fcntl(F_GET_SEALS) of ", link));
  }
  return absl::OkStatus();
}

}  // namespace

SharedMemoryRegistry::Object& SharedMemoryRegistry::object(uint64_t device, uint64_t inode) {
  const auto [entry, fresh] = by_inode_.try_emplace({device, inode}, objects_.size());
  if (fresh) {
    objects_.emplace_back();
    objects_.back().message.set_id(objects_.size());
  }
  return objects_[entry->second];
}

absl::StatusOr<uint64_t> SharedMemoryRegistry::enter_mapping(pid_t pid, const procfs::Mapping& mapping) {
  return enter_mapping_of(object(mapping.device, mapping.inode), pid, mapping);
}

absl::StatusOr<uint64_t> SharedMemoryRegistry::enter_segment(pid_t pid, const procfs::Mapping& mapping) {
  // Ids are inode numbers on a filesystem whose other inodes may have the same ones.
  constexpr uint64_t kNoDevice = ~uint64_t{0};
  Object& entry = object(kNoDevice, mapping.inode);
  entry.segment = true;
  return enter_mapping_of(entry, pid, mapping);
}

absl::StatusOr<uint64_t> SharedMemoryRegistry::enter_mapping_of(Object& entry, pid_t pid,
                                                                const procfs::Mapping& mapping) {
  entry.places.push_back({pid, mapping});
  model::SharedMemory& message = entry.message;
  if (!entry.fd.valid()) entry.fd = open_mapped_object(pid, mapping);
  if (entry.fd.valid()) {
    struct stat stat {};
    if (::fstat(entry.fd.get(), &stat) != 0) return errno_status(errno, absl::StrCat("fstat of ", mapping.name));
    message.set_size(static_cast<uint64_t>(stat.st_size));
    if (absl::StartsWith(mapping.name, kMemfdPrefix)) {
      RETURN_IF_ERROR(describe_memfd(entry.fd.get(), mapping.name, message));
    }
  } else {
    message.set_size(std::max<uint64_t>(message.size(), mapping.offset + mapping.end - mapping.start));
    if (absl::StartsWith(mapping.name, kMemfdPrefix)) {
      message.set_memfd(true);
      message.set_name(memfd_name(mapping.name));
    }
  }
  if (absl::StartsWith(mapping.name, "/anon_hugepage")) message.set_name("anon_hugepage");
  if (mapping.kernel_page_size > kPageSize) message.set_huge_page_size(mapping.kernel_page_size);
  return message.id();
}

absl::StatusOr<uint64_t> SharedMemoryRegistry::enter_deleted_file(pid_t pid, const procfs::Mapping& mapping) {
  ASSIGN_OR_RETURN(const uint64_t id, enter_mapping(pid, mapping));
  Object& entry = objects_[id - 1];
  entry.deleted_file = true;
  // It comes back as anonymous memory, which is as large as what is mapped of it.
  uint64_t size = page_ceil(entry.message.size());
  for (const Object::Place& place : entry.places) {
    size = std::max(size, place.mapping.offset + (place.mapping.end - place.mapping.start));
  }
  entry.message.set_size(size);
  return id;
}

absl::StatusOr<uint64_t> SharedMemoryRegistry::enter_memfd(int fd, const std::string& link) {
  struct stat stat {};
  if (::fstat(fd, &stat) != 0) return errno_status(errno, absl::StrCat("fstat of ", link));
  Object& entry = object(stat.st_dev, stat.st_ino);
  RETURN_IF_ERROR(describe_memfd(fd, link, entry.message));
  // An open file description of our own: looking for holes moves the offset, which must not be the program's.
  UniqueFd copy(::open(absl::StrCat("/proc/self/fd/", fd).c_str(), O_RDONLY | O_CLOEXEC));
  if (!copy.valid() && errno == EACCES) copy.reset(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!copy.valid()) return errno_status(errno, absl::StrCat("open of ", link));
  entry.fd = std::move(copy);
  return entry.message.id();
}

}  // namespace stillpoint
