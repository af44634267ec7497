// Programs that come with the distribution.
#ifndef STILLPOINT_TESTS_E2E_SUPPORT_INSTALLED_H_
#define STILLPOINT_TESTS_E2E_SUPPORT_INSTALLED_H_

#include <gtest/gtest.h>
#include <unistd.h>

#define SKIP_WITHOUT(program) \
  if (::access(program, X_OK) != 0) GTEST_SKIP() << program << " is not installed (scripts/install-deps.sh --tests)"

#endif  // STILLPOINT_TESTS_E2E_SUPPORT_INSTALLED_H_
