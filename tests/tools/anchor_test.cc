// The anchor scanner against a program that carries an anchor, and against one that lies about everything.
#include "helper/protocol/anchor.h"

#include <elf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <cstring>
#include <random>

#include "helper/anchor/scan.h"
#include "helper/base/syscalls.h"
#include "tests/tools/command_runner.h"
#include "tools/console.h"
#include "tools/program_anchor.h"

namespace stillpoint::tools {
namespace {

using ::testing::HasSubstr;

class AnchorTest : public ::testing::Test {
 protected:
  RunningCommand& start(const std::string& mode) {
    program_ = std::make_unique<RunningCommand>(CommandSpec{{ANCHORED_PROGRAM, mode}, {}});
    EXPECT_TRUE(program_->wait_for_out("ready"));
    return *program_;
  }
  uint64_t anchor() {
    const auto found = anchor_of(program_->pid());
    EXPECT_TRUE(found.ok()) << found.status();
    EXPECT_TRUE(found.ok() && found->has_value());
    return found.ok() ? found->value_or(0) : 0;
  }
  std::unique_ptr<RunningCommand> program_;
};

TEST_F(AnchorTest, ARequestIsAnswered) {
  start("answer");
  AnchorRequest request;
  request.directory = "/some/where";
  for (int round = 0; round < 3; ++round) {
    const auto answer = request_through_anchor(program_->pid(), anchor(), request);
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_EQ(answer->image, "/some/where/ckpt-00000009");
  }
}

TEST_F(AnchorTest, ARefusalCarriesTheProgramsWords) {
  start("refuse");
  const auto answer = request_through_anchor(program_->pid(), anchor(), {"/x", false, absl::Seconds(30)});
  EXPECT_THAT(std::string(answer.status().message()), HasSubstr("hook 'flush' failed"));
  const protocol::FindingList findings = findings_in(answer.status());
  ASSERT_GE(findings.findings_size(), 1);
  EXPECT_EQ(findings.findings(0).code(), "SP-ONE");
  EXPECT_EQ(findings.findings(0).remedy(), "do otherwise");
}

TEST_F(AnchorTest, AnIdleProgramTimesOutAndTheRequestIsWithdrawn) {
  start("idle");
  const auto answer = request_through_anchor(program_->pid(), anchor(), {"/x", true, absl::Milliseconds(100)});
  EXPECT_TRUE(absl::IsDeadlineExceeded(answer.status())) << answer.status();
  protocol::Anchor seen;
  ASSERT_TRUE(read_memory(program_->pid(), anchor(), &seen, sizeof seen).ok());
  EXPECT_EQ(seen.request_sequence, seen.done_sequence);
}

TEST_F(AnchorTest, AProgramThatDiesIsNotWaitedFor) {
  RunningCommand& program = start("idle");
  const uint64_t address = anchor();
  program.signal(SIGKILL);
  const auto answer = request_through_anchor(program.pid(), address, {"/x", false, absl::Hours(1)});
  EXPECT_FALSE(answer.ok());
  EXPECT_FALSE(absl::IsDeadlineExceeded(answer.status()));
}

TEST_F(AnchorTest, ATooLongDirectoryIsRefusedBeforeAnythingIsWritten) {
  start("answer");
  const auto answer =
      request_through_anchor(program_->pid(), anchor(), {std::string(1024, 'd'), false, absl::Seconds(1)});
  EXPECT_TRUE(absl::IsInvalidArgument(answer.status()));
}

TEST(AnchorScan, AnOrdinaryProgramHasNone) {
  RunningCommand sleeper({{"/bin/sleep", "100"}, {}});
  ASSERT_TRUE(eventually([&] {
    const auto maps = procfs::read_maps(sleeper.pid());
    return maps.ok() && !maps->empty() && maps->front().name.find("sleep") != std::string::npos;
  }));
  const auto found = anchor_of(sleeper.pid());
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_FALSE(found->has_value());
}

// The memory of the anchored program's own file mappings, for the scanner to read and the test to falsify.
struct Snapshot {
  struct Piece {
    uint64_t start;
    std::string bytes;
  };
  std::vector<procfs::Mapping> maps;
  std::vector<Piece> pieces;

