#include "sdk/helper_path.h"

#include <dlfcn.h>
#include <sys/auxv.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <vector>

#ifndef STILLPOINT_LIBEXECDIR
#error "STILLPOINT_LIBEXECDIR must name the directory that stillpoint-helper is installed in"
#endif

namespace stillpoint::sdk {
namespace {

constexpr char kName[] = "stillpoint-helper";

std::string parent(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash);
}

void add_around(const std::string& directory, std::vector<std::string>& candidates) {
  candidates.push_back(directory + "/" + kName);
  candidates.push_back(directory + "/../libexec/stillpoint/" + kName);
  candidates.push_back(directory + "/../../libexec/stillpoint/" + kName);  // lib/x86_64-linux-gnu
}

// The library that contains this function; of no use in a static build, where it is the executable.
void add_beside_library(std::vector<std::string>& candidates) {
  Dl_info info{};
  if (::dladdr(reinterpret_cast<void*>(&find_helper), &info) == 0 || info.dli_fname == nullptr) return;
  if (info.dli_fname[0] == '/') add_around(parent(info.dli_fname), candidates);
}

void add_beside_executable(std::vector<std::string>& candidates) {
  char path[PATH_MAX];
  const ssize_t length = ::readlink("/proc/self/exe", path, sizeof path);
  if (length <= 0 || static_cast<size_t>(length) >= sizeof path) return;
  add_around(parent(std::string(path, static_cast<size_t>(length))), candidates);
}

// Whoever reads the error may not know who chose that path.
std::string origin_of(const std::string& configured) {
  const char* named = ::secure_getenv("STILLPOINT_HELPER");
  return named != nullptr && configured == named ? ", which STILLPOINT_HELPER names" : ", which the program names";
}

}  // namespace

Result<std::string> find_helper(const std::string& configured) {
  if (!configured.empty()) {
    if (::access(configured.c_str(), X_OK) == 0) return configured;
    const int error = errno;
    return Status(Code::kUnavailable,
                  "cannot start the helper " + configured + origin_of(configured) + ": " + std::strerror(error));
  }
  std::vector<std::string> candidates;
  if (::getauxval(AT_SECURE) == 0) {
    add_beside_library(candidates);
    add_beside_executable(candidates);
  }
  candidates.push_back(std::string(STILLPOINT_LIBEXECDIR) + "/" + kName);
  std::string looked_in;
  for (const std::string& candidate : candidates) {
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
    looked_in += looked_in.empty() ? "" : ", ";
    looked_in += candidate;
  }
  return Status(Code::kUnavailable,
                "stillpoint-helper is nowhere; set STILLPOINT_HELPER to its path. Looked for: " + looked_in);
}

}  // namespace stillpoint::sdk
