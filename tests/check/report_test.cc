#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "helper/check/check.h"
#include "helper/check/probes.h"

namespace stillpoint {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

std::vector<Capability> example() {
  return {{"kernel", true, "everything", "nothing", "Linux 6.1", true},
          {"pidfd_getfd", false, "descriptors", "findings", "pidfd_getfd: EPERM", false},
          {"same_pid", true, "the same pid", "no restart", "", true}};
}

TEST(CheckReport, OnlyNeededOnesStandInTheWay) {
  std::vector<Capability> capabilities = example();
  EXPECT_THAT(restart_obstacles(capabilities), IsEmpty());
  capabilities[2].available = false;
  capabilities[2].detail = "none of them";
  EXPECT_THAT(restart_obstacles(capabilities), ElementsAre("same_pid: no restart (none of them)"));
}

TEST(CheckReport, TextSaysWhatIsLost) {
  std::vector<Capability> capabilities = example();
  EXPECT_EQ(check_text(capabilities),
            "kernel       yes  everything (Linux 6.1)\n"
            "pidfd_getfd  no   without it: findings (pidfd_getfd: EPERM)\n"
            "same_pid     yes  the same pid\n"
            "\nA restart is possible here.\n");
  capabilities[0].available = false;
  EXPECT_THAT(check_text(capabilities),
              testing::EndsWith("\nA restart is not possible here:\n  kernel: nothing (Linux 6.1)\n"));
}

TEST(CheckReport, TextWrapsAndStaysAligned) {
  std::vector<Capability> capabilities = example();
  capabilities[0].enables = std::string(50, 'x') + " one two three four five six seven eight nine ten";
  for (const int width : {-1, 0, 1, 40, 60, 80}) {
    const std::string text = check_text(capabilities, width);
    EXPECT_THAT(text, HasSubstr(std::string(50, 'x')));
    const std::vector<std::string> lines = absl::StrSplit(text, '\n');
    for (const std::string& line : lines) {
      if (absl::StartsWith(line, "A restart") || line.find('x') != std::string::npos) continue;
      EXPECT_LE(line.size(), std::max<size_t>(18 + 30, static_cast<size_t>(std::max(width, 0)))) << line;
      if (absl::StartsWith(line, " ")) {
        EXPECT_EQ(line.find_first_not_of(' '), 18u) << line;
      }
    }
  }
}

TEST(CheckReport, ControlCharactersStayOutOfTheText) {
  std::vector<Capability> capabilities = example();
  capabilities[1].detail = "in /tmp/\x1b[2J\n";
  EXPECT_THAT(check_text(capabilities), Not(HasSubstr("\x1b")));
  EXPECT_THAT(check_text(capabilities), HasSubstr("in /tmp/ [2J )"));
}

TEST(CheckReport, Json) {
  std::vector<Capability> capabilities = example();
  capabilities.resize(2);
  capabilities[0].available = false;
  capabilities[1].detail = "a\"b\\c\n\x01 \xc3\xa9 \xff";
  EXPECT_EQ(
      check_json(capabilities),
      "{\n  \"restart_possible\": false,\n"
      "  \"obstacles\": [\"kernel: nothing (Linux 6.1)\"],\n"
      "  \"capabilities\": [\n"
      "    {\"name\": \"kernel\", \"available\": false, \"needed_for_restart\": true, \"enables\": \"everything\", "
      "\"without\": \"nothing\", \"detail\": \"Linux 6.1\"},\n"
      "    {\"name\": \"pidfd_getfd\", \"available\": false, \"needed_for_restart\": false, \"enables\": "
      "\"descriptors\", \"without\": \"findings\", \"detail\": \"a\\\"b\\\\c\\u000a\\u0001 \xc3\xa9 ?\"}\n"
      "  ]\n}\n");
}

TEST(CheckKernel, OldOnesAreRefused) {
  EXPECT_TRUE(check::kernel_at_least("5.14.0-427.el9.x86_64", 5, 14));
  EXPECT_TRUE(check::kernel_at_least("5.15", 5, 14));
  EXPECT_TRUE(check::kernel_at_least("6.1.0-18-amd64", 5, 14));
  EXPECT_TRUE(check::kernel_at_least("10.0.1", 5, 14));
  EXPECT_FALSE(check::kernel_at_least("5.13.19", 5, 14));
  EXPECT_FALSE(check::kernel_at_least("4.19.0", 5, 14));
  for (const char* nonsense : {"", "six", "6", "6.", ".14", "99999999999.1"}) {
    EXPECT_FALSE(check::kernel_at_least(nonsense, 5, 14)) << nonsense;
  }
}

}  // namespace
}  // namespace stillpoint
