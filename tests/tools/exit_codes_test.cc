#include "tools/exit_codes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "tests/tools/command_runner.h"

namespace stillpoint::tools {
namespace {

using ::testing::HasSubstr;

// How a process ends that ends like `status`.
int status_of_end_like(int status, bool with_blocked_and_ignored_signal) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    if (with_blocked_and_ignored_signal) {
      sigset_t all;
      ::sigfillset(&all);
      ::sigprocmask(SIG_SETMASK, &all, nullptr);
      ::signal(SIGTERM, SIG_IGN);
      ::signal(SIGSEGV, SIG_IGN);
    }
    end_like(status);
  }
  int result = -1;
  EXPECT_EQ(::waitpid(pid, &result, 0), pid);
  return result;
}

TEST(EndLike, PassesExitCodesOn) {
  for (const int code : {0, 1, 7, 85, 255}) {
    const int status = status_of_end_like(W_EXITCODE(code, 0), false);
    ASSERT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), code);
  }
}

TEST(EndLike, DiesByTheSameSignalWithoutACore) {
  for (const int signal_number : {SIGTERM, SIGKILL, SIGSEGV, SIGINT, SIGRTMIN + 1}) {
    for (const bool hindered : {false, true}) {
      const int status = status_of_end_like(W_EXITCODE(0, signal_number), hindered);
      ASSERT_TRUE(WIFSIGNALED(status)) << signal_number;
      EXPECT_EQ(WTERMSIG(status), signal_number);
      EXPECT_FALSE(WCOREDUMP(status));
    }
  }
}

TEST(ExitCode, OfExecErrors) {
  EXPECT_EQ(exit_code_of_exec_error(ENOENT), 127);
  EXPECT_EQ(exit_code_of_exec_error(EACCES), 126);
  EXPECT_EQ(exit_code_of_exec_error(ENOEXEC), 126);
}

TEST(ExecError, SaysWhatIsWrongWithTheProgram) {
  TemporaryDirectory directory;
  EXPECT_EQ(describe_exec_error("nosuch", ENOENT), "there is no program \"nosuch\" in PATH");
  EXPECT_EQ(describe_exec_error("./nosuch", ENOENT), "there is no program ./nosuch");
  write_file(directory / "script", "#!/nonexistent/interpreter\n");
  EXPECT_THAT(describe_exec_error(directory / "script", ENOENT), HasSubstr("the interpreter that it names"));
  EXPECT_THAT(describe_exec_error(directory / "script", EACCES), HasSubstr("script is not executable for you"));
  EXPECT_THAT(describe_exec_error("tool", EACCES), HasSubstr("tool, found in PATH, is not executable"));
  EXPECT_THAT(describe_exec_error("tool", ENOEXEC), HasSubstr("tool: ENOEXEC"));
}

}  // namespace
}  // namespace stillpoint::tools
