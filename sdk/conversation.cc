#include "sdk/conversation.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstring>

#include "sdk/capture.h"
#include "sdk/raw_syscall.h"
#include "sdk/snapshot.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

namespace stillpoint::sdk {
namespace {

using protocol::wire::Writer;

constexpr size_t kMaxFds = 8;

// The one fd that may come beside a packet; -1 when there is none. Closes any more.
int take_fd(msghdr& message) {
  int taken = -1;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
      if (taken < 0) {
        taken = fd;
      } else {
        raw_syscall(SYS_close, fd);
      }
    }
  }
  return taken;
}

#ifdef __SANITIZE_ADDRESS__
// The frames below were left without returning, as by longjmp(3).
void forget_frames_below(const char* frame) {
  constexpr size_t kDeepest = size_t{256} << 10;
  __asan_unpoison_memory_region(frame - kDeepest, kDeepest);
}
#else
void forget_frames_below(const char*) {}
#endif

}  // namespace

Conversation::Conversation(int socket, int directory_fd, int control_slot, uint64_t signal_mask)
    : socket_(socket), directory_fd_(directory_fd), control_slot_(control_slot), signal_mask_(signal_mask) {}

bool Conversation::prepare(const Settings& settings, const std::vector<MemoryRange>& excluded) {
  const int32_t own_fds[] = {socket_, directory_fd_, control_slot_};
  SdkThreadFields thread;
  thread.tid = ::gettid();
  thread.scratch = reinterpret_cast<uint64_t>(scratch_);
  thread.scratch_size = sizeof scratch_;
  thread.context = reinterpret_cast<uint64_t>(&context_);
  thread.signal_mask = signal_mask_;
  thread.own_fds = own_fds;
  thread.own_fd_count = sizeof own_fds / sizeof own_fds[0];
  Writer writer(packet_, sizeof packet_);
  write_checkpoint_request(writer, settings, excluded, thread, socket_);
  request_size_ = writer.size();
  return writer.ok();
}

const protocol::RestoredInfo& Conversation::restored_info() const {
  return *reinterpret_cast<const protocol::RestoredInfo*>(scratch_);
}

// This frame is where a restored thread comes back to, so it must outlive the exchange: no tail call, not inlined.
__attribute__((noinline)) Ending Conversation::run(ResumeObserver& observer, CloneStacks& stacks) {
  if (stillpoint_capture_context(&context_) == protocol::kRestoredMarker) {
    forget_frames_below(static_cast<const char*>(__builtin_frame_address(0)));
    return Ending::kRestored;
  }
  const volatile Ending ending = exchange(observer, stacks);
  return ending;
}

Ending Conversation::exchange(ResumeObserver& observer, CloneStacks& stacks) {
  if (!send_request()) {
    unblock_signals();
    return Ending::kUnsent;
  }
  Incoming incoming;
  for (;;) {
    int fd = -1;
    const long size = receive(fd);
    const bool understood = size > 0 && read_packet(packet_, static_cast<size_t>(size), incoming);
    if (fd >= 0 && !(understood && incoming.kind == Incoming::Kind::kInCall)) raw_syscall(SYS_close, fd);
    heard_ = heard_ || size > 0;
    if (!understood) {
      unblock_signals();
      return size == 0 ? Ending::kGone : Ending::kBroken;
    }
    switch (incoming.kind) {
      case Incoming::Kind::kInCall:
        // A helper that is gone shows at the next receive.
        answer(incoming, fd, stacks);
        break;
      case Incoming::Kind::kEvent:
        if (incoming.resumed) pause_is_over(observer);
        break;
      case Incoming::Kind::kReply:
        unblock_signals();
        return read_reply(incoming.reply, incoming.reply_size, reply_) ? Ending::kReplied : Ending::kBroken;
      case Incoming::Kind::kNone:
        return Ending::kBroken;
    }
  }
}

bool Conversation::send_request() {
  iovec data{packet_, request_size_};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &directory_fd_, sizeof directory_fd_);
  long sent = 0;
  do {
    sent = raw_syscall(SYS_sendmsg, socket_, syscall_argument(&message), MSG_NOSIGNAL);
  } while (sent == -EINTR);
  error_ = sent < 0 ? static_cast<int>(-sent) : 0;
  return sent >= 0;
}

bool Conversation::send(const void* data, size_t size) const {
  long sent = 0;
  do {
    sent = raw_syscall(SYS_sendto, socket_, syscall_argument(data), syscall_argument(size), MSG_NOSIGNAL, 0, 0);
  } while (sent == -EINTR);
  return sent >= 0;
}

long Conversation::receive(int& fd) {
  iovec data{packet_, sizeof packet_};
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxFds * sizeof(int)) + CMSG_SPACE(sizeof(ucred))];
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  long size = 0;
  do {
    size = raw_syscall(SYS_recvmsg, socket_, syscall_argument(&message), MSG_CMSG_CLOEXEC);
  } while (size == -EINTR);
  if (size < 0) return 0;  // ECONNRESET: died with something of ours unread
  fd = take_fd(message);
  return (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 ? -1 : size;
}

bool Conversation::answer(const Incoming& incoming, int fd, CloneStacks& stacks) {
  int64_t result = -EPERM;
  if (incoming.fork_snapshot) {
    result = snapshot(fd, stacks);
  } else {
    if (fd >= 0) raw_syscall(SYS_close, fd);
    const uint64_t(&a)[protocol::kMaxInCallArguments] = incoming.arguments;
    if (!pause_over_ && protocol::in_call_allowed(incoming.number, a)) {
      result = raw_syscall(incoming.number, syscall_argument(a[0]), syscall_argument(a[1]), syscall_argument(a[2]),
                           syscall_argument(a[3]), syscall_argument(a[4]), syscall_argument(a[5]));
    }
  }
  unsigned char buffer[32];
  Writer writer(buffer, sizeof buffer);
  write_in_call_result(writer, result);
  return send(writer.data(), writer.size());
}

// The snapshot shares our fd table until the helper unshares it: the control fd stays open here until the pause is
// over. It goes to a number that the helper knows as ours (own_fds), so that it is part of no image.
int64_t Conversation::snapshot(int fd, CloneStacks& stacks) {
  if (fd < 0) return -EBADF;
  long moved = -EPERM;
  if (!pause_over_) moved = raw_syscall(SYS_dup3, fd, control_slot_, O_CLOEXEC);
  raw_syscall(SYS_close, fd);
  return moved < 0 ? moved : fork_snapshot(control_slot_, stacks);
}

void Conversation::pause_is_over(ResumeObserver& observer) {
  if (pause_over_) return;
  pause_over_ = true;
  // The snapshot has its own copy by now. The number stays ours, leading where the socket leads, until the end.
  raw_syscall(SYS_dup3, socket_, control_slot_, O_CLOEXEC);
  unblock_signals();
  observer.resumed();
}

void Conversation::unblock_signals() {
  raw_syscall(SYS_rt_sigprocmask, SIG_SETMASK, syscall_argument(&signal_mask_), 0, sizeof signal_mask_);
}

}  // namespace stillpoint::sdk
