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
#include "helper/resources/open_file_kind.h"

namespace stillpoint {

// Reads first (scan), so that every kind sees all open file descriptions when it audits and dumps.
class OpenFilesReader : public OpenFileDumpContext {
 public:
  explicit OpenFilesReader(SharedMemoryRegistry& shared_memories) : shared_memories_(shared_memories) {}

  // `left_out` are fds that are not part of an image (the SDK's own).
  absl::Status scan(pid_t pid, const std::set<int>& left_out, uint64_t table_id);
  // Every finding of every file; those nobody claims are findings too.
  void audit(Findings& findings) const;
  absl::Status dump(model::Tree& tree);
  // Writable regular files, to be made durable before an image is published (trap 11).
  absl::Status sync_files() const;

  uint64_t open_file_of(pid_t pid, int number) const override;
  uint64_t open_file_of_inode(uint64_t inode, uint64_t except_id) const override;
  bool inherited(const OpenFileView& file) const override;
  bool in_tree(pid_t pid) const override { return tables_.contains(pid); }
  absl::StatusOr<uint64_t> shared_memory_of(const OpenFileView& file) override;

 private:
  struct Description {
    uint64_t id = 0;
    OpenFileView view;
    UniqueFd copy;
  };
  struct Table {
    uint64_t id = 0;
    std::map<int, std::pair<uint64_t, bool>> descriptors;  // number -> open file, close-on-exec
  };

  absl::Status read_descriptor(pid_t pid, int pidfd, int number, Table& table);
  absl::Status dump_description(const Description& description, model::OpenFile& out);

  SharedMemoryRegistry& shared_memories_;
  std::map<pid_t, Table> tables_;
  std::vector<Description> descriptions_;
  DescriptionIndex index_;                                           // of descriptions_
  mutable std::set<std::pair<uint64_t, uint64_t>> starter_objects_;  // (dev, ino) that the root's parent holds too
};

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_DUMP_OPEN_FILES_READER_H_
