#include "helper/image/owner_file.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/image/files.h"
#include "helper/image/names.h"

namespace stillpoint::image {
namespace {

constexpr size_t kMaxOwnerSize = size_t{256} * 1024;
constexpr absl::string_view kTitle = "stillpoint owner 1\n";

// Tabs between fields; CHexEscape writes none of its own.
std::string format_life(const Life& life) {
  return absl::StrCat("life\t", life.epoch, "\t", absl::CHexEscape(life.host), "\t", absl::CHexEscape(life.boot_id),
                      "\t", absl::CHexEscape(life.job.id), "\t", absl::CHexEscape(life.job.task), "\t",
                      life.process.pid, "\t", life.process.start_ms, "\t", life.supervised ? "supervised" : "-", "\t",
                      life.ended ? "ended" : "-", "\n");
}

std::string format_owner(const Owner& owner) {
  std::string text(kTitle);
  for (const Life& life : owner.lives) text += format_life(life);
  absl::StrAppend(&text, "checksum\t", absl::Hex(checksum(text), absl::kZeroPad16), "\n");
  return text;
}

bool parse_life(absl::string_view line, Life& life) {
  const std::vector<absl::string_view> fields = absl::StrSplit(line, '\t');
  if (fields.size() != 10) return false;
  life.supervised = fields[8] == "supervised";
  life.ended = fields[9] == "ended";
  return absl::SimpleAtoi(fields[1], &life.epoch) && absl::CUnescape(fields[2], &life.host) &&
         absl::CUnescape(fields[3], &life.boot_id) && absl::CUnescape(fields[4], &life.job.id) &&
         absl::CUnescape(fields[5], &life.job.task) && absl::SimpleAtoi(fields[6], &life.process.pid) &&
         absl::SimpleAtoi(fields[7], &life.process.start_ms);
}

absl::StatusOr<Owner> parse_owner(absl::string_view text, absl::string_view label) {
  const absl::Status damaged =
      absl::DataLossError(absl::StrCat(label, " is damaged; remove it when no other process of this job runs"));
  Owner owner;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    if (line.substr(0, 5) != "life\t") continue;
    if (!parse_life(line, owner.lives.emplace_back())) return damaged;
  }
  // What is not exactly what format_owner writes for it, its checksum included, was not written by it.
  if (owner.lives.empty() || format_owner(owner) != text) return damaged;
  return owner;
}

}  // namespace

absl::StatusOr<std::optional<Owner>> read_owner_file(const JobDirectory& directory) {
  const std::string label = absl::StrCat(directory.name(), "/", kOwnerName);
  const absl::StatusOr<UniqueFd> fd = open_regular(directory.fd(), kOwnerName, label);
  if (absl::IsNotFound(fd.status())) return std::optional<Owner>();
  RETURN_IF_ERROR(fd.status());
  ASSIGN_OR_RETURN(const std::string text, read_whole(fd->get(), label, kMaxOwnerSize));
  ASSIGN_OR_RETURN(Owner owner, parse_owner(text, label));
  return std::optional<Owner>(std::move(owner));
}

absl::Status write_owner_file(const JobDirectory& directory, const Owner& owner) {
  const std::string label = absl::StrCat(directory.name(), "/", kOwnerName);
  Owner remembered = owner;
  const size_t forgotten = owner.lives.size() - std::min(owner.lives.size(), kLivesRemembered);
  remembered.lives.erase(remembered.lives.begin(), remembered.lives.begin() + static_cast<std::ptrdiff_t>(forgotten));
  const std::string temporary = temporary_name(kOwnerName);
  ASSIGN_OR_RETURN(const UniqueFd fd, create_regular(directory.fd(), temporary, label));
  absl::Status status = write_bytes(fd.get(), format_owner(remembered), label);
  if (status.ok()) status = sync_file(fd.get(), label);
  if (status.ok()) status = rename_entry(directory.fd(), temporary, kOwnerName, directory.name());
  if (!status.ok()) static_cast<void>(remove_tree(directory.fd(), temporary, label));
  RETURN_IF_ERROR(status);
  return sync_file(directory.fd(), directory.name());
}

absl::Status remove_owner_file(const JobDirectory& directory) {
  RETURN_IF_ERROR(remove_tree(directory.fd(), kOwnerName, absl::StrCat(directory.name(), "/", kOwnerName)));
  return sync_file(directory.fd(), directory.name());
}

}  // namespace stillpoint::image
