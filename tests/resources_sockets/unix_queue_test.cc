// What waits in datagram and seqpacket sockets: boundaries, empty messages, senders.
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "helper/resources/socket_queue.h"
#include "tests/resources_sockets/socket_room.h"

namespace stillpoint {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::string> texts(const std::vector<QueuedMessage>& messages) {
  std::vector<std::string> all;
  for (const QueuedMessage& message : messages) all.push_back(message.data);
  return all;
}

TEST(SocketQueue, PeekingKeepsBoundariesAndTakesNothing) {
  for (const int type : {SOCK_DGRAM, SOCK_SEQPACKET}) {
    const auto [a, b] = make_socketpair(type);
    const std::string big(100'000, 'b');
    for (const std::string& text : {std::string("one"), std::string(), big, std::string("three")}) {
      ASSERT_EQ(::send(a.get(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
    }
    const absl::StatusOr<std::vector<QueuedMessage>> queue = peek_messages(b.get(), kNoEndOfFile);
    ASSERT_TRUE(queue.ok()) << queue.status();
    EXPECT_THAT(texts(*queue), ElementsAre("one", "", big, "three"));
    EXPECT_EQ(get_int(b.get(), SOL_SOCKET, SO_PEEK_OFF), -1);
    EXPECT_EQ(receive(b.get()), "one");
    EXPECT_EQ(receive(b.get()), "");
    EXPECT_EQ(receive(b.get()), big);
    EXPECT_EQ(receive(b.get()), "three");
    EXPECT_EQ(receive(b.get()), "<EAGAIN>");
  }
}

TEST(SocketQueue, AMessageLargerThanTheFirstBufferIsReadWhole) {
  const auto [a, b] = make_socketpair(SOCK_SEQPACKET);
  const std::string huge(150'000, 'h');
  set_int(a.get(), SOL_SOCKET, SO_SNDBUF, 4 << 20);
  const std::string message = get_int(a.get(), SOL_SOCKET, SO_SNDBUF) > 600'000 ? huge + huge + huge : huge;
  ASSERT_EQ(::send(a.get(), "first", 5, 0), 5);
  ASSERT_EQ(::send(a.get(), message.data(), message.size(), MSG_DONTWAIT), static_cast<ssize_t>(message.size()));
  const absl::StatusOr<std::vector<QueuedMessage>> queue = peek_messages(b.get(), kNoEndOfFile);
  ASSERT_TRUE(queue.ok()) << queue.status();
  EXPECT_THAT(texts(*queue), ElementsAre("first", message));
}

TEST(SocketQueue, TheProgramsOwnPeekOffsetIsPutBack) {
  const auto [a, b] = make_socketpair(SOCK_STREAM);
  ASSERT_EQ(::send(a.get(), "abcdef", 6, 0), 6);
  set_int(b.get(), SOL_SOCKET, SO_PEEK_OFF, 2);
  const absl::StatusOr<QueuedMessage> all = peek_stream(b.get(), 6);
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_EQ(all->data, "abcdef");
  EXPECT_EQ(get_int(b.get(), SOL_SOCKET, SO_PEEK_OFF), 2);
  EXPECT_EQ(receive(b.get(), MSG_PEEK), "cdef");
}

TEST(UnixQueue, EmptyMessagesKeepTheirPlace) {
  for (const int type : {SOCK_DGRAM, SOCK_SEQPACKET}) {
    auto [a, b] = make_socketpair(type);
    for (const char* text : {"", "x", "", "", "y"}) {
      ASSERT_GE(::send(a.get(), text, *text != '\0' ? 1 : 0, 0), 0);
    }
    SocketRoom room;
    room.enter(std::move(a));
    const uint64_t id = room.enter(std::move(b));
    // One reading: a second would not see the empty ones (the next test).
    const absl::StatusOr<model::OpenFile> writer = room.dump_one(1);
    const absl::StatusOr<model::OpenFile> reader = room.dump_one(id);
    ASSERT_TRUE(writer.ok() && reader.ok()) << reader.status();
    *room.tree.add_open_files() = *writer;
    *room.tree.add_open_files() = *reader;
    room.restore();
    ASSERT_FALSE(HasFatalFailure());
    for (const char* text : {"", "x", "", "", "y"}) EXPECT_EQ(receive(room.restored(id)), text);
    EXPECT_EQ(receive(room.restored(id)), "<EAGAIN>");
  }
}

TEST(UnixQueue, EmptyMessagesThatWerePeekedAtAreRefusedNotLost) {
  for (const int type : {SOCK_DGRAM, SOCK_SEQPACKET}) {
    auto [a, b] = make_socketpair(type);
    for (const char* text : {"x", "", "y"}) ASSERT_GE(::send(a.get(), text, *text != '\0' ? 1 : 0, 0), 0);
    ASSERT_TRUE(peek_messages(b.get(), kNoEndOfFile).ok());
    SocketRoom room;
    room.enter(std::move(a));
    const std::vector<Finding> findings = room.audit(room.enter(std::move(b)));
    ASSERT_THAT(codes(findings), ElementsAre("SP-UNIX-QUEUE"));
    EXPECT_THAT(findings[0].reason, HasSubstr("1 empty message"));
  }
}

TEST(UnixQueue, DatagramsComeFromTheSameSenders) {
  ScratchDirectory directory;
  const SocketAddress receiver_name = unix_address(directory.path() + "/receiver");
  const SocketAddress sender_name = unix_address(directory.path() + "/sender");
  UniqueFd receiver_fd = make_socket(AF_UNIX, SOCK_DGRAM);
  bind_to(receiver_fd.get(), receiver_name);
  UniqueFd sender_fd = make_socket(AF_UNIX, SOCK_DGRAM);
  bind_to(sender_fd.get(), sender_name);
  connect_to(sender_fd.get(), receiver_name);
  const UniqueFd nameless = make_socket(AF_UNIX, SOCK_DGRAM);
  connect_to(nameless.get(), receiver_name);
  ASSERT_EQ(::send(sender_fd.get(), "named", 5, 0), 5);
  ASSERT_EQ(::send(nameless.get(), "nameless", 8, 0), 8);
  ASSERT_EQ(::send(sender_fd.get(), "again", 5, 0), 5);

  SocketRoom room;
  const uint64_t receiver = room.enter(std::move(receiver_fd));
  const uint64_t sender = room.enter(std::move(sender_fd));
  room.round_trip();
  ASSERT_FALSE(HasFatalFailure());
  const absl::StatusOr<std::vector<QueuedMessage>> queue = peek_messages(room.restored(receiver), kNoEndOfFile);
  ASSERT_TRUE(queue.ok()) << queue.status();
  ASSERT_THAT(texts(*queue), ElementsAre("named", "nameless", "again"));
  EXPECT_EQ((*queue)[0].sender.text(), sender_name.text());
  EXPECT_EQ((*queue)[1].sender.unix_name(), "");
  EXPECT_EQ((*queue)[2].sender.text(), sender_name.text());
  // The sender is connected as it was.
  ASSERT_EQ(::send(room.restored(sender), "new", 3, 0), 3);
  for (const char* text : {"named", "nameless", "again", "new"}) EXPECT_EQ(receive(room.restored(receiver)), text);
}

TEST(UnixQueue, ADatagramOfANamedStrangerIsRefused) {
  ScratchDirectory directory;
  UniqueFd receiver = make_socket(AF_UNIX, SOCK_DGRAM);
  bind_to(receiver.get(), unix_address(directory.path() + "/receiver"));
  const UniqueFd stranger = make_socket(AF_UNIX, SOCK_DGRAM);
  bind_to(stranger.get(), unix_address(directory.path() + "/stranger"));
  connect_to(stranger.get(), local_address(receiver.get()));
  ASSERT_EQ(::send(stranger.get(), "x", 1, 0), 1);
  SocketRoom room;
  const uint64_t id = room.enter(std::move(receiver));
  const std::vector<Finding> findings = room.audit(id);
  ASSERT_THAT(codes(findings), ElementsAre("SP-UNIX-QUEUE"));
  EXPECT_THAT(findings[0].reason, HasSubstr("/stranger"));
  EXPECT_EQ(receive(room.fd(id)), "x");
  EXPECT_THAT(room.audit(id), IsEmpty());
}

TEST(UnixQueue, NamedPairsOfDatagramSocketsKeepNamesAndQueues) {
  ScratchDirectory directory;
  UniqueFd a_fd = make_socket(AF_UNIX, SOCK_DGRAM);
  UniqueFd b_fd = make_socket(AF_UNIX, SOCK_DGRAM);
  const SocketAddress a_name = unix_address(directory.path() + "/a");
  bind_to(a_fd.get(), a_name);
  bind_to(b_fd.get(), unix_address(directory.path() + "/b"));
  connect_to(a_fd.get(), local_address(b_fd.get()));
  connect_to(b_fd.get(), a_name);
  ASSERT_EQ(::send(a_fd.get(), "to b", 4, 0), 4);
  ASSERT_EQ(::send(b_fd.get(), "to a", 4, 0), 4);
  SocketRoom room;
  const uint64_t a = room.enter(std::move(a_fd));
  const uint64_t b = room.enter(std::move(b_fd));
  room.round_trip();
  ASSERT_FALSE(HasFatalFailure());
  EXPECT_EQ(local_address(room.restored(a)).text(), a_name.text());
  const absl::StatusOr<std::vector<QueuedMessage>> queue = peek_messages(room.restored(b), kNoEndOfFile);
  ASSERT_TRUE(queue.ok()) << queue.status();
  ASSERT_EQ(queue->size(), 1u);
  EXPECT_EQ(queue->front().sender.text(), a_name.text());
  EXPECT_EQ(receive(room.restored(b)), "to b");
  EXPECT_EQ(receive(room.restored(a)), "to a");
}

}  // namespace
}  // namespace stillpoint
