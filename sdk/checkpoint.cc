#include "sdk/checkpoint.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>

#include "sdk/anchor.h"
#include "sdk/conversation.h"
#include "sdk/event_log.h"
#include "sdk/excluded_memory.h"
#include "sdk/fork_safe_lock.h"
#include "sdk/helper_process.h"
#include "sdk/hook_registry.h"
#include "sdk/last_call.h"
#include "sdk/raw_syscall.h"
#include "sdk/settings.h"
#include "sdk/tree_round.h"

namespace stillpoint::sdk {
namespace {

constinit ForkSafeLock g_checkpoint_lock;

Status system_error(Code code, const std::string& what, int error) {
  return Status(code, what + ": " + ::strerrorname_np(error) + " (" + std::strerror(error) + ")");
}

Code code_for(int error) {
  switch (error) {
    case EACCES:
    case EPERM:
    case EROFS:
      return Code::kPermissionDenied;
    case ENOENT:
    case ENOTDIR:
      return Code::kNotFound;
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      return Code::kResourceExhausted;
    default:
      return Code::kUnknown;
  }
}

// Hooks and system calls in here must not be left by a cancellation: locks are held and fds open.
class NoCancellation {
 public:
  NoCancellation() { ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state_); }
  ~NoCancellation() { ::pthread_setcancelstate(state_, nullptr); }
  NoCancellation(const NoCancellation&) = delete;
  NoCancellation& operator=(const NoCancellation&) = delete;

 private:
  int state_ = 0;
};

class SignalsBlocked {
 public:
  SignalsBlocked() {
    const uint64_t all = ~uint64_t{0};
    raw_syscall(SYS_rt_sigprocmask, SIG_SETMASK, syscall_argument(&all), syscall_argument(&before_), sizeof all);
  }
  ~SignalsBlocked() { raw_syscall(SYS_rt_sigprocmask, SIG_SETMASK, syscall_argument(&before_), 0, sizeof before_); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;
  uint64_t before() const { return before_; }

 private:
  uint64_t before_ = 0;
};

// Under Yama only a process that the target names may attach. (Elsewhere the call is refused, which is fine.)
class PtracerAllowed {
 public:
  explicit PtracerAllowed(pid_t helper)
      : allowed_(::prctl(PR_SET_PTRACER, static_cast<unsigned long>(helper), 0, 0, 0) == 0) {}
  ~PtracerAllowed() {
    if (allowed_) ::prctl(PR_SET_PTRACER, 0, 0, 0, 0);
  }
  PtracerAllowed(const PtracerAllowed&) = delete;
  PtracerAllowed& operator=(const PtracerAllowed&) = delete;

 private:
  const bool allowed_;
};

// fds of the SDK's. In a new life their numbers are free, or somebody else's: forget() them.
class OwnFds {
 public:
  OwnFds() = default;
  ~OwnFds() {
    for (const int fd : {socket, directory, control}) {
      if (fd >= 0) ::close(fd);
    }
  }
  OwnFds(const OwnFds&) = delete;
  OwnFds& operator=(const OwnFds&) = delete;
  void forget() { socket = directory = control = -1; }

  int socket = -1, directory = -1, control = -1;
};

Result<int> open_directory(const std::string& path) {
  if (path.empty()) {
    return Status(Code::kInvalidArgument, "no checkpoint directory: name one in the call or in STILLPOINT_DIR");
  }
  // Only its owner may look into an image: it holds the program's memory.
  if (::mkdir(path.c_str(), 0700) < 0 && errno != EEXIST) {
    return system_error(code_for(errno), "cannot create the checkpoint directory " + path + ": mkdir", errno);
  }
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return system_error(code_for(errno), "cannot open the checkpoint directory " + path + ": open", errno);
  return fd;
}

// One checkpoint, from the hooks to the outcome. Lives on the heap: a new life finds it there as it was.
class Checkpoint : private ResumeObserver {
 public:
  Checkpoint(Settings settings, stillpoint_result_t& result)
      : settings_(std::move(settings)), directory_(settings_.directory), result_(result) {}

  stillpoint_code_t run() {
    round_ = JoinedRound::begin();
    if (round_ != nullptr) directory_ = round_->directory();
    hooks_ = HookRound::begin();
    if (hooks_.run_pre_dump()) {
      status_ = round_ != nullptr ? join() : dump();
      if (restored_) {
        hooks_.run_post_restore();
      } else {
        hooks_.run_post_resume();
      }
    } else {
      hooks_.run_post_resume();
      status_ = Status(Code::kAborted, "nothing was checkpointed");
      if (round_ != nullptr) round_->decline(text_of(hooks_.failures().front()));
    }
    return conclude();
  }

 private:
  void resumed() override { hooks_.run_post_resume(); }

