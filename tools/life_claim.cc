#include "tools/life_claim.h"

#include <fcntl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "helper/base/errors.h"
#include "helper/image/owner.h"
#include "helper/procfs/process_files.h"
#include "helper/procfs/process_stamp.h"
#include "tools/console.h"

namespace stillpoint::tools {
namespace {

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

}  // namespace

absl::StatusOr<LifeClaim> LifeClaim::begin(const std::string& job_directory, const std::string& job_id,
                                           bool take_over) {
  ASSIGN_OR_RETURN(image::JobDirectory directory, image::JobDirectory::open(job_directory, false));
  image::Life life;
  utsname system{};
  if (::uname(&system) != 0) return errno_status(errno, "uname");
  life.host = system.nodename;
  ASSIGN_OR_RETURN(const std::string boot_id, procfs::read_text("/proc/sys/kernel/random/boot_id"));
  life.boot_id = std::string(absl::StripAsciiWhitespace(boot_id));
  life.job = job_id.empty() ? image::job_name_of_this_process() : image::JobName{job_id, ""};
  life.supervised = true;
  LifeClaim claim;
  const absl::StatusOr<image::Life> claimed = image::claim_owner(directory, life, questions(), take_over);
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
