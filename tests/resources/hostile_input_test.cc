// Neither /proc text nor an image is believed: whatever it says, audit, dump and restore end with an answer.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "helper/base/syscalls.h"
#include "tests/resources/round_trip.h"
#include "tests/resources/temporary_directory.h"

namespace stillpoint {
namespace {

constexpr int kMutations = 400;  // of every file

std::string mutate(std::string bytes, std::mt19937& random) {
  const auto below = [&](size_t n) { return std::uniform_int_distribution<size_t>(0, n - 1)(random); };
  for (size_t changes = 1 + below(4); changes > 0 && !bytes.empty(); --changes) {
    const size_t at = below(bytes.size());
    switch (below(5)) {
      case 0:
        bytes[at] = static_cast<char>(below(256));
        break;
      case 1:
        bytes[at] = "0123456789abcdef:-() \n\t"[below(23)];
        break;
      case 2:
        bytes.erase(at, 1 + below(8));
        break;
      case 3:
        bytes.insert(at, std::string(1 + below(30), "9f\xff\0 "[below(5)]));
        break;
      default:
        bytes.resize(at);
    }
  }
  return bytes;
}

class HostileInputTest : public testing::Test {
 protected:
  HostileInputTest() {
    write_file(directory_ / "file", "content");
    write_file(directory_ / "deleted", "deleted content");
    fds_ = {::open((directory_ / "file").c_str(), O_RDWR),
            ::open((directory_ / "deleted").c_str(), O_RDWR),
            ::open(directory_.path().c_str(), O_RDONLY | O_DIRECTORY),
            ::open((directory_ / "file").c_str(), O_PATH),
            ::open("/dev/null", O_RDWR),
            ::open("/proc/self/stat", O_RDONLY),
            ::eventfd(3, 0),
            ::epoll_create1(0),
            ::timerfd_create(CLOCK_MONOTONIC, 0),
            ::inotify_init1(IN_NONBLOCK),
            ::memfd_create("memory", 0),
            sys_pidfd_open(::getpid(), 0)};
    sigset_t mask;
    sigemptyset(&mask);
    fds_.push_back(::signalfd(-1, &mask, 0));
    int pipe[2];
    EXPECT_EQ(::pipe(pipe), 0);
    EXPECT_EQ(::write(pipe[1], "abc", 3), 3);
    fds_.insert(fds_.end(), {pipe[0], pipe[1]});
    ::unlink((directory_ / "deleted").c_str());
    ::inotify_add_watch(fds_[9], directory_.path().c_str(), IN_CREATE);
    epoll_event event = {};
    event.events = EPOLLIN;
    ::epoll_ctl(fds_[7], EPOLL_CTL_ADD, fds_[6], &event);
    const itimerspec setting = {.it_interval = {1, 2}, .it_value = {1000, 3}};
    ::timerfd_settime(fds_[8], 0, &setting, nullptr);
    for (const int fd : fds_) trip_.add(fd);
  }

  TemporaryDirectory directory_;
  std::vector<int> fds_;
  RoundTrip trip_;
  std::mt19937 random_{20261123};
};

TEST_F(HostileInputTest, MutatedFdinfo) {
  int errors = 0;
  for (const int fd : fds_) {
    const OpenFileView view = view_of(::getpid(), fd, fd);
    for (int i = 0; i < kMutations; ++i) {
      OpenFileView hostile = view;
      hostile.fdinfo = mutate(view.fdinfo, random_);
      if (i % 2 == 0) hostile.fd = -1;  // then the times of a timer come from the text as well
      Findings findings;
      kind_of(hostile).audit(hostile, trip_.dump_context, findings);
      model::OpenFile message;
      if (!kind_of(hostile).dump(hostile, trip_.dump_context, message).ok()) ++errors;
    }
  }
  EXPECT_GT(errors, 100) << "the mutations do not reach the parsers";
}

TEST_F(HostileInputTest, MutatedDetails) {
  ASSERT_EQ(trip_.dump(), absl::OkStatus());
  int errors = 0;
  for (uint64_t id = 1; id <= fds_.size(); ++id) {
    const model::OpenFile& message = trip_.message(id);
    const OpenFileKind& kind = *open_file_kind(message.kind());
    for (int i = 0; i < kMutations; ++i) {
      model::OpenFile hostile = message;
      hostile.set_detail(mutate(message.detail(), random_));
      if (i % 4 == 0) hostile.set_flags(static_cast<uint32_t>(random_()) & ~uint32_t{O_PATH});
      FakeRestoreContext context;
      context.shared_memories = &trip_.dump_context.shared_memories;
      context.fds[7] = fds_[6];
      const absl::StatusOr<UniqueFd> fd = kind.restore(hostile, context);
      if (!fd.ok() || !kind.finish(hostile, fd->get(), context).ok() || !kind.commit(hostile, fd->get()).ok()) ++errors;
    }
  }
  EXPECT_GT(errors, 100) << "the mutations do not reach the checks";
  // Cut back to what a mutated size says, as any file that has grown is, but never written.
  const std::string content = read_file(directory_ / "file");
  EXPECT_EQ(content, std::string("content").substr(0, content.size()));
}

TEST_F(HostileInputTest, PathsThatAreNone) {
  ASSERT_EQ(trip_.dump(), absl::OkStatus());
  for (const uint64_t id : {uint64_t{1}, uint64_t{3}, uint64_t{4}}) {
    for (const std::string& path : {std::string(), std::string("relative"), std::string("/dev\0/null", 10)}) {
      model::OpenFile hostile = trip_.message(id);
      const std::string field = {'\x0a', static_cast<char>(path.size())};  // field 1, a later one wins
      hostile.set_detail(hostile.detail() + field + path);
      FakeRestoreContext context;
      EXPECT_EQ(open_file_kind(hostile.kind())->restore(hostile, context).status().code(), absl::StatusCode::kDataLoss);
    }
  }
}

}  // namespace
}  // namespace stillpoint
