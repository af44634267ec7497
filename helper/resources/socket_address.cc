#include "helper/resources/socket_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/resources/printable.h"

namespace stillpoint {
namespace {

constexpr socklen_t kUnixHeader = offsetof(sockaddr_un, sun_path);

const sockaddr_in& as_in(const SocketAddress& address) { return *reinterpret_cast<const sockaddr_in*>(address.get()); }
const sockaddr_in6& as_in6(const SocketAddress& address) {
  return *reinterpret_cast<const sockaddr_in6*>(address.get());
}

}  // namespace

SocketAddress::SocketAddress(const sockaddr* address, socklen_t length)
    : length_(std::min<socklen_t>(length, sizeof storage_)) {
  std::memcpy(&storage_, address, length_);
}

absl::StatusOr<SocketAddress> SocketAddress::local(int fd) {
  SocketAddress address;
  socklen_t length = sizeof address.storage_;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address.storage_), &length) != 0) {
    return errno_status(errno, "getsockname");
  }
  address.length_ = std::min<socklen_t>(length, sizeof address.storage_);
  return address;
}

absl::StatusOr<SocketAddress> SocketAddress::peer(int fd) {
  SocketAddress address;
  socklen_t length = sizeof address.storage_;
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&address.storage_), &length) != 0) {
    if (errno == ENOTCONN) return SocketAddress();
    return errno_status(errno, "getpeername");
  }
  address.length_ = std::min<socklen_t>(length, sizeof address.storage_);
  return address;
}

absl::StatusOr<SocketAddress> SocketAddress::from_bytes(absl::string_view bytes, int domain) {
  if (bytes.empty()) return SocketAddress();
  const size_t expected = domain == AF_INET ? sizeof(sockaddr_in) : domain == AF_INET6 ? sizeof(sockaddr_in6) : 0;
  if (expected == 0 || bytes.size() != expected) {
    return absl::InvalidArgumentError(absl::StrCat("an address of ", bytes.size(), " bytes"));
  }
  SocketAddress address;
  std::memcpy(&address.storage_, bytes.data(), bytes.size());
  address.length_ = static_cast<socklen_t>(bytes.size());
  if (address.storage_.ss_family != domain) {
    return absl::InvalidArgumentError(absl::StrCat("an address of family ", address.storage_.ss_family));
  }
  return address;
}

absl::StatusOr<SocketAddress> SocketAddress::unix_named(absl::string_view name) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const bool path = !name.empty() && name[0] != '\0';
  if (name.size() + (path ? 1 : 0) > sizeof address.sun_path) {
    return absl::InvalidArgumentError(absl::StrCat("a socket name of ", name.size(), " bytes"));
  }
  if (path && name.find('\0') != absl::string_view::npos) return absl::InvalidArgumentError("a path with a NUL in it");
  std::memcpy(address.sun_path, name.data(), name.size());
  const socklen_t length = kUnixHeader + static_cast<socklen_t>(name.size()) + (path ? 1 : 0);
  return SocketAddress(reinterpret_cast<const sockaddr*>(&address), length);
}

uint16_t SocketAddress::port() const {
  if (family() == AF_INET) return ntohs(as_in(*this).sin_port);
  if (family() == AF_INET6) return ntohs(as_in6(*this).sin6_port);
  return 0;
}

bool SocketAddress::is_any() const {
  if (family() == AF_INET) return as_in(*this).sin_addr.s_addr == htonl(INADDR_ANY);
  return family() == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&as_in6(*this).sin6_addr);
}

void SocketAddress::set_any() {
  if (family() == AF_INET) reinterpret_cast<sockaddr_in*>(&storage_)->sin_addr.s_addr = htonl(INADDR_ANY);
  if (family() == AF_INET6) reinterpret_cast<sockaddr_in6*>(&storage_)->sin6_addr = in6addr_any;
}

