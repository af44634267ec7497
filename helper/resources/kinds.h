// One factory for each kind of open file description in this room; kinds.cc is the table.
#ifndef STILLPOINT_HELPER_RESOURCES_KINDS_H_
#define STILLPOINT_HELPER_RESOURCES_KINDS_H_

#include "helper/resources/open_file_kind.h"

namespace stillpoint {

// O_PATH descriptors, whatever they point at.
const OpenFileKind& path_fd_kind();
// What no release of Stillpoint saves yet, each with a finding of its own: io_uring, userfaultfd, perf_event, bpf, ...
const OpenFileKind& unsupported_file_kind();
// Objects that `stillpoint restart` gives the process again: terminals, pipes and files of its starter.
const OpenFileKind& inherited_kind();
const OpenFileKind& proc_file_kind();
const OpenFileKind& memfd_kind();
const OpenFileKind& regular_file_kind();
const OpenFileKind& directory_kind();
const OpenFileKind& pipe_kind();
// Character and block devices, terminals included.
const OpenFileKind& device_kind();
const OpenFileKind& eventfd_kind();
const OpenFileKind& epoll_kind();
const OpenFileKind& signalfd_kind();
const OpenFileKind& timerfd_kind();
const OpenFileKind& inotify_kind();
const OpenFileKind& pidfd_kind();
// Claims what nobody else does, so that there is always a finding.
const OpenFileKind& unknown_file_kind();

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESOURCES_KINDS_H_
