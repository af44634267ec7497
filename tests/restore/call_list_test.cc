#include "helper/restore/call_list.h"

#include <sys/syscall.h>

#include "gtest/gtest.h"

namespace stillpoint {
namespace {

TEST(CallList, KeepsOrderArgumentsAndData) {
  CallList calls;
  const DataRef inner = calls.text("inner");
  const DataRef outer = calls.data(std::string(16, '\0'), {{8, inner}});
  calls.add("first", SYS_prctl, {1, -1, outer}).may_fail = true;
  calls.add("second", SYS_close, {3});
  ASSERT_EQ(calls.calls().size(), 2u);
  EXPECT_EQ(calls.calls()[0].what, "first");
  EXPECT_TRUE(calls.calls()[0].may_fail);
  EXPECT_EQ(calls.calls()[0].arguments[1].value, ~uint64_t{0});
  EXPECT_TRUE(calls.calls()[0].arguments[2].is_data);
  EXPECT_EQ(calls.calls()[0].arguments[2].value, outer.index);
  EXPECT_EQ(calls.all_data()[inner.index].bytes, std::string("inner\0", 6));
  EXPECT_EQ(calls.all_data()[outer.index].pointers[0].second.index, inner.index);
}

}  // namespace
}  // namespace stillpoint