bool SocketAddress::is_loopback() const {
  const SocketAddress plain = without_mapping();
  if (plain.family() == AF_INET) return (ntohl(as_in(plain).sin_addr.s_addr) >> 24) == IN_LOOPBACKNET;
  return plain.family() == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&as_in6(plain).sin6_addr);
}

SocketAddress SocketAddress::without_mapping() const {
  if (family() != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&as_in6(*this).sin6_addr)) return *this;
  sockaddr_in plain = {};
  plain.sin_family = AF_INET;
  plain.sin_port = as_in6(*this).sin6_port;
  std::memcpy(&plain.sin_addr, &as_in6(*this).sin6_addr.s6_addr[12], sizeof plain.sin_addr);
  return SocketAddress(reinterpret_cast<const sockaddr*>(&plain), sizeof plain);
}

SocketAddress SocketAddress::as_seen_by(int domain) const {
  SocketAddress plain = without_mapping();
  if (domain != AF_INET6 || plain.family() != AF_INET) return plain;
  sockaddr_in6 mapped = {};
  mapped.sin6_family = AF_INET6;
  mapped.sin6_port = as_in(plain).sin_port;
  mapped.sin6_addr.s6_addr[10] = mapped.sin6_addr.s6_addr[11] = 0xff;
  std::memcpy(&mapped.sin6_addr.s6_addr[12], &as_in(plain).sin_addr, sizeof(in_addr));
  return SocketAddress(reinterpret_cast<const sockaddr*>(&mapped), sizeof mapped);
}

SocketAddress SocketAddress::on_loopback() const {
  SocketAddress here = without_mapping();
  if (here.family() == AF_INET) {
    reinterpret_cast<sockaddr_in*>(&here.storage_)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  } else if (here.family() == AF_INET6) {
    auto& v6 = *reinterpret_cast<sockaddr_in6*>(&here.storage_);
    v6.sin6_addr = in6addr_loopback;
    v6.sin6_scope_id = 0;
  }
  return here.as_seen_by(family());
}

void SocketAddress::set_port(uint16_t port) {
  if (family() == AF_INET) reinterpret_cast<sockaddr_in*>(&storage_)->sin_port = htons(port);
  if (family() == AF_INET6) reinterpret_cast<sockaddr_in6*>(&storage_)->sin6_port = htons(port);
}

bool SocketAddress::same_host(const SocketAddress& other) const {
  SocketAddress a = without_mapping(), b = other.without_mapping();
  if (a.family() != b.family()) return false;
  if (a.family() == AF_INET) return as_in(a).sin_addr.s_addr == as_in(b).sin_addr.s_addr;
  return a.family() == AF_INET6 && IN6_ARE_ADDR_EQUAL(&as_in6(a).sin6_addr, &as_in6(b).sin6_addr);
}

std::string SocketAddress::unix_name() const {
  if (family() != AF_UNIX || length_ <= kUnixHeader) return "";
  const char* path = reinterpret_cast<const sockaddr_un*>(&storage_)->sun_path;
  const size_t size = length_ - kUnixHeader;
  if (path[0] == '\0') return std::string(path, size);
  return std::string(path, ::strnlen(path, size));
}

std::string SocketAddress::text() const {
  char buffer[INET6_ADDRSTRLEN] = "";
  if (family() == AF_INET && ::inet_ntop(AF_INET, &as_in(*this).sin_addr, buffer, sizeof buffer) != nullptr) {
    return absl::StrCat(buffer, ":", port());
  }
  if (family() == AF_INET6 && ::inet_ntop(AF_INET6, &as_in6(*this).sin6_addr, buffer, sizeof buffer) != nullptr) {
    return absl::StrCat("[", buffer, "]:", port());
  }
  std::string name = unix_name();
  if (name.empty()) return "(unnamed)";
  if (name[0] == '\0') name[0] = '@';
  return printable(name);
}

bool operator==(const SocketAddress& a, const SocketAddress& b) {
  return a.length() == b.length() && std::memcmp(a.get(), b.get(), a.length()) == 0;
}

}  // namespace stillpoint
