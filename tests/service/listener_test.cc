#include "helper/service/listener.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include "absl/time/clock.h"
#include "helper/protocol/channel.h"
#include "helper/protocol/context.h"

namespace stillpoint {
namespace {

class ListenerTest : public testing::Test {
 protected:
  ListenerTest() {
    std::string name = "/tmp/stillpoint-listener-XXXXXX";
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    directory_ = name;
    options_.path = directory_ + "/helper.sock";
  }
  ~ListenerTest() override {
    if (service_ > 0) stop();
    std::filesystem::remove_all(directory_);
  }

  void start() {
    int ready[2];
    ASSERT_EQ(::pipe(ready), 0);
    service_ = ::fork();
    if (service_ == 0) {
      sigset_t signals;
      sigemptyset(&signals);
      for (const int signal : {SIGCHLD, SIGTERM, SIGINT}) sigaddset(&signals, signal);
      ::sigprocmask(SIG_BLOCK, &signals, nullptr);
      ::freopen("/dev/null", "w", stderr);
      auto listener = Listener::bind(options_);
      (void)!::write(ready[1], listener.ok() ? "y" : "n", 1);
      const bool ended_well = listener.ok() && listener->run().ok();
      { auto gone = std::move(listener); }  // removes the socket
      ::_exit(ended_well ? 0 : 1);
    }
    char byte = 0;
    EXPECT_EQ(::read(ready[0], &byte, 1), 1);
    EXPECT_EQ(byte, 'y');
    ::close(ready[0]);
    ::close(ready[1]);
  }

  // The exit status of the service after SIGTERM.
  int stop() {
    ::kill(service_, SIGTERM);
    int status = -1;
    ::waitpid(service_, &status, 0);
    service_ = 0;
    return status;
  }

  absl::StatusOr<Channel> connect() const {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    options_.path.copy(address.sun_path, sizeof address.sun_path - 1);
    UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) {
      return absl::ErrnoToStatus(errno, "connect");
    }
    return Channel::over(std::move(socket));
  }

  static absl::StatusOr<protocol::Reply> ask_for_restart(const Channel& channel) {
    protocol::Packet packet;
    packet.mutable_request()->set_version(protocol::kProtocolVersion);
    packet.mutable_request()->mutable_restart();
    const absl::Status sent = channel.send(packet);
    if (!sent.ok()) return sent;
    auto received = channel.receive(absl::Now() + absl::Seconds(30));
    if (!received.ok()) return received.status();
    return received->packet.reply();
  }

  std::string directory_;
  ListenerOptions options_;
  pid_t service_ = 0;
};

TEST_F(ListenerTest, ServesOneClientAfterAnotherAndEndsCleanly) {
  start();
  for (int i = 0; i < 3; ++i) {
    auto channel = connect();
    ASSERT_TRUE(channel.ok()) << channel.status();
    const auto reply = ask_for_restart(*channel);
    ASSERT_TRUE(reply.ok()) << reply.status();
    EXPECT_THAT(reply->message(), testing::HasSubstr("service"))
        << "it got as far as the dispatch: the sender was authenticated";
  }
  struct stat info {};
  ASSERT_EQ(::stat(options_.path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0666u);
  EXPECT_EQ(stop(), 0);
  EXPECT_NE(::access(options_.path.c_str(), F_OK), 0) << "the socket is gone";
}

TEST_F(ListenerTest, LimitsTheNumberOfClients) {
  options_.max_clients = 2;
  start();
  auto first = connect(), second = connect(), third = connect();
  ASSERT_TRUE(first.ok() && second.ok() && third.ok());
  // The third hears no sooner than the first two are being served.
  auto received = third->receive(absl::Now() + absl::Seconds(30));
  ASSERT_TRUE(received.ok()) << received.status();
  EXPECT_EQ(received->packet.reply().code(), static_cast<int>(absl::StatusCode::kResourceExhausted));
  EXPECT_TRUE(ask_for_restart(*first).ok());
  EXPECT_TRUE(ask_for_restart(*second).ok());
}

TEST_F(ListenerTest, ReplacesTheSocketOfADeadService) {
  start();
  ::kill(service_, SIGKILL);
  ::waitpid(service_, nullptr, 0);
  service_ = 0;
  ASSERT_EQ(::access(options_.path.c_str(), F_OK), 0);
  start();
  EXPECT_TRUE(connect().ok());
}

TEST_F(ListenerTest, LeavesALiveServiceAndForeignFilesAlone) {
  start();
  EXPECT_TRUE(absl::IsAlreadyExists(Listener::bind(options_).status()));
  EXPECT_TRUE(connect().ok());
  ListenerOptions file;
  file.path = directory_ + "/file";
  std::ofstream(file.path) << "precious";
  EXPECT_TRUE(absl::IsAlreadyExists(Listener::bind(file).status()));
  EXPECT_TRUE(std::filesystem::exists(file.path));
}

TEST_F(ListenerTest, NamesWhatIsWrong) {
  ListenerOptions wrong;
  wrong.path = std::string(200, 'x');
  EXPECT_TRUE(absl::IsInvalidArgument(Listener::bind(wrong).status()));
  wrong.path = directory_ + "/group.sock";
  wrong.group = "no such group";
  EXPECT_TRUE(absl::IsNotFound(Listener::bind(wrong).status()));
}

}  // namespace
}  // namespace stillpoint
