// Standard streams that come from whoever started the program.
#include "helper/resources/inherited.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "helper/base/unique_fd.h"
#include "helper/resources/kinds.h"
#include "helper/resources/regular_file.pb.h"
#include "tests/resources/round_trip.h"
#include "tests/resources/temporary_directory.h"

namespace stillpoint {
namespace {

// A program whose standard output is a file: redirected by the process that started it, or opened by itself.
class Program {
 public:
  Program(const std::string& output, bool redirected_by_starter) {
    int ready[2];
    EXPECT_EQ(::pipe(ready), 0);
    starter_ = ::fork();
    if (starter_ == 0) {
      if (redirected_by_starter) redirect(output);
      const pid_t program = ::fork();
      if (program == 0) {
        if (!redirected_by_starter) redirect(output);
        const pid_t own = ::getpid();
        if (::write(ready[1], &own, sizeof own) != sizeof own) ::_exit(1);
      }
      for (;;) ::pause();
    }
    EXPECT_EQ(::read(ready[0], &pid_, sizeof pid_), static_cast<ssize_t>(sizeof pid_));
    ::close(ready[0]);
    ::close(ready[1]);
  }
  ~Program() {
    if (pid_ > 0) ::kill(pid_, SIGKILL);
    ::kill(starter_, SIGKILL);
    ::waitpid(starter_, nullptr, 0);
  }
  pid_t pid() const { return pid_; }

 private:
  static void redirect(const std::string& output) {
    const int fd = ::open(output.c_str(), O_WRONLY | O_CREAT, 0600);
    if (fd < 0 || ::dup2(fd, STDOUT_FILENO) < 0) ::_exit(1);
  }
  pid_t starter_ = -1;
  pid_t pid_ = -1;
};

// The program's standard output as a dump enters it.
model::OpenFile dump_stdout(pid_t pid) {
  FakeDumpContext context;
  context.inherited_numbers.insert(STDOUT_FILENO);
  context.ids[{pid, STDOUT_FILENO}] = 1;
  model::OpenFile message;
  message.set_id(1);
  message.set_kind("file");
  message.set_flags(O_WRONLY);
  EXPECT_EQ(regular_file_kind().dump(view_of(pid, STDOUT_FILENO, -1), context, message), absl::OkStatus());
  return message;
}

TEST(InheritedTest, RedirectedOutputIsTheRestartersOutput) {
  TemporaryDirectory directory;
  const Program program(directory / "log", true);
  const model::OpenFile message = dump_stdout(program.pid());
  ASSERT_EQ(message.kind(), "inherited");

  FakeRestoreContext context;
  const UniqueFd restarters(::open((directory / "new log").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600));
  context.restarter_fds[STDOUT_FILENO] = restarters.get();
  const absl::StatusOr<UniqueFd> restored = inherited_kind().restore(message, context);
  ASSERT_EQ(restored.status(), absl::OkStatus());
  ASSERT_EQ(inherited_kind().finish(message, restored->get(), context), absl::OkStatus());
  ASSERT_EQ(::write(restored->get(), "hello", 5), 5);
  EXPECT_EQ(read_file(directory / "new log"), "hello");
  EXPECT_NE(::fcntl(restarters.get(), F_GETFL) & O_APPEND, 0);
}

TEST(InheritedTest, OutputTheProgramOpenedItselfIsItsOwn) {
  TemporaryDirectory directory;
  const Program program(directory / "log", false);
  const model::OpenFile message = dump_stdout(program.pid());
  ASSERT_EQ(message.kind(), "file");
  resources::RegularFileDetail detail;
  ASSERT_TRUE(detail.ParseFromString(message.detail()));
  EXPECT_EQ(detail.path(), directory / "log");
}

TEST(InheritedTest, NonBlockingModeIsKept) {
  int pipe[2];
  ASSERT_EQ(::pipe2(pipe, O_CLOEXEC), 0);
  const UniqueFd read_end(pipe[0]), write_end(pipe[1]);
  FakeDumpContext dump_context;
  model::OpenFile message;
  message.set_flags(O_NONBLOCK);
  ASSERT_EQ(inherited_kind().dump(view_of(::getpid(), STDIN_FILENO, STDIN_FILENO), dump_context, message),
            absl::OkStatus());
  FakeRestoreContext context;
  context.restarter_fds[STDIN_FILENO] = read_end.get();
  const absl::StatusOr<UniqueFd> restored = inherited_kind().restore(message, context);
  ASSERT_EQ(restored.status(), absl::OkStatus());
  EXPECT_NE(::fcntl(restored->get(), F_GETFL) & O_NONBLOCK, 0);
}

TEST(InheritedTest, StreamIsFoundUnderAHigherNumber) {
  TemporaryDirectory directory;
  const Program program(directory / "log", true);
  OpenFileView view = view_of(program.pid(), STDOUT_FILENO, -1);
  view.number = 255;  // as bash keeps its terminal
  view.numbers = {255};
  EXPECT_EQ(inherited_number(view), STDOUT_FILENO);
  EXPECT_TRUE(starter_holds(view));
}

TEST(InheritedTest, KindRestoresFromTheRestarter) {
  ASSERT_EQ(open_file_kind("inherited"), &inherited_kind());
  const UniqueFd null_device(::open("/dev/null", O_RDWR));
  FakeDumpContext dump_context;
  model::OpenFile message;
  message.set_kind("inherited");
  ASSERT_EQ(inherited_kind().dump(view_of(::getpid(), null_device.get(), null_device.get()), dump_context, message),
            absl::OkStatus());
  FakeRestoreContext context;
  EXPECT_FALSE(inherited_kind().restore(message, context).ok()) << "the restarter has no such fd";
  context.restarter_fds[inherited_number(view_of(::getpid(), null_device.get(), -1))] = null_device.get();
  EXPECT_EQ(inherited_kind().restore(message, context).status(), absl::OkStatus());
}

}  // namespace
}  // namespace stillpoint
