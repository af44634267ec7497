#include "helper/resources/kinds.h"

#include "helper/resources/open_file_kind.h"
#include "helper/resources/socket_kinds.h"

namespace stillpoint {

// The order matters where kinds overlap: O_PATH hides every type, and memfds and /proc files look like regular files.
const std::vector<const OpenFileKind*>& open_file_kinds() {
  static const auto& kinds = *new std::vector<const OpenFileKind*>{
      &path_fd_kind(),  //
      &unsupported_file_kind(),
      &inherited_kind(),     // claims nothing: named in images only
      &memfd_kind(),         //
      &proc_file_kind(),     //
      &regular_file_kind(),  //
      &directory_kind(),     //
      &pipe_kind(),          //
      &device_kind(),        //
      &eventfd_kind(),       //
      &epoll_kind(),         //
      &signalfd_kind(),      //
      &timerfd_kind(),       //
      &inotify_kind(),       //
      &pidfd_kind(),         //
      &tcp_socket_kind(),    //
      &udp_socket_kind(),    //
      &unix_socket_kind(),   //
      &other_socket_kind(),  //
      &unknown_file_kind(),  //
  };
  return kinds;
}

const OpenFileKind* open_file_kind(absl::string_view name) {
  for (const OpenFileKind* kind : open_file_kinds()) {
    if (kind->name() == name) return kind;
  }
  return nullptr;
}

}  // namespace stillpoint
