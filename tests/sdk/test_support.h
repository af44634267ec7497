// What several tests of the SDK share.
#ifndef STILLPOINT_TESTS_SDK_TEST_SUPPORT_H_
#define STILLPOINT_TESTS_SDK_TEST_SUPPORT_H_

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <set>
#include <string>

namespace stillpoint::sdk {

// What the person who runs the tests has set must not decide them.
inline const bool kCleanEnvironment = [] {
  for (const char* name :
       {"STILLPOINT_DIR", "STILLPOINT_KEEP", "STILLPOINT_LOG", "STILLPOINT_OFF", "STILLPOINT_HELPER"}) {
    ::unsetenv(name);
  }
  return true;
}();

// A directory of the test's own, removed with everything in it.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "stillpoint-sdk-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    path_ = name;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Sets a variable for the object's life.
class Environment {
 public:
  Environment(const char* name, const std::string& value) : name_(name) { ::setenv(name, value.c_str(), 1); }
  ~Environment() { ::unsetenv(name_); }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  const char* name_;
};

inline std::set<int> open_fds() {
  std::set<int> fds;
  for (int fd = 0; fd < 1024; ++fd) {
    if (std::filesystem::exists(std::filesystem::symlink_status("/proc/self/fd/" + std::to_string(fd)))) fds.insert(fd);
  }
  return fds;
}

}  // namespace stillpoint::sdk

#endif  // STILLPOINT_TESTS_SDK_TEST_SUPPORT_H_
