#include "helper/dump/application_calls.h"

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"

namespace stillpoint {

absl::StatusOr<int64_t> ApplicationCalls::checked(absl::string_view name, long number,
                                                  std::initializer_list<uint64_t> arguments) {
  ASSIGN_OR_RETURN(const int64_t result, call(number, arguments));
  if (result < 0 && result >= -4095) {
    return errno_status(static_cast<int>(-result), absl::StrCat(name, " in tid ", tid()));
  }
  return result;
}

uint64_t SdkApplicationCalls::scratch() const {
  constexpr uint64_t kKeptBySdk = 1024;  // RestoredInfo, helper/protocol/context.h
  return connection_.scratch() + kKeptBySdk;
}

}  // namespace stillpoint
