#include "helper/service/client.h"

#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <sys/fsuid.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "absl/time/clock.h"
#include "helper/service/file_access.h"

namespace stillpoint {
namespace {

constexpr uid_t kSomebody = 65534;

procfs::TaskStatus task_of(uint32_t uid, uint32_t gid) {
  procfs::TaskStatus status;
  status.uid = status.euid = status.suid = status.fsuid = uid;
  status.gid = status.egid = status.sgid = status.fsgid = gid;
  return status;
}

// A message of ours over a pair of our own, as the SDK makes it.
absl::StatusOr<Client> authenticated(bool from_child) {
  auto pair = Channel::pair();
  if (!pair.ok()) return pair.status();
  protocol::Packet packet;
  packet.mutable_request()->set_version(1);
  const pid_t child = from_child ? ::fork() : -1;
  if (!from_child || child == 0) {
    auto other = Channel::over(std::move(pair->second));
    const bool sent = other.ok() && other->send(packet).ok();
    if (child == 0) ::_exit(sent ? 0 : 1);
    auto received = pair->first.receive(absl::Now() + absl::Seconds(30));
    if (!received.ok()) return received.status();
    return authenticate(pair->first, *received);
  }
  auto received = pair->first.receive(absl::Now() + absl::Seconds(30));
  ::waitpid(child, nullptr, 0);
  if (!received.ok()) return received.status();
  return authenticate(pair->first, *received);
}

TEST(Authenticate, NamesTheSender) {
  const absl::StatusOr<Client> client = authenticated(false);
  ASSERT_TRUE(client.ok()) << client.status();
  EXPECT_EQ(client->pid, ::getpid());
  EXPECT_EQ(client->uid, ::getuid());
  EXPECT_EQ(client->gid, ::getgid());
}

// Trap 16: the connection's creator is not who speaks.
TEST(Authenticate, RefusesAChildThatSpeaksForItsParent) {
  EXPECT_TRUE(absl::IsUnauthenticated(authenticated(true).status()));
}

TEST(Authenticate, RefusesAnUnknownSender) {
  auto pair = Channel::pair();
  ASSERT_TRUE(pair.ok());
  EXPECT_TRUE(absl::IsUnauthenticated(authenticate(pair->first, ReceivedPacket()).status()));
}

TEST(Authorize, EveryIdMustBeTheClients) {
  Client client;
  client.uid = 1000;
  client.gid = 1000;
  EXPECT_TRUE(authorize(client, 7, task_of(1000, 1000)).ok());
  uint32_t procfs::TaskStatus::*const ids[] = {
      &procfs::TaskStatus::uid, &procfs::TaskStatus::euid, &procfs::TaskStatus::suid, &procfs::TaskStatus::fsuid,
      &procfs::TaskStatus::gid, &procfs::TaskStatus::egid, &procfs::TaskStatus::sgid, &procfs::TaskStatus::fsgid};
  for (const auto id : ids) {
    procfs::TaskStatus status = task_of(1000, 1000);
    status.*id = 0;
    EXPECT_TRUE(absl::IsPermissionDenied(authorize(client, 7, status)));
    status.*id = 1001;
    EXPECT_TRUE(absl::IsPermissionDenied(authorize(client, 7, status)));
  }
}

TEST(Authorize, RootMayAll) {
  Client root;
  EXPECT_TRUE(authorize(root, 7, task_of(1000, 1000)).ok());
}

TEST(Authorize, ReadsTheProcessItself) {
  Client client;
  client.uid = ::getuid();
  client.gid = ::getgid();
  EXPECT_TRUE(authorize(client, ::getpid()).ok());
  client.uid = client.uid + 1;
  EXPECT_TRUE(absl::IsPermissionDenied(authorize(client, ::getpid())));
}

TEST(ClientFileAccess, OpensFilesWithTheClientsRightsOnly) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root: an ordinary user's helper has no more rights than its client";
  char path[] = "/tmp/stillpoint-access-XXXXXX";
  const UniqueFd file(::mkstemp(path));  // root's, 0600
  ASSERT_TRUE(file.valid());
  Client client;
  client.pid = ::getpid();
  client.uid = kSomebody;
  client.gid = kSomebody;
  {
    auto access = ClientFileAccess::assume(client);
    ASSERT_TRUE(access.ok()) << access.status();
    EXPECT_LT(::open(path, O_RDONLY | O_CLOEXEC), 0);
    EXPECT_EQ(errno, EACCES);
    const ClientFileAccess moved = *std::move(access);
    EXPECT_EQ(::setfsuid(static_cast<uid_t>(-1)), static_cast<int>(kSomebody));
    EXPECT_EQ(::getgroups(0, nullptr), 0);
  }
  const UniqueFd again(::open(path, O_RDONLY | O_CLOEXEC));
  EXPECT_TRUE(again.valid());
  ::unlink(path);
}

TEST(ClientFileAccess, ChangesNothingForTheSameUser) {
  Client client;
  client.uid = ::getuid();
  client.gid = ::getgid();
  const int fsuid = ::setfsuid(static_cast<uid_t>(-1));
  const auto access = ClientFileAccess::assume(client);
  ASSERT_TRUE(access.ok());
  EXPECT_EQ(::setfsuid(static_cast<uid_t>(-1)), fsuid);
}

}  // namespace
}  // namespace stillpoint
