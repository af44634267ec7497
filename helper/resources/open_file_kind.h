// The interface every kind of open file description implements: one room per
// kind, audited, dumped and restored side by side in one file pair, entered into
// kinds.cc by one line.
#ifndef STILLPOINT_HELPER_RESOURCES_OPEN_FILE_KIND_H_
#define STILLPOINT_HELPER_RESOURCES_OPEN_FILE_KIND_H_

#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "helper/base/unique_fd.h"
#include "helper/model/model.pb.h"
#include "helper/resources/finding.h"

namespace stillpoint {

// One open file description of a frozen process, as its kind sees it.
struct OpenFileView {
  pid_t pid = 0;             // a task that has it
  pid_t root = 0;            // the root of the tree that is dumped
  int number = -1;           // the lowest fd number in that task
  int fd = -1;               // the helper's own copy (pidfd_getfd), or -1 where that is forbidden
  std::string link;          // readlink of /proc/PID/fd/N
  std::string fdinfo;        // text of /proc/PID/fdinfo/N, untrusted
  struct stat stat = {};     // of /proc/PID/fd/N
  uint32_t flags = 0;        // fdinfo's flags without O_CLOEXEC
  int64_t pos = 0;           // fdinfo's pos
  std::vector<int> numbers;  // all fd numbers of that task with this open file description
  bool shared = false;       // other processes of the tree have it too
};

// An open file description of the image, by id, and its status flags.
struct OpenFileReference {
  uint64_t id = 0;
  uint32_t flags = 0;
};

// What a kind may ask and do while it audits and dumps.
class OpenFileDumpContext {
 public:
  virtual ~OpenFileDumpContext() = default;
  // The id of the open file description behind fd `number` of `pid`; 0 when that fd is not part of the image.
  virtual uint64_t open_file_of(pid_t pid, int number) const = 0;
  // The lowest id of an open file description in the image whose inode this is; 0: none (socket peers, pipe ends:
  // objects whose inode numbers are handed out by one counter).
  virtual uint64_t open_file_of_inode(uint64_t inode, uint64_t except_id) const = 0;
  // All open file descriptions of the image that lead to the same object (device and inode) as `file`, its own
  // included, ascending. The default looks at every fd of the file's process in /proc, which is slow where there are
  // thousands, and finds none of other processes.
  virtual std::vector<OpenFileReference> same_object(const OpenFileView& file) const;
  // What is known of an open file description of the image; null: not asked for here, or no such id.
  virtual const OpenFileView* view_of(uint64_t /*id*/) const { return nullptr; }
  // Until when it is worth waiting for the kernel to deliver what is on its way between members of the frozen tree.
  virtual absl::Time delivery_deadline() const { return absl::Now() + kDeliveryTime; }
  static constexpr absl::Duration kDeliveryTime = absl::Milliseconds(300);
  // True when fd `number` is an fd that the process's starter gave it (stdin/stdout/stderr and others that hold the
  // same object as one of the starter's) and that `restart` will give again.
  virtual bool inherited(const OpenFileView& file) const = 0;
  virtual bool in_tree(pid_t pid) const = 0;
  // The shared memory object behind a memfd (its inode), entered into the model by the memory side. Entered on first
  // ask.
  virtual absl::StatusOr<uint64_t> shared_memory_of(const OpenFileView& file) = 0;
};

// What a kind may ask and do while it restores. Restore happens in the
// restorer, before the new process is cloned from it: whatever fd a kind
// returns, the process inherits. What must be done by the process itself (arming
// timers, pidfds of itself) is queued with `in_process`.
class OpenFileRestoreContext {
 public:
  virtual ~OpenFileRestoreContext() = default;
  // The restored fd of another open file description (restored before, or null: -1).
  virtual int fd_of(uint64_t open_file_id) const = 0;
  // A duplicate of the restarter's fd for an inherited one (0, 1, 2), for kind "inherited".
  virtual absl::StatusOr<UniqueFd> inherited_fd(int number) = 0;
  // The memfd of a shared memory object, already created (contents are filled later).
  virtual absl::StatusOr<UniqueFd> shared_memory_fd(uint64_t id) = 0;
  // --map-path applied to a path of the image.
  virtual std::string map_path(absl::string_view path) const = 0;
  // Ends that came into being together with a partner (socketpair(2), pipe(2)) and wait for their own open file
  // description to be restored; the key is that description's id. Whoever restores it takes the fd out of the map.
  virtual std::map<uint64_t, UniqueFd>& spare_ends() = 0;
  // One line for the user: something came back differently than it was.
  virtual void note(std::string line) = 0;
  // A system call that the new process makes itself, late, with all its fds in place and clocks set: arguments as
  // the kernel takes them, `data` is copied into the process and its address stands for the argument with index
  // `data_argument`. A negative result fails the restore with `what`.
  struct ProcessCall {
    long number;
    uint64_t arguments[6];
    int data_argument;  // -1: none
    std::string data;
    std::string what;
  };
  virtual void in_process(ProcessCall call) = 0;
};

class OpenFileKind {
 public:
  virtual ~OpenFileKind() = default;
  virtual absl::string_view name() const = 0;  // stable: it stands in images
  // Whether this kind is responsible for the file. Kinds are asked in the order of kinds.cc.
  virtual bool claims(const OpenFileView& file) const = 0;
  // Adds what would make dump() impossible or unfaithful. Default: nothing.
  virtual void audit(const OpenFileView& file, const OpenFileDumpContext& context, Findings& findings) const;
  // Fills detail and description of `out`; id, kind, flags and owner have been set by the caller. For an object that
  // turns out to be the starter's the kind becomes "inherited" (inherited.h).
  virtual absl::Status dump(const OpenFileView& file, OpenFileDumpContext& context, model::OpenFile& out) const = 0;
  // Order of restoring; lower first. Kinds that refer to others (epoll, signalfd over sockets) come later.
  virtual int restore_stage() const { return 0; }
  // Creates the open file description again, at any fd number. Status flags (F_SETFL), owner and signal are set by the
  // caller.
  virtual absl::StatusOr<UniqueFd> restore(const model::OpenFile& file, OpenFileRestoreContext& context) const = 0;
  // Called for every file once all fds exist, before the first finish(): addresses that several files share, contents
  // that one file puts into another, while nothing is shut down yet. Default: nothing.
  virtual absl::Status fill(const model::OpenFile& file, int fd, OpenFileRestoreContext& context) const;
  // Called for every file after all have been filled (epoll interest lists, shutdowns). Default: nothing.
  virtual absl::Status finish(const model::OpenFile& file, int fd, OpenFileRestoreContext& context) const;
  // Called for every file when all else has succeeded, just before the program runs: what changes something outside the
  // process is done here, so that a restore that fails has changed nothing. Default: nothing.
  virtual absl::Status commit(const model::OpenFile& file, int fd) const;
};

// All kinds, in the order in which they are asked.
const std::vector<const OpenFileKind*>& open_file_kinds();
// The kind with that name; nullptr for a name this release does not know.
const OpenFileKind* open_file_kind(absl::string_view name);

// Text of /proc is untrusted: the value of "key:\t..." in fdinfo text, or an error that names the key and the object.
absl::StatusOr<std::string> fdinfo_value(const OpenFileView& file, absl::string_view key);
// All lines that begin with `prefix`.
std::vector<std::string> fdinfo_lines(const OpenFileView& file, absl::string_view prefix);
// "fd 7 /data/run.lock" or "fd 7,8 pipe:[1234]"
std::string describe(const OpenFileView& file);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESOURCES_OPEN_FILE_KIND_H_