  Status dump() {
    Result<int> directory = open_directory(settings_.directory);
    if (!directory.ok()) return directory.status();
    OwnFds fds;
    fds.directory = *directory;

    const SignalsBlocked blocked;
    const auto stacks = std::make_unique<CloneStacks>();
    Result<HelperConnection> helper = connect_to_helper(settings_, *stacks);
    if (!helper.ok()) return helper.status();
    fds.socket = helper->socket;
    const ChildReaper reaper(helper->keeper, fds.socket);
    fds.control = ::fcntl(fds.socket, F_DUPFD_CLOEXEC, 0);
    if (fds.control < 0) return system_error(code_for(errno), "fcntl(F_DUPFD_CLOEXEC)", errno);

    const auto conversation = std::make_unique<Conversation>(fds.socket, fds.directory, fds.control, blocked.before());
    if (!conversation->prepare(settings_, excluded_ranges())) {
      return Status(Code::kResourceExhausted,
                    "too many excluded memory ranges for one request; exclude fewer, larger ones");
    }
    const PtracerAllowed allowed(helper->pid);
    const Ending ending = conversation->run(*this, *stacks);
    if (ending == Ending::kRestored) {
      fds.forget();
      reaper.forget();
      begin_new_life(conversation->restored_info());
      return Status();
    }
    return old_life(ending, *conversation);
  }

  // Somebody else's checkpoint, of a tree that this process is a member of.
  Status join() {
    const SignalsBlocked blocked;
    switch (round_->wait(*this, excluded_ranges(), blocked.before())) {
      case Ending::kRestored:
        begin_new_life(round_->restored_info());
        return Status();
      case Ending::kReplied:
        break;
      default:
        return Status(Code::kUnavailable,
                      "the helper that was checkpointing the process tree has gone; the program runs on unchanged");
    }
    Status status = round_->status();
    if (!status.ok()) return status;
    result_.outcome = STILLPOINT_OUTCOME_RESUMED;
    result_.sequence = round_->sequence();
    set_image(round_->image());
    return status;
  }

  // The helper of a program that is pid 1 is its grandchild, and the task in between is to be waited for.
  class ChildReaper {
   public:
    ChildReaper(pid_t pid, int& socket) : pid_(pid), socket_(socket) {}
    ~ChildReaper() {
      if (pid_ == 0) return;
      if (socket_ >= 0) ::shutdown(socket_, SHUT_RDWR);  // it ends when we are gone
      while (::waitpid(pid_, nullptr, __WALL) < 0 && errno == EINTR) {
      }
    }
    ChildReaper(const ChildReaper&) = delete;
    ChildReaper& operator=(const ChildReaper&) = delete;
    void forget() const { pid_ = 0; }

   private:
    mutable pid_t pid_;
    int& socket_;
  };

  Status old_life(Ending ending, const Conversation& conversation) {
    switch (ending) {
      case Ending::kUnsent:
        return system_error(Code::kUnavailable, "the request could not be sent to the helper: sendmsg",
                            conversation.error());
      case Ending::kGone:
        return Status(Code::kUnavailable, std::string("the helper died ") + stage(conversation));
      case Ending::kBroken:
        return Status(Code::kInternal, std::string("the helper sent something that is no message of its protocol, ") +
                                           stage(conversation));
      default:
        return use_reply(conversation.reply());
    }
  }

  static const char* stage(const Conversation& conversation) {
    if (conversation.pause_over()) return "while it wrote the image; `latest` names the newest whole one";
    return conversation.pause_begun() ? "while it read the program's state; the program runs on unchanged"
                                      : "before it answered; the program runs on unchanged";
  }

  Status use_reply(const ReplyContent& reply) {
    LastCall& last = last_call();
    last.notes = reply.notes;
    last.findings = reply.findings;
    if (reply.code != STILLPOINT_OK) {
      return status_of(reply.code, reply.message);
    }
    result_.outcome = STILLPOINT_OUTCOME_RESUMED;
    result_.sequence = reply.sequence;
    set_image(reply.image);
    result_.pause_ns = reply.pause_ns;
    result_.freeze_ns = reply.freeze_ns;
    result_.snapshot_ns = reply.snapshot_ns;
    result_.write_ns = reply.write_ns;
    result_.total_ns = reply.total_ns;
    result_.pages = reply.pages;
    result_.bytes = reply.bytes;
    result_.image_bytes = reply.image_bytes;
    put_text(result_.method, reply.method);
    put_text(result_.method_reason, reply.method_reason);
    return Status();
  }

  void begin_new_life(const protocol::RestoredInfo& info) {
    restored_ = true;
    result_.outcome = STILLPOINT_OUTCOME_RESTORED;
    if (info.magic != protocol::kRestoredInfoMagic) return;
    result_.sequence = info.sequence;
    if ((info.flags & protocol::kRestoredInOwnNamespace) != 0) result_.flags |= STILLPOINT_RESTORED_IN_NAMESPACE;
    if ((info.flags & protocol::kRestoredClocksJumped) != 0) result_.flags |= STILLPOINT_RESTORED_CLOCKS_JUMPED;
    set_image(std::string(info.image, ::strnlen(info.image, sizeof info.image)));
    const std::string notes(info.notes, ::strnlen(info.notes, sizeof info.notes));
    for (size_t begin = 0; begin < notes.size();) {
      const size_t end = std::min(notes.find('\n', begin), notes.size());
      if (end > begin) last_call().notes.push_back(notes.substr(begin, end - begin));
      begin = end + 1;
    }
  }

