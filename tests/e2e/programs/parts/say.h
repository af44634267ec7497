// What the processes of a tree say in their common report.
#ifndef STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_SAY_H_
#define STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_SAY_H_

#include "tests/e2e/programs/parts/report_line.h"

inline int report_fd = -1;

__attribute__((format(printf, 1, 2))) inline void say(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  write_line(report_fd, format, arguments);
  va_end(arguments);
}

#endif  // STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_SAY_H_
