#include "helper/restore/open_files_restorer.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/model/ids.h"
#include "helper/resources/file_locks.h"

namespace stillpoint {
namespace {

constexpr int kSettableFlags = O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME;

unsigned memfd_flags(const model::SharedMemory& memory) {
  unsigned flags = MFD_CLOEXEC;
  if ((memory.seals() & F_SEAL_SEAL) == 0 || (memory.seals() & ~uint32_t{F_SEAL_SEAL}) != 0) flags |= MFD_ALLOW_SEALING;
  if (memory.huge_page_size() != 0) {
    int shift = 0;
    while ((uint64_t{1} << shift) < memory.huge_page_size()) ++shift;
    flags |= MFD_HUGETLB | (static_cast<unsigned>(shift) << MAP_HUGE_SHIFT);
  }
  return flags;
}

absl::Status raise_fd_limit(int needed) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return errno_status(errno, "getrlimit(RLIMIT_NOFILE)");
  if (static_cast<rlim_t>(needed) <= limit.rlim_cur) return absl::OkStatus();
  if (static_cast<rlim_t>(needed) > limit.rlim_max) {
    return absl::ResourceExhaustedError(absl::StrCat("restoring the process's fds needs a limit of ", needed,
                                                     " open files (ulimit -Hn); here it is ", limit.rlim_max));
  }
  limit.rlim_cur = static_cast<rlim_t>(needed);
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return errno_status(errno, "setrlimit(RLIMIT_NOFILE)");
  return absl::OkStatus();
}

}  // namespace

std::string apply_path_mappings(absl::string_view path,
                                const std::vector<std::pair<std::string, std::string>>& mappings) {
  const std::pair<std::string, std::string>* best = nullptr;
  for (const auto& mapping : mappings) {
    const std::string& from = mapping.first;
    if (!absl::StartsWith(path, from)) continue;
    const bool whole = path.size() == from.size() || from.back() == '/' || path[from.size()] == '/';
    if (whole && (best == nullptr || from.size() > best->first.size())) best = &mapping;
  }
  if (best == nullptr) return std::string(path);
  return absl::StrCat(best->second, path.substr(best->first.size()));
}

OpenFilesRestorer::OpenFilesRestorer(const model::Tree& tree, const RestoreOptions& options,
                                     std::vector<std::string>& notes)
    : tree_(tree), options_(options), notes_(notes) {
  for (const model::FileTable& table : tree.file_tables()) {
    for (const model::FileDescriptor& descriptor : table.descriptors()) {
      first_free_ = std::max(first_free_, descriptor.number() + 1);
    }
  }
}

absl::StatusOr<UniqueFd> OpenFilesRestorer::lift(UniqueFd fd) const {
  if (fd.get() >= first_free_) return fd;
  UniqueFd lifted(::fcntl(fd.get(), F_DUPFD_CLOEXEC, first_free_));
  if (!lifted.valid()) return errno_status(errno, absl::StrCat("duplicate of an fd above ", first_free_));
  return lifted;
}

absl::Status OpenFilesRestorer::restore_all() {
  constexpr int kSpare = 64;  // temporaries, mapped files and the worker's
  RETURN_IF_ERROR(raise_fd_limit(first_free_ + tree_.open_files_size() + tree_.mapped_files_size() +
                                 tree_.shared_memories_size() + kSpare));
  std::vector<std::pair<int, const model::OpenFile*>> order;
  for (const model::OpenFile& file : tree_.open_files()) {
    const OpenFileKind* kind = open_file_kind(file.kind());
    if (kind == nullptr) {
      return absl::UnimplementedError(absl::StrCat("the image holds an open file of kind \"", file.kind(), "\" (",
                                                   file.description(), "), which this release does not know"));
    }
    order.emplace_back(kind->restore_stage(), &file);
  }
  std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const auto& [stage, file] : order) RETURN_IF_ERROR(with_context(restore_one(*file), file->description()));
  for (const auto& [stage, file] : order) {
    const OpenFileKind* kind = open_file_kind(file->kind());
    current_holder_ = holder_of(*file);
    RETURN_IF_ERROR(with_context(kind->fill(*file, fd_of(file->id()), *this), file->description()));
  }
  for (const auto& [stage, file] : order) {
    const OpenFileKind* kind = open_file_kind(file->kind());
    current_holder_ = holder_of(*file);
    RETURN_IF_ERROR(with_context(kind->finish(*file, fd_of(file->id()), *this), file->description()));
  }
  for (const model::OpenFile& file : tree_.open_files())
    RETURN_IF_ERROR(retake_file_locks(file, fd_of(file.id()), options_.proc));
  return absl::OkStatus();
}

