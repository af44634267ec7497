// Names of UNIX sockets in the file system.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "tests/resources_sockets/socket_room.h"

namespace stillpoint {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

UniqueFd listen_at(const std::string& path) {
  UniqueFd fd = make_socket(AF_UNIX, SOCK_STREAM);
  bind_to(fd.get(), unix_address(path));
  EXPECT_EQ(::listen(fd.get(), 3), 0);
  return fd;
}

mode_t mode_of(const std::string& path) {
  struct stat file = {};
  EXPECT_EQ(::lstat(path.c_str(), &file), 0) << path;
  return file.st_mode & 07777;
}

class WorkingDirectory {
 public:
  explicit WorkingDirectory(const std::string& path) : before_(std::filesystem::current_path()) {
    std::filesystem::current_path(path);
  }
  ~WorkingDirectory() { std::filesystem::current_path(before_); }

 private:
  std::filesystem::path before_;
};

class UnixName : public ::testing::Test {
 protected:
  void expect_connectable(const std::string& path) {
    const UniqueFd client = make_socket(AF_UNIX, SOCK_STREAM);
    connect_to(client.get(), unix_address(path));
  }
  ScratchDirectory directory_;
  const std::string path_ = directory_.path() + "/s";
  SocketRoom room_;
};

TEST_F(UnixName, TheDeadProcesssFileIsReplacedWithItsMode) {
  const uint64_t id = room_.enter(listen_at(path_));
  ASSERT_EQ(::chmod(path_.c_str(), 0640), 0);
  room_.round_trip();  // the file is still there
  ASSERT_FALSE(HasFatalFailure());
  EXPECT_EQ(mode_of(path_), 0640u);
  EXPECT_EQ(local_address(room_.restored(id)).unix_name(), path_);
  expect_connectable(path_);
  EXPECT_THAT(room_.restore_context.notes, IsEmpty());
}

TEST_F(UnixName, AFileThatIsGoneIsMadeAgain) {
  room_.enter(listen_at(path_));
  ASSERT_EQ(::chmod(path_.c_str(), 0777), 0);
  room_.dump();
  ASSERT_FALSE(HasFatalFailure());
  ASSERT_EQ(::unlink(path_.c_str()), 0);
  room_.restore();
  ASSERT_FALSE(HasFatalFailure());
  EXPECT_EQ(mode_of(path_), 0777u);
  expect_connectable(path_);
}

TEST_F(UnixName, ALiveSocketIsNotReplaced) {
  room_.enter(listen_at(path_));
  room_.dump();
  ASSERT_FALSE(HasFatalFailure());
  ASSERT_EQ(::unlink(path_.c_str()), 0);
  const UniqueFd other = listen_at(path_);
  const absl::Status status = room_.try_restore();
  EXPECT_TRUE(absl::IsAlreadyExists(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(path_));
  expect_connectable(path_);
  // Asking whether somebody is there must not look like a client.
  ASSERT_EQ(::fcntl(other.get(), F_SETFL, O_NONBLOCK), 0);
  ASSERT_EQ(::fcntl(other.get(), F_SETFL, O_NONBLOCK), 0);
  const UniqueFd client(::accept(other.get(), nullptr, nullptr));
  EXPECT_TRUE(client.valid());
  EXPECT_LT(::accept(other.get(), nullptr, nullptr), 0);
}

TEST_F(UnixName, AnotherFileIsNotReplaced) {
  room_.enter(listen_at(path_));
  room_.dump();
  ASSERT_FALSE(HasFatalFailure());
  ASSERT_EQ(::unlink(path_.c_str()), 0);
  std::ofstream(path_) << "precious";
  EXPECT_TRUE(absl::IsAlreadyExists(room_.try_restore()));
  EXPECT_EQ(std::filesystem::file_size(path_), 8u);
}

TEST_F(UnixName, AnUnlinkedNameStaysUnlinked) {
  const uint64_t id = room_.enter(listen_at(path_));
  ASSERT_EQ(::unlink(path_.c_str()), 0);
  room_.round_trip();
  ASSERT_FALSE(HasFatalFailure());
  EXPECT_EQ(local_address(room_.restored(id)).unix_name(), path_);
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(UnixName, RelativePathsAreBoundFromTheirDirectory) {
  {
    const WorkingDirectory there(directory_.path());
    const uint64_t id = room_.enter(listen_at("relative"));
    room_.dump();
    ASSERT_FALSE(HasFatalFailure());
    (void)id;
  }
  const std::filesystem::path before = std::filesystem::current_path();
  room_.restore();
  ASSERT_FALSE(HasFatalFailure());
  EXPECT_EQ(std::filesystem::current_path(), before);
  EXPECT_EQ(local_address(room_.restored(1)).unix_name(), "relative");
  expect_connectable(directory_.path() + "/relative");
}

TEST_F(UnixName, ARelativePathOfAnotherDirectoryIsRefused) {
  uint64_t id = 0;
  {
    const WorkingDirectory there(directory_.path());
    id = room_.enter(listen_at("relative"));
    EXPECT_THAT(room_.audit(id), IsEmpty());
  }
  EXPECT_THAT(codes(room_.audit(id)), ElementsAre("SP-UNIX-RELATIVE"));
}

TEST_F(UnixName, PathsAreMapped) {
  ScratchDirectory elsewhere;
  room_.enter(listen_at(path_));
  room_.dump();
  ASSERT_FALSE(HasFatalFailure());
  room_.restore_context.mapped = {directory_.path(), elsewhere.path()};
  room_.restore();
  ASSERT_FALSE(HasFatalFailure());
  expect_connectable(elsewhere.path() + "/s");
}

TEST_F(UnixName, DatagramSocketsAreBoundAgain) {
  UniqueFd fd = make_socket(AF_UNIX, SOCK_DGRAM);
  bind_to(fd.get(), unix_address(path_));
  const uint64_t id = room_.enter(std::move(fd));
  room_.round_trip();
  ASSERT_FALSE(HasFatalFailure());
  const UniqueFd client = make_socket(AF_UNIX, SOCK_DGRAM);
  connect_to(client.get(), unix_address(path_));
  ASSERT_EQ(::send(client.get(), "hello", 5, 0), 5);
  EXPECT_EQ(receive(room_.restored(id)), "hello");
}

}  // namespace
}  // namespace stillpoint
