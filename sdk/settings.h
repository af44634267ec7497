// What one checkpoint is to do: the program's options with the environment on top.
#ifndef STILLPOINT_SDK_SETTINGS_H_
#define STILLPOINT_SDK_SETTINGS_H_

#include <stillpoint/status.h>
#include <stillpoint/stillpoint.h>

#include <cstdint>
#include <string>
#include <vector>

namespace stillpoint::sdk {

struct Settings {
  std::string directory;
  uint32_t keep_last = 0;
  bool stop = false;
  bool no_embed = false;
  std::vector<int32_t> leave_out;  // pids
  uint32_t freeze_limit_ms = 0;
  std::string helper;  // path or "unix:PATH"; empty: look for it
  std::string job_id;
  std::string log;  // path or "-"; empty: none
  bool off = false;
};

// `directory` and `options` may be null. The environment is not looked at under AT_SECURE. INVALID_ARGUMENT names the
// variable or option that makes no sense.
Result<Settings> effective_settings(const char* directory, const stillpoint_options_t* options);

}  // namespace stillpoint::sdk

#endif  // STILLPOINT_SDK_SETTINGS_H_
