#include "helper/image/owner.h"

#include <map>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/image/files.h"
#include "helper/image/job_lock.h"
#include "helper/image/names.h"

namespace stillpoint::image {
namespace {

constexpr size_t kMaxOwnerSize = 64 * 1024;
constexpr absl::string_view kTitle = "stillpoint owner 1\n";
constexpr absl::string_view kChecksumKey = "checksum ";

std::string label_of(const JobDirectory& directory) { return absl::StrCat(directory.name(), "/", kOwnerName); }

std::string format_owner(const Owner& owner) {
  std::string text =
      absl::StrCat(kTitle, "host ", absl::CHexEscape(owner.host), "\nboot_id ", absl::CHexEscape(owner.boot_id),
                   "\njob_id ", absl::CHexEscape(owner.job_id), "\nepoch ", owner.epoch, "\n");
  absl::StrAppend(&text, kChecksumKey, absl::Hex(checksum(text), absl::kZeroPad16), "\n");
  return text;
}

absl::StatusOr<Owner> parse_owner(absl::string_view text, absl::string_view label) {
  const absl::Status damaged =
      absl::DataLossError(absl::StrCat(label, " is damaged; remove it when no other process of this job runs"));
  Owner owner;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    const std::pair<absl::string_view, absl::string_view> field = absl::StrSplit(line, absl::MaxSplits(' ', 1));
    bool well_formed = true;
    if (field.first == "host") well_formed = absl::CUnescape(field.second, &owner.host);
    if (field.first == "boot_id") well_formed = absl::CUnescape(field.second, &owner.boot_id);
    if (field.first == "job_id") well_formed = absl::CUnescape(field.second, &owner.job_id);
    if (field.first == "epoch") well_formed = absl::SimpleAtoi(field.second, &owner.epoch);
    if (!well_formed) return damaged;
  }
  // What is not exactly what format_owner writes for it, its checksum included, was not written by it.
  if (format_owner(owner) != text) return damaged;
  return owner;
}

absl::Status write_owner(const JobDirectory& directory, const Owner& owner) {
  const std::string temporary = temporary_name(kOwnerName);
  const std::string label = label_of(directory);
  ASSIGN_OR_RETURN(const UniqueFd fd, create_regular(directory.fd(), temporary, label));
  absl::Status status = write_bytes(fd.get(), format_owner(owner), label);
  if (status.ok()) status = sync_file(fd.get(), label);
  if (status.ok()) status = rename_entry(directory.fd(), temporary, kOwnerName, directory.name());
  if (!status.ok()) static_cast<void>(remove_tree(directory.fd(), temporary, label));
  RETURN_IF_ERROR(status);
  return sync_file(directory.fd(), directory.name());
}

std::string describe_owner(const Owner& owner) {
  return absl::StrCat(owner.job_id.empty() ? "a job" : absl::StrCat("job ", absl::CHexEscape(owner.job_id)),
                      " on host ", absl::CHexEscape(owner.host), " (life ", owner.epoch, ")");
}

}  // namespace

absl::StatusOr<std::optional<Owner>> read_owner(const JobDirectory& directory) {
  const std::string label = label_of(directory);
  const absl::StatusOr<UniqueFd> fd = open_regular(directory.fd(), kOwnerName, label);
  if (absl::IsNotFound(fd.status())) return std::optional<Owner>();
  RETURN_IF_ERROR(fd.status());
  ASSIGN_OR_RETURN(const std::string text, read_whole(fd->get(), label, kMaxOwnerSize));
  ASSIGN_OR_RETURN(Owner owner, parse_owner(text, label));
  return std::optional<Owner>(std::move(owner));
}

absl::StatusOr<Owner> claim_owner(const JobDirectory& directory, const Owner& claimant, bool take_over) {
  ASSIGN_OR_RETURN(const JobLock lock, JobLock::acquire(directory.fd(), directory.name()));
  ASSIGN_OR_RETURN(const std::optional<Owner> previous, read_owner(directory));
  Owner owner = claimant;
  owner.epoch = 1;
  if (previous.has_value()) {
    const bool other_job = !previous->job_id.empty() && !claimant.job_id.empty() && previous->job_id != claimant.job_id;
    if (other_job && !take_over) {
      return absl::FailedPreconditionError(absl::StrCat(directory.name(), " belongs to ", describe_owner(*previous),
                                                        ": give each job a directory of its own"));
    }
    owner.epoch = previous->epoch + 1;
  }
  RETURN_IF_ERROR(write_owner(directory, owner));
  return owner;
}

absl::Status check_owner(const JobDirectory& directory, uint64_t epoch) {
  ASSIGN_OR_RETURN(const std::optional<Owner> owner, read_owner(directory));
  if (!owner.has_value() || owner->epoch <= epoch) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(directory.name(), " belongs to ", describe_owner(*owner),
                                                    "; this process is life ", epoch,
                                                    " and may not publish: it was restarted elsewhere"));
}

}  // namespace stillpoint::image
