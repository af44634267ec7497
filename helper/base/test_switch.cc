#include "helper/base/test_switch.h"

#ifdef STILLPOINT_TEST_SWITCHES
#include <signal.h>
#include <unistd.h>

#include <cstdlib>

#include "absl/strings/str_split.h"
#endif

namespace stillpoint {

#ifdef STILLPOINT_TEST_SWITCHES

bool feature_disabled(absl::string_view feature) {
  const char* list = ::getenv("STILLPOINT_DISABLE");
  if (list == nullptr) return false;
  for (absl::string_view name : absl::StrSplit(list, ',')) {
    if (name == feature) return true;
  }
  return false;
}

void die_if_stage(absl::string_view stage) {
  const auto wanted = [stage](const char* variable) {
    const char* value = ::getenv(variable);
    return value != nullptr && stage == value;
  };
  if (wanted("STILLPOINT_STOP_AT")) ::kill(::getpid(), SIGSTOP);
  if (!wanted("STILLPOINT_DIE_AT")) return;
  ::kill(::getpid(), SIGKILL);
  ::_exit(128 + SIGKILL);  // pid 1 of a pid namespace cannot kill itself
}

absl::Duration test_pause_limit(absl::Duration limit) {
  const char* value = ::getenv("STILLPOINT_PAUSE_LIMIT_MS");
  return value == nullptr ? limit : absl::Milliseconds(std::atoi(value));
}

#else

bool feature_disabled(absl::string_view) { return false; }
void die_if_stage(absl::string_view) {}
absl::Duration test_pause_limit(absl::Duration limit) { return limit; }

#endif

}  // namespace stillpoint
