#include "helper/dump/address_space_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

namespace stillpoint {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

procfs::Mapping mapping(uint64_t start, std::vector<std::string> flags = {}) {
  procfs::Mapping m;
  m.start = start;
  m.end = start + 0x1000;
  m.vm_flags = std::move(flags);
  return m;
}

// What the smaps read ahead says need not hold any more when the process is frozen.
class AddressSpaceReaderTest : public testing::Test {
 protected:
  model::Vma& add(uint64_t start, model::Vma::Kind kind = model::Vma::ANONYMOUS) {
    model::Vma& vma = *space_.add_vmas();
    vma.set_start(start), vma.set_end(start + 0x1000);
    vma.set_kind(kind);
    return vma;
  }
  MappedFiles files_;
  SharedMemoryRegistry shared_;
  AddressSpaceReader reader_{files_, shared_};
  model::AddressSpace space_;
};

TEST_F(AddressSpaceReaderTest, WhatTheSnapshotLacksIsDontforkAndCopied) {
  add(0x1000);
  add(0x2000);
  add(0x3000, model::Vma::FILE_SHARED);
  add(0x4000).add_advice(MADV_DONTFORK);  // known
  const auto fresh = reader_.find_unforked({mapping(0x1000)}, space_);
  ASSERT_TRUE(fresh.ok()) << fresh.status();
  EXPECT_THAT(*fresh, ElementsAre(1));
  EXPECT_THAT(reader_.copied_in_pause(), ElementsAre(1));
  EXPECT_THAT(space_.vmas(0).advice(), IsEmpty());
  EXPECT_THAT(space_.vmas(1).advice(), ElementsAre(MADV_DONTFORK));
  EXPECT_THAT(space_.vmas(2).advice(), ElementsAre(MADV_DONTFORK));
  EXPECT_THAT(space_.vmas(3).advice(), ElementsAre(MADV_DONTFORK));
}

TEST_F(AddressSpaceReaderTest, FlagsAreThoseOfThePause) {
  model::Vma& vma = add(0x1000);
  vma.add_advice(MADV_SEQUENTIAL);
  vma.add_advice(MADV_WIPEONFORK);
  vma.set_no_reserve(true);
  ASSERT_TRUE(AddressSpaceReader::settle_flags({mapping(0x1000, {"rd", "gd", "dd"})}, true, space_).ok());
  EXPECT_THAT(vma.advice(), ElementsAre(MADV_DONTDUMP));
  EXPECT_FALSE(vma.no_reserve());
  EXPECT_TRUE(vma.grows_down());
}

// The snapshot has zeroes there, and the process has gone on.
TEST_F(AddressSpaceReaderTest, LateWipeonforkIsAnErrorOnlyForASnapshot) {
  add(0x1000);
  const std::vector<procfs::Mapping> now = {mapping(0x1000, {"rd", "wf"})};
  EXPECT_EQ(AddressSpaceReader::settle_flags(now, true, space_).code(), absl::StatusCode::kAborted);
  ASSERT_TRUE(AddressSpaceReader::settle_flags(now, false, space_).ok());
  EXPECT_THAT(space_.vmas(0).advice(), ElementsAre(MADV_WIPEONFORK));
}

TEST_F(AddressSpaceReaderTest, AMappingSealedMeanwhileIsAnError) {
  add(0x1000);
  EXPECT_FALSE(AddressSpaceReader::settle_flags({mapping(0x1000, {"rd", "sl"})}, true, space_).ok());
}

}  // namespace
}  // namespace stillpoint
