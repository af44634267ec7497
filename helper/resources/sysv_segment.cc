#include "helper/resources/sysv_segment.h"

#include <fcntl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/base/test_switch.h"
#include "helper/base/unique_fd.h"

namespace stillpoint {
namespace {

constexpr char kNextId[] = "/proc/sys/kernel/shm_next_id";
constexpr char kDetachAround[] =
    "detach it (shmdt) in a stillpoint::on_pre_dump hook and attach it again in stillpoint::on_post_resume and "
    "stillpoint::on_post_restore";
constexpr int kAttempts = 10;  // somebody else may take the id that was asked for

// Of the kernel's own tmpfs, which holds segments, memfds and shared anonymous memory.
dev_t internal_device() {
  static const dev_t device = [] {
    struct stat stat = {};
    const UniqueFd fd(::memfd_create("stillpoint", MFD_CLOEXEC));
    return fd.valid() && ::fstat(fd.get(), &stat) == 0 ? stat.st_dev : dev_t{0};
  }();
  return device;
}

std::string segment_name(const model::SysvSegment& segment) {
  return absl::StrCat("System V segment ", segment.id(), " (key 0x",
                      absl::Hex(static_cast<uint32_t>(segment.key()), absl::kZeroPad8), ", ", segment.size(),
                      " bytes)");
}

template <typename Wanted>
const procfs::SysvSegment* find_segment(const std::vector<procfs::SysvSegment>& all, Wanted wanted) {
  const auto found = std::find_if(all.begin(), all.end(), wanted);
  return found == all.end() ? nullptr : &*found;
}

// What an earlier life of the program left behind when it was killed: the same segment, and nobody has it.
bool is_left_behind(const procfs::SysvSegment& there, const model::SysvSegment& wanted) {
  return there.id == wanted.id() && there.key == wanted.key() && there.size == wanted.size() &&
         there.mode == wanted.mode() && there.uid == wanted.uid() && there.creator_uid == wanted.creator_uid() &&
         there.attachments == 0 && !there.removed && !wanted.removed();
}

// An image gives nobody the memory of others.
bool belongs_to_tree(const model::Tree& tree, const model::SysvSegment& segment) {
  const auto is_owner = [&](const model::Thread& thread) {
    const uint32_t uid = thread.credentials().euid();
    return uid == 0 || uid == segment.uid() || uid == segment.creator_uid();
  };
  return std::any_of(tree.processes().begin(), tree.processes().end(), [&](const model::Process& process) {
    return !process.ended() && std::any_of(process.threads().begin(), process.threads().end(), is_owner);
  });
}

absl::Status is_taken(const model::SysvSegment& wanted, const procfs::SysvSegment& there) {
  return absl::FailedPreconditionError(
      absl::StrCat(segment_name(wanted), " cannot be made again: its ", there.id == wanted.id() ? "id" : "key",
                   " belongs to a segment with id ", there.id, " of uid ", there.uid, ", made by pid ", there.creator,
                   " and attached ", there.attachments,
                   " times; end who uses it, or remove it when nobody needs it (ipcrm -m ", there.id, ")"));
}

absl::Status attach(const model::SysvSegment& segment, uint64_t address, int flags) {
  const void* const at = ::shmat(segment.id(), reinterpret_cast<void*>(address), flags);
  if (at != reinterpret_cast<void*>(-1)) return absl::OkStatus();
  return errno_status(errno, absl::StrCat("shmat of ", segment_name(segment)));
}

absl::Status ask_for_id(const model::SysvSegment& segment) {
  const UniqueFd fd(feature_disabled("shm_next_id") ? -1 : ::open(kNextId, O_WRONLY | O_CLOEXEC));
  const std::string text = absl::StrCat(segment.id());
  if (fd.valid() && ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size())) {
    return absl::OkStatus();
  }
  const int error = feature_disabled("shm_next_id") ? EACCES : errno;
  return errno_status(
      error, absl::StrCat(segment_name(segment), " needs its id again, which this user cannot choose (", kNextId,
                          "): restart it as root, or give stillpoint-helper "
                          "cap_checkpoint_restore"));
}

// shmget(2) as the segment's creator. -errno on failure.
int get_segment(const model::SysvSegment& segment) {
  const auto get = [&] {
    const int id = ::shmget(segment.key(), segment.size(), IPC_CREAT | IPC_EXCL | 0600);
    return id < 0 ? -errno : id;
  };
  if (segment.creator_uid() == ::geteuid() && segment.creator_gid() == ::getegid()) return get();
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return -errno;
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  const pid_t child = ::fork();
  if (child < 0) return -errno;
  if (child == 0) {
    int result = -EPERM;
    if (::syscall(SYS_setresgid, -1, segment.creator_gid(), -1) == 0 &&
        ::syscall(SYS_setresuid, -1, segment.creator_uid(), -1) == 0) {
      result = get();
    }
    ::_exit(::write(writer.get(), &result, sizeof result) == sizeof result ? 0 : 1);
  }
  writer.reset();
  int result = -EIO;
  if (::read(reader.get(), &result, sizeof result) != sizeof result) result = -EIO;
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  return result;
}

absl::Status make_segment(const model::SysvSegment& segment) {
  int got = -1;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    RETURN_IF_ERROR(ask_for_id(segment));
    got = get_segment(segment);
    if (got == segment.id()) return absl::OkStatus();
    if (got < 0) return errno_status(-got, absl::StrCat("shmget of ", segment_name(segment)));
    if (::shmctl(got, IPC_RMID, nullptr) != 0) return errno_status(errno, absl::StrCat("shmctl(IPC_RMID) of ", got));
  }
  return absl::FailedPreconditionError(
      absl::StrCat(segment_name(segment), " cannot be made again: the kernel gives id ", got,
                   ", since other segments are in the way; remove those that nobody needs (ipcs -m)"));
}

