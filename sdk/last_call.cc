#include "sdk/last_call.h"

namespace stillpoint::sdk {

LastCall& last_call() {
  thread_local LastCall instance;
  return instance;
}

}  // namespace stillpoint::sdk