absl::Status OpenFilesRestorer::commit_all() const {
  for (const model::OpenFile& file : tree_.open_files()) {
    RETURN_IF_ERROR(with_context(open_file_kind(file.kind())->commit(file, fd_of(file.id())), file.description()));
  }
  return absl::OkStatus();
}

absl::Status OpenFilesRestorer::restore_one(const model::OpenFile& file) {
  current_holder_ = holder_of(file);
  ASSIGN_OR_RETURN(UniqueFd fd, open_file_kind(file.kind())->restore(file, *this));
  ASSIGN_OR_RETURN(fd, lift(std::move(fd)));
  const bool path_only = (file.flags() & O_PATH) != 0;
  if (!path_only && file.kind() != "inherited") {
    const int now = ::fcntl(fd.get(), F_GETFL);
    if (now < 0) return errno_status(errno, "fcntl(F_GETFL)");
    const int wanted = (now & ~kSettableFlags) | (static_cast<int>(file.flags()) & kSettableFlags);
    if (wanted != now && ::fcntl(fd.get(), F_SETFL, wanted) != 0) return errno_status(errno, "fcntl(F_SETFL)");
  }
  files_[file.id()] = std::move(fd);
  return absl::OkStatus();
}

absl::Status OpenFilesRestorer::plan_descriptors(const model::FileTable& table, CallList& calls) const {
  int next = 0;
  for (const model::FileDescriptor& descriptor : table.descriptors()) {
    const int number = descriptor.number();
    const int fd = fd_of(descriptor.open_file());
    if (fd < 0) return absl::DataLossError(absl::StrCat("the image names no open file for fd ", number));
    if (number > next) calls.add("close_range", SYS_close_range, {next, number - 1, 0});
    calls.add(absl::StrCat("dup3 to fd ", number), SYS_dup3, {fd, number, descriptor.close_on_exec() ? O_CLOEXEC : 0});
    next = number + 1;
  }
  if (first_free_ > next) calls.add("close_range", SYS_close_range, {next, first_free_ - 1, 0});
  return absl::OkStatus();
}

absl::Status OpenFilesRestorer::plan_locks(const model::Process& process, CallList& calls) const {
  const model::FileTable* table = model::find_file_table(tree_, process.file_table());
  std::map<uint64_t, int> numbers;
  for (const model::FileDescriptor& descriptor : table->descriptors()) {
    numbers.try_emplace(descriptor.open_file(), descriptor.number());
  }
  for (const model::OpenFile& file : tree_.open_files()) {
    for (const model::FileLock& lock : file.locks()) {
      if (lock.kind() != model::FileLock::POSIX || lock.pid() != process.pid()) continue;
      const auto number = numbers.find(file.id());
      if (number == numbers.end()) {
        return absl::DataLossError(
            absl::StrCat("state.pb: pid ", process.pid(), " has a lock on ", file.description(), " and no fd of it"));
      }
      calls.add(absl::StrCat("fcntl(F_SETLK), ", describe(lock), " of ", file.description()), SYS_fcntl,
                {number->second, F_SETLK, calls.data_of(native_lock(lock))});
    }
  }
  return absl::OkStatus();
}

