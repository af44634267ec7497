#include "tools/life_claim.h"

#include <fcntl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "helper/base/errors.h"
#include "helper/image/owner.h"
#include "helper/procfs/process_files.h"
#include "helper/procfs/process_stamp.h"
#include "tools/console.h"

namespace stillpoint::tools {
namespace {

constexpr absl::Duration kEndingLimit = absl::Minutes(1);
constexpr size_t kLivesLookedAt = 16;  // each may cost a look at every process of the machine

image::ProcessQuestions questions() {
  image::ProcessQuestions questions;
  questions.same = [](const image::LifeProcess& a, const image::LifeProcess& b) {
    return procfs::same_process({a.pid, a.start_ms}, {b.pid, b.start_ms});
  };
  questions.still_runs = [](const image::LifeProcess& process) {
    return procfs::still_runs({process.pid, process.start_ms});
  };
  return questions;
}

// What keeps a claim from being written, but not a program from being restarted: a directory that we may only read, or
// a full disk.
bool cannot_be_written(const image::JobDirectory& directory, const absl::Status& status) {
  if (status.ok() || absl::IsResourceExhausted(status)) return !status.ok();
  return ::faccessat(directory.fd(), ".", W_OK, AT_EACCESS) != 0 && (errno == EACCES || errno == EROFS);
}

// A large process takes a while to end after its SIGKILL.
absl::Status wait_until_ended(pid_t pid, const procfs::ProcessStamp& stamp) {
  const absl::Time deadline = absl::Now() + kEndingLimit;
  while (procfs::find_process(stamp) == pid) {
    if (!procfs::is_ending(pid) || absl::Now() >= deadline) {
      return absl::FailedPreconditionError(absl::StrCat("the program of this image still runs here, as pid ", pid,
                                                        ", and would write the same files: end it first (kill ", pid,
                                                        "), or add --beside"));
    }
    absl::SleepFor(absl::Milliseconds(20));
  }
  return absl::OkStatus();
}

absl::Status require_none_runs(const image::JobDirectory& directory, const std::string& boot_id) {
  const absl::StatusOr<std::optional<image::Owner>> owner = image::read_owner(directory);
  if (!owner.ok() || !owner->has_value()) return absl::OkStatus();  // the claim says what is wrong with it
  const std::vector<image::Life>& lives = (*owner)->lives;
  size_t looked_at = 0;
  for (auto life = lives.rbegin(); life != lives.rend() && looked_at < kLivesLookedAt; ++life) {
    if (life->ended || life->process.pid == 0 || life->boot_id != boot_id) continue;
    ++looked_at;
    const procfs::ProcessStamp stamp = {life->process.pid, life->process.start_ms};
    if (const std::optional<pid_t> pid = procfs::find_process(stamp); pid.has_value()) {
      RETURN_IF_ERROR(wait_until_ended(*pid, stamp));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<LifeClaim> LifeClaim::begin(const std::string& job_directory, const ClaimOptions& options) {
  ASSIGN_OR_RETURN(image::JobDirectory directory, image::JobDirectory::open(job_directory, false));
  image::Life life;
  utsname system{};
  if (::uname(&system) != 0) return errno_status(errno, "uname");
  life.host = system.nodename;
  ASSIGN_OR_RETURN(const std::string boot_id, procfs::read_text("/proc/sys/kernel/random/boot_id"));
  life.boot_id = std::string(absl::StripAsciiWhitespace(boot_id));
  life.job = options.job_id.empty() ? image::job_name_of_this_process() : image::JobName{options.job_id, ""};
  if (!options.beside) RETURN_IF_ERROR(require_none_runs(directory, life.boot_id));
  life.supervised = true;
  LifeClaim claim;
  const absl::StatusOr<image::Life> claimed = image::claim_owner(directory, life, questions(), options.take_over);
  if (cannot_be_written(directory, claimed.status())) {
    say(absl::StrCat("note: an older life of this program, should it still run, is not kept from publishing: ",
                     printable(claimed.status().message())));
    return claim;
  }
  RETURN_IF_ERROR(claimed.status());
  claim.directory_ = std::move(directory);
  claim.epoch_ = claimed->epoch;
  return claim;
}

LifeClaim::LifeClaim(LifeClaim&& other) noexcept
    : directory_(std::exchange(other.directory_, std::nullopt)), epoch_(other.epoch_), settled_(other.settled_) {}

void LifeClaim::withdraw() {
  if (!directory_ || settled_) return;
  if (const absl::Status status = image::withdraw_claim(*directory_, epoch_); !status.ok()) say_error(status);
  directory_.reset();
}

void LifeClaim::settle(pid_t pid) {
  settled_ = true;
  if (!directory_) return;
  // A program that has ended already needs no entry; what is left is a claim that the next start passes over.
  const absl::StatusOr<procfs::ProcessStamp> stamp = procfs::read_stamp(pid);
  if (!stamp.ok()) return;
  if (const absl::Status status = image::settle_claim(*directory_, epoch_, {stamp->pid, stamp->start_ms});
      !status.ok()) {
    say_error(status);
  }
}

void LifeClaim::note_end() const {
  if (!directory_) return;
  if (const absl::Status status = image::note_end(*directory_, epoch_); !status.ok()) say_error(status);
}

}  // namespace stillpoint::tools
