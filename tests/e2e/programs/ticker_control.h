// How a ticker program ends: told by the content of a file.
#ifndef STILLPOINT_TESTS_E2E_PROGRAMS_TICKER_CONTROL_H_
#define STILLPOINT_TESTS_E2E_PROGRAMS_TICKER_CONTROL_H_

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

namespace stillpoint::e2e {

// A program that nobody ends any more ends by itself.
inline constexpr int kMostTicks = 30000;

// True when the file is there. It holds text once it was renamed into place, never half of it.
inline bool read_control(const std::string& path, std::string& text) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  char buffer[256];
  const ssize_t got = ::read(fd, buffer, sizeof buffer);
  ::close(fd);
  text.assign(buffer, got > 0 ? static_cast<size_t>(got) : 0);
  return true;
}

inline void put(int fd, const std::string& text) {
  if (::write(fd, text.data(), text.size()) != static_cast<ssize_t>(text.size())) ::_exit(119);
}

// "7": the exit code; "-6": death by signal 6.
inline int end_as_told(const std::string& text) {
  const int number = std::atoi(text.c_str());
  if (number >= 0) return number;
  ::raise(-number);
  return 118;
}

}  // namespace stillpoint::e2e

#endif  // STILLPOINT_TESTS_E2E_PROGRAMS_TICKER_CONTROL_H_
