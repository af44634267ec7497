// STILLPOINT_LOG: one line per checkpoint.
#ifndef STILLPOINT_SDK_EVENT_LOG_H_
#define STILLPOINT_SDK_EVENT_LOG_H_

#include <stillpoint/stillpoint.h>

#include "sdk/settings.h"

namespace stillpoint::sdk {

// Appends what `code`, `result` and last_call() say. Nothing when no log is wanted; a log that cannot be written
// changes nothing.
void log_event(const Settings& settings, stillpoint_code_t code, const stillpoint_result_t& result);

}  // namespace stillpoint::sdk

#endif  // STILLPOINT_SDK_EVENT_LOG_H_
