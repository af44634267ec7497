#include "helper/image/manifest_file.h"

#include <endian.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/image/checksum.h"
#include "helper/image/image.h"
#include "helper/image/names.h"

namespace stillpoint::image {
namespace {

constexpr absl::string_view kMagic = "SPIMAGE\n";
constexpr size_t kVersionOffset = 8;
constexpr size_t kReservedOffset = 12;
constexpr size_t kSizeOffset = 16;
constexpr size_t kChecksumOffset = 24;

// Features beyond format version 1 that this release reads; a manifest needs those it names.
constexpr std::array<absl::string_view, 0> kKnownFeatures = {};

using Checksum = std::array<char, 16>;

void put_u32(std::string& bytes, uint32_t value) {
  value = htole32(value);
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void put_u64(std::string& bytes, uint64_t value) {
  value = htole64(value);
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

uint32_t get_u32(absl::string_view bytes, size_t offset) {
  uint32_t value = 0;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return le32toh(value);
}

uint64_t get_u64(absl::string_view bytes, size_t offset) {
  uint64_t value = 0;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return le64toh(value);
}

Checksum manifest_checksum(absl::string_view header, absl::string_view payload) {
  const uint64_t seed = checksum(header.substr(0, kChecksumOffset));
  const XXH128_hash_t hash = XXH3_128bits_withSeed(payload.data(), payload.size(), seed);
  std::string bytes;
  put_u64(bytes, hash.low64);
  put_u64(bytes, hash.high64);
  Checksum result;
  std::copy(bytes.begin(), bytes.end(), result.begin());
  return result;
}

absl::Status damaged(absl::string_view label, absl::string_view how) {
  return absl::DataLossError(absl::StrCat(label, " is damaged: ", how));
}

absl::Status check_header(absl::string_view bytes, absl::string_view label) {
  if (bytes.size() < kManifestHeaderSize) {
    return damaged(label, absl::StrCat("it has ", bytes.size(), " bytes, its header alone has ", kManifestHeaderSize));
  }
  if (bytes.substr(0, kMagic.size()) != kMagic) return damaged(label, "it does not begin like a manifest");
  const uint64_t size = get_u64(bytes, kSizeOffset);
  const size_t present = bytes.size() - kManifestHeaderSize;
  if (size != present) {
    return damaged(label, absl::StrCat(present, " bytes follow its header, which announces ", size));
  }
  const Checksum expected = manifest_checksum(bytes, bytes.substr(kManifestHeaderSize));
  if (bytes.substr(kChecksumOffset, expected.size()) != absl::string_view(expected.data(), expected.size())) {
    return damaged(label, "its checksum differs");
  }
  return absl::OkStatus();
}

absl::Status unknown(absl::string_view label, absl::string_view what) {
  return absl::UnimplementedError(absl::StrCat(label, ": ", what,
                                               "; use the release of Stillpoint that made the image, "
                                               "or a later one"));
}

absl::Status check_features(const Manifest& manifest, absl::string_view label) {
  for (const std::string& feature : manifest.features_needed()) {
    if (std::find(kKnownFeatures.begin(), kKnownFeatures.end(), feature) == kKnownFeatures.end()) {
      return unknown(label, absl::StrCat("the image needs the feature \"", absl::CHexEscape(feature),
                                         "\", which this release does not know"));
    }
  }
  return absl::OkStatus();
}

using Entries = google::protobuf::RepeatedPtrField<FileEntry>;

absl::Status validate_entries(const Entries& entries, bool (*allowed)(absl::string_view), uint64_t& total,
                              absl::string_view label) {
  const std::string* previous = nullptr;
  for (const FileEntry& entry : entries) {
    const std::string name = absl::CHexEscape(entry.name());
    if (!allowed(entry.name()) || entry.name() == kManifestName) {
      return damaged(label, absl::StrCat("\"", name, "\" is not the name of a file of an image"));
    }
    if (previous != nullptr && *previous >= entry.name()) {
      return damaged(label, absl::StrCat("\"", name, "\" stands twice or out of order"));
    }
    previous = &entry.name();
    if (entry.size() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) - total) {
      return damaged(label, absl::StrCat("\"", name, "\" cannot have ", entry.size(), " bytes"));
    }
    total += entry.size();
    if (chunk_count(entry.size(), kChunkSize) != static_cast<uint64_t>(entry.chunks_size())) {
      return damaged(
          label, absl::StrCat("\"", name, "\" has ", entry.size(), " bytes but ", entry.chunks_size(), " checksums"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> frame_manifest(const Manifest& manifest) {
  std::string payload;
  if (!manifest.SerializeToString(&payload) || payload.size() > kMaxManifestSize) {
    return absl::ResourceExhaustedError("the manifest is too large: the image has too many chunks");
  }
  return frame_payload(manifest.format_version(), payload);
}

std::string frame_payload(uint32_t format_version, absl::string_view payload) {
  std::string bytes(kMagic);
  put_u32(bytes, format_version);
  put_u32(bytes, 0);
  put_u64(bytes, payload.size());
  const Checksum checksum_bytes = manifest_checksum(bytes, payload);
  absl::StrAppend(&bytes, absl::string_view(checksum_bytes.data(), checksum_bytes.size()), payload);
  return bytes;
}

absl::StatusOr<Manifest> parse_manifest(absl::string_view bytes, absl::string_view label) {
  RETURN_IF_ERROR(check_header(bytes, label));
  // From here on the bytes are those that were written: whatever is odd comes from another release, or from malice.
  const uint32_t version = get_u32(bytes, kVersionOffset);
  if (version != kFormatVersion) {
    return unknown(
        label, absl::StrCat("the image has format version ", version, ", this release reads version ", kFormatVersion));
  }
  if (get_u32(bytes, kReservedOffset) != 0) return damaged(label, "a reserved field of its header is in use");
  Manifest manifest;
  const absl::string_view payload = bytes.substr(kManifestHeaderSize);
  if (payload.size() > kMaxManifestSize || !manifest.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) {
    return damaged(label, "its content is not a manifest");
  }
  RETURN_IF_ERROR(check_features(manifest, label));
  RETURN_IF_ERROR(validate_manifest(manifest, label));
  return manifest;
}

absl::Status validate_manifest(const Manifest& manifest, absl::string_view label) {
  if (manifest.format_version() != kFormatVersion) {
    return damaged(label, absl::StrCat("header and content disagree on the format version, ", kFormatVersion, " and ",
                                       manifest.format_version()));
  }
  if (!manifest.parent().empty()) {
    const std::optional<uint64_t> parent = image_sequence(manifest.parent());
    if (!parent.has_value() || *parent >= manifest.sequence()) {
      return damaged(label, absl::StrCat("\"", absl::CHexEscape(manifest.parent()), "\" cannot be the parent of ",
                                         image_name(manifest.sequence())));
    }
  }
  uint64_t total = 0;
  RETURN_IF_ERROR(validate_entries(manifest.files(), &is_file_name, total, label));
  return validate_entries(manifest.stored_files(), &is_stored_name, total, label);
}

}  // namespace stillpoint::image