  static std::string text_of(const HookFailure& failure) {
    return failure.phase + " hook '" + failure.name + "' failed: " + failure.text;
  }

  // What came of it, with the hooks' failures in front.
  stillpoint_code_t conclude() {
    LastCall& last = last_call();
    last.error.clear();  // a hook's own calls may have left something
    for (const HookFailure& failure : hooks_.failures()) {
      if (last.failed_hook.empty()) last.failed_hook = failure.name;
      last.error += last.error.empty() ? "" : "; ";
      last.error += text_of(failure);
    }
    if (!status_.ok()) {
      last.error += last.error.empty() ? "" : "; ";
      last.error += status_.message();
      return static_cast<stillpoint_code_t>(status_.code());
    }
    return hooks_.failures().empty() ? STILLPOINT_OK : STILLPOINT_ABORTED;
  }

  void set_image(const std::string& name) {
    if (!name.empty()) put_text(result_.image_path, directory_ + "/" + name);
  }

  template <size_t kSize>
  static void put_text(char (&field)[kSize], const std::string& text) {
    const size_t length = std::min(text.size(), kSize - 1);
    std::memcpy(field, text.data(), length);
    field[length] = '\0';
  }

  const Settings settings_;
  std::string directory_;  // of the job whose image is made
  stillpoint_result_t& result_;
  std::unique_ptr<JoinedRound> round_;  // null: this process asked for the checkpoint
  HookRound hooks_;
  Status status_;
  bool restored_ = false;
};

stillpoint_code_t fail(const Status& status) {
  last_call().error = status.message();
  return static_cast<stillpoint_code_t>(status.code());
}

// The caller's structure may be an older, shorter one, or a newer, longer one.
void hand_over(const stillpoint_result_t& result, stillpoint_result_t* to) {
  if (to == nullptr || to->struct_size < sizeof to->struct_size) return;
  const size_t size = std::min(to->struct_size, sizeof result);
  const size_t their_size = to->struct_size;
  std::memcpy(to, &result, size);
  to->struct_size = their_size;
}

// A tool's request replaces where the image goes and whether the process ends.
Status apply_request(const AnchorRequest& request, bool return_on_stop, Settings& settings) {
  if (request.sequence == 0) return Status();
  if (request.directory.empty() || request.directory[0] != '/') {
    return Status(Code::kInvalidArgument,
                  "the directory that a tool asks for is not absolute: '" + request.directory + "'");
  }
  settings.directory = request.directory;
  settings.stop = settings.stop || (request.stop && !return_on_stop);
  settings.leave_out = request.leave_out;
  return Status();
}

stillpoint_code_t take_locked(CheckpointCall& call, Settings settings, stillpoint_result_t& result) {
  // Held on the stack, and so in the image: a new life must not take the request it was made for as a new one.
  const AnchorRequest request = anchor_request();
  const Status applied = apply_request(request, call.return_on_stop, settings);
  stillpoint_code_t code;
  if (applied.ok()) {
    const auto checkpoint = std::make_unique<Checkpoint>(settings, result);
    code = checkpoint->run();
  } else {
    code = fail(applied);
  }
  log_event(settings, code, result);
  if (request.sequence != 0) {
    anchor_answer(request.sequence, code, result.image_path, last_call().error, last_call().findings);
    call.stop_requested = request.stop && result.outcome == STILLPOINT_OUTCOME_RESUMED;
  }
  return code;
}

}  // namespace

stillpoint_code_t take_checkpoint(CheckpointCall& call) {
  anchor_count_call();
  if (g_checkpoint_lock.held_by_this_thread()) {
    return fail(Status(Code::kFailedPrecondition, "checkpoint() was called from one of its own hooks"));
  }
  last_call() = LastCall();
  stillpoint_result_t result = STILLPOINT_RESULT_INIT;
  if (call.result != nullptr && call.result->struct_size < sizeof call.result->struct_size) {
    return fail(Status(Code::kInvalidArgument, "result: struct_size is not set; begin with STILLPOINT_RESULT_INIT"));
  }
  Result<Settings> settings = effective_settings(call.directory, call.options);
  stillpoint_code_t code = STILLPOINT_OK;
  if (!settings.ok()) {
    code = fail(settings.status());
  } else if (settings->off) {
    result.outcome = STILLPOINT_OUTCOME_OFF;
    if (const auto round = JoinedRound::begin(); round != nullptr) round->pass();
  } else {
    const NoCancellation no_cancellation;
    std::lock_guard guard(g_checkpoint_lock);
    code = take_locked(call, *settings, result);
    call.logged = !settings->log.empty();
  }
  hand_over(result, call.result);
  return code;
}

}  // namespace stillpoint::sdk
