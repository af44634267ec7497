#include "helper/resources/socket_diag.h"

#include <linux/netlink.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <random>

#include "absl/strings/str_cat.h"
#include "tests/resources_sockets/socket_room.h"

namespace stillpoint {
namespace {

uint64_t inode_of(int fd) {
  struct stat file = {};
  EXPECT_EQ(::fstat(fd, &file), 0);
  return file.st_ino;
}

TEST(SocketDiag, TellsThePeerTheQueueAndTheShutdown) {
  absl::StatusOr<SocketDiag> diag = SocketDiag::open();
  ASSERT_TRUE(diag.ok()) << diag.status();
  const auto [a, b] = make_socketpair(SOCK_STREAM);
  ASSERT_EQ(::send(a.get(), "12345", 5, 0), 5);
  ASSERT_EQ(::shutdown(a.get(), SHUT_WR), 0);
  const absl::StatusOr<UnixSocketInfo> info = diag->unix_socket(inode_of(b.get()));
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->type, SOCK_STREAM);
  EXPECT_EQ(info->inode, inode_of(b.get()));
  EXPECT_TRUE(info->has_peer);
  EXPECT_EQ(info->peer_inode, inode_of(a.get()));
  EXPECT_EQ(info->receive_queue, 5u);
  EXPECT_EQ(info->shutdown, 1);
  EXPECT_EQ(info->name, "");
  const absl::StatusOr<UnixSocketInfo> writer = diag->unix_socket(inode_of(a.get()));
  ASSERT_TRUE(writer.ok());
  EXPECT_EQ(writer->shutdown, 2);
  EXPECT_GT(writer->send_memory, 0u);
}

TEST(SocketDiag, ListsNamesAndFiles) {
  ScratchDirectory directory;
  const std::string path = directory.path() + "/s";
  const UniqueFd listener = make_socket(AF_UNIX, SOCK_SEQPACKET);
  bind_to(listener.get(), unix_address(path));
  ASSERT_EQ(::listen(listener.get(), 9), 0);
  absl::StatusOr<SocketDiag> diag = SocketDiag::open();
  ASSERT_TRUE(diag.ok()) << diag.status();
  const absl::StatusOr<std::vector<UnixSocketInfo>> all = diag->all_unix_sockets();
  ASSERT_TRUE(all.ok()) << all.status();
  const auto found =
      std::find_if(all->begin(), all->end(), [&](const UnixSocketInfo& info) { return info.name == path; });
  ASSERT_NE(found, all->end());
  EXPECT_EQ(found->inode, inode_of(listener.get()));
  EXPECT_EQ(found->backlog, 9u);
  struct stat file = {};
  ASSERT_EQ(::stat(path.c_str(), &file), 0);
  EXPECT_TRUE(found->file_inode.has_value());
}

TEST(SocketDiag, AnInodeThatIsNoSocketIsNotFound) {
  absl::StatusOr<SocketDiag> diag = SocketDiag::open();
  ASSERT_TRUE(diag.ok());
  uint64_t inode = 0;
  {
    const UniqueFd closed = make_socket(AF_UNIX, SOCK_STREAM);
    inode = inode_of(closed.get());
  }
  EXPECT_TRUE(absl::IsNotFound(diag->unix_socket(inode).status()));
}

// The kernel's answers are parsed as if somebody else had written them.
TEST(SocketDiag, DamagedAnswersAreErrorsOrSockets) {
  std::mt19937 random(1);
  const auto number = [&](unsigned below) { return static_cast<unsigned>(random() % below); };
  std::string message(sizeof(nlmsghdr) + 64, '\0');
  nlmsghdr header = {};
  header.nlmsg_type = 20;
  for (int round = 0; round < 20000; ++round) {
    header.nlmsg_len = number(4) == 0 ? number(200) : static_cast<unsigned>(message.size());
    for (size_t i = sizeof header; i < message.size(); ++i)
      message[i] = static_cast<char>(number(3) == 0 ? number(256) : 0);
    message.replace(0, sizeof header, reinterpret_cast<const char*>(&header), sizeof header);
    std::vector<UnixSocketInfo> sockets;
    bool done = false;
    const absl::Status status = SocketDiag::parse(
        absl::string_view(message).substr(0, number(static_cast<unsigned>(message.size()) + 1)), sockets, done);
    if (!status.ok()) {
      EXPECT_TRUE(absl::IsDataLoss(status)) << status;
    }
  }
}

}  // namespace
}  // namespace stillpoint
