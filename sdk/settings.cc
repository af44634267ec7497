#include "sdk/settings.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace stillpoint::sdk {
namespace {

// Null when unset, empty, or not to be trusted (AT_SECURE).
const char* environment(const char* name) {
  const char* const value = ::secure_getenv(name);
  return value == nullptr || *value == '\0' ? nullptr : value;
}

bool parse_count(const char* text, uint32_t& count) {
  if (*text < '0' || *text > '9') return false;
  char* end = nullptr;
  errno = 0;
  const unsigned long long value = std::strtoull(text, &end, 10);
  if (errno != 0 || *end != '\0' || value > UINT32_MAX) return false;
  count = static_cast<uint32_t>(value);
  return true;
}

// The part of the caller's structure that both sides know; the rest keeps its defaults.
stillpoint_options_t known_part(const stillpoint_options_t& given) {
  stillpoint_options_t options = STILLPOINT_OPTIONS_INIT;
  std::memcpy(&options, &given, std::min(given.struct_size, sizeof options));
  return options;
}

}  // namespace

Result<Settings> effective_settings(const char* directory, const stillpoint_options_t* given) {
  Settings settings;
  if (directory != nullptr) settings.directory = directory;
  if (given != nullptr) {
    if (given->struct_size < sizeof given->struct_size) {
      return Status(Code::kInvalidArgument, "options: struct_size is not set; begin with STILLPOINT_OPTIONS_INIT");
    }
    const stillpoint_options_t options = known_part(*given);
    if ((options.flags & ~uint32_t{STILLPOINT_STOP | STILLPOINT_NO_EMBED}) != 0) {
      return Status(Code::kInvalidArgument, "options: a flag that this version of Stillpoint does not know");
    }
    settings.stop = (options.flags & STILLPOINT_STOP) != 0;
    settings.no_embed = (options.flags & STILLPOINT_NO_EMBED) != 0;
    settings.keep_last = options.keep_last;
    settings.freeze_limit_ms = options.freeze_limit_ms;
    if (options.helper != nullptr) settings.helper = options.helper;
    if (options.job_id != nullptr) settings.job_id = options.job_id;
  }
  if (const char* value = environment("STILLPOINT_DIR")) settings.directory = value;
  if (const char* value = environment("STILLPOINT_HELPER")) settings.helper = value;
  if (const char* value = environment("STILLPOINT_LOG")) settings.log = value;
  if (const char* value = environment("STILLPOINT_OFF")) settings.off = std::strcmp(value, "0") != 0;
  if (const char* value = environment("STILLPOINT_KEEP")) {
    if (!parse_count(value, settings.keep_last)) {
      return Status(Code::kInvalidArgument, std::string("STILLPOINT_KEEP is not a number of images: ") + value);
    }
  }
  return settings;
}

}  // namespace stillpoint::sdk
