// checkpoint() against a fake helper in a process of its own.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stillpoint/checkpoint.h>
#include <stillpoint/hooks.h>
#include <stillpoint/resources.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <sstream>
#include <thread>
#include <vector>

#include "tests/sdk/test_support.h"

namespace stillpoint::sdk {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::atomic<int> g_child_signals{0};

class CheckpointTest : public testing::Test {
 protected:
  CheckpointTest() : fds_before_(open_fds()) {
    struct sigaction action {};
    action.sa_handler = [](int) { ++g_child_signals; };
    ::sigaction(SIGCHLD, &action, &old_action_);
    g_child_signals = 0;
    ::sigprocmask(SIG_SETMASK, nullptr, &mask_before_);
  }

  // Nothing of a checkpoint may be left to see.
  ~CheckpointTest() override {
    EXPECT_EQ(open_fds(), fds_before_);
    EXPECT_EQ(::waitpid(-1, nullptr, __WALL | WNOHANG), -1) << "there is a child";
    EXPECT_EQ(errno, ECHILD);
    EXPECT_EQ(g_child_signals, 0);
    sigset_t mask;
    ::sigprocmask(SIG_SETMASK, nullptr, &mask);
    EXPECT_EQ(memcmp(&mask, &mask_before_, 8), 0);
    ::sigaction(SIGCHLD, &old_action_, nullptr);
  }

  CheckpointOptions options() const {
    CheckpointOptions options;
    options.directory = directory_.path();
    options.helper = FAKE_HELPER;
    return options;
  }

  // The value in a note "name value".
  static std::string seen(const CheckpointResult& result, const std::string& name) {
    for (const std::string& note : result.notes) {
      if (note.rfind(name + " ", 0) == 0) return note.substr(name.size() + 1);
    }
    return "(no such note)";
  }

  const TemporaryDirectory directory_;

