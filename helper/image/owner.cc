#include "helper/image/owner.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/image/job_lock.h"
#include "helper/image/names.h"
#include "helper/image/owner_file.h"

namespace stillpoint::image {
namespace {

std::string describe_life(const Life& life) {
  std::string text = life.job.id.empty() ? "a program" : absl::StrCat("job ", absl::CHexEscape(text_of(life.job)));
  absl::StrAppend(&text, " on host ", absl::CHexEscape(life.host), " (life ", life.epoch);
  if (life.process.pid != 0) absl::StrAppend(&text, ", pid ", life.process.pid);
  return text + ")";
}

std::string belongs_to(const JobDirectory& directory, const Life& life) {
  return absl::StrCat(directory.name(), " belongs to ", describe_life(life));
}

bool has_process(const Life& life, const std::string& boot_id) {
  return life.process.pid != 0 && life.boot_id == boot_id;
}

// Whether the life is over for all that can be known here.
bool known_over(const Life& life, const Life& claimant, const ProcessQuestions& questions) {
  if (life.ended) return true;
  if (life.host != claimant.host) return false;
  if (life.boot_id != claimant.boot_id) return true;  // the machine has been booted since
  return life.process.pid != 0 && !questions.still_runs(life.process);
}

// Whether `claimant` is the same job as the life, or one that may go on where it ended.
absl::Status check_job(const JobDirectory& directory, const Life& life, const Life& claimant,
                       const ProcessQuestions& questions) {
  const bool other_task = life.job.task != claimant.job.task && !life.job.id.empty() && !claimant.job.id.empty();
  if (other_task) {
    return absl::FailedPreconditionError(
        absl::StrCat(belongs_to(directory, life), ", and this is job ", absl::CHexEscape(text_of(claimant.job)),
                     ": give each task of an array a directory of its own (--take-over of `stillpoint run` and "
                     "`stillpoint restart` goes on with the other one's images)"));
  }
  const bool other_job = life.job.id != claimant.job.id && !life.job.id.empty() && !claimant.job.id.empty();
  // A program that nobody supervises ends without a note: its job is taken as over.
  if (!other_job || !life.supervised || known_over(life, claimant, questions)) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(belongs_to(directory, life), ", whose end has not been noted, and this is job ",
                   absl::CHexEscape(text_of(claimant.job)),
                   ": give each job a directory of its own; or, when that job is over, add --take-over to `stillpoint "
                   "run` or `stillpoint restart`"));
}

absl::Status older_life(const JobDirectory& directory, const Life& newest, uint64_t epoch) {
  return absl::FailedPreconditionError(absl::StrCat(
      belongs_to(directory, newest), "; this process is life ", epoch,
      " and may not publish: it was started again since. Its work is not lost while it runs: end the newer life and "
      "remove ",
      directory.name(), "/", kOwnerName, " to let this one publish, or end this one"));
}

struct Admission {
  Owner owner;
  bool changed = false;
};

bool is_process_of(const Life& life, const Publisher& publisher, const LifeProcess& process,
                   const ProcessQuestions& questions) {
  return has_process(life, publisher.boot_id) && questions.same(life.process, process);
}

// The life that the publisher belongs to, itself or by its nearest ancestor; end() when nobody knows it.
std::vector<Life>::const_iterator find_life(const Owner& owner, const Publisher& publisher,
                                            const ProcessQuestions& questions) {
  for (const LifeProcess& process : publisher.lineage) {
    const auto found = std::find_if(owner.lives.begin(), owner.lives.end(), [&](const Life& life) {
      return is_process_of(life, publisher, process, questions);
    });
    if (found != owner.lives.end()) return found;
  }
  return owner.lives.end();
}

absl::StatusOr<Admission> admit(const JobDirectory& directory, const Publisher& publisher,
                                const ProcessQuestions& questions) {
  if (publisher.lineage.empty()) return absl::InvalidArgumentError("a publisher without a process");
  ASSIGN_OR_RETURN(std::optional<Owner> previous, read_owner_file(directory));
  Admission admission;
  if (previous.has_value()) admission.owner = *std::move(previous);
  Owner& owner = admission.owner;

  const auto known = find_life(owner, publisher, questions);
  if (known != owner.lives.end()) {
    if (known->epoch != owner.newest().epoch) return older_life(directory, owner.newest(), known->epoch);
    return admission;
  }
  admission.changed = true;
  const bool kept_for_us = !owner.lives.empty() && owner.newest().process.pid == 0 && !owner.newest().ended;
  Life life;
  if (kept_for_us) {
    life = owner.newest();
    owner.lives.pop_back();
  } else {
    life.epoch = 1;
    life.job = publisher.job;
  }
  life.host = publisher.host;
  life.boot_id = publisher.boot_id;
  life.process = publisher.lineage.front();
  if (!kept_for_us && !owner.lives.empty()) {
    const Life& newest = owner.newest();
    if (!newest.ended && has_process(newest, publisher.boot_id) && questions.still_runs(newest.process)) {
      return absl::FailedPreconditionError(absl::StrCat(belongs_to(directory, newest),
                                                        ", which still runs: give each program a directory of its own, "
                                                        "or end the other one first"));
    }
    RETURN_IF_ERROR(check_job(directory, newest, life, questions));
    life.epoch = newest.epoch + 1;
  }
  owner.lives.push_back(std::move(life));
  return admission;
}

// Changes the life with `epoch` when it is the newest, by `change`, which says whether there is anything to write.
absl::Status change_newest(const JobDirectory& directory, uint64_t epoch, const std::function<bool(Owner&)>& change) {
  ASSIGN_OR_RETURN(const JobLock lock, JobLock::acquire(directory.fd(), directory.name()));
  ASSIGN_OR_RETURN(std::optional<Owner> owner, read_owner_file(directory));
  if (!owner.has_value() || owner->newest().epoch != epoch || !change(*owner)) return absl::OkStatus();
  if (owner->lives.empty()) return remove_owner_file(directory);
  return write_owner_file(directory, *owner);
}

}  // namespace

