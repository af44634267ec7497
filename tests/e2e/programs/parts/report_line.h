// Lines of a target program's report.
#ifndef STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_REPORT_LINE_H_
#define STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_REPORT_LINE_H_

#include <unistd.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>

// One write(2) for the line and its end, so that lines of several threads and processes never mix.
__attribute__((format(printf, 2, 0))) inline void write_line(int fd, const char* format, va_list arguments) {
  char text[512];
  int length = std::vsnprintf(text, sizeof text - 1, format, arguments);
  if (length > static_cast<int>(sizeof text) - 2) length = sizeof text - 2;
  text[length++] = '\n';
  if (::write(fd, text, static_cast<size_t>(length)) != length) std::_Exit(4);
}

#endif  // STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_REPORT_LINE_H_