// Nobody else may have come in between, and nothing is left of the old content.
absl::Status take_over(const model::SharedMemory& memory, uint64_t address) {
  const model::SysvSegment& segment = memory.sysv();
  RETURN_IF_ERROR(attach(segment, address, 0));
  shmid_ds state = {};
  if (::shmctl(segment.id(), IPC_STAT, &state) != 0) {
    return errno_status(errno, absl::StrCat("shmctl(IPC_STAT) of ", segment_name(segment)));
  }
  if (state.shm_nattch != 1) {
    return absl::FailedPreconditionError(absl::StrCat(segment_name(segment), " has been attached by somebody else"));
  }
  if (::madvise(reinterpret_cast<void*>(address), page_ceil(segment.size()), MADV_REMOVE) != 0) {
    return errno_status(errno, absl::StrCat("madvise(MADV_REMOVE) of ", segment_name(segment)));
  }
  return absl::OkStatus();
}

}  // namespace

bool is_sysv_segment(const procfs::Mapping& mapping) {
  // Those of huge pages are on another of the kernel's own filesystems.
  return mapping.shared && absl::StartsWith(mapping.name, "/SYSV") &&
         (mapping.device == internal_device() || mapping.kernel_page_size > kPageSize);
}

void audit_sysv_segment(const std::vector<procfs::SysvSegment>& all, const procfs::Mapping& mapping,
                        uint64_t attachments, model::SharedMemory& memory, Findings& findings) {
  const std::string object =
      absl::StrCat("System V segment ", mapping.inode, " attached at 0x", absl::Hex(mapping.start));
  const procfs::SysvSegment* found = find_segment(
      all, [&](const procfs::SysvSegment& segment) { return static_cast<uint64_t>(segment.id) == mapping.inode; });
  if (found == nullptr) {
    findings.add({"SP-SYSV-SHM", object, "the system's list (/proc/sysvipc/shm) does not hold it", kDetachAround});
    return;
  }
  if (found->attachments > attachments) {
    findings.add({"SP-SYSV-SHM", object,
                  absl::StrCat("it is attached ", found->attachments, " times, ", attachments,
                               " of them by processes of the image: others use it too"),
                  absl::StrCat(kDetachAround, "; or end the others first (`lsof`, `ipcs -mp`)")});
  }
  if (memory.huge_page_size() != 0) {
    findings.add({"SP-SYSV-SHM", object, "it has huge pages (SHM_HUGETLB), which are not saved", kDetachAround});
  }
  if (found->locked) {
    findings.add({"SP-SYSV-SHM", object, "it is locked in memory (SHM_LOCK)", "unlock it (shmctl SHM_UNLOCK)"});
  }
  memory.set_size(page_ceil(found->size));
  memory.set_name(mapping.name);
  model::SysvSegment& segment = *memory.mutable_sysv();
  segment.set_id(found->id);
  segment.set_key(found->key);
  segment.set_size(found->size);
  segment.set_mode(found->mode);
  segment.set_removed(found->removed);
  segment.set_uid(found->uid);
  segment.set_gid(found->gid);
  segment.set_creator_uid(found->creator_uid);
  segment.set_creator_gid(found->creator_gid);
}

