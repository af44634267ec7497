// Names of UNIX sockets: found out at a dump, bound and connected to again at a restore.
#ifndef STILLPOINT_HELPER_RESOURCES_UNIX_SOCKET_NAME_H_
#define STILLPOINT_HELPER_RESOURCES_UNIX_SOCKET_NAME_H_

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "helper/resources/open_file_kind.h"
#include "helper/resources/socket.pb.h"

namespace stillpoint {

// The name of a socket of `pid`, with the file it led to. A relative path is looked for in the process's working
// directory; `directory` stays empty when it is not there (`file_inode` is what the socket is bound to).
resources::UnixName read_unix_name(pid_t pid, absl::string_view name, std::optional<uint64_t> file_inode);

bool is_path(const resources::UnixName& name);
bool is_relative(const resources::UnixName& name);
std::string unix_name_text(const resources::UnixName& name);

// INVALID_ARGUMENT for what no kernel gave out.
absl::Status check_unix_name(const resources::UnixName& name);

// Binds again, with the file's mode and owner. A socket file that nobody is bound to any more is replaced; anything
// else at that path is ALREADY_EXISTS. A name that had lost its file gets it taken away again. A relative path is bound
// from its directory: the caller's working directory changes for that moment.
absl::Status bind_unix_name(int fd, const resources::UnixName& name, absl::string_view object,
                            OpenFileRestoreContext& context);

// Connects `fd` to the name; a relative path is looked up in its directory.
absl::Status connect_unix_name(int fd, const resources::UnixName& name, const OpenFileRestoreContext& context);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESOURCES_UNIX_SOCKET_NAME_H_
