// A helper that dumps nothing: it speaks the protocol, looks at what it is given, and does what FAKE_HELPER says.
//   ok (default)       in-calls, a snapshot, resumed, reply with notes on what it saw
//   restore            puts the SDK's thread where a restored one starts
//   findings, error    refusals
//   die:STAGE          ends at connected, request, in-call, snapshot, resumed
//   garbage            a packet that is no message
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "helper/base/syscalls.h"
#include "helper/protocol/channel.h"
#include "helper/protocol/context.h"

namespace {

using stillpoint::Channel;
using stillpoint::UniqueFd;
namespace protocol = stillpoint::protocol;

std::string mode() {
  const char* value = ::getenv("FAKE_HELPER");
  return value == nullptr ? "ok" : value;
}

void die_if(absl::string_view stage) {
  if (mode() == absl::StrCat("die:", stage)) ::kill(::getpid(), SIGKILL);
}

[[noreturn]] void give_up(const std::string& why) {
  std::ofstream(absl::StrCat("/tmp/fake_helper.", ::getppid(), ".err")) << why << "\n";
  std::exit(1);
}

class Fake {
 public:
  Fake(const Channel& channel, const stillpoint::ReceivedPacket& message)
      : channel_(channel), request_(message.packet.request().checkpoint()), client_(message.sender.pid) {}

  protocol::Packet reply;

  int64_t in_call(long number, std::initializer_list<uint64_t> arguments) {
    protocol::Packet packet;
    packet.mutable_in_call()->set_number(number);
    for (const uint64_t argument : arguments) packet.mutable_in_call()->add_arguments(argument);
    return ask(packet, {});
  }

  void note(const std::string& text) { reply.mutable_reply()->add_notes(text); }

  void look_at_the_thread() {
    note(absl::StrCat("gettid ", in_call(SYS_gettid, {}) == request_.sdk_thread().tid()));
    note(absl::StrCat("set_name ", in_call(SYS_prctl, {15, request_.sdk_thread().scratch()})));
    note(absl::StrCat("kill ", in_call(SYS_kill, {static_cast<uint64_t>(client_), SIGKILL})));
    note(absl::StrCat("sigaltstack ", in_call(SYS_sigaltstack, {0, request_.sdk_thread().scratch() + 1024})));
    protocol::SavedContext context{};
    const bool read = stillpoint::read_memory(client_, request_.sdk_thread().context(), &context, sizeof context).ok();
    note(absl::StrCat("context ", read && context.magic == protocol::kSavedContextMagic));
    note(absl::StrCat("own_fds ", request_.sdk_thread().own_fds_size()));
  }

  void snapshot() {
    auto control = Channel::pair();
    if (!control.ok()) give_up("pair");
    protocol::Packet packet;
    packet.mutable_in_call()->set_fork_snapshot(true);
    const int64_t pid = ask(packet, {control->second.get()});
    control->second.reset();
    die_if("snapshot");
    note(absl::StrCat("snapshot ", pid > 0 ? 1 : pid));
    if (pid <= 0) return;
    // No child of the application's, alive, and waiting for us.
    note(absl::StrCat("snapshot_parent_is_client ", parent_of(pid) == client_));
    const UniqueFd pidfd(stillpoint::sys_pidfd_open(static_cast<pid_t>(pid), 0));
    note(absl::StrCat("snapshot_alive ", pidfd.valid() && ::kill(static_cast<pid_t>(pid), 0) == 0 && !ended(pid)));
    { const Channel gone = std::move(control->first); }
    const absl::Time deadline = absl::Now() + absl::Seconds(30);
    while (!ended(pid) && absl::Now() < deadline) absl::SleepFor(absl::Milliseconds(1));
    note(absl::StrCat("snapshot_ends_at_eof ", ended(pid)));
  }

  void resumed() {
    protocol::Packet packet;
    packet.mutable_event()->set_resumed(true);
    packet.mutable_event()->set_pause_ns(1234);
    if (!channel_.send(packet).ok()) give_up("resumed");
    die_if("resumed");
  }

  void describe_request() {
    note(absl::StrCat("directory_name ", request_.directory_name()));
    note(absl::StrCat("keep_last ", request_.keep_last()));
    note(absl::StrCat("stop ", request_.stop()));
    note(absl::StrCat("no_embed ", request_.no_embed()));
    note(absl::StrCat("job_id ", request_.job_id()));
    for (const auto& range : request_.excluded()) note(absl::StrCat("excluded ", range.start(), "+", range.length()));
  }

  // What the restorer does to the thread inside checkpoint(), done to the thread itself.
  void restore() {
    const pid_t tid = request_.sdk_thread().tid();
    protocol::SavedContext context{};
    protocol::RestoredInfo info{};
    info.magic = protocol::kRestoredInfoMagic;
    info.flags = protocol::kRestoredInOwnNamespace;
    info.sequence = 42;
    std::strcpy(info.image, "ckpt-00000042");
    std::strcpy(info.notes, "first note\nsecond note");
    if (!stillpoint::read_memory(client_, request_.sdk_thread().context(), &context, sizeof context).ok())
      give_up("context");
    if (!stillpoint::write_memory(client_, request_.sdk_thread().scratch(), &info, sizeof info).ok()) give_up("info");
    if (::ptrace(PTRACE_SEIZE, tid, 0, 0) < 0) give_up("seize");
    if (::ptrace(PTRACE_INTERRUPT, tid, 0, 0) < 0) give_up("interrupt");
    int status = 0;
    if (::waitpid(tid, &status, __WALL) != tid || !WIFSTOPPED(status)) give_up("stop");
    user_regs_struct registers{};
    if (::ptrace(PTRACE_GETREGS, tid, 0, &registers) < 0) give_up("getregs");
    registers.rbx = context.rbx;
    registers.rbp = context.rbp;
    registers.r12 = context.r12;
    registers.r13 = context.r13;
    registers.r14 = context.r14;
    registers.r15 = context.r15;
    registers.rsp = context.rsp;
    registers.rip = context.rip;
    registers.rax = protocol::kRestoredMarker;
    registers.orig_rax = ~0ull;
    if (::ptrace(PTRACE_SETREGS, tid, 0, &registers) < 0) give_up("setregs");
    uint64_t mask = request_.sdk_thread().signal_mask();
    if (::ptrace(PTRACE_SETSIGMASK, tid, sizeof mask, &mask) < 0) give_up("sigmask");
    ::ptrace(PTRACE_DETACH, tid, 0, 0);
    // A new life knows no helper: whatever it says must not matter.
    ::pause();
  }

