// The file table of a frozen process -> model::FileTable and model::OpenFiles.
#ifndef STILLPOINT_HELPER_DUMP_OPEN_FILES_READER_H_
#define STILLPOINT_HELPER_DUMP_OPEN_FILES_READER_H_

#include <sys/types.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "helper/base/unique_fd.h"
#include "helper/dump/description_index.h"
#include "helper/dump/shared_memory_registry.h"
#include "helper/model/model.pb.h"
#include "helper/resources/file_locks.h"
#include "helper/resources/open_file_kind.h"

namespace stillpoint {

// Reads first (scan), so that every kind sees all open file descriptions when it audits and dumps.
class OpenFilesReader : public OpenFileDumpContext {
 public:
  explicit OpenFilesReader(SharedMemoryRegistry& shared_memories) : shared_memories_(shared_memories) {}

  // The processes of the tree, the root first. `tid`: a living thread of it (a leader that has left shows no fds).
  // `left_out` are fds that are not part of an image (the SDK's own).
  absl::Status scan(pid_t pid, pid_t tid, const std::set<int>& left_out, uint64_t table_id);
  // Every finding of every file; those nobody claims are findings too.
  void audit(Findings& findings) const;
  absl::Status dump(model::Tree& tree);
  // Before the processes run on: a copy of an fd would keep locks held and pipes open that they let go of.
  absl::Status release_copies();
  // Writable regular files, to be made durable before an image is published (trap 11).
  absl::Status sync_files() const;

  // Whether a descriptor of the tree that the helper has no copy of leads to this inode.
  bool leads_unseen_to(uint64_t device, uint64_t inode) const;

  uint64_t open_file_of(pid_t pid, int number) const override;
  uint64_t open_file_of_inode(uint64_t inode, uint64_t except_id) const override;
  const OpenFileView* view_of(uint64_t id) const override;
  absl::Time delivery_deadline() const override { return delivery_deadline_; }
  bool inherited(const OpenFileView& file) const override;
  std::vector<OpenFileReference> same_object(const OpenFileView& file) const override;
  bool in_tree(pid_t pid) const override { return processes_.contains(pid); }
  absl::StatusOr<uint64_t> shared_memory_of(const OpenFileView& file) override;

 private:
  struct Description {
    uint64_t id = 0;
    pid_t holder = 0;  // the process that view.pid, a thread, is of
    OpenFileView view;
    UniqueFd copy;
    std::vector<model::FileLock> locks;
  };
  using Inode = std::pair<uint64_t, uint64_t>;  // with its device
  struct Table {
    uint64_t id = 0;
    std::map<int, std::pair<uint64_t, bool>> descriptors;  // number -> open file, close-on-exec
  };

  absl::Status read_descriptor(pid_t pid, pid_t tid, int pidfd, int number, Table& table);
  const OpenFileKind* kind_of(const Description& description) const;
  absl::Status dump_description(const Description& description, model::OpenFile& out);

  SharedMemoryRegistry& shared_memories_;
  pid_t root_ = 0;
  absl::Time delivery_deadline_;  // counted from the first scan
  std::set<pid_t> processes_;
  std::map<pid_t, Table> tables_;  // by the thread they were read of
  std::vector<Description> descriptions_;
  FileLockLedger locks_;
  DescriptionIndex index_;                         // of descriptions_
  std::map<Inode, std::vector<size_t>> by_inode_;  // indices of descriptions_
  std::set<Inode> starter_objects_;                // the root's standard input, output and error
};

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_DUMP_OPEN_FILES_READER_H_
