// The program's hooks and the order they run in (rules: stillpoint_hooks_register in stillpoint/stillpoint.h).
#ifndef STILLPOINT_SDK_HOOK_REGISTRY_H_
#define STILLPOINT_SDK_HOOK_REGISTRY_H_

#include <stillpoint/stillpoint.h>
#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace stillpoint::sdk {

// One registration. Lives as long as it is registered or a round refers to it.
struct Hook {
  uint64_t id = 0;
  std::string name;
  int32_t priority = 0;
  stillpoint_hook_fn pre_dump = nullptr, post_resume = nullptr, post_restore = nullptr;
  void* user_data = nullptr;

  bool removed = false;                     // guarded by the registry's lock
  std::atomic<uint32_t> running_in_pid{0};  // not 0: one of its functions runs, in that process; a futex
  std::atomic<pid_t> running_in_tid{0};
};

struct HookFailure {
  std::string phase;  // "pre-dump"
  std::string name;
  std::string text;
};

// The hooks of one checkpoint: those registered when it began.
class HookRound {
 public:
  static HookRound begin();

  // Runs pre-dump hooks until one fails; true when none did.
  bool run_pre_dump();
  // After run_pre_dump: every post-resume hook, or after a failure those whose pre-dump hook had run. At most once.
  void run_post_resume();
  void run_post_restore();

  const std::vector<HookFailure>& failures() const { return failures_; }

 private:
  bool run(Hook& hook, stillpoint_hook_fn function, const char* phase);
  bool pre_dump_had_run(const Hook& hook) const;

  std::vector<std::shared_ptr<Hook>> hooks_;  // in the order of pre-dump
  size_t pre_dump_done_ = 0;                  // how many of them have got past pre-dump
  bool pre_dump_failed_ = false;
  bool post_resume_done_ = false;
  std::vector<HookFailure> failures_;
};

uint64_t register_hook(const stillpoint_hooks_t& hooks);
// False when there is no such registration.
bool unregister_hook(uint64_t id);

}  // namespace stillpoint::sdk

#endif  // STILLPOINT_SDK_HOOK_REGISTRY_H_
