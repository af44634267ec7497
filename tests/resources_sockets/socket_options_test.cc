// A sweep over the table of options: what a program set is what the restored socket says.
#include "helper/resources/socket_options.h"

#include <linux/bpf.h>
#include <linux/filter.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <set>

#include "helper/resources/socket_option_table.h"
#include "tests/resources_sockets/socket_room.h"

namespace stillpoint {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::string option_bytes(int fd, const SocketOptionEntry& entry) {
  char value[256] = {};
  socklen_t length = sizeof value;
  if (entry.form == OptionForm::kInt || entry.form == OptionForm::kBuffer) length = sizeof(int);
  if (entry.form == OptionForm::kInAddr) length = 4;
  if (::getsockopt(fd, entry.level, entry.number, value, &length) != 0) return "unreadable";
  return std::string(value, length);
}

struct Socket {
  const char* label;
  int domain, type, protocol;
};

class SocketOptions : public ::testing::TestWithParam<Socket> {
 protected:
  SocketIdentity identity() const { return {GetParam().domain, GetParam().type, GetParam().protocol}; }
  UniqueFd make() const { return make_socket(GetParam().domain, GetParam().type, GetParam().protocol); }

  // Tries values until one is accepted and differs from the default. Returns whether one did.
  bool disturb(int fd, const SocketOptionEntry& entry) const {
    const std::string before = option_bytes(fd, entry);
    if (before == "unreadable") return false;
    switch (entry.form) {
      case OptionForm::kLinger: {
        const linger value = {1, 7};
        ::setsockopt(fd, entry.level, entry.number, &value, sizeof value);
        break;
      }
      case OptionForm::kTimeval: {
        const timeval value = {3, 500000};
        ::setsockopt(fd, entry.level, entry.number, &value, sizeof value);
        break;
      }
      case OptionForm::kText: {
        const char* text = entry.number == SO_BINDTODEVICE && entry.level == SOL_SOCKET ? "lo" : "reno";
        ::setsockopt(fd, entry.level, entry.number, text, static_cast<socklen_t>(strlen(text)));
        break;
      }
      case OptionForm::kUint64: {
        const uint64_t value = 12345678;
        ::setsockopt(fd, entry.level, entry.number, &value, sizeof value);
        break;
      }
      case OptionForm::kInAddr: {
        const uint32_t value = htonl(INADDR_LOOPBACK);
        ::setsockopt(fd, entry.level, entry.number, &value, sizeof value);
        break;
      }
      case OptionForm::kBytes: {
        const char record_route[4] = {7, 3, 4, 0};  // refused by some kernels; no matter
        ::setsockopt(fd, entry.level, entry.number, record_route, sizeof record_route);
        break;
      }
      case OptionForm::kBuffer:
      case OptionForm::kInt:
        for (const int value : {1, 0, 2, 3, 5, 20000, 100000}) {
          ::setsockopt(fd, entry.level, entry.number, &value, sizeof value);
          if (option_bytes(fd, entry) != before) break;
        }
    }
    return option_bytes(fd, entry) != before;
  }
};

TEST_P(SocketOptions, EachOneComesBackAlone) {
  int disturbed = 0;
  for (const SocketOptionEntry& entry : socket_option_table()) {
    if (!applies_to(entry, identity())) continue;
    const UniqueFd original = make();
    if (!disturb(original.get(), entry)) continue;
    ++disturbed;
    const absl::StatusOr<resources::SocketSettings> settings = read_socket_settings(original.get(), identity());
    ASSERT_TRUE(settings.ok()) << settings.status();
    FakeRestoreContext context;
    const UniqueFd again = make();
    for (const SettingsPhase phase : {SettingsPhase::kBeforeBind, SettingsPhase::kLast}) {
      const absl::Status status = apply_socket_settings(again.get(), *settings, phase, "a socket", context);
      ASSERT_TRUE(status.ok()) << entry.name << ": " << status;
    }
    EXPECT_THAT(context.notes, IsEmpty()) << entry.name;
    for (const SocketOptionEntry& other : socket_option_table()) {
      if (!applies_to(other, identity())) continue;
      EXPECT_EQ(option_bytes(again.get(), other), option_bytes(original.get(), other))
          << other.name << " after " << entry.name;
    }
  }
  EXPECT_GE(disturbed, GetParam().domain == AF_UNIX ? 10 : 30);
}

TEST_P(SocketOptions, AFreshSocketStoresNothing) {
  const UniqueFd fd = make();
  const absl::StatusOr<resources::SocketSettings> settings = read_socket_settings(fd.get(), identity());
  ASSERT_TRUE(settings.ok()) << settings.status();
  for (const resources::SocketOption& option : settings->options()) EXPECT_EQ(option.name(), "IPV6_V6ONLY");
  EXPECT_EQ(settings->filter(), "");
}

INSTANTIATE_TEST_SUITE_P(Sockets, SocketOptions,
                         ::testing::Values(Socket{"Tcp", AF_INET, SOCK_STREAM, IPPROTO_TCP},
                                           Socket{"Tcp6", AF_INET6, SOCK_STREAM, IPPROTO_TCP},
                                           Socket{"Udp", AF_INET, SOCK_DGRAM, IPPROTO_UDP},
                                           Socket{"Udp6", AF_INET6, SOCK_DGRAM, IPPROTO_UDP},
                                           Socket{"UnixStream", AF_UNIX, SOCK_STREAM, 0},
                                           Socket{"UnixDatagram", AF_UNIX, SOCK_DGRAM, 0}),
                         [](const auto& param) { return param.param.label; });

TEST(SocketOptionTable, NamesAreUniqueAndFound) {
  std::set<std::string> names;
  for (const SocketOptionEntry& entry : socket_option_table()) {
    EXPECT_TRUE(names.insert(std::string(entry.name)).second) << entry.name;
    EXPECT_EQ(find_socket_option(entry.name), &entry);
  }
  EXPECT_EQ(find_socket_option("SO_NONSENSE"), nullptr);
}

TEST(SocketFilter, AClassicFilterFiltersAgain) {
  sock_filter drop_all[] = {{BPF_RET | BPF_K, 0, 0, 0}};
  const sock_fprog program = {1, drop_all};
  auto [a, b] = make_socketpair(SOCK_DGRAM);
  ASSERT_EQ(::send(a.get(), "before", 6, 0), 6);
  ASSERT_EQ(::setsockopt(b.get(), SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program), 0);
  set_int(b.get(), SOL_SOCKET, SO_LOCK_FILTER, 1);
  SocketRoom room;
  const uint64_t sender = room.enter(std::move(a));
  const uint64_t receiver = room.enter(std::move(b));
  room.round_trip();
  ASSERT_FALSE(HasFatalFailure());
  EXPECT_EQ(receive(room.restored(receiver)), "before");
  ::send(room.restored(sender), "after", 5, 0);
  EXPECT_EQ(receive(room.restored(receiver)), "<EAGAIN>");
  const int ignored = 0;
  EXPECT_EQ(::setsockopt(room.restored(receiver), SOL_SOCKET, SO_DETACH_FILTER, &ignored, sizeof ignored), -1);
  EXPECT_EQ(errno, EPERM);
}

TEST(SocketFilter, AnEbpfProgramIsRefused) {
  bpf_insn accept_all[] = {{BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, -1}, {BPF_JMP | BPF_EXIT, 0, 0, 0, 0}};
  bpf_attr attributes = {};
  attributes.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
  attributes.insns = reinterpret_cast<uint64_t>(accept_all);
  attributes.insn_cnt = 2;
  attributes.license = reinterpret_cast<uint64_t>("Apache-2.0");
  const UniqueFd program(static_cast<int>(::syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof attributes)));
  if (!program.valid()) GTEST_SKIP() << "bpf(BPF_PROG_LOAD) is not permitted";
  UniqueFd fd = make_socket(AF_INET, SOCK_DGRAM);
  set_int(fd.get(), SOL_SOCKET, SO_ATTACH_BPF, program.get());
  SocketRoom room;
  EXPECT_THAT(codes(room.audit(room.enter(std::move(fd)))), ElementsAre("SP-SOCKET-BPF"));
}

