// stillpoint-helper as a program.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdio>
#include <string>

namespace stillpoint {
namespace {

using testing::HasSubstr;

std::string output_of(const std::string& arguments, int& status) {
  std::string output;
  FILE* const pipe = ::popen((STILLPOINT_HELPER_PROGRAM " " + arguments + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return "(popen failed)";
  char buffer[4096];
  for (size_t size = 0; (size = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) output.append(buffer, size);
  const int ended = ::pclose(pipe);
  status = WIFEXITED(ended) ? WEXITSTATUS(ended) : -1;
  return output;
}

TEST(HelperProgram, Explains) {
  int status = -1;
  EXPECT_THAT(output_of("--help", status), HasSubstr("--listen"));
  EXPECT_EQ(status, 0);
  EXPECT_THAT(output_of("--version", status), HasSubstr("stillpoint-helper 0."));
  EXPECT_EQ(status, 0);
}

TEST(HelperProgram, RefusesWrongUsage) {
  for (const char* arguments :
       {"", "--fd", "--fd x", "--fd -1", "--frobnicate", "--fd 3 --listen /tmp/x", "--listen"}) {
    int status = -1;
    EXPECT_THAT(output_of(arguments, status), HasSubstr("--help")) << arguments;
    EXPECT_EQ(status, 2) << arguments;
  }
}

TEST(HelperProgram, NamesAnFdThatIsNoSocket) {
  int status = -1;
  EXPECT_THAT(output_of("--fd 9", status), HasSubstr("EBADF"));
  EXPECT_EQ(status, 1);
  EXPECT_THAT(output_of("--fd 0 </dev/null", status), HasSubstr("ENOTSOCK"));
  EXPECT_EQ(status, 1);
}

}  // namespace
}  // namespace stillpoint
