#include "helper/resources/socket_multicast.h"

#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "helper/base/errors.h"
#include "helper/procfs/process_files.h"
#include "helper/resources/detail.h"
#include "helper/resources/fdinfo.h"
#include "helper/resources/printable.h"

namespace stillpoint {
namespace {

using resources::MulticastMembership;
using resources::UdpSocketDetail;

constexpr size_t kMostSources = 512;

int level_of(int family) { return family == AF_INET ? SOL_IP : SOL_IPV6; }

absl::Status malformed(absl::string_view file, absl::string_view line) {
  return absl::DataLossError(absl::StrCat(file, ": malformed line: ", printable(line)));
}

// A group_filter with room for kMostSources addresses.
class FilterBuffer {
 public:
  FilterBuffer(unsigned interface, const SocketAddress& group) : bytes_(GROUP_FILTER_SIZE(kMostSources)) {
    get()->gf_interface = interface;
    std::memcpy(&get()->gf_group, group.get(), group.length());
    get()->gf_numsrc = kMostSources;
  }
  group_filter* get() { return reinterpret_cast<group_filter*>(bytes_.data()); }
  socklen_t size() const { return static_cast<socklen_t>(bytes_.size()); }

 private:
  std::vector<char> bytes_;  // operator new aligns it for any type
};

absl::Status read_membership(int fd, const MulticastGroup& group, UdpSocketDetail& detail) {
  FilterBuffer filter(group.interface, group.group);
  socklen_t length = filter.size();
  const int level = level_of(group.group.family());
  if (::getsockopt(fd, level, MCAST_MSFILTER, filter.get(), &length) != 0) {
    if (errno == EADDRNOTAVAIL || errno == EINVAL || errno == ENODEV) return absl::OkStatus();  // not a member
    return errno_status(errno, "getsockopt(MCAST_MSFILTER)");
  }
  char name[IF_NAMESIZE] = "";
  if (::if_indextoname(group.interface, name) == nullptr) return errno_status(errno, "if_indextoname");
  if (filter.get()->gf_numsrc > kMostSources) return absl::ResourceExhaustedError("too many multicast sources");
  MulticastMembership* membership = detail.add_memberships();
  membership->set_interface(name);
  membership->set_group(group.group.bytes());
  membership->set_filter_mode(filter.get()->gf_fmode);
  const socklen_t size = group.group.length();
  for (uint32_t i = 0; i < filter.get()->gf_numsrc; ++i) {
    membership->add_sources(&filter.get()->gf_slist[i], size);
  }
  return absl::OkStatus();
}

absl::Status join(int fd, const MulticastMembership& membership, unsigned interface, const SocketAddress& group) {
  const int level = level_of(group.family());
  group_req request = {};
  request.gr_interface = interface;
  std::memcpy(&request.gr_group, group.get(), group.length());
  if (::setsockopt(fd, level, MCAST_JOIN_GROUP, &request, sizeof request) != 0) {
    return errno_status(errno, absl::StrCat("setsockopt(MCAST_JOIN_GROUP, ", group.text(), ")"));
  }
  if (membership.filter_mode() == MCAST_EXCLUDE && membership.sources().empty()) return absl::OkStatus();  // all
  FilterBuffer filter(interface, group);
  filter.get()->gf_fmode = membership.filter_mode();
  filter.get()->gf_numsrc = static_cast<uint32_t>(membership.sources_size());
  for (int i = 0; i < membership.sources_size(); ++i) {
    ASSIGN_OR_RETURN(const SocketAddress source, SocketAddress::from_bytes(membership.sources(i), group.family()));
    std::memcpy(&filter.get()->gf_slist[i], source.get(), source.length());
  }
  const auto size = static_cast<socklen_t>(GROUP_FILTER_SIZE(static_cast<size_t>(membership.sources_size())));
  if (::setsockopt(fd, level, MCAST_MSFILTER, filter.get(), size) == 0) return absl::OkStatus();
  return errno_status(errno, absl::StrCat("setsockopt(MCAST_MSFILTER, ", group.text(), ")"));
}

}  // namespace

absl::StatusOr<std::vector<MulticastGroup>> parse_igmp(absl::string_view text) {
  std::vector<MulticastGroup> groups;
  unsigned interface = 0;
  bool heading = true;
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    if (heading) {
      heading = false;
      continue;
    }
    const std::vector<absl::string_view> words = absl::StrSplit(line, absl::ByAnyChar(" \t"), absl::SkipEmpty());
    if (words.empty()) return malformed("/proc/net/igmp", line);
    if (line[0] != ' ' && line[0] != '\t') {
      if (!absl::SimpleAtoi(words[0], &interface)) return malformed("/proc/net/igmp", line);
      continue;
    }
    uint64_t address = 0;
    if (words[0].size() != 8 || !parse_unsigned(words[0], 16, address)) return malformed("/proc/net/igmp", line);
    sockaddr_in group = {};
    group.sin_family = AF_INET;
    group.sin_addr.s_addr = static_cast<in_addr_t>(address);
    groups.push_back({interface, SocketAddress(reinterpret_cast<const sockaddr*>(&group), sizeof group)});
  }
  return groups;
}