 private:
  const std::set<int> fds_before_;
  struct sigaction old_action_ {};
  sigset_t mask_before_;
};

TEST_F(CheckpointTest, ComesBackResumed) {
  const auto result = checkpoint(options());
  ASSERT_TRUE(result.ok()) << result.status().to_string();
  EXPECT_EQ(result->outcome, Outcome::kResumed);
  EXPECT_EQ(result->image_path, directory_.path() + "/ckpt-00000007");
  EXPECT_EQ(result->sequence, 7u) << "the helper could write into the directory it was given";
  EXPECT_EQ(result->statistics.pause, std::chrono::nanoseconds(1234));
  EXPECT_EQ(result->statistics.pages, 10u);
  EXPECT_EQ(result->statistics.method, "snapshot");
  EXPECT_STREQ(stillpoint_error_text(), "");
}

TEST_F(CheckpointTest, AnswersReadingCallsOnly) {
  const auto result = checkpoint(options());
  ASSERT_TRUE(result.ok()) << result.status().to_string();
  EXPECT_EQ(seen(*result, "gettid"), "1");
  EXPECT_EQ(seen(*result, "set_name"), "-1");  // -EPERM
  EXPECT_EQ(seen(*result, "kill"), "-1");
  EXPECT_EQ(seen(*result, "sigaltstack"), "0");
  EXPECT_EQ(seen(*result, "context"), "1");
  EXPECT_EQ(seen(*result, "own_fds"), "3");
}

TEST_F(CheckpointTest, TheSnapshotIsNoChildAndEndsWithTheHelper) {
  const auto result = checkpoint(options());
  ASSERT_TRUE(result.ok()) << result.status().to_string();
  EXPECT_EQ(seen(*result, "snapshot"), "1");
  EXPECT_EQ(seen(*result, "snapshot_parent_is_client"), "0");
  EXPECT_EQ(seen(*result, "snapshot_alive"), "1");
  EXPECT_EQ(seen(*result, "snapshot_ends_at_eof"), "1");
}

TEST_F(CheckpointTest, TheHelperStartsClean) {
  const int leaked = ::open("/dev/null", O_RDONLY);  // no close-on-exec
  const Environment path("LD_LIBRARY_PATH", "/nonexistent");
  ::signal(SIGUSR1, SIG_IGN);
  sigset_t usr2, before;
  sigemptyset(&usr2);
  sigaddset(&usr2, SIGUSR2);
  ::sigprocmask(SIG_BLOCK, &usr2, &before);
  const auto result = checkpoint(options());
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  ::signal(SIGUSR1, SIG_DFL);
  ::close(leaked);
  ASSERT_TRUE(result.ok()) << result.status().to_string();
  EXPECT_EQ(seen(*result, "helper_signals_default"), "1");
  EXPECT_EQ(seen(*result, "helper_preload"), "0");
  EXPECT_EQ(seen(*result, "helper_session_leader"), "1");
  EXPECT_EQ(seen(*result, "helper_extra_fds"), "1") << "the request's directory, and nothing of ours";
}

TEST_F(CheckpointTest, PassesOptionsOn) {
  CheckpointOptions with = options();
  with.keep_last = 3;
  with.embed = false;
  with.job_id = "job 7";
  char scratch[4096];
  const ExcludedMemory excluded(scratch, sizeof scratch);
  const auto result = checkpoint(with);
  ASSERT_TRUE(result.ok()) << result.status().to_string();
  EXPECT_EQ(seen(*result, "directory_name"), directory_.path());
  EXPECT_EQ(seen(*result, "keep_last"), "3");
  EXPECT_EQ(seen(*result, "stop"), "0");
  EXPECT_EQ(seen(*result, "no_embed"), "1");
  EXPECT_EQ(seen(*result, "job_id"), "job 7");
  EXPECT_EQ(seen(*result, "excluded"), std::to_string(reinterpret_cast<uint64_t>(scratch)) + "+4096");
}

TEST_F(CheckpointTest, CreatesTheDirectoryForItsOwnerOnly) {
  CheckpointOptions with = options();
  with.directory += "/new";
  const auto result = checkpoint(with);
  ASSERT_TRUE(result.ok()) << result.status().to_string();
  struct stat info {};
  ASSERT_EQ(::stat(with.directory.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
}

TEST_F(CheckpointTest, NamesTheDirectoryThatCannotBeUsed) {
  CheckpointOptions with = options();
  with.directory += "/no/such";
  const Status missing = checkpoint(with).status();
  EXPECT_EQ(missing.code(), Code::kNotFound);
  EXPECT_THAT(missing.message(), HasSubstr(with.directory));
  EXPECT_THAT(missing.message(), HasSubstr("ENOENT"));
  with.directory = directory_.path() + "/file";
  std::ofstream(with.directory) << "x";
  EXPECT_THAT(checkpoint(with).status().message(), HasSubstr("ENOTDIR"));
  with.directory.clear();
  EXPECT_EQ(checkpoint(with).status().code(), Code::kInvalidArgument);
}

TEST_F(CheckpointTest, SaysWhyTheHelperCannotBeStarted) {
  CheckpointOptions with = options();
  with.helper = "/no/such/helper";
  Status status = checkpoint(with).status();
  EXPECT_EQ(status.code(), Code::kUnavailable);
  EXPECT_THAT(status.message(), HasSubstr("/no/such/helper"));

  with.helper = directory_.path() + "/not-a-program";  // found, but execve fails in the new task
  std::ofstream(with.helper) << "garbage";
  ::chmod(with.helper.c_str(), 0755);
  status = checkpoint(with).status();
  EXPECT_EQ(status.code(), Code::kUnavailable);
  EXPECT_THAT(status.message(), HasSubstr("execve: ENOEXEC"));
}

TEST_F(CheckpointTest, SurvivesAHelperThatDiesAtAnyStage) {
  std::vector<std::string> log;
  const HookRegistration hook = add_hooks(
      "hook", [&] { log.push_back("pre"); }, [&] { log.push_back("resume"); }, [&] { log.push_back("restore"); });
  for (const char* stage : {"connected", "request", "in-call", "snapshot", "resumed"}) {
    const Environment mode("FAKE_HELPER", std::string("die:") + stage);
    log.clear();
    const auto result = checkpoint(options());
    ASSERT_FALSE(result.ok()) << stage;
    EXPECT_EQ(result.status().code(), Code::kUnavailable) << stage;
    // A helper that dies before it has begun may already be missed when the request is sent.
    const bool sent = result.status().message().find("could not be sent") == std::string::npos;
    EXPECT_TRUE(sent ? result.status().message().find("the helper died") == 0 : std::string(stage) == "connected")
        << stage << ": " << result.status().message();
    EXPECT_THAT(log, ElementsAre("pre", "resume")) << stage;
  }
  EXPECT_TRUE(checkpoint(options()).ok()) << "and the next one works";
}

TEST_F(CheckpointTest, RefusesWhatIsNoMessage) {
  const Environment mode("FAKE_HELPER", "garbage");
  EXPECT_EQ(checkpoint(options()).status().code(), Code::kInternal);
}

TEST_F(CheckpointTest, HandsAllFindingsOn) {
  const Environment mode("FAKE_HELPER", "findings");
  const auto result = checkpoint(options());
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.status().code(), Code::kFailedPrecondition);
  const std::vector<Finding> all = findings(result.status());
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].code, "SP-LOCK-POSIX");
  EXPECT_EQ(all[0].object, "fd 7 /data/run.lock");
  EXPECT_EQ(all[1].object, "fd 9");
  EXPECT_EQ(all[1].remedy, "release it");
  stillpoint_finding_t finding = STILLPOINT_FINDING_INIT;
  EXPECT_EQ(stillpoint_finding_count(), 2u);
  EXPECT_EQ(stillpoint_finding_get(2, &finding), STILLPOINT_OUT_OF_RANGE);
}

