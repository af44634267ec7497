#include "helper/resources/socket_option_table.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/socket.h>

namespace stillpoint {
namespace {

// Newer than, or missing from, the headers this is built with; the numbers are the kernel's x86-64 ones.
constexpr int kSoTimestampNew = 63;
constexpr int kSoTimestampNsNew = 64;
constexpr int kSoTimestampingNew = 65;
constexpr int kSoPreferBusyPoll = 69;
constexpr int kSoBusyPollBudget = 70;
constexpr int kSoBufLock = 72;
constexpr int kSoTxRehash = 74;
constexpr int kSoRcvMark = 75;
constexpr int kSoPassPidfd = 76;
constexpr int kSoRcvPriority = 82;
constexpr int kSoPassRights = 83;
constexpr int kIpRecvErrRfc4884 = 26;
constexpr int kIpLocalPortRange = 51;
constexpr int kIpv6MulticastAll = 29;
constexpr int kIpv6RecvErrRfc4884 = 31;
constexpr int kIpv6FlowInfoSend = 33;
constexpr int kIpv6AddrPreferences = 72;
constexpr int kUdpLiteSendCoverage = 10;
constexpr int kUdpLiteRecvCoverage = 11;

constexpr auto kInt = OptionForm::kInt;
constexpr unsigned kUdp6 = kForUdp | kInet6Only;
constexpr unsigned kInet6 = kForInet | kInet6Only;

// In the order in which they are set: the buffers before the lock on their sizes.
constexpr SocketOptionEntry kTable[] = {
    {"SO_DEBUG", SOL_SOCKET, SO_DEBUG, kInt, kForAll, kPlain},
    {"SO_REUSEADDR", SOL_SOCKET, SO_REUSEADDR, kInt, kForAll, kPlain},
    {"SO_REUSEPORT", SOL_SOCKET, SO_REUSEPORT, kInt, kForInet, kRequired},
    {"SO_BINDTODEVICE", SOL_SOCKET, SO_BINDTODEVICE, OptionForm::kText, kForInet, kRequired},
    {"SO_MARK", SOL_SOCKET, SO_MARK, kInt, kForInet, kRequired},
    {"SO_KEEPALIVE", SOL_SOCKET, SO_KEEPALIVE, kInt, kForAll, kPlain},
    {"SO_BROADCAST", SOL_SOCKET, SO_BROADCAST, kInt, kForAll, kPlain},
    {"SO_DONTROUTE", SOL_SOCKET, SO_DONTROUTE, kInt, kForAll, kPlain},
    {"SO_OOBINLINE", SOL_SOCKET, SO_OOBINLINE, kInt, kForAll, kPlain},
    {"SO_LINGER", SOL_SOCKET, SO_LINGER, OptionForm::kLinger, kForAll, kPlain},
    {"SO_SNDBUF", SOL_SOCKET, SO_SNDBUF, OptionForm::kBuffer, kForAll, kPlain},
    {"SO_RCVBUF", SOL_SOCKET, SO_RCVBUF, OptionForm::kBuffer, kForAll, kPlain},
    {"SO_BUF_LOCK", SOL_SOCKET, kSoBufLock, kInt, kForAll, kPlain},
    {"SO_RCVTIMEO", SOL_SOCKET, SO_RCVTIMEO, OptionForm::kTimeval, kForAll, kPlain},
    {"SO_SNDTIMEO", SOL_SOCKET, SO_SNDTIMEO, OptionForm::kTimeval, kForAll, kPlain},
    {"SO_RCVLOWAT", SOL_SOCKET, SO_RCVLOWAT, kInt, kForAll, kPlain},
    {"SO_PRIORITY", SOL_SOCKET, SO_PRIORITY, kInt, kForAll, kPlain},
    {"SO_NO_CHECK", SOL_SOCKET, SO_NO_CHECK, kInt, kForInet, kPlain},
    {"SO_TIMESTAMP", SOL_SOCKET, SO_TIMESTAMP, kInt, kForAll, kPlain},
    {"SO_TIMESTAMPNS", SOL_SOCKET, SO_TIMESTAMPNS, kInt, kForAll, kPlain},
    {"SO_TIMESTAMP_NEW", SOL_SOCKET, kSoTimestampNew, kInt, kForAll, kPlain},
    {"SO_TIMESTAMPNS_NEW", SOL_SOCKET, kSoTimestampNsNew, kInt, kForAll, kPlain},
    {"SO_TIMESTAMPING", SOL_SOCKET, SO_TIMESTAMPING, kInt, kForInet, kPlain},
    {"SO_TIMESTAMPING_NEW", SOL_SOCKET, kSoTimestampingNew, kInt, kForInet, kPlain},
    {"SO_RXQ_OVFL", SOL_SOCKET, SO_RXQ_OVFL, kInt, kForAll, kPlain},
    {"SO_SELECT_ERR_QUEUE", SOL_SOCKET, SO_SELECT_ERR_QUEUE, kInt, kForInet, kPlain},
    {"SO_BUSY_POLL", SOL_SOCKET, SO_BUSY_POLL, kInt, kForInet, kPlain},
    {"SO_PREFER_BUSY_POLL", SOL_SOCKET, kSoPreferBusyPoll, kInt, kForInet, kPlain},
    {"SO_BUSY_POLL_BUDGET", SOL_SOCKET, kSoBusyPollBudget, kInt, kForInet, kPlain},
    {"SO_MAX_PACING_RATE", SOL_SOCKET, SO_MAX_PACING_RATE, OptionForm::kUint64, kForInet, kPlain},
    {"SO_ZEROCOPY", SOL_SOCKET, SO_ZEROCOPY, kInt, kForInet, kPlain},
    {"SO_TXREHASH", SOL_SOCKET, kSoTxRehash, kInt, kForTcp, kPlain},
    {"SO_RCVMARK", SOL_SOCKET, kSoRcvMark, kInt, kForInet, kPlain},
    {"SO_RCVPRIORITY", SOL_SOCKET, kSoRcvPriority, kInt, kForInet, kPlain},

    {"IP_TOS", SOL_IP, IP_TOS, kInt, kForInet, kPlain},
    {"IP_TTL", SOL_IP, IP_TTL, kInt, kForInet, kPlain},
    {"IP_MINTTL", SOL_IP, IP_MINTTL, kInt, kForInet, kPlain},
    {"IP_OPTIONS", SOL_IP, IP_OPTIONS, OptionForm::kBytes, kForInet, kPlain},
    {"IP_MTU_DISCOVER", SOL_IP, IP_MTU_DISCOVER, kInt, kForInet, kPlain},
    {"IP_FREEBIND", SOL_IP, IP_FREEBIND, kInt, kForInet, kPlain},
    {"IP_TRANSPARENT", SOL_IP, IP_TRANSPARENT, kInt, kForInet, kRequired},
    {"IP_BIND_ADDRESS_NO_PORT", SOL_IP, IP_BIND_ADDRESS_NO_PORT, kInt, kForInet, kPlain},
    {"IP_LOCAL_PORT_RANGE", SOL_IP, kIpLocalPortRange, kInt, kForInet, kPlain},
    {"IP_UNICAST_IF", SOL_IP, IP_UNICAST_IF, kInt, kForInet, kPlain},
    {"IP_PKTINFO", SOL_IP, IP_PKTINFO, kInt, kForUdp, kPlain},
    {"IP_RECVTTL", SOL_IP, IP_RECVTTL, kInt, kForUdp, kPlain},
    {"IP_RECVTOS", SOL_IP, IP_RECVTOS, kInt, kForInet, kPlain},
    {"IP_RECVOPTS", SOL_IP, IP_RECVOPTS, kInt, kForUdp, kPlain},
    {"IP_RETOPTS", SOL_IP, IP_RETOPTS, kInt, kForUdp, kPlain},
    {"IP_RECVERR", SOL_IP, IP_RECVERR, kInt, kForInet, kPlain},
    {"IP_RECVERR_RFC4884", SOL_IP, kIpRecvErrRfc4884, kInt, kForUdp, kPlain},
    {"IP_RECVORIGDSTADDR", SOL_IP, IP_RECVORIGDSTADDR, kInt, kForUdp, kPlain},
    {"IP_RECVFRAGSIZE", SOL_IP, IP_RECVFRAGSIZE, kInt, kForUdp, kPlain},
    {"IP_CHECKSUM", SOL_IP, IP_CHECKSUM, kInt, kForUdp, kPlain},
    {"IP_PASSSEC", SOL_IP, IP_PASSSEC, kInt, kForUdp, kPlain},
    {"IP_MULTICAST_TTL", SOL_IP, IP_MULTICAST_TTL, kInt, kForUdp, kPlain},
    {"IP_MULTICAST_LOOP", SOL_IP, IP_MULTICAST_LOOP, kInt, kForUdp, kPlain},
    {"IP_MULTICAST_IF", SOL_IP, IP_MULTICAST_IF, OptionForm::kInAddr, kForUdp, kPlain},
    {"IP_MULTICAST_ALL", SOL_IP, IP_MULTICAST_ALL, kInt, kForUdp, kPlain},

    {"IPV6_V6ONLY", SOL_IPV6, IPV6_V6ONLY, kInt, kInet6, kRequired | kAlways},
    {"IPV6_TCLASS", SOL_IPV6, IPV6_TCLASS, kInt, kInet6, kPlain},
    {"IPV6_UNICAST_HOPS", SOL_IPV6, IPV6_UNICAST_HOPS, kInt, kInet6, kPlain},
    {"IPV6_MINHOPCOUNT", SOL_IPV6, IPV6_MINHOPCOUNT, kInt, kInet6, kPlain},
    {"IPV6_MTU_DISCOVER", SOL_IPV6, IPV6_MTU_DISCOVER, kInt, kInet6, kPlain},
    {"IPV6_DONTFRAG", SOL_IPV6, IPV6_DONTFRAG, kInt, kUdp6, kPlain},
    {"IPV6_AUTOFLOWLABEL", SOL_IPV6, IPV6_AUTOFLOWLABEL, kInt, kInet6, kPlain},
    {"IPV6_FLOWINFO_SEND", SOL_IPV6, kIpv6FlowInfoSend, kInt, kInet6, kPlain},
    {"IPV6_ADDR_PREFERENCES", SOL_IPV6, kIpv6AddrPreferences, kInt, kInet6, kPlain},
    {"IPV6_UNICAST_IF", SOL_IPV6, IPV6_UNICAST_IF, kInt, kInet6, kPlain},
    {"IPV6_RECVERR", SOL_IPV6, IPV6_RECVERR, kInt, kInet6, kPlain},
    {"IPV6_RECVERR_RFC4884", SOL_IPV6, kIpv6RecvErrRfc4884, kInt, kUdp6, kPlain},
    {"IPV6_RECVPKTINFO", SOL_IPV6, IPV6_RECVPKTINFO, kInt, kInet6, kPlain},
    {"IPV6_RECVHOPLIMIT", SOL_IPV6, IPV6_RECVHOPLIMIT, kInt, kInet6, kPlain},
    {"IPV6_RECVTCLASS", SOL_IPV6, IPV6_RECVTCLASS, kInt, kInet6, kPlain},
    {"IPV6_RECVRTHDR", SOL_IPV6, IPV6_RECVRTHDR, kInt, kInet6, kPlain},
    {"IPV6_RECVHOPOPTS", SOL_IPV6, IPV6_RECVHOPOPTS, kInt, kInet6, kPlain},
    {"IPV6_RECVDSTOPTS", SOL_IPV6, IPV6_RECVDSTOPTS, kInt, kInet6, kPlain},
    {"IPV6_RECVPATHMTU", SOL_IPV6, IPV6_RECVPATHMTU, kInt, kUdp6, kPlain},
    {"IPV6_RECVORIGDSTADDR", SOL_IPV6, IPV6_RECVORIGDSTADDR, kInt, kUdp6, kPlain},
    {"IPV6_RECVFRAGSIZE", SOL_IPV6, IPV6_RECVFRAGSIZE, kInt, kUdp6, kPlain},
    {"IPV6_MULTICAST_HOPS", SOL_IPV6, IPV6_MULTICAST_HOPS, kInt, kUdp6, kPlain},
    {"IPV6_MULTICAST_LOOP", SOL_IPV6, IPV6_MULTICAST_LOOP, kInt, kUdp6, kPlain},
    {"IPV6_MULTICAST_IF", SOL_IPV6, IPV6_MULTICAST_IF, kInt, kUdp6, kPlain},
    {"IPV6_MULTICAST_ALL", SOL_IPV6, kIpv6MulticastAll, kInt, kUdp6, kPlain},

    {"TCP_NODELAY", SOL_TCP, TCP_NODELAY, kInt, kForTcp, kPlain},
    {"TCP_CORK", SOL_TCP, TCP_CORK, kInt, kForTcp, kPlain},
    {"TCP_MAXSEG", SOL_TCP, TCP_MAXSEG, kInt, kForTcp, kPlain},
    {"TCP_KEEPIDLE", SOL_TCP, TCP_KEEPIDLE, kInt, kForTcp, kPlain},
    {"TCP_KEEPINTVL", SOL_TCP, TCP_KEEPINTVL, kInt, kForTcp, kPlain},
    {"TCP_KEEPCNT", SOL_TCP, TCP_KEEPCNT, kInt, kForTcp, kPlain},
    {"TCP_SYNCNT", SOL_TCP, TCP_SYNCNT, kInt, kForTcp, kPlain},
    {"TCP_LINGER2", SOL_TCP, TCP_LINGER2, kInt, kForTcp, kPlain},
    {"TCP_DEFER_ACCEPT", SOL_TCP, TCP_DEFER_ACCEPT, kInt, kForTcp, kPlain},
    {"TCP_WINDOW_CLAMP", SOL_TCP, TCP_WINDOW_CLAMP, kInt, kForTcp, kPlain},
    {"TCP_CONGESTION", SOL_TCP, TCP_CONGESTION, OptionForm::kText, kForTcp, kPlain},
    {"TCP_USER_TIMEOUT", SOL_TCP, TCP_USER_TIMEOUT, kInt, kForTcp, kPlain},
    {"TCP_THIN_LINEAR_TIMEOUTS", SOL_TCP, TCP_THIN_LINEAR_TIMEOUTS, kInt, kForTcp, kPlain},
    {"TCP_FASTOPEN", SOL_TCP, TCP_FASTOPEN, kInt, kForTcp, kPlain},
    {"TCP_FASTOPEN_CONNECT", SOL_TCP, TCP_FASTOPEN_CONNECT, kInt, kForTcp, kPlain},
    {"TCP_FASTOPEN_NO_COOKIE", SOL_TCP, TCP_FASTOPEN_NO_COOKIE, kInt, kForTcp, kPlain},
    {"TCP_NOTSENT_LOWAT", SOL_TCP, TCP_NOTSENT_LOWAT, kInt, kForTcp, kPlain},
    {"TCP_SAVE_SYN", SOL_TCP, TCP_SAVE_SYN, kInt, kForTcp, kPlain},
    {"TCP_INQ", SOL_TCP, TCP_INQ, kInt, kForTcp, kPlain},
    {"TCP_TX_DELAY", SOL_TCP, TCP_TX_DELAY, kInt, kForTcp, kPlain},

    {"UDP_ENCAP", SOL_UDP, UDP_ENCAP, kInt, kForUdp, kPlain},
    {"UDP_NO_CHECK6_TX", SOL_UDP, UDP_NO_CHECK6_TX, kInt, kForUdp, kPlain},
    {"UDP_NO_CHECK6_RX", SOL_UDP, UDP_NO_CHECK6_RX, kInt, kForUdp, kPlain},
    {"UDP_SEGMENT", SOL_UDP, UDP_SEGMENT, kInt, kForUdp, kPlain},
    {"UDP_GRO", SOL_UDP, UDP_GRO, kInt, kForUdp, kPlain},
    {"UDPLITE_SEND_CSCOV", IPPROTO_UDPLITE, kUdpLiteSendCoverage, kInt, kForUdp, kPlain},
    {"UDPLITE_RECV_CSCOV", IPPROTO_UDPLITE, kUdpLiteRecvCoverage, kInt, kForUdp, kPlain},

    {"SO_PASSCRED", SOL_SOCKET, SO_PASSCRED, kInt, kForUnix, kLast},
    {"SO_PASSSEC", SOL_SOCKET, SO_PASSSEC, kInt, kForUnix, kLast},
    {"SO_PASSPIDFD", SOL_SOCKET, kSoPassPidfd, kInt, kForUnix, kLast},
    {"SO_PASSRIGHTS", SOL_SOCKET, kSoPassRights, kInt, kForUnix, kLast},
    {"SO_PEEK_OFF", SOL_SOCKET, SO_PEEK_OFF, kInt, kForAll, kLast},
    {"UDP_CORK", SOL_UDP, UDP_CORK, kInt, kForUdp, kLast},
    {"SO_LOCK_FILTER", SOL_SOCKET, SO_LOCK_FILTER, kInt, kForAll, kLast},
};

}  // namespace

absl::Span<const SocketOptionEntry> socket_option_table() { return kTable; }

const SocketOptionEntry* find_socket_option(absl::string_view name) {
  for (const SocketOptionEntry& entry : kTable) {
    if (entry.name == name) return &entry;
  }
  return nullptr;
}

bool applies_to(const SocketOptionEntry& entry, const SocketIdentity& identity) {
  if (identity.domain == AF_UNIX) return (entry.scope & kForUnix) != 0;
  if (entry.level == IPPROTO_UDPLITE && identity.protocol != IPPROTO_UDPLITE) return false;
  if ((entry.scope & kInet6Only) != 0 && identity.domain != AF_INET6) return false;
  return (entry.scope & (identity.protocol == IPPROTO_TCP ? kForTcp : kForUdp)) != 0;
}

}  // namespace stillpoint
