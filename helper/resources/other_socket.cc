// Sockets that Stillpoint does not save: findings that name the family.
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <iterator>

#include "absl/strings/str_cat.h"
#include "helper/resources/remedies.h"
#include "helper/resources/socket_common.h"
#include "helper/resources/socket_kinds.h"

namespace stillpoint {
namespace {

struct NumberName {
  int number;
  absl::string_view name;
};

constexpr NumberName kFamilies[] = {
    {AF_UNIX, "UNIX"},
    {AF_INET, "IPv4"},
    {AF_INET6, "IPv6"},
    {AF_NETLINK, "netlink"},
    {AF_PACKET, "packet"},
    {AF_ALG, "AF_ALG crypto"},
    {AF_VSOCK, "vsock"},
    {AF_BLUETOOTH, "Bluetooth"},
    {AF_CAN, "CAN"},
    {AF_TIPC, "TIPC"},
    {AF_XDP, "XDP"},
    {AF_KEY, "PF_KEY"},
    {AF_RDS, "RDS"},
    {AF_SMC, "SMC"},
    {AF_KCM, "KCM"},
    {AF_QIPCRTR, "QRTR"},
    {AF_NFC, "NFC"},
    {AF_IUCV, "IUCV"},
    {AF_PPPOX, "PPPoX"},
    {AF_RXRPC, "RxRPC"},
    {AF_IEEE802154, "802.15.4"},
    {AF_PHONET, "Phonet"},
    {AF_ISDN, "ISDN"},
    {AF_X25, "X.25"},
};
constexpr NumberName kTypes[] = {
    {SOCK_STREAM, "stream"}, {SOCK_DGRAM, "datagram"},      {SOCK_RAW, "raw"},
    {SOCK_RDM, "rdm"},       {SOCK_SEQPACKET, "seqpacket"}, {SOCK_DCCP, "DCCP"},
};
constexpr NumberName kInetProtocols[] = {
    {IPPROTO_ICMP, "ICMP"}, {IPPROTO_ICMPV6, "ICMPv6"},
    {IPPROTO_SCTP, "SCTP"}, {IPPROTO_DCCP, "DCCP"},
    {IPPROTO_RAW, "raw"},   {262, "MPTCP"},
    {115, "L2TP"},          {256, "SMC"},
};

template <size_t N>
std::string name_of(const NumberName (&table)[N], int number, absl::string_view what) {
  for (const NumberName& entry : table) {
    if (entry.number == number) return std::string(entry.name);
  }
  return absl::StrCat(what, " ", number);
}

std::string words_for(const SocketIdentity& identity) {
  const bool inet = identity.domain == AF_INET || identity.domain == AF_INET6;
  const std::string protocol =
      inet ? name_of(kInetProtocols, identity.protocol, "protocol") : absl::StrCat("protocol ", identity.protocol);
  return absl::StrCat(name_of(kFamilies, identity.domain, "family"), " ", name_of(kTypes, identity.type, "type"),
                      " socket (", protocol, ")");
}

class OtherSocketKind : public OpenFileKind {
 public:
  absl::string_view name() const override { return "other-socket"; }
  bool claims(const OpenFileView& file) const override { return is_socket(file); }

  void audit(const OpenFileView& file, const OpenFileDumpContext&, Findings& findings) const override {
    if (file.fd < 0) {
      findings.add({"SP-SOCKET-OPAQUE", describe(file),
                    "a socket can only be asked about through a copy of it, and pidfd_getfd(2) is not permitted to the "
                    "helper: it needs PTRACE_MODE_ATTACH of the process (same user and dumpable, or CAP_SYS_PTRACE), "
                    "Linux 5.6, and a seccomp filter that lets it",
                    absl::StrCat("permit pidfd_getfd to the helper (CAP_SYS_PTRACE); or ", kCloseAndOpenAgain)});
      return;
    }
    const std::optional<SocketIdentity> identity = identify_socket(file);
    const std::string words = identity.has_value() ? words_for(*identity) : "socket that gives no family";
    findings.add({"SP-SOCKET-FAMILY", describe(file), absl::StrCat("a ", words, " cannot be saved"),
                  unless_leaked(file, kCloseAndOpenAgain)});
  }

  absl::Status dump(const OpenFileView& file, OpenFileDumpContext&, model::OpenFile&) const override {
    return absl::FailedPreconditionError(absl::StrCat(describe(file), ": this kind of socket cannot be saved"));
  }

  absl::StatusOr<UniqueFd> restore(const model::OpenFile& file, OpenFileRestoreContext&) const override {
    return absl::DataLossError(
        absl::StrCat("open file ", file.id(), ": an image cannot hold a socket of this kind (other-socket)"));
  }
};

}  // namespace

const OpenFileKind& other_socket_kind() {
  static const auto& kind = *new OtherSocketKind;
  return kind;
}

}  // namespace stillpoint