TEST_F(CheckpointTest, HandsErrorsOn) {
  const Environment mode("FAKE_HELPER", "error");
  const Status status = checkpoint(options()).status();
  EXPECT_EQ(status.code(), Code::kResourceExhausted);
  EXPECT_EQ(status.message(), "no space left on /ckpt");
  EXPECT_EQ(completed(status), nullptr);
}

TEST_F(CheckpointTest, APreDumpFailureDumpsNothing) {
  std::vector<std::string> log;
  const HookRegistration failing = on_pre_dump("flush log", [] { return Status(Code::kUnknown, "disk full"); });
  const HookRegistration ran = add_hooks(
      "ran", [&] { log.push_back("pre"); }, [&] { log.push_back("resume"); }, [] {});
  CheckpointOptions with = options();
  with.directory += "/never-made";
  const Status status = checkpoint(with).status();
  EXPECT_EQ(status.code(), Code::kAborted);
  EXPECT_EQ(failed_hook(status), "flush log");
  EXPECT_THAT(status.message(), HasSubstr("disk full"));
  EXPECT_THAT(log, ElementsAre("pre", "resume"));
  EXPECT_NE(::access(with.directory.c_str(), F_OK), 0);
  EXPECT_EQ(completed(status), nullptr);
}

TEST_F(CheckpointTest, APostResumeFailureComesWithTheImage) {
  const HookRegistration failing = on_post_resume("reattach", []() -> void { throw std::runtime_error("gone"); });
  const Status status = checkpoint(options()).status();
  EXPECT_EQ(status.code(), Code::kAborted);
  EXPECT_EQ(failed_hook(status), "reattach");
  ASSERT_NE(completed(status), nullptr);
  EXPECT_EQ(completed(status)->image_path, directory_.path() + "/ckpt-00000007");
}

TEST_F(CheckpointTest, RefusesToBeCalledFromAHook) {
  Status inner;
  const HookRegistration hook = on_pre_dump("recursive", [&] { inner = checkpoint(options()).status(); });
  const auto result = checkpoint(options());
  EXPECT_TRUE(result.ok()) << result.status().to_string();
  EXPECT_EQ(inner.code(), Code::kFailedPrecondition);
  EXPECT_THAT(inner.message(), HasSubstr("hook"));
}

TEST_F(CheckpointTest, DoesNothingWhenOff) {
  const Environment off("STILLPOINT_OFF", "1");
  bool ran = false;
  const HookRegistration hook = on_pre_dump("hook", [&] { ran = true; });
  CheckpointOptions with = options();
  with.directory += "/never-made";
  const auto result = checkpoint(with);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->outcome, Outcome::kOff);
  EXPECT_FALSE(ran);
  EXPECT_NE(::access(with.directory.c_str(), F_OK), 0);
}

TEST_F(CheckpointTest, LogsOneLineEach) {
  const std::string log = directory_.path() + "/log";
  const Environment variable("STILLPOINT_LOG", log);
  ASSERT_TRUE(checkpoint(options()).ok());
  {
    const Environment mode("FAKE_HELPER", "error");
    EXPECT_FALSE(checkpoint(options()).ok());
  }
  std::ifstream file(log);
  std::string first, second, third;
  std::getline(file, first);
  std::getline(file, second);
  EXPECT_THAT(first, HasSubstr("ckpt-00000007: checkpointed"));
  EXPECT_THAT(second, HasSubstr("no space left on /ckpt"));
  EXPECT_FALSE(std::getline(file, third));
}

TEST_F(CheckpointTest, OneAtATimeFromManyThreads) {
  std::atomic<int> inside{0}, most{0}, good{0};
  const HookRegistration hook = add_hooks(
      "count", [&] { most = std::max(most.load(), ++inside); }, [&] { --inside; }, [] {});
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] { good += checkpoint(options()).ok() ? 1 : 0; });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 4);
  EXPECT_EQ(most, 1);
}

