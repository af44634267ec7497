#include "helper/resources/unix_socket_name.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/base/unique_fd.h"
#include "helper/procfs/process_files.h"
#include "helper/resources/printable.h"
#include "helper/resources/socket_address.h"
#include "helper/resources/socket_common.h"

namespace stillpoint {
namespace {

using resources::UnixName;

constexpr mode_t kPermissions = 07777;

enum class Occupant { kNone, kAbandonedSocket, kLiveSocket, kOtherFile };

// Changes the working directory and comes back. Only this makes a relative name relative again.
class ScopedDirectory {
 public:
  // An empty `directory` changes nothing.
  absl::Status enter(const std::string& directory) {
    if (directory.empty()) return absl::OkStatus();
    before_.reset(::open(".", O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!before_.valid()) return errno_status(errno, "open of the working directory");
    if (::chdir(directory.c_str()) != 0) return errno_status(errno, absl::StrCat("chdir to ", printable(directory)));
    return absl::OkStatus();
  }
  absl::Status leave() {
    if (!before_.valid()) return absl::OkStatus();
    const UniqueFd before = std::move(before_);
    if (::fchdir(before.get()) != 0) return errno_status(errno, "fchdir to the working directory");
    return absl::OkStatus();
  }
  ~ScopedDirectory() { leave().IgnoreError(); }

 private:
  UniqueFd before_;
};

// A datagram socket can be connected without the other side noticing, and the error tells who is there: EPROTOTYPE is a
// live socket of another type.
Occupant probe_socket(const SocketAddress& address) {
  const absl::StatusOr<UniqueFd> probe = new_socket(AF_UNIX, SOCK_DGRAM, 0);
  if (!probe.ok()) return Occupant::kLiveSocket;
  if (::connect(probe->get(), address.get(), address.length()) == 0) return Occupant::kLiveSocket;
  return errno == ECONNREFUSED ? Occupant::kAbandonedSocket : Occupant::kLiveSocket;
}

absl::StatusOr<Occupant> occupant_of(const std::string& path, const SocketAddress& address) {
  struct stat file = {};
  if (::lstat(path.c_str(), &file) != 0) {
    if (errno == ENOENT) return Occupant::kNone;
    return errno_status(errno, absl::StrCat("lstat of ", printable(path)));
  }
  if (!S_ISSOCK(file.st_mode)) return Occupant::kOtherFile;
  return probe_socket(address);
}

// The path as it is called here: --map-path applies to absolute names as a whole, to relative ones by their directory.
struct Place {
  std::string directory;  // empty: the path is absolute
  std::string path;
};
Place place_of(const UnixName& name, const OpenFileRestoreContext& context) {
  if (is_relative(name)) return {context.map_path(name.directory()), name.name()};
  return {"", context.map_path(name.name())};
}

// bind(2) gives the file the permissions of the socket's own inode less the umask: set there first, so that the
// file is never more open than it was.
absl::Status bind_with_mode(int fd, const UnixName& name, const SocketAddress& address) {
  struct stat socket_file = {};
  if (::fstat(fd, &socket_file) != 0) return errno_status(errno, "fstat of a socket");
  if (name.has_file() && ::fchmod(fd, name.mode() & kPermissions) != 0)
    return errno_status(errno, "fchmod of a socket");
  const int bound = ::bind(fd, address.get(), address.length());
  const int error = errno;
  if (name.has_file() && ::fchmod(fd, socket_file.st_mode & kPermissions) != 0) {
    return errno_status(errno, "fchmod of a socket");
  }
  return bound == 0 ? absl::OkStatus() : errno_status(error, absl::StrCat("bind to ", address.text()));
}

// Through an fd of the file, so that nothing put in its place meanwhile is given away.
absl::Status set_ownership(const std::string& path, const UnixName& name, absl::string_view object,
                           OpenFileRestoreContext& context) {
  const UniqueFd fd(::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat file = {};
  if (!fd.valid() || ::fstat(fd.get(), &file) != 0)
    return errno_status(errno, absl::StrCat("open of ", printable(path)));
  if (!S_ISSOCK(file.st_mode)) {
    return absl::AbortedError(absl::StrCat(printable(path), " was replaced while it was being bound"));
  }
  if ((file.st_uid != name.uid() || file.st_gid != name.gid()) &&
      ::fchownat(fd.get(), "", name.uid(), name.gid(), AT_EMPTY_PATH) != 0) {
    context.note(absl::StrCat(object, ": the socket's file cannot be given to ", name.uid(), ":", name.gid(), ": ",
                              errno_name(errno)));
  }
  const std::string same_file = absl::StrCat("/proc/self/fd/", fd.get());
  if (::chmod(same_file.c_str(), name.mode() & kPermissions) != 0) {
    return errno_status(errno, absl::StrCat("chmod of ", printable(path)));
  }
  return absl::OkStatus();
}

absl::Status make_room(const std::string& path, const UnixName& name, const SocketAddress& address) {
  ASSIGN_OR_RETURN(const Occupant occupant, occupant_of(path, address));
  switch (occupant) {
    case Occupant::kNone:
      return absl::OkStatus();
    case Occupant::kOtherFile:
      return absl::AlreadyExistsError(absl::StrCat(printable(path), " exists and is not a socket"));
    case Occupant::kLiveSocket:
      return absl::AlreadyExistsError(absl::StrCat(printable(path), " is in use by another process"));
    case Occupant::kAbandonedSocket:
      break;
  }
  if (!name.has_file()) return absl::AlreadyExistsError(absl::StrCat(printable(path), " exists"));
  if (::unlink(path.c_str()) != 0) return errno_status(errno, absl::StrCat("unlink of ", printable(path)));
  return absl::OkStatus();
}

// Whether `path` is the file of the socket that is bound to inode `file_inode`. Filesystems stacked on others (overlay)
// show another inode number than the kernel's own: there, a live socket at that path is taken for it.
bool leads_to(const std::string& path, const SocketAddress& address, uint64_t file_inode, struct stat& file) {
  if (::stat(path.c_str(), &file) != 0 || !S_ISSOCK(file.st_mode)) return false;
  if (static_cast<uint32_t>(file.st_ino) == file_inode) return true;
  return probe_socket(address) == Occupant::kLiveSocket;
}

}  // namespace

bool is_path(const UnixName& name) { return !name.name().empty() && name.name()[0] != '\0'; }
bool is_relative(const UnixName& name) { return is_path(name) && name.name()[0] != '/'; }

std::string unix_name_text(const UnixName& name) {
  const absl::StatusOr<SocketAddress> address = SocketAddress::unix_named(name.name());
  return address.ok() ? address->text() : printable(name.name());
}

UnixName read_unix_name(pid_t pid, absl::string_view name, std::optional<uint64_t> file_inode) {
  UnixName out;
  out.set_name(std::string(name));
  if (!is_path(out)) return out;
  std::string path(name);
  std::string directory;
  if (is_relative(out)) {
    absl::StatusOr<std::string> current = procfs::read_link(absl::StrCat("/proc/", pid, "/cwd"));
    if (!current.ok()) return out;
    directory = *std::move(current);
    path = absl::StrCat(directory, "/", name);
  }
  struct stat file = {};
  const absl::StatusOr<SocketAddress> address = SocketAddress::unix_named(path);
  // A path too long to be asked about by name is compared by inode alone.
  if (!file_inode.has_value() || !leads_to(path, address.ok() ? *address : SocketAddress(), *file_inode, file)) {
    return out;
  }
  out.set_directory(directory);
  out.set_has_file(true);
  out.set_mode(file.st_mode & kPermissions);
  out.set_uid(file.st_uid);
  out.set_gid(file.st_gid);
  return out;
}

absl::Status check_unix_name(const UnixName& name) {
  RETURN_IF_ERROR(SocketAddress::unix_named(name.name()).status());
  if (!is_relative(name)) return absl::OkStatus();
  if (name.directory().find('\0') != std::string::npos || (!name.directory().empty() && name.directory()[0] != '/')) {
    return absl::InvalidArgumentError("a socket's directory that is no absolute path");
  }
  return absl::OkStatus();
}

absl::Status bind_unix_name(int fd, const UnixName& name, absl::string_view object, OpenFileRestoreContext& context) {
  if (!is_path(name)) {
    ASSIGN_OR_RETURN(const SocketAddress address, SocketAddress::unix_named(name.name()));
    if (::bind(fd, address.get(), address.length()) == 0) return absl::OkStatus();
    return errno_status(errno, absl::StrCat("bind to ", address.text()));
  }
  if (is_relative(name) && name.directory().empty()) {
    return absl::NotFoundError(absl::StrCat("the directory of ", printable(name.name()), " is not known"));
  }
  const Place place = place_of(name, context);
  ASSIGN_OR_RETURN(const SocketAddress address, SocketAddress::unix_named(place.path));
  ScopedDirectory directory;
  RETURN_IF_ERROR(directory.enter(place.directory));
  RETURN_IF_ERROR(make_room(place.path, name, address));
  RETURN_IF_ERROR(bind_with_mode(fd, name, address));
  if (name.has_file()) {
    RETURN_IF_ERROR(set_ownership(place.path, name, object, context));
  } else if (::unlink(place.path.c_str()) != 0) {
    return errno_status(errno, absl::StrCat("unlink of ", printable(place.path)));
  }
  return directory.leave();
}

absl::Status connect_unix_name(int fd, const UnixName& name, const OpenFileRestoreContext& context) {
  const Place place = is_path(name) ? place_of(name, context) : Place{"", name.name()};
  ASSIGN_OR_RETURN(const SocketAddress address, SocketAddress::unix_named(place.path));
  ScopedDirectory directory;
  if (is_relative(name)) RETURN_IF_ERROR(directory.enter(place.directory));
  if (::connect(fd, address.get(), address.length()) != 0) {
    return errno_status(errno, absl::StrCat("connect to ", address.text()));
  }
  return directory.leave();
}

}  // namespace stillpoint