bool has_sysv_segments(const model::Tree& tree) {
  return std::any_of(tree.shared_memories().begin(), tree.shared_memories().end(),
                     [](const model::SharedMemory& memory) { return memory.has_sysv(); });
}

SysvSegments::~SysvSegments() {
  for (const int id : made_) ::shmctl(id, IPC_RMID, nullptr);
}

absl::Status SysvSegments::create(const model::Tree& tree, const model::SharedMemory& memory, uint64_t address,
                                  std::vector<std::string>& notes) {
  const model::SysvSegment& segment = memory.sysv();
  if (!belongs_to_tree(tree, segment)) {
    return absl::PermissionDeniedError(absl::StrCat(segment_name(segment), " belongs to uid ", segment.uid(),
                                                    ", as whom no process of the image runs; detach it before the "
                                                    "checkpoint"));
  }
  ASSIGN_OR_RETURN(const std::vector<procfs::SysvSegment> all, procfs::read_sysv_segments());
  const auto same_id = [&](const procfs::SysvSegment& there) { return there.id == segment.id(); };
  const auto same_key = [&](const procfs::SysvSegment& there) {
    return segment.key() != IPC_PRIVATE && there.key == segment.key() && there.id != segment.id();
  };
  if (const procfs::SysvSegment* there = find_segment(all, same_key)) return is_taken(segment, *there);
  if (const procfs::SysvSegment* there = find_segment(all, same_id)) {
    if (!is_left_behind(*there, segment)) return is_taken(segment, *there);
    notes.push_back(absl::StrCat(segment_name(segment), " was left behind by an earlier life, and is taken over"));
    return take_over(memory, address);
  }
  RETURN_IF_ERROR(make_segment(segment));
  made_.push_back(segment.id());
  return attach(segment, address, 0);
}

absl::Status SysvSegments::attach_read_only(const model::SharedMemory& memory, uint64_t address) {
  return attach(memory.sysv(), address, SHM_RDONLY);
}

absl::Status SysvSegments::finish(const model::SharedMemory& memory) const {
  const model::SysvSegment& segment = memory.sysv();
  shmid_ds state = {};
  state.shm_perm.uid = segment.uid();
  state.shm_perm.gid = segment.gid();
  state.shm_perm.mode = static_cast<decltype(state.shm_perm.mode)>(segment.mode());
  if (::shmctl(segment.id(), IPC_SET, &state) != 0) {
    return errno_status(errno, absl::StrCat("shmctl(IPC_SET) of ", segment_name(segment), " for uid ", segment.uid()));
  }
  if (segment.removed() && ::shmctl(segment.id(), IPC_RMID, nullptr) != 0) {
    return errno_status(errno, absl::StrCat("shmctl(IPC_RMID) of ", segment_name(segment)));
  }
  return absl::OkStatus();
}

}  // namespace stillpoint