TEST_F(CheckpointTest, WorksInAChildForkedDuringACheckpoint) {
  std::atomic<bool> in_hook{false}, leave{false};
  const HookRegistration hook = on_pre_dump("hold", [&] {
    in_hook = true;
    while (!leave) std::this_thread::yield();
  });
  std::thread other([&] { EXPECT_TRUE(checkpoint(options()).ok()); });
  while (!in_hook) std::this_thread::yield();
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(60);  // instead of hanging
    leave = true;
    ::_exit(checkpoint(options()).ok() ? 0 : 1);
  }
  int status = -1;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  leave = true;
  other.join();
  g_child_signals = 0;  // ours
}

TEST_F(CheckpointTest, WorksInASubreaper) {
  ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  const auto result = checkpoint(options());
  int is_one = 0;
  ::prctl(PR_GET_CHILD_SUBREAPER, &is_one);
  ::prctl(PR_SET_CHILD_SUBREAPER, 0);
  ASSERT_TRUE(result.ok()) << result.status().to_string();
  EXPECT_EQ(is_one, 1);
  EXPECT_EQ(seen(*result, "snapshot"), "1");
}  // the fixture sees that neither helper nor snapshot became a child

TEST_F(CheckpointTest, WorksBesideAThreadThatReapsEverything) {
  std::atomic<bool> done{false};
  std::thread reaper([&] {
    while (!done) ::waitpid(-1, nullptr, __WALL | WNOHANG);
  });
  for (int i = 0; i < 5; ++i) {
    const auto result = checkpoint(options());
    EXPECT_TRUE(result.ok()) << result.status().to_string();
  }
  done = true;
  reaper.join();
}

TEST_F(CheckpointTest, FillsAnOlderProgramsResult) {
  const CheckpointOptions with = options();
  const stillpoint_options_t c_options = internal::to_c(with);
  struct {
    stillpoint_result_t result = STILLPOINT_RESULT_INIT;
  } older;
  older.result.struct_size = offsetof(stillpoint_result_t, pause_ns);
  older.result.pause_ns = 99;
  ASSERT_EQ(stillpoint_checkpoint(with.directory.c_str(), &c_options, &older.result), STILLPOINT_OK);
  EXPECT_EQ(older.result.outcome, STILLPOINT_OUTCOME_RESUMED);
  EXPECT_EQ(older.result.pause_ns, 99u) << "beyond what the program knows";
  stillpoint_result_t unset{};
  EXPECT_EQ(stillpoint_checkpoint("d", &c_options, &unset), STILLPOINT_INVALID_ARGUMENT);
  EXPECT_EQ(stillpoint_checkpoint(with.directory.c_str(), &c_options, nullptr), STILLPOINT_OK);
}

// The simulated restart leaves the old life's fds behind: it runs in a child.
void restored_child(const CheckpointOptions& options) {
  std::vector<std::string> log;
  const HookRegistration hook = add_hooks(
      "hook", [&] { log.push_back("pre"); }, [&] { log.push_back("resume"); }, [&] { log.push_back("restore"); });
  const Environment mode("FAKE_HELPER", "restore");
  sigset_t before, after;
  ::sigprocmask(SIG_SETMASK, nullptr, &before);
  const auto result = checkpoint(options);
  ::sigprocmask(SIG_SETMASK, nullptr, &after);
  std::ostringstream seen;
  if (!result.ok()) {
    seen << result.status().to_string();
  } else {
    seen << static_cast<int>(result->outcome) << " " << result->image_path.substr(options.directory.size()) << " "
         << result->sequence << " " << result->in_namespace << result->clocks_jumped << " "
         << memcmp(&before, &after, 8);
    for (const std::string& line : log) seen << " " << line;
    for (const std::string& note : result->notes) seen << " [" << note << "]";
  }
  std::ofstream(options.directory + "/seen") << seen.str();
}

TEST_F(CheckpointTest, ComesBackRestored) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(60);
    restored_child(options());
    // Once more, in the new life.
    const auto again = checkpoint(options());
    ::_exit(again.ok() && again->outcome == Outcome::kResumed ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  g_child_signals = 0;
  std::ifstream file(directory_.path() + "/seen");
  std::string seen;
  std::getline(file, seen);
  EXPECT_EQ(seen, "2 /ckpt-00000042 42 10 0 pre restore [first note] [second note]");
  EXPECT_EQ(status, 0) << "the new life can checkpoint";
}

}  // namespace
}  // namespace stillpoint::sdk
