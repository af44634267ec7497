#include "helper/dump/open_files_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/base/test_switch.h"
#include "helper/procfs/process_files.h"
#include "helper/resources/reopen.h"

namespace stillpoint {
namespace {

absl::Status read_position(OpenFileView& view, bool& close_on_exec) {
  ASSIGN_OR_RETURN(const std::string pos, fdinfo_value(view, "pos"));
  if (!absl::SimpleAtoi(pos, &view.pos)) {
    return absl::DataLossError(absl::StrCat("fdinfo of ", describe(view), " has a malformed pos: ", pos));
  }
  ASSIGN_OR_RETURN(const std::string flags, fdinfo_value(view, "flags"));
  uint32_t value = 0;
  for (const char digit : flags) {
    if (digit < '0' || digit > '7') {
      return absl::DataLossError(absl::StrCat("fdinfo of ", describe(view), " has malformed flags: ", flags));
    }
    value = value * 8 + static_cast<uint32_t>(digit - '0');
  }
  close_on_exec = (value & O_CLOEXEC) != 0;
  view.flags = value & ~static_cast<uint32_t>(O_CLOEXEC);
  return absl::OkStatus();
}

bool is_written_file(const OpenFileView& view) {
  const bool writable = (view.flags & O_ACCMODE) != O_RDONLY && (view.flags & O_PATH) == 0;
  return S_ISREG(view.stat.st_mode) && writable && view.fd >= 0;
}

absl::Status read_owner(const OpenFileView& view, model::OpenFile& out) {
  if (view.fd < 0 || (view.flags & O_PATH) != 0) return absl::OkStatus();
  f_owner_ex owner{};
  if (::fcntl(view.fd, F_GETOWN_EX, &owner) != 0) {
    return errno_status(errno, absl::StrCat("fcntl(F_GETOWN_EX) on ", describe(view)));
  }
  const int signal = ::fcntl(view.fd, F_GETSIG);
  if (signal < 0) return errno_status(errno, absl::StrCat("fcntl(F_GETSIG) on ", describe(view)));
  out.set_owner_type(owner.type);
  out.set_owner(owner.pid);
  out.set_signal(signal);
  return absl::OkStatus();
}

}  // namespace

absl::Status OpenFilesReader::scan(pid_t pid, pid_t tid, const std::set<int>& left_out, uint64_t table_id) {
  UniqueFd pidfd;
  if (!feature_disabled("pidfd_getfd")) {
    constexpr unsigned kOfThread = O_EXCL;  // PIDFD_THREAD, Linux 6.9
    pidfd.reset(sys_pidfd_open(tid, tid == pid ? 0 : kOfThread));
    if (!pidfd.valid() && errno != ENOSYS && errno != EPERM && errno != EINVAL) {
      return errno_status(errno, absl::StrCat("pidfd_open of tid ", tid));
    }
  }
  if (processes_.empty()) {
    root_ = pid;
    delivery_deadline_ = absl::Now() + kDeliveryTime;
  }
  processes_.insert(pid);
  Table& table = tables_[tid];
  table.id = table_id;
  ASSIGN_OR_RETURN(const std::vector<int> numbers, procfs::read_fds(tid));
  for (const int number : numbers) {
    if (left_out.contains(number)) continue;
    RETURN_IF_ERROR(read_descriptor(pid, tid, pidfd.get(), number, table));
  }
  return absl::OkStatus();
}

absl::Status OpenFilesReader::read_descriptor(pid_t pid, pid_t tid, int pidfd, int number, Table& table) {
  OpenFileView view;
  view.pid = tid;
  view.root = root_;
  view.number = number;
  view.numbers = {number};
  const std::string path = absl::StrCat("/proc/", tid, "/fd/", number);
  ASSIGN_OR_RETURN(view.link, procfs::read_link(path));
  ASSIGN_OR_RETURN(view.fdinfo, procfs::read_text(absl::StrCat("/proc/", tid, "/fdinfo/", number)));
  if (::stat(path.c_str(), &view.stat) != 0) return errno_status(errno, absl::StrCat("stat of ", path));
  bool close_on_exec = false;
  RETURN_IF_ERROR(read_position(view, close_on_exec));
  const Inode inode = {view.stat.st_dev, view.stat.st_ino};
  // What the root's starter gave it: terminals, and pipes and sockets whose other end is outside, come from
  // `stillpoint restart` again.
  if (pid == root_ && number <= STDERR_FILENO) starter_objects_.insert(inode);

  const size_t next = descriptions_.size();
  const size_t known =
      index_.find_or_enter(view, next, [this](size_t i) -> const OpenFileView& { return descriptions_[i].view; });
  if (known != next) {
    Description& same = descriptions_[known];
    if (same.view.pid == tid) same.view.numbers.push_back(number);
    same.view.shared = same.view.shared || same.view.pid != tid;
    locks_.add(view, pid, /*of_description=*/false, same.locks);
    table.descriptors[number] = {same.id, close_on_exec};
    return absl::OkStatus();
  }
  Description description;
  description.id = next + 1;
  description.holder = pid;
  if (pidfd >= 0) {
    description.copy.reset(sys_pidfd_getfd(pidfd, number, 0));
    if (!description.copy.valid() && errno != EPERM && errno != ENOSYS) {
      return errno_status(errno, absl::StrCat("pidfd_getfd of fd ", number, " of pid ", pid));
    }
  }
  view.fd = description.copy.get();
  locks_.add(view, pid, /*of_description=*/true, description.locks);
  description.view = std::move(view);
  table.descriptors[number] = {description.id, close_on_exec};
  descriptions_.push_back(std::move(description));
  by_inode_[inode].push_back(next);
  return absl::OkStatus();
}

// A deleted file that is mapped shared is memory that descriptors lead to, as a memfd is, and comes back as one.
const OpenFileKind* OpenFilesReader::kind_of(const Description& description) const {
  const OpenFileView& view = description.view;
  if (S_ISREG(view.stat.st_mode) && view.stat.st_nlink == 0 && view.fd >= 0 &&
      shared_memories_.holds_deleted_file(view.stat.st_dev, view.stat.st_ino)) {
    return open_file_kind("memfd");
  }
  for (const OpenFileKind* kind : open_file_kinds()) {
    if (kind->claims(view)) return kind;
  }
  return nullptr;
}

bool OpenFilesReader::leads_unseen_to(uint64_t device, uint64_t inode) const {
  const auto found = by_inode_.find({device, inode});
  return found != by_inode_.end() && std::any_of(found->second.begin(), found->second.end(),
                                                 [this](size_t i) { return descriptions_[i].view.fd < 0; });
}

void OpenFilesReader::audit(Findings& findings) const {
  locks_.audit(processes_, findings);
  for (const Description& description : descriptions_) {
    audit_file_locks(description.view, findings);
    if (const OpenFileKind* kind = kind_of(description); kind != nullptr) {
      kind->audit(description.view, *this, findings);
      continue;
    }
    findings.add({"SP-FILE-UNKNOWN", describe(description.view),
                  "Stillpoint does not know how to save this kind of file",
                  "close it in a stillpoint::on_pre_dump hook and open it again in stillpoint::on_post_resume and "
                  "stillpoint::on_post_restore"});
  }
}

absl::Status OpenFilesReader::dump(model::Tree& tree) {
  for (const Description& description : descriptions_) {
    RETURN_IF_ERROR(with_context(dump_description(description, *tree.add_open_files()), describe(description.view)));
  }
  for (const auto& [pid, table] : tables_) {
    model::FileTable* out = tree.add_file_tables();
    out->set_id(table.id);
    for (const auto& [number, entry] : table.descriptors) {
      model::FileDescriptor* descriptor = out->add_descriptors();
      descriptor->set_number(number);
      descriptor->set_open_file(entry.first);
      descriptor->set_close_on_exec(entry.second);
    }
  }
  return absl::OkStatus();
}

absl::Status OpenFilesReader::dump_description(const Description& description, model::OpenFile& out) {
  const OpenFileKind* kind = kind_of(description);
  if (kind == nullptr) return absl::InternalError("no kind claims it");  // the audit has refused before
  out.set_id(description.id);
  out.set_kind(std::string(kind->name()));
  out.set_flags(description.view.flags);
  out.set_holder(description.holder);
  for (const model::FileLock& lock : description.locks) *out.add_locks() = lock;
  RETURN_IF_ERROR(read_owner(description.view, out));
  return kind->dump(description.view, *this, out);
}

absl::Status OpenFilesReader::release_copies() {
  for (Description& description : descriptions_) {
    OpenFileView& view = description.view;
    if (is_written_file(view)) {
      // A description of the helper's own does as well, where the file's mode allows one.
      absl::StatusOr<UniqueFd> own = reopen_fd(view.fd, O_RDONLY | O_NONBLOCK | O_NOATIME, describe(view));
      if (!own.ok() && description.locks.empty()) continue;
      if (!own.ok()) {
        // Nothing is written to it by the helper, so this is the last moment to make it durable.
        if (::fdatasync(view.fd) != 0 && errno != EINVAL) {
          return errno_status(errno, absl::StrCat("fdatasync of ", describe(view)));
        }
      } else {
        description.copy = *std::move(own);
        view.fd = description.copy.get();
        continue;
      }
    }
    description.copy.reset();
    view.fd = -1;
  }
  return absl::OkStatus();
}

absl::Status OpenFilesReader::sync_files() const {
  for (const Description& description : descriptions_) {
    const OpenFileView& view = description.view;
    if (!is_written_file(view)) continue;
    if (::fdatasync(view.fd) != 0 && errno != EINVAL) {
      return errno_status(errno, absl::StrCat("fdatasync of ", describe(view)));
    }
  }
  return absl::OkStatus();
}

uint64_t OpenFilesReader::open_file_of(pid_t pid, int number) const {
  const auto table = tables_.find(pid);
  if (table == tables_.end()) return 0;
  const auto entry = table->second.descriptors.find(number);
  return entry == table->second.descriptors.end() ? 0 : entry->second.first;
}

uint64_t OpenFilesReader::open_file_of_inode(uint64_t inode, uint64_t except_id) const {
  for (const Description& description : descriptions_) {
    if (description.view.stat.st_ino == inode && description.id != except_id) return description.id;
  }
  return 0;
}

const OpenFileView* OpenFilesReader::view_of(uint64_t id) const {
  return id == 0 || id > descriptions_.size() ? nullptr : &descriptions_[id - 1].view;
}

bool OpenFilesReader::inherited(const OpenFileView& file) const {
  return starter_objects_.contains({file.stat.st_dev, file.stat.st_ino});
}

std::vector<OpenFileReference> OpenFilesReader::same_object(const OpenFileView& file) const {
  std::vector<OpenFileReference> references;
  const auto found = by_inode_.find({file.stat.st_dev, file.stat.st_ino});
  if (found == by_inode_.end()) return references;
  for (const size_t i : found->second) references.push_back({descriptions_[i].id, descriptions_[i].view.flags});
  return references;
}

absl::StatusOr<uint64_t> OpenFilesReader::shared_memory_of(const OpenFileView& file) {
  if (file.fd < 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(describe(file), ": a memfd can only be saved where pidfd_getfd is permitted"));
  }
  return shared_memories_.enter_memfd(file.fd, file.link);
}

}  // namespace stillpoint
