// Socket addresses as the kernel gives them, as people write them, and as an image holds them.
#ifndef STILLPOINT_HELPER_RESOURCES_SOCKET_ADDRESS_H_
#define STILLPOINT_HELPER_RESOURCES_SOCKET_ADDRESS_H_

#include <sys/socket.h>
#include <sys/un.h>

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace stillpoint {

// AF_INET, AF_INET6 or AF_UNIX. An empty one (length 0) stands for "none".
class SocketAddress {
 public:
  SocketAddress() = default;
  SocketAddress(const sockaddr* address, socklen_t length);

  // getsockname(2) and getpeername(2); peer() is empty when the socket is not connected.
  static absl::StatusOr<SocketAddress> local(int fd);
  static absl::StatusOr<SocketAddress> peer(int fd);
  // The bytes of an address of `domain` out of an image; INVALID_ARGUMENT when they are none. Empty bytes: none.
  static absl::StatusOr<SocketAddress> from_bytes(absl::string_view bytes, int domain);
  // A UNIX address from sun_path's bytes (a leading NUL: abstract). INVALID_ARGUMENT when it is too long.
  static absl::StatusOr<SocketAddress> unix_named(absl::string_view name);

  bool empty() const { return length_ == 0; }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage_); }
  socklen_t length() const { return length_; }
  std::string bytes() const { return std::string(reinterpret_cast<const char*>(&storage_), length_); }

  int family() const { return empty() ? AF_UNSPEC : storage_.ss_family; }
  // AF_INET and AF_INET6.
  uint16_t port() const;
  bool is_any() const;  // 0.0.0.0 or ::
  void set_any();
  // 127.0.0.0/8 or ::1; also as IPv6 writes IPv4 addresses.
  bool is_loopback() const;
  // An IPv4 address that is written as an IPv6 one (::ffff:1.2.3.4) as AF_INET; any other as it is.
  SocketAddress without_mapping() const;
  // The same address as a socket of `domain` has it: an IPv4 address becomes a mapped one for AF_INET6.
  SocketAddress as_seen_by(int domain) const;
  // The same port on the loopback interface.
  SocketAddress on_loopback() const;
  void set_port(uint16_t port);
  // Whether the addresses agree, ports and families' ways of writing left aside.
  bool same_host(const SocketAddress& other) const;
  // AF_UNIX: sun_path without the NUL that ends a path; empty for an unbound socket.
  std::string unix_name() const;

  // "127.0.0.1:80", "[::1]:80", "/run/x.sock", "@abstract", "(unnamed)".
  std::string text() const;

 private:
  sockaddr_storage storage_ = {};
  socklen_t length_ = 0;
};

bool operator==(const SocketAddress& a, const SocketAddress& b);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESOURCES_SOCKET_ADDRESS_H_