 private:
  int64_t ask(const protocol::Packet& packet, const std::vector<int>& fds) {
    if (!channel_.send(packet, fds).ok()) give_up("send");
    auto answer = channel_.receive(absl::Now() + absl::Seconds(60));
    if (!answer.ok() || !answer->packet.has_in_call_result()) give_up("in-call");
    return answer->packet.in_call_result().result();
  }

  static std::string stat_tail(int64_t pid) {
    std::ifstream file(absl::StrCat("/proc/", pid, "/stat"));
    std::string text;
    std::getline(file, text);
    const size_t end = text.rfind(") ");
    return end == std::string::npos ? "" : text.substr(end + 2);
  }
  static pid_t parent_of(int64_t pid) {
    const std::string tail = stat_tail(pid);
    return tail.size() < 3 ? 0 : static_cast<pid_t>(std::atoi(tail.c_str() + 2));
  }
  static bool ended(int64_t pid) {
    const std::string tail = stat_tail(pid);
    return tail.empty() || tail[0] == 'Z' || tail[0] == 'X';
  }

  const Channel& channel_;
  const protocol::CheckpointRequest request_;
  const pid_t client_;
};

void refuse_with_findings(protocol::Reply& reply) {
  reply.set_code(9);
  reply.set_message("the checkpoint is refused: 2 findings");
  for (const char* object : {"fd 7 /data/run.lock", "fd 9"}) {
    protocol::Finding* finding = reply.mutable_findings()->add_findings();
    finding->set_code("SP-LOCK-POSIX");
    finding->set_object(object);
    finding->set_reason("a lock");
    finding->set_remedy("release it");
  }
}

// What the SDK must have taken away before the helper began.
void describe_self(Fake& fake) {
  int extra = 0;
  if (DIR* directory = ::opendir("/proc/self/fd")) {
    while (const dirent* entry = ::readdir(directory)) {
      const int fd = std::atoi(entry->d_name);
      if (entry->d_name[0] != '.' && fd > 3 && fd != ::dirfd(directory)) ++extra;
    }
    ::closedir(directory);
  }
  sigset_t blocked, none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, nullptr, &blocked);
  struct sigaction usr1 {};
  ::sigaction(SIGUSR1, nullptr, &usr1);
  fake.note(
      absl::StrCat("helper_signals_default ", std::memcmp(&blocked, &none, 8) == 0 && usr1.sa_handler == SIG_DFL));
  fake.note(
      absl::StrCat("helper_preload ", ::getenv("LD_PRELOAD") != nullptr || ::getenv("LD_LIBRARY_PATH") != nullptr));
  fake.note(absl::StrCat("helper_session_leader ", ::getsid(0) == ::getpid()));
  // The request's directory fd and the control channel come later.
  fake.note(absl::StrCat("helper_extra_fds ", extra));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3 || std::string(argv[1]) != "--fd" || std::string(argv[2]) != "3") return 2;
  ::alarm(100);  // those that wait for ever belong to nobody who would end them
  die_if("connected");
  auto channel = Channel::over(UniqueFd(3));
  if (!channel.ok()) return 1;
  auto message = channel->receive(absl::Now() + absl::Seconds(60));
  if (!message.ok() || !message->packet.request().has_checkpoint() || message->fds.size() != 1) return 1;
  die_if("request");
  const UniqueFd directory = std::move(message->fds[0]);
  Fake fake(*channel, *message);
  if (mode() == "garbage") {
    ::send(channel->fd(), "\xff\xff\xff", 3, MSG_NOSIGNAL);
    ::pause();
  }
  describe_self(fake);
  fake.describe_request();
  fake.look_at_the_thread();
  die_if("in-call");
  if (mode() == "restore") fake.restore();
  protocol::Reply& reply = *fake.reply.mutable_reply();
  if (mode() == "findings") {
    refuse_with_findings(reply);
  } else if (mode() == "error") {
    reply.set_code(8);
    reply.set_message("no space left on /ckpt");
  } else {
    fake.snapshot();
    fake.resumed();
    const UniqueFd image(::openat(directory.get(), "fake-image", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    reply.set_image("ckpt-00000007");
    reply.set_sequence(image.valid() ? 7 : 0);
    reply.mutable_statistics()->set_pause_ns(1234);
    reply.mutable_statistics()->set_pages(10);
    reply.mutable_statistics()->set_bytes(40960);
    reply.mutable_statistics()->set_method("snapshot");
  }
  return channel->send(fake.reply).ok() ? 0 : 1;
}