absl::StatusOr<std::optional<Owner>> read_owner(const JobDirectory& directory) { return read_owner_file(directory); }

absl::StatusOr<Life> claim_owner(const JobDirectory& directory, const Life& claimant, const ProcessQuestions& questions,
                                 bool take_over) {
  ASSIGN_OR_RETURN(const JobLock lock, JobLock::acquire(directory.fd(), directory.name()));
  ASSIGN_OR_RETURN(std::optional<Owner> owner, read_owner_file(directory));
  if (!owner.has_value()) owner.emplace();
  Life life = claimant;
  life.epoch = 1;
  life.process = {};
  if (!owner->lives.empty()) {
    if (!take_over) RETURN_IF_ERROR(check_job(directory, owner->newest(), claimant, questions));
    life.epoch = owner->newest().epoch + 1;
  }
  owner->lives.push_back(life);
  RETURN_IF_ERROR(write_owner_file(directory, *owner));
  return life;
}

absl::Status settle_claim(const JobDirectory& directory, uint64_t epoch, const LifeProcess& process) {
  return change_newest(directory, epoch, [&](Owner& owner) {
    Life& life = owner.lives.back();
    if (life.process.pid != 0) return false;
    life.process = process;
    return true;
  });
}

absl::Status withdraw_claim(const JobDirectory& directory, uint64_t epoch) {
  return change_newest(directory, epoch, [](Owner& owner) {
    if (owner.newest().process.pid != 0) return false;
    owner.lives.pop_back();
    return true;
  });
}

absl::Status note_end(const JobDirectory& directory, uint64_t epoch) {
  return change_newest(directory, epoch, [](Owner& owner) { return !std::exchange(owner.lives.back().ended, true); });
}

absl::StatusOr<Life> may_publish(const JobDirectory& directory, const Publisher& publisher,
                                 const ProcessQuestions& questions) {
  ASSIGN_OR_RETURN(const Admission admission, admit(directory, publisher, questions));
  return admission.owner.newest();
}

absl::StatusOr<Life> admit_publisher(const JobDirectory& directory, const Publisher& publisher,
                                     const ProcessQuestions& questions) {
  ASSIGN_OR_RETURN(const Admission admission, admit(directory, publisher, questions));
  if (admission.changed) RETURN_IF_ERROR(write_owner_file(directory, admission.owner));
  return admission.owner.newest();
}

}  // namespace stillpoint::image
