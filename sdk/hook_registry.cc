#include "sdk/hook_registry.h"

#include <linux/futex.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>

#include "sdk/fork_safe_lock.h"
#include "sdk/raw_syscall.h"

namespace stillpoint::sdk {
namespace {

struct Node {
  std::shared_ptr<Hook> hook;
  Node* next = nullptr;
};

// A list whose every change is one store: a child forked in the middle of one finds the old or the new list.
// Never destroyed: registrations of the program may outlive any static object.
struct Registry {
  ForkSafeLock lock;
  Node* first = nullptr;
  uint64_t last_id = 0;
};

Registry& registry() {
  static Registry* const instance = new Registry;
  return *instance;
}

// Marks a hook as running, unless it has been unregistered meanwhile.
class RunningMark {
 public:
  explicit RunningMark(Hook& hook) : hook_(hook) {
    std::lock_guard guard(registry().lock);
    entered_ = !hook.removed;
    if (!entered_) return;
    hook.running_in_tid.store(::gettid());
    hook.running_in_pid.store(static_cast<uint32_t>(::getpid()));
  }
  ~RunningMark() {
    if (!entered_) return;
    hook_.running_in_tid.store(0);
    hook_.running_in_pid.store(0);
    raw_syscall(SYS_futex, syscall_argument(&hook_.running_in_pid), FUTEX_WAKE_PRIVATE, 0x7fffffff);
  }
  RunningMark(const RunningMark&) = delete;
  RunningMark& operator=(const RunningMark&) = delete;
  bool entered() const { return entered_; }

 private:
  Hook& hook_;
  bool entered_ = false;
};

void wait_until_not_running(const Hook& hook) {
  const uint32_t pid = static_cast<uint32_t>(::getpid());
  while (hook.running_in_pid.load() == pid && hook.running_in_tid.load() != ::gettid()) {
    raw_syscall(SYS_futex, syscall_argument(&hook.running_in_pid), FUTEX_WAIT_PRIVATE, pid, 0);
  }
}

}  // namespace

uint64_t register_hook(const stillpoint_hooks_t& hooks) {
  auto hook = std::make_shared<Hook>();
  hook->name = hooks.name == nullptr ? "(unnamed)" : hooks.name;
  hook->priority = hooks.priority;
  hook->pre_dump = hooks.pre_dump;
  hook->post_resume = hooks.post_resume;
  hook->post_restore = hooks.post_restore;
  hook->user_data = hooks.user_data;

  Registry& all = registry();
  std::lock_guard guard(all.lock);
  hook->id = ++all.last_id;
  const uint64_t id = hook->id;
  auto node = std::make_unique<Node>(Node{std::move(hook)});
  Node** link = &all.first;
  while (*link != nullptr) link = &(*link)->next;
  *link = node.release();
  return id;
}

bool unregister_hook(uint64_t id) {
  std::unique_ptr<Node> removed;
  {
    Registry& all = registry();
    std::lock_guard guard(all.lock);
    Node** link = &all.first;
    while (*link != nullptr && (*link)->hook->id != id) link = &(*link)->next;
    if (*link == nullptr) return false;
    removed.reset(*link);
    removed->hook->removed = true;
    *link = removed->next;
  }
  wait_until_not_running(*removed->hook);
  return true;
}

HookRound HookRound::begin() {
  HookRound round;
  Registry& all = registry();
  {
    std::lock_guard guard(all.lock);
    for (Node* node = all.first; node != nullptr; node = node->next) round.hooks_.push_back(node->hook);
  }
  std::reverse(round.hooks_.begin(), round.hooks_.end());
  std::stable_sort(round.hooks_.begin(), round.hooks_.end(),
                   [](const auto& a, const auto& b) { return a->priority > b->priority; });
  return round;
}

bool HookRound::run(Hook& hook, stillpoint_hook_fn function, const char* phase) {
  if (function == nullptr) return true;
  RunningMark mark(hook);
  if (!mark.entered()) return true;
  char text[1024] = "";
  const int result = function(hook.user_data, text, sizeof text);
  if (result == 0) return true;
  text[sizeof text - 1] = '\0';
  failures_.push_back({phase, hook.name, text[0] != '\0' ? text : "it returned " + std::to_string(result)});
  return false;
}

bool HookRound::run_pre_dump() {
  for (; pre_dump_done_ < hooks_.size(); ++pre_dump_done_) {
    Hook& hook = *hooks_[pre_dump_done_];
    if (!run(hook, hook.pre_dump, "pre-dump")) {
      pre_dump_failed_ = true;
      return false;
    }
  }
  return true;
}

// Does this post-resume hook undo something that was done? Its counterpart is its own registration's pre-dump hook or,
// where that has none, any of the same name.
bool HookRound::pre_dump_had_run(const Hook& hook) const {
  for (size_t i = 0; i < pre_dump_done_; ++i) {
    const Hook& done = *hooks_[i];
    if (done.pre_dump == nullptr) continue;
    if (&done == &hook || (hook.pre_dump == nullptr && done.name == hook.name)) return true;
  }
  return false;
}

void HookRound::run_post_resume() {
  if (post_resume_done_) return;
  post_resume_done_ = true;
  for (auto hook = hooks_.rbegin(); hook != hooks_.rend(); ++hook) {
    if (pre_dump_failed_ && !pre_dump_had_run(**hook)) continue;
    run(**hook, (*hook)->post_resume, "post-resume");
  }
}

void HookRound::run_post_restore() {
  for (auto hook = hooks_.rbegin(); hook != hooks_.rend(); ++hook) run(**hook, (*hook)->post_restore, "post-restore");
}

}  // namespace stillpoint::sdk
