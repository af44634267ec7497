// Details out of an image that somebody has tampered with: an error, or a socket, but never a crash or a hang.
#include <unistd.h>

#include <random>

#include "absl/strings/str_cat.h"
#include "helper/resources/socket.pb.h"
#include "tests/resources_sockets/socket_room.h"

namespace stillpoint {
namespace {

// Dumps some sockets with as much in their details as there can be.
model::Tree rich_tree(const std::string& directory) {
  SocketRoom room;
  UniqueFd listener = make_socket(AF_INET, SOCK_STREAM);
  set_int(listener.get(), SOL_SOCKET, SO_KEEPALIVE, 1);
  bind_to(listener.get(), loopback(AF_INET));
  EXPECT_EQ(::listen(listener.get(), 3), 0);
  room.enter(std::move(listener));
  UniqueFd udp = make_socket(AF_INET, SOCK_DGRAM);
  bind_to(udp.get(), loopback(AF_INET));
  const SocketAddress self = local_address(udp.get());
  EXPECT_EQ(::sendto(udp.get(), "self", 4, 0, self.get(), self.length()), 4);
  room.enter(std::move(udp));
  auto [a, b] = make_socketpair(SOCK_SEQPACKET);
  EXPECT_EQ(::send(a.get(), "queued", 6, 0), 6);
  set_int(b.get(), SOL_SOCKET, SO_PASSCRED, 1);
  room.enter(std::move(a));
  room.enter(std::move(b));
  UniqueFd named = make_socket(AF_UNIX, SOCK_STREAM);
  bind_to(named.get(), unix_address(directory + "/s"));
  EXPECT_EQ(::listen(named.get(), 3), 0);
  room.enter(std::move(named));
  room.dump();
  return room.tree;
}

// Bytes that name files or directories are left alone: a mutated path could be bound anywhere.
void restore_mutated(const model::Tree& tree) {
  SocketRoom room;
  room.tree = tree;
  (void)room.try_restore();
}

TEST(HostileDetail, MutatedBytesAreErrorsNotCrashes) {
  ScratchDirectory directory;
  const model::Tree tree = rich_tree(directory.path());
  ASSERT_EQ(tree.open_files_size(), 5);
  std::mt19937 random(7);
  for (int round = 0; round < 2000; ++round) {
    model::Tree mutated = tree;
    model::OpenFile* file = mutated.mutable_open_files(static_cast<int>(random() % 4));
    std::string& detail = *file->mutable_detail();
    for (unsigned i = 0, changes = 1 + random() % 3; i < changes && !detail.empty(); ++i) {
      const size_t at = random() % detail.size();
      switch (random() % 3) {
        case 0:
          detail[at] = static_cast<char>(random() % 256);
          break;
        case 1:
          detail.erase(at, 1 + random() % 4);
          break;
        default:
          detail.insert(at, 1, static_cast<char>(random() % 256));
      }
    }
    restore_mutated(mutated);
  }
}

TEST(HostileDetail, TruncatedDetailsAreErrorsNotCrashes) {
  ScratchDirectory directory;
  const model::Tree tree = rich_tree(directory.path());
  for (int i = 0; i < tree.open_files_size(); ++i) {
    for (size_t size = 0; size < tree.open_files(i).detail().size(); size += 3) {
      model::Tree mutated = tree;
      mutated.mutable_open_files(i)->mutable_detail()->resize(size);
      restore_mutated(mutated);
    }
  }
}

absl::Status restore_unix(const std::vector<resources::UnixSocketDetail>& details) {
  SocketRoom room;
  for (const resources::UnixSocketDetail& detail : details) {
    model::OpenFile* file = room.tree.add_open_files();
    file->set_id(static_cast<uint64_t>(room.tree.open_files_size()));
    file->set_kind("unix");
    file->set_detail(detail.SerializeAsString());
  }
  return room.try_restore();
}

TEST(HostileDetail, ContradictionsAreErrors) {
  resources::UnixSocketDetail good;
  good.set_type(SOCK_STREAM);
  EXPECT_TRUE(restore_unix({good}).ok());

  resources::UnixSocketDetail detail = good;
  detail.set_type(77);
  EXPECT_FALSE(restore_unix({detail}).ok());

  detail = good;
  detail.set_listening(true);
  detail.set_peer_state(resources::UnixSocketDetail::PAIR);
  EXPECT_FALSE(restore_unix({detail}).ok());

  detail = good;
  detail.add_queue()->set_data("x");
  EXPECT_FALSE(restore_unix({detail}).ok());

  detail = good;
  detail.mutable_name()->set_name(std::string(200, 'x'));
  EXPECT_FALSE(restore_unix({detail}).ok());
  detail.mutable_name()->set_name(std::string("/tmp/a\0b", 8));
  EXPECT_FALSE(restore_unix({detail}).ok());

  // A pair with itself, three that claim one another, two of different types.
  detail = good;
  detail.set_peer_state(resources::UnixSocketDetail::PAIR);
  detail.set_peer(1);
  EXPECT_FALSE(restore_unix({detail}).ok());
  detail.set_peer(2);
  resources::UnixSocketDetail partner = detail;
  partner.set_peer(1);
  EXPECT_TRUE(restore_unix({detail, partner}).ok());
  EXPECT_FALSE(restore_unix({detail, partner, partner}).ok());
  partner.set_type(SOCK_DGRAM);
  EXPECT_FALSE(restore_unix({detail, partner}).ok());

  // A sender that does not exist.
  resources::UnixSocketDetail datagram;
  datagram.set_type(SOCK_DGRAM);
  datagram.mutable_name()->set_name(absl::StrCat(std::string(1, '\0'), "stillpoint-hostile-", ::getpid()));
  EXPECT_TRUE(restore_unix({datagram}).ok());
  datagram.add_queue()->set_sender(99);
  EXPECT_FALSE(restore_unix({datagram}).ok());
}

}  // namespace
}  // namespace stillpoint
