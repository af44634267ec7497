#include "helper/dump/snapshot_worker.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/base/socket_fds.h"
#include "helper/base/syscalls.h"
#include "helper/memory/free_region.h"

namespace stillpoint {
namespace {

constexpr int kIoThreads = 2;

// recvmsg in the snapshot, with everything it points to in the scratch memory.
absl::StatusOr<std::vector<int>> receive_fds(RemoteCalls& calls, pid_t pid, int socket, size_t count) {
  struct {
    msghdr message;
    iovec data;
    char byte;
    alignas(cmsghdr) char control[CMSG_SPACE(kMaxSocketFds * sizeof(int))];
  } block{};
  const uint64_t base = calls.scratch();
  const auto address = [&](const void* member) {
    return reinterpret_cast<void*>(
        base + static_cast<uint64_t>(static_cast<const char*>(member) - reinterpret_cast<const char*>(&block)));
  };
  block.data = {address(&block.byte), 1};
  block.message.msg_iov = static_cast<iovec*>(address(&block.data));
  block.message.msg_iovlen = 1;
  block.message.msg_control = address(block.control);
  block.message.msg_controllen = sizeof block.control;
  RETURN_IF_ERROR(write_memory(pid, base, &block, sizeof block));
  RETURN_IF_ERROR(calls.checked_call("recvmsg", SYS_recvmsg, {static_cast<uint64_t>(socket), base, 0}).status());
  RETURN_IF_ERROR(read_memory(pid, base, &block, sizeof block));
  cmsghdr header{};
  std::memcpy(&header, block.control, sizeof header);
  if (header.cmsg_type != SCM_RIGHTS || header.cmsg_len != CMSG_LEN(count * sizeof(int))) {
    return absl::InternalError("the snapshot received no fds (RLIMIT_NOFILE of the program?)");
  }
  std::vector<int> fds(count);
  std::memcpy(fds.data(), block.control + CMSG_LEN(0), count * sizeof(int));
  return fds;
}

absl::StatusOr<std::vector<int>> pass_fds(RemoteCalls& calls, pid_t pid, const std::vector<int>& fds) {
  RETURN_IF_ERROR(
      calls.checked_call("socketpair", SYS_socketpair, {AF_UNIX, SOCK_SEQPACKET, 0, calls.scratch()}).status());
  int pair[2];
  RETURN_IF_ERROR(read_memory(pid, calls.scratch(), pair, sizeof pair));
  const UniqueFd pidfd(sys_pidfd_open(pid, 0));
  if (!pidfd.valid()) return errno_status(errno, "pidfd_open of the snapshot");
  const UniqueFd ours(sys_pidfd_getfd(pidfd.get(), pair[1], 0));
  if (!ours.valid()) return errno_status(errno, "pidfd_getfd from the snapshot");
  if (send_with_fds(ours.get(), absl::string_view("", 1), fds) < 0) {
    return errno_status(errno, "sendmsg of fds to the snapshot");
  }
  return receive_fds(calls, pid, pair[0], fds.size());
}

absl::Status map_worker(RemoteCalls& calls, const WorkerSession& session, int code_fd, int control_fd) {
  for (const worker::Call& call : session.mapping_calls(code_fd, control_fd)) {
    const uint64_t* a = call.arguments;
    ASSIGN_OR_RETURN(const int64_t result, calls.call(call.number, {a[0], a[1], a[2], a[3], a[4], a[5]}));
    const bool unexpected = (call.flags & worker::kExpectArgument0) != 0 && result != static_cast<int64_t>(a[0]);
    if (call.flags != 0 && (result < 0 || unexpected)) {
      return errno_status(result < 0 ? static_cast<int>(-result) : EEXIST, "mapping the worker into the snapshot");
    }
  }
  return absl::OkStatus();
}

// The application's own limit on file sizes binds the snapshot: as far up as it goes.
absl::Status raise_file_size_limit(RemoteCalls& calls, pid_t pid) {
  ASSIGN_OR_RETURN(const std::vector<procfs::Limit> limits, procfs::read_limits(pid));
  const rlimit limit = {limits[RLIMIT_FSIZE].hard, limits[RLIMIT_FSIZE].hard};
  if (limits[RLIMIT_FSIZE].soft == limit.rlim_max) return absl::OkStatus();
  RETURN_IF_ERROR(write_memory(pid, calls.scratch(), &limit, sizeof limit));
  return calls.checked_call("prlimit(RLIMIT_FSIZE)", SYS_prlimit64, {0, RLIMIT_FSIZE, calls.scratch(), 0}).status();
}

absl::Status start(Thread& thread, const WorkerSession& session) {
  RETURN_IF_ERROR(thread.set_signal_mask(~uint64_t{0}));
  ASSIGN_OR_RETURN(GeneralRegisters registers, thread.registers());
  const WorkerRegisters wanted = session.start_registers();
  registers.rip = wanted.rip;
  registers.rsp = wanted.rsp;
  registers.rdi = wanted.rdi;
  registers.orig_rax = ~0ull;  // no system call to be restarted
  RETURN_IF_ERROR(thread.set_registers(registers));
  return thread.resume();
}

}  // namespace

absl::StatusOr<SnapshotWorker> start_worker(Snapshot& snapshot, const std::vector<procfs::Mapping>& mappings,
                                            const std::vector<int>& fds, const CodeGadgets& gadgets) {
  ASSIGN_OR_RETURN(WorkerSession session, WorkerSession::create({.thread_count = 1, .io_threads = kIoThreads}));
  std::vector<Range> taken;
  taken.reserve(mappings.size());
  for (const procfs::Mapping& mapping : mappings) taken.push_back({mapping.start, mapping.end});
  ASSIGN_OR_RETURN(const uint64_t base, find_free_region(std::move(taken), session.region_size()));
  RETURN_IF_ERROR(session.place(base));

  const pid_t pid = snapshot.pid();
  std::vector<int> all = {session.code_fd(), session.control_fd()};
  all.insert(all.end(), fds.begin(), fds.end());
  std::vector<int> numbers;
  {
    ASSIGN_OR_RETURN(RemoteCalls calls, RemoteCalls::begin(snapshot.thread(), pid, gadgets));
    RETURN_IF_ERROR(raise_file_size_limit(calls, pid));
    ASSIGN_OR_RETURN(numbers, pass_fds(calls, pid, all));
    RETURN_IF_ERROR(map_worker(calls, session, numbers[0], numbers[1]));
    RETURN_IF_ERROR(calls.end());
  }
  UniqueFd pidfd(sys_pidfd_open(pid, 0));
  if (!pidfd.valid()) return errno_status(errno, "pidfd_open of the snapshot");
  session.watch(std::move(pidfd), "snapshot");
  RETURN_IF_ERROR(start(snapshot.thread(), session));
  return SnapshotWorker{std::move(session), {numbers.begin() + 2, numbers.end()}};
}

}  // namespace stillpoint