void OpenFilesRestorer::plan_late(int pid, CallList& calls) const {
  const auto queued = process_calls_.find(pid);
  for (const ProcessCall& call : queued == process_calls_.end() ? std::vector<ProcessCall>() : queued->second) {
    std::vector<Argument> arguments(call.arguments, call.arguments + 6);
    if (call.data_argument >= 0 && call.data_argument < 6) {
      arguments[static_cast<size_t>(call.data_argument)] = calls.data(call.data);
    }
    calls.add(call.what, call.number, std::move(arguments));
  }
  for (const model::OpenFile& file : tree_.open_files()) {
    if (holder_of(file) != pid) continue;
    const int fd = fd_of(file.id());
    if (file.owner() != 0) {
      const f_owner_ex owner = {static_cast<__pid_type>(file.owner_type()), file.owner()};
      calls.add(absl::StrCat("fcntl(F_SETOWN_EX) on ", file.description()), SYS_fcntl,
                {fd, F_SETOWN_EX, calls.data_of(owner)});
    }
    if (file.signal() != 0) {
      calls.add(absl::StrCat("fcntl(F_SETSIG) on ", file.description()), SYS_fcntl, {fd, F_SETSIG, file.signal()});
    }
    if ((file.flags() & O_ASYNC) != 0) {
      calls.add(absl::StrCat("fcntl(F_SETFL) on ", file.description()), SYS_fcntl,
                {fd, F_SETFL, static_cast<int>(file.flags()) & (kSettableFlags | O_ASYNC)});
    }
  }
}

void OpenFilesRestorer::plan_seals(CallList& calls) const {
  for (const auto& [id, fd] : shared_memories_) {
    const model::SharedMemory* memory = model::find_shared_memory(tree_, id);
    const uint32_t seals = memory == nullptr ? 0 : memory->seals();
    if (memory != nullptr && memory->memfd() && memory->mode() != 0) {
      // Before the seals: F_SEAL_EXEC on an executable memfd would seal everything else too.
      calls.add(absl::StrCat("fchmod of memfd ", memory->name()), SYS_fchmod, {fd.get(), memory->mode() & 07777u});
    }
    const bool only_default = seals == F_SEAL_SEAL && (memfd_flags(*memory) & MFD_ALLOW_SEALING) == 0;
    if (seals == 0 || only_default) continue;
    calls.add(absl::StrCat("fcntl(F_ADD_SEALS) on memfd ", memory->name()), SYS_fcntl, {fd.get(), F_ADD_SEALS, seals});
  }
}

int OpenFilesRestorer::fd_of(uint64_t open_file_id) const {
  const auto found = files_.find(open_file_id);
  return found == files_.end() ? -1 : found->second.get();
}

absl::StatusOr<UniqueFd> OpenFilesRestorer::inherited_fd(int number) {
  UniqueFd fd(::fcntl(number, F_DUPFD_CLOEXEC, first_free_));
  if (!fd.valid()) return errno_status(errno, absl::StrCat("fd ", number, " of the restarter cannot be passed on"));
  return fd;
}

absl::StatusOr<UniqueFd> OpenFilesRestorer::shared_memory_fd(uint64_t id) {
  ASSIGN_OR_RETURN(const int fd, memfd(id));
  UniqueFd copy(::fcntl(fd, F_DUPFD_CLOEXEC, first_free_));
  if (!copy.valid()) return errno_status(errno, "duplicate of a memfd");
  return copy;
}

absl::StatusOr<int> OpenFilesRestorer::memfd(uint64_t id) {
  if (const auto found = shared_memories_.find(id); found != shared_memories_.end()) return found->second.get();
  const model::SharedMemory* memory = model::find_shared_memory(tree_, id);
  if (memory == nullptr) return absl::DataLossError(absl::StrCat("the image has no shared memory ", id));
  UniqueFd fd(::memfd_create(memory->name().c_str(), memfd_flags(*memory)));
  if (!fd.valid()) return errno_status(errno, absl::StrCat("memfd_create of ", memory->name()));
  if (::ftruncate(fd.get(), static_cast<off_t>(memory->size())) != 0) {
    return errno_status(errno, absl::StrCat("ftruncate of memfd ", memory->name(), " to ", memory->size()));
  }
  ASSIGN_OR_RETURN(fd, lift(std::move(fd)));
  return (shared_memories_[id] = std::move(fd)).get();
}

std::string OpenFilesRestorer::map_path(absl::string_view path) const {
  return apply_path_mappings(path, options_.map_paths);
}

}  // namespace stillpoint
