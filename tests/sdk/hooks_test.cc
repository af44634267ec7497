#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stillpoint/hooks.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "sdk/hook_registry.h"

namespace stillpoint::sdk {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class Hooks : public testing::Test {
 protected:
  // All three hooks, which write "pre name", "resume name", "restore name".
  HookRegistration all(const std::string& name, int priority = 0) {
    return add_hooks(
        name, [this, name] { log_.push_back("pre " + name); }, [this, name] { log_.push_back("resume " + name); },
        [this, name] { log_.push_back("restore " + name); }, priority);
  }

  std::vector<std::string> log_;
};

TEST_F(Hooks, RunInReverseOrderOfRegistrationWithinDescendingPriority) {
  const HookRegistration a = all("a"), b = all("b", 5), c = all("c"), d = all("d", 5), e = all("e", -1);
  HookRound round = HookRound::begin();
  EXPECT_TRUE(round.run_pre_dump());
  EXPECT_THAT(log_, ElementsAre("pre d", "pre b", "pre c", "pre a", "pre e"));
  log_.clear();
  round.run_post_resume();
  EXPECT_THAT(log_, ElementsAre("resume e", "resume a", "resume c", "resume b", "resume d"));
  log_.clear();
  round.run_post_restore();
  EXPECT_THAT(log_, ElementsAre("restore e", "restore a", "restore c", "restore b", "restore d"));
  EXPECT_THAT(round.failures(), IsEmpty());
}

TEST_F(Hooks, PostResumeRunsOncePerRound) {
  const HookRegistration a = all("a");
  HookRound round = HookRound::begin();
  EXPECT_TRUE(round.run_pre_dump());
  round.run_post_resume();
  round.run_post_resume();
  EXPECT_THAT(log_, ElementsAre("pre a", "resume a"));
}

TEST_F(Hooks, AfterAFailureOnlyThoseThatRanAreResumed) {
  const HookRegistration never = all("never");
  const HookRegistration failing = add_hooks(
      "failing", [] { return Status(Code::kUnknown, "disk full"); }, [this] { log_.push_back("resume failing"); },
      [] {});
  const HookRegistration ran = all("ran");
  const HookRegistration alone = on_post_resume("alone", [this] { log_.push_back("resume alone"); });
  const HookRegistration counterpart = on_post_resume("ran", [this] { log_.push_back("resume counterpart"); });
  HookRound round = HookRound::begin();
  EXPECT_FALSE(round.run_pre_dump());
  round.run_post_resume();
  EXPECT_THAT(log_, ElementsAre("pre ran", "resume ran", "resume counterpart"));
  ASSERT_EQ(round.failures().size(), 1u);
  EXPECT_EQ(round.failures()[0].name, "failing");
  EXPECT_EQ(round.failures()[0].phase, "pre-dump");
  EXPECT_EQ(round.failures()[0].text, "disk full");
}

TEST_F(Hooks, ExceptionsBecomeFailures) {
  HookRegistration odd = on_pre_dump("odd", []() -> bool { throw 7; });
  const HookRegistration standard = on_post_resume("standard", [] { throw std::runtime_error("the disk is on fire"); });
  HookRound round = HookRound::begin();
  EXPECT_FALSE(round.run_pre_dump());
  EXPECT_THAT(round.failures().at(0).text, HasSubstr("no std::exception"));

  odd.reset();
  HookRound second = HookRound::begin();
  EXPECT_TRUE(second.run_pre_dump());
  second.run_post_resume();
  EXPECT_THAT(second.failures().at(0).text, HasSubstr("the disk is on fire"));
}

TEST_F(Hooks, AFailingPostHookKeepsNoOtherFromRunning) {
  const HookRegistration a = all("a");
  const HookRegistration failing = add_hooks(
      "failing", [] {}, [] { return false; }, [] { return false; });
  const HookRegistration b = all("b");
  HookRound round = HookRound::begin();
  EXPECT_TRUE(round.run_pre_dump());
  log_.clear();
  round.run_post_resume();
  round.run_post_restore();
  EXPECT_THAT(log_, ElementsAre("resume a", "resume b", "restore a", "restore b"));
  ASSERT_EQ(round.failures().size(), 2u);
  EXPECT_EQ(round.failures()[0].phase, "post-resume");
  EXPECT_EQ(round.failures()[1].phase, "post-restore");
}

TEST_F(Hooks, UnregisteredHooksDoNotRun) {
  { const HookRegistration scoped = all("scoped"); }
  HookRegistration moved = all("moved");
  HookRegistration target = std::move(moved);
  EXPECT_FALSE(moved.registered());  // NOLINT(bugprone-use-after-move): that is the question
  EXPECT_TRUE(target.registered());
  HookRound round = HookRound::begin();
  EXPECT_TRUE(round.run_pre_dump());
  EXPECT_THAT(log_, ElementsAre("pre moved"));
  target.reset();
  round.run_post_resume();  // unregistered since the round began
  EXPECT_THAT(log_, ElementsAre("pre moved"));
  EXPECT_FALSE(unregister_hook(~uint64_t{0}));
}

TEST_F(Hooks, AHookMayUnregisterItself) {
  HookRegistration self;
  const std::string captured(100, 'c');
  self = on_pre_dump("self", [this, &self, captured] {
    self.reset();
    log_.push_back(captured);  // its captures still live
  });
  HookRound round = HookRound::begin();
  EXPECT_TRUE(round.run_pre_dump());
  EXPECT_THAT(log_, ElementsAre(captured));
  EXPECT_FALSE(self.registered());
}

TEST_F(Hooks, UnregisteringWaitsForARunningHook) {
  std::atomic<bool> entered{false}, leave{false}, left{false};
  HookRegistration slow = on_pre_dump("slow", [&] {
    entered = true;
    while (!leave) std::this_thread::yield();
    left = true;
  });
  std::thread runner([] {
    HookRound round = HookRound::begin();
    round.run_pre_dump();
  });
  while (!entered) std::this_thread::yield();
  std::atomic<bool> was_left_first{false};
  std::thread unregisterer([&] {
    slow.reset();
    was_left_first = left.load();
  });
  std::this_thread::yield();
  leave = true;
  unregisterer.join();
  runner.join();
  EXPECT_TRUE(was_left_first);
}

TEST_F(Hooks, TheCInterfaceChecksItsArguments) {
  stillpoint_hooks_t hooks = STILLPOINT_HOOKS_INIT;
  uint64_t id = 0;
  EXPECT_EQ(stillpoint_hooks_register(&hooks, &id), STILLPOINT_INVALID_ARGUMENT);  // no function
  EXPECT_EQ(stillpoint_hooks_register(nullptr, &id), STILLPOINT_INVALID_ARGUMENT);
  hooks.pre_dump = [](void* user_data, char* error, size_t error_size) {
    std::snprintf(error, error_size, "%s", static_cast<const char*>(user_data));
    return 3;
  };
  char text[] = "said in C";
  hooks.user_data = text;
  hooks.name = "c hook";
  ASSERT_EQ(stillpoint_hooks_register(&hooks, &id), STILLPOINT_OK);
  HookRound round = HookRound::begin();
  EXPECT_FALSE(round.run_pre_dump());
  EXPECT_EQ(round.failures().at(0).text, "said in C");
  EXPECT_EQ(stillpoint_hooks_unregister(id), STILLPOINT_OK);
  EXPECT_EQ(stillpoint_hooks_unregister(id), STILLPOINT_NOT_FOUND);
}

}  // namespace
}  // namespace stillpoint::sdk
