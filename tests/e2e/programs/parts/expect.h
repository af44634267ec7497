// Expectations of a process of a tree.
#ifndef STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_EXPECT_H_
#define STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_EXPECT_H_

#include <unistd.h>

#include "tests/e2e/programs/parts/say.h"

inline void expect(bool holds, const char* what) {
  if (!holds) say("ERROR pid %d: %s", getpid(), what);
}

inline void tick() { usleep(5000); }

#endif  // STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_EXPECT_H_
