// Where the helper is.
#ifndef STILLPOINT_SDK_HELPER_PATH_H_
#define STILLPOINT_SDK_HELPER_PATH_H_

#include <stillpoint/status.h>

#include <string>

namespace stillpoint::sdk {

// `configured` when not empty (a path, checked to be executable), else the first that exists of: beside the SDK's
// library, beside the executable, ../libexec/stillpoint/ of either, the installation's libexec. In a setuid or similar
// program (AT_SECURE) only the last: whoever can link such a program into a directory of his own must not choose its
// helper.
Result<std::string> find_helper(const std::string& configured);

}  // namespace stillpoint::sdk

#endif  // STILLPOINT_SDK_HELPER_PATH_H_
