#include "helper/image/manifest_file.h"

#include <functional>
#include <random>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "helper/image/image.h"
#include "helper/image/names.h"

namespace stillpoint::image {
namespace {

using testing::HasSubstr;

Manifest sample() {
  Manifest manifest;
  manifest.set_format_version(kFormatVersion);
  manifest.set_sequence(42);
  manifest.set_host("node17");
  manifest.add_cpu_features("avx512f");
  for (const char* name : {"pages-0.bin", "state.pb"}) {
    FileEntry* entry = manifest.add_files();
    entry->set_name(name);
    entry->set_size(kChunkSize + 1);
    entry->add_chunks(0x1122334455667788);
    entry->add_chunks(42);
  }
  FileEntry* stored = manifest.add_stored_files();
  stored->set_name("abcdef");
  stored->set_size(1);
  stored->add_chunks(7);
  return manifest;
}

absl::Status refusal(const std::function<void(Manifest&)>& change) {
  Manifest manifest = sample();
  change(manifest);
  return parse_manifest(frame_manifest(manifest).value(), "m").status();
}

TEST(ManifestFile, RoundTrip) {
  const std::string bytes = frame_manifest(sample()).value();
  const absl::StatusOr<Manifest> manifest = parse_manifest(bytes, "m");
  ASSERT_TRUE(manifest.ok()) << manifest.status();
  EXPECT_EQ(manifest->SerializeAsString(), sample().SerializeAsString());
}

TEST(ManifestFile, TextNeedNotBeUtf8) {
  Manifest manifest = sample();
  manifest.set_program("./solver \xff\xfe");
  EXPECT_EQ(parse_manifest(frame_manifest(manifest).value(), "m").value().program(), "./solver \xff\xfe");
}

TEST(ManifestFile, EveryFlippedBitIsDamage) {
  const std::string bytes = frame_manifest(sample()).value();
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string flipped = bytes;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    const absl::Status status = parse_manifest(flipped, "dir/manifest.pb").status();
    ASSERT_TRUE(absl::IsDataLoss(status)) << bit << ": " << status;
    ASSERT_THAT(std::string(status.message()), HasSubstr("dir/manifest.pb is damaged"));
  }
}

TEST(ManifestFile, EveryOtherLengthIsDamage) {
  const std::string bytes = frame_manifest(sample()).value();
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_TRUE(absl::IsDataLoss(parse_manifest(bytes.substr(0, size), "m").status())) << size;
  }
  EXPECT_TRUE(absl::IsDataLoss(parse_manifest(absl::StrCat(bytes, std::string(1, '\0')), "m").status()));
  EXPECT_TRUE(absl::IsDataLoss(parse_manifest(absl::StrCat(bytes, bytes), "m").status()));
}

TEST(ManifestFile, OtherVersionsAndFeaturesAreRefusedByName) {
  const absl::Status version = refusal([](Manifest& m) { m.set_format_version(7); });
  EXPECT_EQ(version.code(), absl::StatusCode::kUnimplemented) << version;
  EXPECT_THAT(std::string(version.message()), HasSubstr("format version 7"));
  // A later version's content need not even be a Manifest.
  EXPECT_EQ(parse_manifest(frame_payload(2, "\xff\xff"), "m").status().code(), absl::StatusCode::kUnimplemented);
  const absl::Status feature = refusal([](Manifest& m) { m.add_features_needed("quantum-pages"); });
  EXPECT_EQ(feature.code(), absl::StatusCode::kUnimplemented) << feature;
  EXPECT_THAT(std::string(feature.message()), HasSubstr("quantum-pages"));
}

TEST(ManifestFile, HostileContentIsRefused) {
  EXPECT_FALSE(refusal([](Manifest& m) { m.mutable_files(0)->set_name("../../etc/passwd"); }).ok());
  EXPECT_FALSE(refusal([](Manifest& m) { m.mutable_files(0)->set_name(""); }).ok());
  EXPECT_FALSE(refusal([](Manifest& m) { m.mutable_files(0)->set_name("manifest.pb"); }).ok());
  EXPECT_FALSE(refusal([](Manifest& m) { m.mutable_files(1)->set_name("pages-0.bin"); }).ok());
  EXPECT_FALSE(refusal([](Manifest& m) { m.mutable_files(0)->set_name("z"); }).ok());
  EXPECT_FALSE(refusal([](Manifest& m) { m.mutable_files(0)->set_size(1); }).ok());
  EXPECT_FALSE(refusal([](Manifest& m) { m.mutable_files(0)->set_size(~uint64_t{0}); }).ok());
  EXPECT_FALSE(refusal([](Manifest& m) { m.mutable_files(0)->add_chunks(1); }).ok());
  EXPECT_FALSE(refusal([](Manifest& m) { m.mutable_stored_files(0)->set_name("../x"); }).ok());
  EXPECT_FALSE(refusal([](Manifest& m) { m.set_parent("../ckpt-00000001"); }).ok());
  EXPECT_FALSE(refusal([](Manifest& m) { m.set_parent(image_name(42)); }).ok());
  EXPECT_FALSE(refusal([](Manifest& m) { m.set_parent(image_name(43)); }).ok());
  EXPECT_TRUE(refusal([](Manifest& m) { m.set_parent(image_name(41)); }).ok());
}

// Replaces, inserts or removes a few bytes.
std::string mutate(std::string bytes, std::mt19937_64& random) {
  for (uint64_t changes = 1 + random() % 4; changes > 0; --changes) {
    const size_t at = bytes.empty() ? 0 : random() % bytes.size();
    switch (random() % 4) {
      case 0:
        bytes.insert(at, 1 + random() % 8, static_cast<char>(random()));
        break;
      case 1:
        bytes.erase(at, 1 + random() % 8);
        break;
      default:
        if (!bytes.empty()) bytes[at] = static_cast<char>(random());
    }
  }
  return bytes;
}

TEST(ManifestFile, MutatedFilesAreErrorsAndNothingElse) {
  const std::string bytes = frame_manifest(sample()).value();
  std::mt19937_64 random(1);
  for (int round = 0; round < 20000; ++round) {
    const std::string mutated = mutate(bytes, random);
    ASSERT_EQ(parse_manifest(mutated, "m").ok(), mutated == bytes) << round;
  }
}

TEST(ManifestFile, MutatedContentWithARightChecksumNeverYieldsAnInvalidManifest) {
  const std::string payload = sample().SerializeAsString();
  std::mt19937_64 random(2);
  int accepted = 0;
  for (int round = 0; round < 40000; ++round) {
    const absl::StatusOr<Manifest> manifest =
        parse_manifest(frame_payload(kFormatVersion, mutate(payload, random)), "m");
    if (!manifest.ok()) continue;
    ++accepted;
    ASSERT_TRUE(validate_manifest(*manifest, "m").ok());
    for (const FileEntry& entry : manifest->files()) ASSERT_TRUE(is_file_name(entry.name()));
    for (const FileEntry& entry : manifest->stored_files()) ASSERT_TRUE(is_stored_name(entry.name()));
  }
  EXPECT_GT(accepted, 0);  // the mutations reach behind the parser
}

}  // namespace
}  // namespace stillpoint::image
