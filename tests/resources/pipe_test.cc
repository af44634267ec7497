#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string>

#include "tests/resources/round_trip.h"
#include "tests/resources/temporary_directory.h"

namespace stillpoint {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

struct Ends {
  int read = -1, write = -1;
};

Ends make_pipe(int flags = 0) {
  int ends[2] = {-1, -1};
  EXPECT_EQ(::pipe2(ends, flags), 0);
  return {ends[0], ends[1]};
}

// One read(2) without waiting; "<EAGAIN>" when nothing is there, "<EOF>" at the end.
std::string read_once(int fd, size_t size = 100'000) {
  const int flags = ::fcntl(fd, F_GETFL);
  EXPECT_EQ(::fcntl(fd, F_SETFL, flags | O_NONBLOCK), 0);
  std::string bytes(size, '\0');
  const ssize_t n = ::read(fd, bytes.data(), bytes.size());
  const int error = errno;
  EXPECT_EQ(::fcntl(fd, F_SETFL, flags), 0);
  if (n == 0) return "<EOF>";
  if (n < 0) return error == EAGAIN ? "<EAGAIN>" : "<error>";
  bytes.resize(static_cast<size_t>(n));
  return bytes;
}

ssize_t write_text(int fd, const std::string& text) { return ::write(fd, text.data(), text.size()); }

class PipeTest : public testing::Test {
 protected:
  PipeTest() { ::signal(SIGPIPE, SIG_IGN); }
  ~PipeTest() override { ::signal(SIGPIPE, SIG_DFL); }
  RoundTrip trip_;
};

TEST_F(PipeTest, BothEndsComeBackWithContentAndCapacity) {
  const Ends pipe = make_pipe(O_NONBLOCK);
  ASSERT_EQ(::fcntl(pipe.write, F_SETPIPE_SZ, 16384), 16384);
  ASSERT_EQ(write_text(pipe.write, "waiting"), 7);
  trip_.add(pipe.read);
  trip_.add(pipe.write);
  EXPECT_THAT(codes(trip_.audit()), IsEmpty());
  ASSERT_EQ(trip_.dump(), absl::OkStatus());
  int still = 0;
  ASSERT_EQ(::ioctl(pipe.read, FIONREAD, &still), 0);
  EXPECT_EQ(still, 7) << "the dump took the content";
  trip_.lose();
  ASSERT_EQ(trip_.restore(), absl::OkStatus());
  EXPECT_EQ(::fcntl(pipe.write, F_GETPIPE_SZ), 16384);
  EXPECT_EQ(::fcntl(pipe.read, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
  EXPECT_EQ(::fcntl(pipe.write, F_GETFL) & O_ACCMODE, O_WRONLY);
  ASSERT_EQ(write_text(pipe.write, " more"), 5);
  EXPECT_EQ(read_once(pipe.read), "waiting more");
  EXPECT_EQ(read_once(pipe.read), "<EAGAIN>");
}

TEST_F(PipeTest, WriteEndEnteredFirst) {
  const Ends pipe = make_pipe();
  ASSERT_EQ(write_text(pipe.write, "abc"), 3);
  trip_.add(pipe.write);
  trip_.add(pipe.read);
  ASSERT_EQ(trip_.travel(), absl::OkStatus());
  EXPECT_EQ(read_once(pipe.read), "abc");
  ASSERT_EQ(write_text(pipe.write, "def"), 3);
  EXPECT_EQ(read_once(pipe.read), "def");
}

TEST_F(PipeTest, FullPipeComesBackFull) {
  const Ends pipe = make_pipe(O_NONBLOCK);
  std::string content;
  while (write_text(pipe.write, std::string(1000, static_cast<char>('a' + content.size() % 26))) == 1000) {
    content += std::string(1000, static_cast<char>('a' + content.size() % 26));
  }
  trip_.add(pipe.read);
  trip_.add(pipe.write);
  ASSERT_EQ(trip_.travel(), absl::OkStatus());
  EXPECT_EQ(read_once(pipe.read), content);
}

TEST_F(PipeTest, ThreeDescriptionsOfOnePipe) {
  const Ends pipe = make_pipe();
  const int second_reader = ::open(("/proc/self/fd/" + std::to_string(pipe.read)).c_str(), O_RDONLY | O_NONBLOCK);
  ASSERT_GE(second_reader, 0);
  trip_.add(pipe.read);
  trip_.add(second_reader);
  trip_.add(pipe.write);
  EXPECT_THAT(codes(trip_.audit()), IsEmpty());
  ASSERT_EQ(trip_.travel(), absl::OkStatus());
  ASSERT_EQ(write_text(pipe.write, "ab"), 2);
  EXPECT_EQ(read_once(second_reader, 1), "a");
  EXPECT_EQ(read_once(pipe.read, 1), "b");
}

TEST_F(PipeTest, PacketsStayPackets) {
  const Ends pipe = make_pipe(O_DIRECT);
  ASSERT_EQ(write_text(pipe.write, "first"), 5);
  ASSERT_EQ(write_text(pipe.write, "second"), 6);
  ASSERT_EQ(write_text(pipe.write, "x"), 1);
  trip_.add(pipe.read);
  trip_.add(pipe.write);
  EXPECT_THAT(codes(trip_.audit()), IsEmpty());
  ASSERT_EQ(trip_.travel(), absl::OkStatus());
  EXPECT_NE(::fcntl(pipe.write, F_GETFL) & O_DIRECT, 0);
  ASSERT_EQ(write_text(pipe.write, "y"), 1);
  EXPECT_EQ(read_once(pipe.read, 3), "fir");  // the rest of the packet is dropped
  EXPECT_EQ(read_once(pipe.read), "second");
  EXPECT_EQ(read_once(pipe.read), "x");
  EXPECT_EQ(read_once(pipe.read), "y");
}

TEST_F(PipeTest, SinglePacketIsToldFromPlainContent) {
  const Ends packets = make_pipe(O_DIRECT), plain = make_pipe();
  ASSERT_EQ(write_text(packets.write, "p"), 1);
  ASSERT_EQ(write_text(plain.write, "p"), 1);
  for (const int fd : {packets.read, packets.write, plain.read, plain.write}) trip_.add(fd);
  ASSERT_EQ(trip_.travel(), absl::OkStatus());
  ASSERT_EQ(write_text(packets.write, "q"), 1);
  ASSERT_EQ(write_text(plain.write, "q"), 1);
  EXPECT_EQ(read_once(packets.read), "p");
  EXPECT_EQ(read_once(packets.read), "q");
  EXPECT_EQ(read_once(plain.read), "pq");
}

TEST_F(PipeTest, WithoutPidfdGetfd) {
  const Ends pipe = make_pipe();
  ASSERT_EQ(write_text(pipe.write, "abc"), 3);
  trip_.add_without_copy(pipe.write);
  trip_.add_without_copy(pipe.read);
  EXPECT_THAT(codes(trip_.audit()), IsEmpty());
  ASSERT_EQ(trip_.travel(), absl::OkStatus());
  EXPECT_EQ(read_once(pipe.read), "abc");
}

TEST_F(PipeTest, ClosedWriterIsEofAfterTheContent) {
  const Ends pipe = make_pipe();
  ASSERT_EQ(write_text(pipe.write, "last words"), 10);
  ASSERT_EQ(::close(pipe.write), 0);
  trip_.add(pipe.read);
  trip_.dump_context.inherited_numbers.insert(pipe.read);  // cat file | program, and cat has finished
  EXPECT_THAT(codes(trip_.audit()), IsEmpty());
  ASSERT_EQ(trip_.travel(), absl::OkStatus());
  EXPECT_EQ(read_once(pipe.read), "last words");
  EXPECT_EQ(read_once(pipe.read), "<EOF>");
}

TEST_F(PipeTest, ClosedReaderIsABrokenPipe) {
  const Ends pipe = make_pipe();
  ASSERT_EQ(::close(pipe.read), 0);
  trip_.add(pipe.write);
  EXPECT_THAT(codes(trip_.audit()), IsEmpty());
  ASSERT_EQ(trip_.travel(), absl::OkStatus());
  EXPECT_EQ(write_text(pipe.write, "x"), -1);
  EXPECT_EQ(errno, EPIPE);
}

TEST_F(PipeTest, EndOutsideTheImageIsAFinding) {
  const Ends pipe = make_pipe();
  trip_.add(pipe.read);
  EXPECT_THAT(codes(trip_.audit()), ElementsAre("SP-PIPE-EXTERNAL"));
  RoundTrip other;
  other.add(pipe.write);
  trip_.dump_context.ids.clear();
  EXPECT_THAT(codes(other.audit()), ElementsAre("SP-PIPE-EXTERNAL"));
}

TEST_F(PipeTest, EndOutsideTheImageIsAFindingWithoutPidfdGetfd) {
  const Ends pipe = make_pipe();
  trip_.add_without_copy(pipe.read);
  EXPECT_THAT(codes(trip_.audit()), ElementsAre("SP-PIPE-EXTERNAL"));
  ::close(pipe.write);
}

TEST_F(PipeTest, TwoReadersAreNotAPair) {
  const Ends pipe = make_pipe();
  const int second_reader = ::open(("/proc/self/fd/" + std::to_string(pipe.read)).c_str(), O_RDONLY | O_NONBLOCK);
  trip_.add(pipe.read);
  trip_.add(second_reader);
  EXPECT_THAT(codes(trip_.audit()), ElementsAre("SP-PIPE-EXTERNAL", "SP-PIPE-EXTERNAL"));
  ::close(pipe.write);
}

TEST_F(PipeTest, StartersPipeComesFromTheRestarter) {
  const Ends old_pipe = make_pipe(), new_pipe = make_pipe();
  ASSERT_EQ(write_text(old_pipe.write, "unread"), 6);
  trip_.add(old_pipe.read);
  trip_.dump_context.inherited_numbers.insert(old_pipe.read);
  trip_.restore_context.restarter_fds[old_pipe.read] = new_pipe.read;
  EXPECT_THAT(codes(trip_.audit()), IsEmpty());
  ASSERT_EQ(trip_.travel(), absl::OkStatus());
  ASSERT_EQ(write_text(new_pipe.write, "fresh"), 5);
  EXPECT_EQ(read_once(old_pipe.read), "fresh");
  EXPECT_TRUE(trip_.noted("6 bytes"));
  for (const int fd : {old_pipe.write, new_pipe.read, new_pipe.write}) ::close(fd);
}

class FifoTest : public PipeTest {
 protected:
  FifoTest() { EXPECT_EQ(::mkfifo(path_.c_str(), 0600), 0); }
  Ends open_both() {
    const int reader = ::open(path_.c_str(), O_RDONLY | O_NONBLOCK);
    const int writer = ::open(path_.c_str(), O_WRONLY);
    EXPECT_EQ(::fcntl(reader, F_SETFL, 0), 0);
    return {reader, writer};
  }
  TemporaryDirectory directory_;
  std::string path_ = directory_ / "fifo";
};

TEST_F(FifoTest, BothEndsComeBackByName) {
  const Ends fifo = open_both();
  ASSERT_EQ(write_text(fifo.write, "waiting"), 7);
  trip_.add(fifo.write);
  trip_.add(fifo.read);
  EXPECT_THAT(codes(trip_.audit()), IsEmpty());
  ASSERT_EQ(trip_.travel(), absl::OkStatus());
  EXPECT_EQ(read_once(fifo.read), "waiting");
  EXPECT_EQ(::fcntl(fifo.read, F_GETFL) & O_NONBLOCK, 0);
  const int another = ::open(path_.c_str(), O_WRONLY | O_NONBLOCK);
  ASSERT_GE(another, 0) << "the restored reader is not on the FIFO of that name";
  ASSERT_EQ(write_text(another, "by name"), 7);
  EXPECT_EQ(read_once(fifo.read), "by name");
  ::close(another);
}

TEST_F(FifoTest, WriterWithoutReader) {
  const Ends fifo = open_both();
  ::close(fifo.read);
  trip_.add(fifo.write);
  ASSERT_EQ(trip_.travel(), absl::OkStatus());
  EXPECT_EQ(write_text(fifo.write, "x"), -1);
  EXPECT_EQ(errno, EPIPE);
}

TEST_F(FifoTest, OpenForBoth) {
  const int fd = ::open(path_.c_str(), O_RDWR);
  ASSERT_EQ(write_text(fd, "abc"), 3);
  trip_.add(fd);
  EXPECT_THAT(codes(trip_.audit()), IsEmpty());
  ASSERT_EQ(trip_.travel(), absl::OkStatus());
  EXPECT_EQ(read_once(fd), "abc");
}

TEST_F(FifoTest, DeletedFifoIsStillAPipe) {
  const Ends fifo = open_both();
  std::filesystem::remove(path_);
  ASSERT_EQ(write_text(fifo.write, "abc"), 3);
  trip_.add(fifo.read);
  trip_.add(fifo.write);
  ASSERT_EQ(trip_.travel(), absl::OkStatus());
  EXPECT_EQ(read_once(fifo.read), "abc");
}

TEST_F(FifoTest, VanishedFifoIsNamed) {
  const Ends fifo = open_both();
  trip_.add(fifo.read);
  trip_.add(fifo.write);
  ASSERT_EQ(trip_.dump(), absl::OkStatus());
  trip_.lose();
  std::filesystem::remove(path_);
  EXPECT_THAT(std::string(trip_.restore().message()), testing::HasSubstr(path_));
}

}  // namespace
}  // namespace stillpoint
