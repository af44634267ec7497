// Dumps fds of the test process, loses them, and restores them at their numbers: what a dump and a restore do with
// the fds of a program, without another process.
#ifndef STILLPOINT_TESTS_RESOURCES_ROUND_TRIP_H_
#define STILLPOINT_TESTS_RESOURCES_ROUND_TRIP_H_

#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "helper/base/unique_fd.h"
#include "helper/model/model.pb.h"
#include "helper/resources/finding.h"
#include "helper/resources/open_file_kind.h"

namespace stillpoint {

// The view of fd `number` of `pid`; `copy` is the helper's copy of it, or -1.
OpenFileView view_of(pid_t pid, int number, int copy);

// The kind that claims the view.
const OpenFileKind& kind_of(const OpenFileView& view);

class FakeDumpContext : public OpenFileDumpContext {
 public:
  uint64_t open_file_of(pid_t pid, int number) const override;
  uint64_t open_file_of_inode(uint64_t inode, uint64_t except_id) const override;
  bool inherited(const OpenFileView& file) const override { return inherited_numbers.count(file.number) != 0; }
  bool in_tree(pid_t pid) const override { return tree.count(pid) != 0; }
  absl::StatusOr<uint64_t> shared_memory_of(const OpenFileView& file) override;

  std::map<std::pair<pid_t, int>, uint64_t> ids;
  std::map<uint64_t, uint64_t> inodes;  // id -> inode
  bool rest_in_image = false;           // every other fd of the test counts as part of the image
  std::set<int> inherited_numbers;
  std::set<pid_t> tree;
  std::map<uint64_t, UniqueFd> shared_memories;
};

class FakeRestoreContext : public OpenFileRestoreContext {
 public:
  int fd_of(uint64_t open_file_id) const override;
  absl::StatusOr<UniqueFd> inherited_fd(int number) override;
  absl::StatusOr<UniqueFd> shared_memory_fd(uint64_t id) override;
  std::string map_path(absl::string_view path) const override;
  std::map<uint64_t, UniqueFd>& spare_ends() override { return spare_ends_; }
  void note(std::string line) override { notes.push_back(std::move(line)); }
  void in_process(ProcessCall call) override { calls.push_back(std::move(call)); }

  // Makes the queued calls, as the new process would.
  absl::Status run_calls() const;

  std::map<uint64_t, int> fds;
  std::map<int, int> restarter_fds;
  std::map<uint64_t, UniqueFd>* shared_memories = nullptr;
  std::map<std::string, std::string> path_map;
  std::vector<std::string> notes;
  std::vector<ProcessCall> calls;

 private:
  std::map<uint64_t, UniqueFd> spare_ends_;
};

class RoundTrip {
 public:
  ~RoundTrip();
  // Enters an open file description by all its numbers; returns its id. The numbers belong to the RoundTrip from now
  // on.
  uint64_t add(std::vector<int> numbers);
  uint64_t add(int number) { return add(std::vector<int>{number}); }
  // As add(), but the kinds see no copy of it: pidfd_getfd forbidden.
  uint64_t add_without_copy(int number);

  Findings audit() const;
  absl::Status dump();
  // Closes every number.
  void lose();
  // From the serialized messages; every number is there again afterwards, close-on-exec not kept.
  absl::Status restore();
  // dump, lose, restore.
  absl::Status travel();

  const model::OpenFile& message(uint64_t id) const { return messages_.at(id); }
  // Any note that contains `text`.
  bool noted(absl::string_view text) const;

  FakeDumpContext dump_context;
  FakeRestoreContext restore_context;

 private:
  struct File {
    uint64_t id = 0;
    std::vector<int> numbers;
    UniqueFd copy;
    OpenFileView view;
  };
  uint64_t enter(std::vector<int> numbers, UniqueFd copy);
  absl::Status restore_files(std::map<uint64_t, UniqueFd>& restored);
  absl::Status place_files(std::map<uint64_t, UniqueFd>& restored);

  std::deque<File> files_;
  std::map<uint64_t, model::OpenFile> messages_;
  std::map<uint64_t, std::string> image_;
};

// The findings' codes.
std::vector<std::string> codes(const Findings& findings);

// The findings of one file of `pid`, whose context knows nothing else.
Findings audit_one(pid_t pid, int number);

}  // namespace stillpoint

#endif  // STILLPOINT_TESTS_RESOURCES_ROUND_TRIP_H_
