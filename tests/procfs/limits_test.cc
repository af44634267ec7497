#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <string>

#include "absl/strings/str_replace.h"
#include "helper/procfs/process_files.h"
#include "tests/procfs/kernel_texts.h"
#include "tests/procfs/waiting_child.h"

namespace stillpoint::procfs {
namespace {

using testing::HasSubstr;

TEST(ParseLimits, IndexIsTheResource) {
  const auto limits = parse_limits(kLimits);
  ASSERT_TRUE(limits.ok()) << limits.status();
  ASSERT_EQ(limits->size(), static_cast<size_t>(RLIM_NLIMITS));
  EXPECT_EQ((*limits)[RLIMIT_CPU].soft, 3600u);
  EXPECT_EQ((*limits)[RLIMIT_CPU].hard, 7200u);
  EXPECT_EQ((*limits)[RLIMIT_FSIZE].soft, ~uint64_t{0});
  EXPECT_EQ((*limits)[RLIMIT_NOFILE].hard, 1048576u);
  EXPECT_EQ((*limits)[RLIMIT_AS].soft, ~uint64_t{0} - 1);
  EXPECT_EQ((*limits)[RLIMIT_RTPRIO].hard, 9u);
  EXPECT_EQ((*limits)[RLIMIT_RTTIME].hard, ~uint64_t{0});
}

TEST(ParseLimits, RefusesMissingAndMalformedLines) {
  EXPECT_EQ(parse_limits("").status().message(), "limits has no line Max cpu time");
  EXPECT_THAT(
      std::string(
          parse_limits(absl::StrReplaceAll(kLimits, {{"Max nice priority", "Max other thing  "}})).status().message()),
      HasSubstr("limits has no line Max nice priority"));
  EXPECT_THAT(std::string(parse_limits(absl::StrReplaceAll(kLimits, {{"7200", "72oo"}})).status().message()),
              HasSubstr("limits line 2"));
  EXPECT_FALSE(parse_limits(absl::StrReplaceAll(kLimits, {{"18446744073709551614", "18446744073709551616"}})).ok());
}

TEST(ReadLimits, EveryResourceOfAChild) {
  const WaitingChild child([] {
    rlimit limit = {};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return false;
    limit.rlim_cur = 77;
    const rlimit stack = {1 << 20, 1 << 22};
    return ::setrlimit(RLIMIT_NOFILE, &limit) == 0 && ::setrlimit(RLIMIT_STACK, &stack) == 0;
  });
  ASSERT_TRUE(child.ready());
  const auto limits = read_limits(child.pid());
  ASSERT_TRUE(limits.ok()) << limits.status();
  ASSERT_EQ(limits->size(), static_cast<size_t>(RLIM_NLIMITS));
  EXPECT_EQ((*limits)[RLIMIT_NOFILE].soft, 77u);
  EXPECT_EQ((*limits)[RLIMIT_STACK].hard, 1u << 22);
  for (int resource = 0; resource < RLIM_NLIMITS; ++resource) {
    rlimit limit = {};
    ASSERT_EQ(::prlimit(child.pid(), static_cast<__rlimit_resource>(resource), nullptr, &limit), 0);
    EXPECT_EQ((*limits)[static_cast<size_t>(resource)].soft, limit.rlim_cur) << resource;
    EXPECT_EQ((*limits)[static_cast<size_t>(resource)].hard, limit.rlim_max) << resource;
  }
}

}  // namespace
}  // namespace stillpoint::procfs
