#include "tests/resources/round_trip.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/procfs/process_files.h"
#include "helper/resources/fdinfo.h"

namespace stillpoint {
namespace {

constexpr uint64_t kRest = 100'000;
constexpr int kAside = 600;  // restored fds wait above this number until they are put at theirs

}  // namespace

OpenFileView view_of(pid_t pid, int number, int copy) {
  OpenFileView view;
  view.pid = pid;
  view.number = number;
  view.numbers = {number};
  view.fd = copy;
  const std::string path = absl::StrCat("/proc/", pid, "/fd/", number);
  view.link = procfs::read_link(path).value_or("");
  view.fdinfo = procfs::read_text(absl::StrCat("/proc/", pid, "/fdinfo/", number)).value_or("");
  if (::stat(path.c_str(), &view.stat) != 0) view.stat = {};
  view.flags = static_cast<uint32_t>(fdinfo_unsigned(view, "flags", 8).value_or(0)) & ~uint32_t{O_CLOEXEC};
  view.pos = fdinfo_signed(view, "pos").value_or(0);
  return view;
}

const OpenFileKind& kind_of(const OpenFileView& view) {
  const auto& kinds = open_file_kinds();
  const auto found = std::find_if(kinds.begin(), kinds.end(), [&](const auto* kind) { return kind->claims(view); });
  if (found == kinds.end()) std::abort();  // unknown_file_kind claims everything
  return **found;
}

uint64_t FakeDumpContext::open_file_of(pid_t pid, int number) const {
  const auto found = ids.find({pid, number});
  if (found != ids.end()) return found->second;
  return rest_in_image && ::fcntl(number, F_GETFD) >= 0 ? kRest + static_cast<uint64_t>(number) : 0;
}

uint64_t FakeDumpContext::open_file_of_inode(uint64_t inode, uint64_t except_id) const {
  for (const auto& [id, its_inode] : inodes) {
    if (its_inode == inode && id != except_id) return id;
  }
  return 0;
}

absl::StatusOr<uint64_t> FakeDumpContext::shared_memory_of(const OpenFileView& file) {
  for (const auto& [id, fd] : shared_memories) {
    struct stat stat = {};
    if (::fstat(fd.get(), &stat) == 0 && stat.st_ino == file.stat.st_ino) return id;
  }
  const uint64_t id = shared_memories.size() + 1;
  shared_memories[id] = UniqueFd(::fcntl(file.fd, F_DUPFD_CLOEXEC, kAside));
  return id;
}

int FakeRestoreContext::fd_of(uint64_t open_file_id) const {
  const auto found = fds.find(open_file_id);
  return found == fds.end() ? -1 : found->second;
}

absl::StatusOr<UniqueFd> FakeRestoreContext::inherited_fd(int number) {
  const auto found = restarter_fds.find(number);
  if (found == restarter_fds.end()) return absl::NotFoundError(absl::StrCat("the restarter has no fd ", number));
  return UniqueFd(::fcntl(found->second, F_DUPFD_CLOEXEC, 0));
}

absl::StatusOr<UniqueFd> FakeRestoreContext::shared_memory_fd(uint64_t id) {
  if (shared_memories == nullptr || shared_memories->count(id) == 0) {
    return absl::NotFoundError(absl::StrCat("no shared memory ", id));
  }
  return UniqueFd(::fcntl(shared_memories->at(id).get(), F_DUPFD_CLOEXEC, 0));
}

std::string FakeRestoreContext::map_path(absl::string_view path) const {
  const auto found = path_map.find(std::string(path));
  return found == path_map.end() ? std::string(path) : found->second;
}

absl::Status FakeRestoreContext::run_calls() const {
  for (const ProcessCall& call : calls) {
    uint64_t arguments[6];
    std::copy(std::begin(call.arguments), std::end(call.arguments), arguments);
    std::string data = call.data;
    if (call.data_argument >= 0) arguments[call.data_argument] = reinterpret_cast<uint64_t>(data.data());
    const long result =
        ::syscall(call.number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
    if (result < 0) return errno_status(errno, call.what);
  }
  return absl::OkStatus();
}

RoundTrip::~RoundTrip() { lose(); }

uint64_t RoundTrip::add(std::vector<int> numbers) {
  UniqueFd copy(::fcntl(numbers.front(), F_DUPFD_CLOEXEC, kAside));
  return enter(std::move(numbers), std::move(copy));
}

uint64_t RoundTrip::add_without_copy(int number) { return enter({number}, UniqueFd()); }

uint64_t RoundTrip::enter(std::vector<int> numbers, UniqueFd copy) {
  File file;
  file.id = files_.size() + 1;
  file.view = view_of(::getpid(), numbers.front(), copy.get());
  file.view.numbers = numbers;
  file.numbers = std::move(numbers);
  file.copy = std::move(copy);
  for (const int number : file.numbers) dump_context.ids[{::getpid(), number}] = file.id;
  dump_context.inodes[file.id] = file.view.stat.st_ino;
  dump_context.tree.insert(::getpid());
  files_.push_back(std::move(file));
  return files_.back().id;
}

Findings RoundTrip::audit() const {
  Findings findings;
  for (const File& file : files_) kind_of(file.view).audit(file.view, dump_context, findings);
  return findings;
}

absl::Status RoundTrip::dump() {
  for (const File& file : files_) {
    const OpenFileKind& kind = kind_of(file.view);
    model::OpenFile& message = messages_[file.id];
    message.set_id(file.id);
    message.set_kind(std::string(kind.name()));
    message.set_flags(file.view.flags);
    RETURN_IF_ERROR(kind.dump(file.view, dump_context, message));
    image_[file.id] = message.SerializeAsString();
  }
  return absl::OkStatus();
}

void RoundTrip::lose() {
  for (File& file : files_) {
    for (const int number : file.numbers) ::close(number);
    file.copy.reset();
    file.view.fd = -1;
  }
}

absl::Status RoundTrip::restore_files(std::map<uint64_t, UniqueFd>& restored) {
  for (int stage = 0; stage <= 3; ++stage) {
    for (const auto& [id, bytes] : image_) {
      model::OpenFile& message = messages_[id];
      if (!message.ParseFromString(bytes)) return absl::DataLossError("the image does not parse");
      const OpenFileKind* kind = open_file_kind(message.kind());
      if (kind == nullptr) return absl::DataLossError("unknown kind");
      if (kind->restore_stage() != stage) continue;
      ASSIGN_OR_RETURN(const UniqueFd fd, kind->restore(message, restore_context));
      restored[id] = UniqueFd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, kAside));
      restore_context.fds[id] = restored[id].get();
    }
  }
  return absl::OkStatus();
}

