// What a thread can ask about its latest call (stillpoint_error_text and its siblings).
#ifndef STILLPOINT_SDK_LAST_CALL_H_
#define STILLPOINT_SDK_LAST_CALL_H_

#include <stillpoint/status.h>

#include <string>
#include <vector>

namespace stillpoint::sdk {

struct LastCall {
  std::string error;
  std::string failed_hook;
  std::vector<Finding> findings;
  std::vector<std::string> notes;
};

// The calling thread's.
LastCall& last_call();

}  // namespace stillpoint::sdk

#endif  // STILLPOINT_SDK_LAST_CALL_H_
