// Which images and stored files of a job may go.
#include <sys/file.h>

#include <cerrno>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/base/test_switch.h"
#include "helper/image/files.h"
#include "helper/image/image.h"
#include "helper/image/image_layout.h"
#include "helper/image/job_lock.h"
#include "helper/image/names.h"
#include "helper/image/stored_files.h"

namespace stillpoint::image {
namespace {

struct Inventory {
  std::map<uint64_t, Manifest> readable;
  std::set<uint64_t> damaged;  // nobody can tell what they need, and nothing can be restored from them
};

// An image that cannot be read for any other reason than damage (permission, a later release's format) ends the
// retention: it may be good, and need what would be deleted.
absl::StatusOr<Inventory> take_inventory(const JobDirectory& directory) {
  ASSIGN_OR_RETURN(const std::vector<uint64_t> sequences, directory.sequences());
  Inventory inventory;
  for (const uint64_t sequence : sequences) {
    const std::string label = absl::StrCat(directory.name(), "/", image_name(sequence));
    ASSIGN_OR_RETURN(const UniqueFd fd, open_directory(directory.fd(), image_name(sequence), label));
    absl::StatusOr<Manifest> manifest = read_manifest(fd.get(), label);
    if (manifest.ok()) {
      inventory.readable.emplace(sequence, *std::move(manifest));
    } else if (absl::IsDataLoss(manifest.status())) {
      inventory.damaged.insert(sequence);
    } else {
      return with_context(manifest.status(), "nothing is deleted");
    }
  }
  return inventory;
}

// The newest `keep_last` readable images, `latest`, and whatever those are deltas of. Damaged images do not count, and
// stay while they are newer than the oldest of the newest.
std::set<uint64_t> images_to_keep(const Inventory& inventory, uint32_t keep_last, std::optional<uint64_t> latest) {
  std::set<uint64_t> kept;
  if (latest.has_value()) kept.insert(*latest);
  uint64_t oldest = 0;
  uint32_t counted = 0;
  for (auto image = inventory.readable.rbegin(); image != inventory.readable.rend() && counted < keep_last; ++image) {
    oldest = image->first;
    kept.insert(oldest);
    ++counted;
  }
  kept.insert(inventory.damaged.lower_bound(oldest), inventory.damaged.end());
  std::vector<uint64_t> unexplored(kept.begin(), kept.end());
  while (!unexplored.empty()) {
    const auto image = inventory.readable.find(unexplored.back());
    unexplored.pop_back();
    if (image == inventory.readable.end()) continue;
    const std::optional<uint64_t> parent = image_sequence(image->second.parent());
    if (parent.has_value() && kept.insert(*parent).second) unexplored.push_back(*parent);
  }
  return kept;
}

// False when somebody reads the image just now.
absl::StatusOr<bool> delete_image(const JobDirectory& directory, uint64_t sequence) {
  const std::string name = image_name(sequence);
  const std::string label = absl::StrCat(directory.name(), "/", name);
  ASSIGN_OR_RETURN(const UniqueFd fd, open_directory(directory.fd(), name, label));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) return false;
  // Out of sight in one step: a crash on the way leaves a leftover, never half an image.
  const std::string temporary = temporary_image_name(sequence);
  RETURN_IF_ERROR(rename_entry(directory.fd(), name, temporary, directory.name()));
  die_if_stage("image_prune_renamed");
  RETURN_IF_ERROR(remove_tree(directory.fd(), temporary, absl::StrCat(directory.name(), "/", temporary)));
  return true;
}

// True when a temporary image may belong to a living writer, whose stored files no image names yet.
absl::StatusOr<bool> checkpoint_in_progress(const JobDirectory& directory) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, list_directory(directory.fd(), directory.name()));
  for (const std::string& name : names) {
    if (temporary_sequence(name).has_value() && liveness(directory.fd(), name) != Liveness::kDead) return true;
  }
  return false;
}

absl::Status collect_stored_files(const JobDirectory& directory, const Inventory& inventory) {
  if (!inventory.damaged.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const bool in_progress, checkpoint_in_progress(directory));
  if (in_progress) return absl::OkStatus();
  std::set<std::string> needed;
  for (const auto& [sequence, manifest] : inventory.readable) {
    for (const FileEntry& entry : manifest.stored_files()) needed.insert(entry.name());
  }
  return remove_stored_files_except(directory.fd(), needed, directory.name());
}

}  // namespace

absl::Status JobDirectory::prune(uint32_t keep_last) const {
  ASSIGN_OR_RETURN(const JobLock lock, JobLock::acquire(fd(), name_));
  ASSIGN_OR_RETURN(Inventory inventory, take_inventory(*this));
  if (keep_last > 0) {
    ASSIGN_OR_RETURN(const std::optional<uint64_t> named, latest());
    const std::set<uint64_t> kept = images_to_keep(inventory, keep_last, named);
    ASSIGN_OR_RETURN(const std::vector<uint64_t> all, sequences());
    for (const uint64_t sequence : all) {
      if (kept.contains(sequence)) continue;
      ASSIGN_OR_RETURN(const bool deleted, delete_image(*this, sequence));
      if (!deleted) continue;
      inventory.readable.erase(sequence);
      inventory.damaged.erase(sequence);
    }
  }
  return collect_stored_files(*this, inventory);
}

}  // namespace stillpoint::image
