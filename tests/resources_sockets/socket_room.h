// The sockets of this process, dumped and restored in place of a frozen process's: real sockets, played contexts.
#ifndef STILLPOINT_TESTS_RESOURCES_SOCKETS_SOCKET_ROOM_H_
#define STILLPOINT_TESTS_RESOURCES_SOCKETS_SOCKET_ROOM_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "helper/base/unique_fd.h"
#include "helper/resources/finding.h"
#include "helper/resources/open_file_kind.h"
#include "helper/resources/socket_address.h"

namespace stillpoint {

const OpenFileKind* socket_kind_for(const OpenFileView& view);
const OpenFileKind* socket_kind_named(absl::string_view name);

class FakeDumpContext : public OpenFileDumpContext {
 public:
  uint64_t open_file_of(pid_t pid, int number) const override;
  uint64_t open_file_of_inode(uint64_t inode, uint64_t except_id) const override;
  const OpenFileView* view_of(uint64_t id) const override;
  bool inherited(const OpenFileView& file) const override { return inherited_numbers.contains(file.number); }
  bool in_tree(pid_t) const override { return true; }
  absl::StatusOr<uint64_t> shared_memory_of(const OpenFileView&) override { return absl::InternalError("not a memfd"); }

  std::map<int, uint64_t> ids;          // by fd number
  std::map<uint64_t, uint64_t> inodes;  // id -> inode
  std::set<int> inherited_numbers;
  std::map<uint64_t, OpenFileView> views;
};

class FakeRestoreContext : public OpenFileRestoreContext {
 public:
  int fd_of(uint64_t id) const override;
  absl::StatusOr<UniqueFd> inherited_fd(int number) override;
  absl::StatusOr<UniqueFd> shared_memory_fd(uint64_t) override { return absl::NotFoundError("no shared memory here"); }
  std::string map_path(absl::string_view path) const override;
  std::map<uint64_t, UniqueFd>& spare_ends() override { return spares; }
  void note(std::string line) override { notes.push_back(std::move(line)); }
  void in_process(ProcessCall call) override { calls.push_back(std::move(call)); }

  std::map<uint64_t, UniqueFd> fds;
  std::map<uint64_t, UniqueFd> spares;
  std::vector<std::string> notes;
  std::vector<ProcessCall> calls;
  std::vector<int> asked_inherited;
  std::pair<std::string, std::string> mapped;  // --map-path FIRST=SECOND
};

// The life of some sockets: enter() them, audit() or dump(), which closes them, and restore().
class SocketRoom {
 public:
  // Takes `fd`; it counts as part of the image from now on. Returns its id.
  uint64_t enter(UniqueFd fd);
  int fd(uint64_t id) const { return sockets_.at(id).get(); }

  OpenFileView view(uint64_t id) const;
  std::vector<Finding> audit(uint64_t id) const;
  absl::StatusOr<model::OpenFile> dump_one(uint64_t id);
  // Audits everything, dumps it through a serialized tree, and closes it.
  void dump();
  void restore();  // in the order of the ids, or the other way round
  absl::Status try_restore();
  int restored(uint64_t id) const { return restore_context.fd_of(id); }
  void round_trip() {
    dump();
    if (!::testing::Test::HasFatalFailure()) restore();
  }

  FakeDumpContext dump_context;
  FakeRestoreContext restore_context;
  model::Tree tree;
  bool backwards = false;

 private:
  std::map<uint64_t, UniqueFd> sockets_;
  std::map<uint64_t, UniqueFd> copies_;
};

UniqueFd make_socket(int domain, int type, int protocol = 0);
std::pair<UniqueFd, UniqueFd> make_socketpair(int type);
SocketAddress loopback(int family, uint16_t port = 0);
SocketAddress unix_address(absl::string_view name);
void bind_to(int fd, const SocketAddress& address);
void connect_to(int fd, const SocketAddress& address);
SocketAddress local_address(int fd);
int get_int(int fd, int level, int option);
void set_int(int fd, int level, int option, int value);
// One recv without waiting: what came, "<EAGAIN>" (or another errno name) or "" for no bytes.
std::string receive(int fd, int flags = 0);
// Waits until something can be read or the deadline passes, then receive().
std::string receive_soon(int fd);
std::vector<std::string> codes(const std::vector<Finding>& findings);

// A new directory, removed with what is in it.
class ScratchDirectory {
 public:
  ScratchDirectory();
  ~ScratchDirectory();
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace stillpoint

#endif  // STILLPOINT_TESTS_RESOURCES_SOCKETS_SOCKET_ROOM_H_