absl::Status RoundTrip::place_files(std::map<uint64_t, UniqueFd>& restored) {
  for (const File& file : files_) {
    const int fd = restored[file.id].get();
    const uint32_t flags = messages_[file.id].flags();
    const bool settable = (flags & O_PATH) == 0 && messages_[file.id].kind() != "inherited";
    if (settable && ::fcntl(fd, F_SETFL, flags) != 0) return errno_status(errno, "fcntl(F_SETFL)");
    for (const int number : file.numbers) {
      if (::dup2(fd, number) != number) return errno_status(errno, "dup2");
    }
    restored[file.id].reset();
    restore_context.fds[file.id] = file.numbers.front();
  }
  return absl::OkStatus();
}

absl::Status RoundTrip::restore() {
  restore_context.shared_memories = &dump_context.shared_memories;
  std::map<uint64_t, UniqueFd> restored;
  RETURN_IF_ERROR(restore_files(restored));
  RETURN_IF_ERROR(place_files(restored));
  for (const auto& [id, message] : messages_) {
    RETURN_IF_ERROR(open_file_kind(message.kind())->finish(message, restore_context.fds[id], restore_context));
  }
  for (const auto& [id, message] : messages_) {
    RETURN_IF_ERROR(open_file_kind(message.kind())->commit(message, restore_context.fds[id]));
  }
  return restore_context.run_calls();
}

absl::Status RoundTrip::travel() {
  RETURN_IF_ERROR(dump());
  lose();
  return restore();
}

bool RoundTrip::noted(absl::string_view text) const {
  return std::any_of(restore_context.notes.begin(), restore_context.notes.end(),
                     [&](const std::string& note) { return absl::StrContains(note, text); });
}

std::vector<std::string> codes(const Findings& findings) {
  std::vector<std::string> all;
  for (const Finding& finding : findings.all()) all.push_back(finding.code);
  return all;
}

Findings audit_one(pid_t pid, int number) {
  FakeDumpContext context;
  context.ids[{pid, number}] = 1;
  context.tree.insert(pid);
  const OpenFileView view = view_of(pid, number, pid == ::getpid() ? number : -1);
  Findings findings;
  kind_of(view).audit(view, context, findings);
  return findings;
}

}  // namespace stillpoint
