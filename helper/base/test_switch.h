// Switches that tests use to force a fallback or to kill the helper at a named
// stage. Compiled to nothing unless STILLPOINT_TEST_SWITCHES is defined.
#ifndef STILLPOINT_HELPER_BASE_TEST_SWITCH_H_
#define STILLPOINT_HELPER_BASE_TEST_SWITCH_H_

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace stillpoint {

// True when `feature` stands in the comma-separated variable STILLPOINT_DISABLE
// ("pagemap_scan,pidfd_getfd,time_ns,clone3_set_tid,worker,snapshot,..."). Every
// use of a kernel feature that has a fallback asks here first.
bool feature_disabled(absl::string_view feature);

// Kills the calling process with SIGKILL when STILLPOINT_DIE_AT equals `stage`, and stops it with SIGSTOP when
// STILLPOINT_STOP_AT does. The stages are listed in docs/testing.md.
void die_if_stage(absl::string_view stage);

// `limit`, or what STILLPOINT_PAUSE_LIMIT_MS says instead.
absl::Duration test_pause_limit(absl::Duration limit);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_BASE_TEST_SWITCH_H_
