// Memory below a stopped thread's stack pointer, used for a while and put back as it was.
#ifndef STILLPOINT_HELPER_TRACEE_STACK_LOAN_H_
#define STILLPOINT_HELPER_TRACEE_STACK_LOAN_H_

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace stillpoint {

// Nothing is lost on an ordinary stack below the red zone, but a coroutine's stack may be a small heap block with
// other data right below it: what is there is kept and written back.
class StackLoan {
 public:
  StackLoan() = default;
  // [low, high) of thread `tid`, whose stack pointer is `stack_pointer` >= high. FAILED_PRECONDITION when not all of it
  // can be written with the thread's own protection. A stack that grows down (MAP_GROWSDOWN) is grown if need be.
  static absl::StatusOr<StackLoan> take(pid_t tid, uint64_t low, uint64_t high, uint64_t stack_pointer);

  uint64_t address() const { return low_; }
  const std::string& original() const { return original_; }
  absl::Status write(absl::string_view bytes, uint64_t address) const;  // inside the range only
  absl::Status give_back() const;

 private:
  pid_t tid_ = 0;
  uint64_t low_ = 0;
  std::string original_;
};

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_TRACEE_STACK_LOAN_H_
