// model::OpenFiles and model::FileTables -> fds in the restorer, which the new process inherits, and the calls that put
// them at their numbers.
#ifndef STILLPOINT_HELPER_RESTORE_OPEN_FILES_RESTORER_H_
#define STILLPOINT_HELPER_RESTORE_OPEN_FILES_RESTORER_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "helper/base/unique_fd.h"
#include "helper/model/model.pb.h"
#include "helper/resources/open_file_kind.h"
#include "helper/restore/call_list.h"
#include "helper/restore/restore.h"

namespace stillpoint {

class OpenFilesRestorer : public OpenFileRestoreContext {
 public:
  OpenFilesRestorer(const model::Tree& tree, const RestoreOptions& options, std::vector<std::string>& notes);

  // Creates every open file description again, at fds above all numbers the process uses.
  absl::Status restore_all();
  // What changes something outside the process: when nothing else can fail any more.
  absl::Status commit_all() const;
  // A number above every descriptor of the image: what the restorer itself must hand to the new process lives there.
  int first_free_number() const { return first_free_; }
  absl::StatusOr<UniqueFd> lift(UniqueFd fd) const;

  // The calls the new process makes: descriptors at their numbers, everything else closed but [first_free_number(),
  // ...).
  absl::Status plan_descriptors(const model::FileTable& table, CallList& calls) const;
  // Owners, O_ASYNC and what the kinds queued, as far as it is for the process with that pid to do; once all threads
  // exist.
  void plan_late(int pid, CallList& calls) const;
  // POSIX locks of the process. A process that closes any fd of a file loses those it has on it, so nothing may be
  // closed any more.
  absl::Status plan_locks(const model::Process& process, CallList& calls) const;
  // Seals of memfds, once they are filled.
  void plan_seals(CallList& calls) const;
  const std::map<uint64_t, UniqueFd>& shared_memories() const { return shared_memories_; }

  int fd_of(uint64_t open_file_id) const override;
  absl::StatusOr<UniqueFd> inherited_fd(int number) override;
  absl::StatusOr<UniqueFd> shared_memory_fd(uint64_t id) override;
  std::string map_path(absl::string_view path) const override;
  void note(std::string line) override { notes_.push_back(std::move(line)); }
  void in_process(ProcessCall call) override { process_calls_[current_holder_].push_back(std::move(call)); }
  std::map<uint64_t, UniqueFd>& spare_ends() override { return spare_ends_; }

  // The memfd of a shared memory object, made on first ask; owned here.
  absl::StatusOr<int> memfd(uint64_t id);

 private:
  absl::Status restore_one(const model::OpenFile& file);
  int holder_of(const model::OpenFile& file) const {
    return file.holder() != 0 ? file.holder() : tree_.processes(0).pid();
  }

  const model::Tree& tree_;
  const RestoreOptions& options_;
  std::vector<std::string>& notes_;
  int first_free_ = 3;
  std::map<uint64_t, UniqueFd> files_;
  std::map<uint64_t, UniqueFd> shared_memories_;
  std::map<uint64_t, UniqueFd> spare_ends_;
  std::map<int, std::vector<ProcessCall>> process_calls_;  // by the pid of the process that makes them
  int current_holder_ = 0;                                 // of the file that is being restored
};

// --map-path OLD=NEW: the longest OLD that is `path` or one of its parent directories is replaced.
std::string apply_path_mappings(absl::string_view path,
                                const std::vector<std::pair<std::string, std::string>>& mappings);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESTORE_OPEN_FILES_RESTORER_H_