  MemoryReader reader() const {
    return [this](uint64_t address, void* buffer, size_t size) {
      for (const Piece& piece : pieces) {
        if (address < piece.start || address - piece.start > piece.bytes.size()) continue;
        if (size > piece.bytes.size() - (address - piece.start)) continue;
        std::memcpy(buffer, piece.bytes.data() + (address - piece.start), size);
        return absl::OkStatus();
      }
      return absl::OutOfRangeError("not there");
    };
  }
};

Snapshot snapshot_of_anchored_program() {
  Snapshot snapshot;
  RunningCommand program({{ANCHORED_PROGRAM, "idle"}, {}});
  EXPECT_TRUE(program.wait_for_out("ready"));
  const auto maps = procfs::read_maps(program.pid());
  EXPECT_TRUE(maps.ok()) << maps.status();
  if (!maps.ok()) return snapshot;
  for (const procfs::Mapping& mapping : *maps) {
    if (mapping.name.find("anchored_program") == std::string::npos) continue;
    std::string bytes(mapping.end - mapping.start, '\0');
    EXPECT_TRUE(read_memory(program.pid(), mapping.start, bytes.data(), bytes.size()).ok());
    snapshot.maps.push_back(mapping);
    snapshot.pieces.push_back({mapping.start, std::move(bytes)});
  }
  return snapshot;
}

// Whatever the program says of itself, an anchor lies in memory that is readable and writable.
void expect_sane(const Snapshot& snapshot, const std::vector<uint64_t>& anchors) {
  for (const uint64_t anchor : anchors) {
    bool inside = false;
    for (const procfs::Mapping& mapping : snapshot.maps) {
      inside |= anchor >= mapping.start && anchor < mapping.end && (mapping.protection & PROT_WRITE) != 0;
    }
    EXPECT_TRUE(inside) << std::hex << anchor;
  }
}

TEST(AnchorScan, FindsTheAnchorInASnapshot) {
  const Snapshot snapshot = snapshot_of_anchored_program();
  EXPECT_EQ(scan_for_anchors(snapshot.maps, snapshot.reader()).size(), 1u);
}

TEST(AnchorScan, SurvivesRandomFalsifications) {
  const Snapshot original = snapshot_of_anchored_program();
  ASSERT_FALSE(original.pieces.empty());
  ASSERT_GE(original.pieces[0].bytes.size(), 1024u);
  std::mt19937 random(4242);
  int lost = 0;
  for (int round = 0; round < 4000; ++round) {
    Snapshot hostile = original;
    const int changes = 1 + static_cast<int>(random() % 8);
    for (int change = 0; change < changes; ++change) {
      // ELF header, program headers and notes all lie in the first kilobytes.
      hostile.pieces[0].bytes[random() % 1024] = static_cast<char>(random());
    }
    const std::vector<uint64_t> anchors = scan_for_anchors(hostile.maps, hostile.reader());
    expect_sane(hostile, anchors);
    lost += anchors.empty() ? 1 : 0;
  }
  EXPECT_GT(lost, 0);  // the mutations do reach what matters
}

template <typename Change>
std::vector<uint64_t> scan_with_header(const Snapshot& original, Change change) {
  Snapshot hostile = original;
  Elf64_Ehdr header;
  std::memcpy(&header, hostile.pieces[0].bytes.data(), sizeof header);
  change(header);
  std::memcpy(hostile.pieces[0].bytes.data(), &header, sizeof header);
  return scan_for_anchors(hostile.maps, hostile.reader());
}

TEST(AnchorScan, SurvivesExtremeHeaders) {
  const Snapshot original = snapshot_of_anchored_program();
  ASSERT_FALSE(original.pieces.empty());
  EXPECT_TRUE(scan_with_header(original, [](Elf64_Ehdr& h) { h.e_phoff = ~uint64_t{0}; }).empty());
  EXPECT_TRUE(scan_with_header(original, [](Elf64_Ehdr& h) { h.e_phnum = 0xffff; }).empty());
  EXPECT_TRUE(scan_with_header(original, [](Elf64_Ehdr& h) { h.e_phnum = 0; }).empty());
  EXPECT_TRUE(scan_with_header(original, [](Elf64_Ehdr& h) { h.e_phentsize = 1; }).empty());
  EXPECT_TRUE(scan_with_header(original, [](Elf64_Ehdr& h) { h.e_machine = EM_AARCH64; }).empty());
  EXPECT_TRUE(scan_with_header(original, [](Elf64_Ehdr& h) { h.e_ident[EI_CLASS] = ELFCLASS32; }).empty());
}

TEST(AnchorScan, SurvivesExtremeNotes) {
  const Snapshot original = snapshot_of_anchored_program();
  ASSERT_FALSE(original.pieces.empty());
  const size_t name = original.pieces[0].bytes.find("Stillpoint");
  ASSERT_NE(name, std::string::npos);
  ASSERT_GE(name, 12u);
  for (const size_t field : {name - 12, name - 8, name - 4}) {
    for (const uint32_t value : {0u, 7u, 0x7fffffffu, 0xfffffff0u, 0xffffffffu}) {
      Snapshot hostile = original;
      std::memcpy(&hostile.pieces[0].bytes[field], &value, sizeof value);
      EXPECT_TRUE(scan_for_anchors(hostile.maps, hostile.reader()).empty());
    }
  }
  for (const uint64_t distance : {uint64_t{0}, ~uint64_t{0}, uint64_t{1} << 63, uint64_t{3}}) {
    Snapshot hostile = original;
    std::memcpy(&hostile.pieces[0].bytes[name + 12], &distance, sizeof distance);
    EXPECT_TRUE(scan_for_anchors(hostile.maps, hostile.reader()).empty());
  }
}

}  // namespace
}  // namespace stillpoint::tools
