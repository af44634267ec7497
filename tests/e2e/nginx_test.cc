// nginx as Debian ships it, a master and two workers, that serves the same pages in every life.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <set>
#include <string>

#include "tests/e2e/support/installed.h"
#include "tests/e2e/support/program_job.h"

namespace stillpoint::e2e {
namespace {

using ::testing::IsEmpty;

constexpr char kNginx[] = "/usr/sbin/nginx";

sockaddr_in loopback(uint16_t port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

// A port that nobody has just now, outside of those the kernel hands out to clients.
uint16_t free_port() {
  for (int port = 20000 + ::getpid() % 5000; port < 32000; ++port) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in address = loopback(static_cast<uint16_t>(port));
    const bool free = ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    ::close(fd);
    if (free) return static_cast<uint16_t>(port);
  }
  return 0;
}

// The whole answer to GET; empty when nobody answers.
std::string get(uint16_t port, const std::string& path) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = loopback(port);
  std::string answer;
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    const std::string request = "GET " + path + " HTTP/1.0\r\n\r\n";
    if (::send(fd, request.data(), request.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(request.size())) {
      char buffer[4096];
      for (ssize_t size; (size = ::recv(fd, buffer, sizeof buffer, 0)) > 0;)
        answer.append(buffer, static_cast<size_t>(size));
    }
  }
  ::close(fd);
  return answer;
}

enum class As { kTester, kOrdinaryUser };
std::string name_of(const testing::TestParamInfo<As>& info) {
  return info.param == As::kTester ? "Tester" : "OrdinaryUser";
}
uid_t uid_of(As as) { return as == As::kOrdinaryUser && is_root() ? kNobody : static_cast<uid_t>(-1); }

class Nginx : public ::testing::TestWithParam<As> {
 protected:
  Nginx() : job_(uid_of(GetParam())), port_(free_port()) {}

  void start() {
    write_file(job_.path("page"), "the same page in every life\n");
    ASSERT_EQ(::mkdir(job_.path("temporary").c_str(), 0777), 0);
    ASSERT_EQ(::chmod(job_.path("temporary").c_str(), 0777), 0);
    std::string text = "daemon off; worker_processes 2; pid " + job_.path("temporary/pid") + ";\n";
    if (is_root() && GetParam() == As::kTester) text += "user nobody nogroup;\n";
    text +=
        "error_log stderr; events { worker_connections 64; }\nhttp { access_log " + job_.path("temporary/log") + ";\n";
    for (const std::string kind : {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"}) {
      text += kind + "_temp_path " + job_.path("temporary/" + kind) + ";\n";
    }
    text += "server { listen 127.0.0.1:" + std::to_string(port_) + "; root " + job_.path("") + ";\n";
    text += "location = /who { return 200 \"worker $pid\\n\"; } } }\n";
    write_file(job_.path("conf"), text);
    StartOptions options;
    options.output = job_.path("said by nginx");
    write_file(options.output, "");
    ASSERT_EQ(::chmod(options.output.c_str(), 0666), 0);
    job_.start({kNginx, "-p", job_.path("temporary"), "-e", "stderr", "-c", job_.path("conf")}, options);
  }

  bool serves() const {
    return get(port_, "/page").ends_with("\r\n\r\nthe same page in every life\n") && !get(port_, "/who").empty();
  }

  ProgramJob job_;
  const uint16_t port_;
};

TEST_P(Nginx, ServesInEveryLife) {
  SKIP_WITHOUT(kNginx);
  start();
  ASSERT_FALSE(HasFatalFailure());
  ASSERT_TRUE(eventually([&] { return serves() || !job_.running(); })) << read_file(job_.path("said by nginx"));
  std::vector<pid_t> pids;
  ASSERT_TRUE(eventually([&] { return (pids = family_of(job_.pid())).size() == 3; }));
  const std::set<pid_t> family(pids.begin(), pids.end());
  for (int life = 1; life <= 2; ++life) {
    // A worker may not have closed the last client's connection yet, which is a finding.
    Outcome outcome;
    ASSERT_TRUE(eventually([&] {
      return (outcome = job_.checkpoint({"--keep", "2"})).exit_code == 0;
    })) << outcome.output;
    ASSERT_TRUE(serves()) << "after checkpoint " << life;
    ASSERT_EQ(job_.kill(), 128 + SIGKILL);
    EXPECT_THAT(get(port_, "/page"), IsEmpty());
    ASSERT_TRUE(job_.restart()) << job_.said();
    ASSERT_TRUE(eventually([&] { return serves() || !job_.running(); })) << job_.said();
    for (int i = 0; i < 20; ++i) ASSERT_TRUE(serves()) << "life " << life;
  }
  // The master still directs its workers: at SIGHUP it starts new ones, at SIGQUIT all of them end.
  job_.signal(SIGHUP);
  EXPECT_TRUE(eventually([&] {
    pids = family_of(job_.pid());
    return pids.size() == 3 && !family.contains(pids[1]) && !family.contains(pids[2]);
  }));
  EXPECT_TRUE(serves());
  job_.signal(SIGQUIT);
  EXPECT_EQ(job_.wait(), 0) << job_.said() << read_file(job_.path("said by nginx"));
}

INSTANTIATE_TEST_SUITE_P(As, Nginx, testing::Values(As::kTester, As::kOrdinaryUser), name_of);

}  // namespace
}  // namespace stillpoint::e2e