TEST(SocketSettings, UnknownAndMisshapenOptionsAreDataLoss) {
  const UniqueFd fd = make_socket(AF_INET, SOCK_STREAM);
  FakeRestoreContext context;
  const auto apply = [&](const std::string& name, const std::string& value) {
    resources::SocketSettings settings;
    settings.add_options()->set_name(name);
    settings.mutable_options(0)->set_value(value);
    return apply_socket_settings(fd.get(), settings, SettingsPhase::kBeforeBind, "a socket", context);
  };
  EXPECT_TRUE(absl::IsDataLoss(apply("SO_NONSENSE", std::string(4, '\0'))));
  EXPECT_TRUE(absl::IsDataLoss(apply("SO_KEEPALIVE", "")));
  EXPECT_TRUE(absl::IsDataLoss(apply("SO_KEEPALIVE", std::string(5, '\0'))));
  EXPECT_TRUE(absl::IsDataLoss(apply("TCP_CONGESTION", std::string(100, 'x'))));
  EXPECT_TRUE(apply("SO_KEEPALIVE", std::string("\1\0\0\0", 4)).ok());
  EXPECT_EQ(get_int(fd.get(), SOL_SOCKET, SO_KEEPALIVE), 1);
  resources::SocketSettings filter;
  filter.set_filter("123");
  EXPECT_TRUE(absl::IsDataLoss(apply_socket_settings(fd.get(), filter, SettingsPhase::kLast, "a socket", context)));
}

TEST(SocketSettings, WhatCannotBeSetIsNotedOrRefused) {
  const UniqueFd fd = make_socket(AF_INET, SOCK_STREAM);
  FakeRestoreContext context;
  resources::SocketSettings settings;
  settings.add_options()->set_name("TCP_CONGESTION");
  settings.mutable_options(0)->set_value("no-such-thing");
  EXPECT_TRUE(apply_socket_settings(fd.get(), settings, SettingsPhase::kBeforeBind, "a socket", context).ok());
  EXPECT_EQ(context.notes.size(), 1u);
  settings.mutable_options(0)->set_name("SO_BINDTODEVICE");
  EXPECT_FALSE(apply_socket_settings(fd.get(), settings, SettingsPhase::kBeforeBind, "a socket", context).ok());
}

}  // namespace
}  // namespace stillpoint