absl::StatusOr<std::vector<MulticastGroup>> parse_igmp6(absl::string_view text) {
  std::vector<MulticastGroup> groups;
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    const std::vector<absl::string_view> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    unsigned interface = 0;
    uint64_t unused = 0;
    if (words.size() < 3 || words[2].size() != 32 || !absl::SimpleAtoi(words[0], &interface) ||
        !parse_unsigned(words[2].substr(0, 16), 16, unused) || !parse_unsigned(words[2].substr(16), 16, unused)) {
      return malformed("/proc/net/igmp6", line);
    }
    const std::string bytes = absl::HexStringToBytes(words[2]);
    sockaddr_in6 group = {};
    group.sin6_family = AF_INET6;
    std::memcpy(&group.sin6_addr, bytes.data(), sizeof group.sin6_addr);
    groups.push_back({interface, SocketAddress(reinterpret_cast<const sockaddr*>(&group), sizeof group)});
  }
  return groups;
}

absl::Status read_memberships(int fd, int domain, UdpSocketDetail& detail) {
  std::vector<MulticastGroup> groups;
  if (absl::StatusOr<std::string> text = procfs::read_text("/proc/net/igmp"); text.ok()) {
    ASSIGN_OR_RETURN(groups, parse_igmp(*text));
  }
  if (domain == AF_INET6) {
    if (absl::StatusOr<std::string> text = procfs::read_text("/proc/net/igmp6"); text.ok()) {
      ASSIGN_OR_RETURN(const std::vector<MulticastGroup> more, parse_igmp6(*text));
      groups.insert(groups.end(), more.begin(), more.end());
    }
  }
  for (const MulticastGroup& group : groups) RETURN_IF_ERROR(read_membership(fd, group, detail));
  return absl::OkStatus();
}

absl::Status join_groups(int fd, const UdpSocketDetail& detail, const model::OpenFile& file,
                         OpenFileRestoreContext& context) {
  for (const MulticastMembership& membership : detail.memberships()) {
    const int family = membership.group().size() == sizeof(sockaddr_in) ? AF_INET : AF_INET6;
    const absl::StatusOr<SocketAddress> group = SocketAddress::from_bytes(membership.group(), family);
    if (!group.ok() || group->empty()) return damaged_detail(file, "not a multicast group");
    if (membership.sources_size() > static_cast<int>(kMostSources)) return damaged_detail(file, "too many sources");
    if (membership.interface().size() >= IF_NAMESIZE) return damaged_detail(file, "not an interface name");
    const unsigned interface = ::if_nametoindex(membership.interface().c_str());
    const absl::Status joined =
        interface == 0 ? absl::NotFoundError(absl::StrCat("no interface ", printable(membership.interface())))
                       : join(fd, membership, interface, *group);
    if (!joined.ok()) {
      context.note(absl::StrCat(file.description(), ": is no member of group ", group->text(),
                                " any more: ", std::string(joined.message())));
    }
  }
  return absl::OkStatus();
}

}  // namespace stillpoint
