// The kinds of sockets. Each is asked about in the helper's own copy of the socket, so without pidfd_getfd all of them
// are refused (by other_socket_kind).
#ifndef STILLPOINT_HELPER_RESOURCES_SOCKET_KINDS_H_
#define STILLPOINT_HELPER_RESOURCES_SOCKET_KINDS_H_

#include "helper/resources/open_file_kind.h"

namespace stillpoint {

// Over IPv4 and IPv6: listening, bound and unconnected ones, and connections with both ends in the image; others are
// findings.
const OpenFileKind& tcp_socket_kind();
// UDP and UDP-Lite, connected or not. Waiting datagrams are dropped and that is noted, as the network itself may do;
// those a socket sent to itself are kept.
const OpenFileKind& udp_socket_kind();
// Stream, datagram and seqpacket; listening ones, pairs with both ends in the image, and what waits in their queues.
// A restored pair was made by the restorer: SO_PEERCRED says so, and so does a note.
const OpenFileKind& unix_socket_kind();
// Claims every other socket and refuses it by family, type and protocol. Must be asked after the others.
const OpenFileKind& other_socket_kind();

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESOURCES_SOCKET_KINDS_H_
