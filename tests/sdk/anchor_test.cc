// A tool's request, made the way a tool makes it.
#include "sdk/anchor.h"

#include <elf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <link.h>
#include <stillpoint/checkpointer.h>

#include <cstring>

#include "tests/sdk/test_support.h"

namespace stillpoint::sdk {
namespace {

using protocol::Anchor;

// Through the notes of the loaded files, as a tool does it from outside.
int look_for_note(dl_phdr_info* info, size_t, void* found) {
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const ElfW(Phdr)& header = info->dlpi_phdr[i];
    if (header.p_type != PT_NOTE) continue;
    const char* at = reinterpret_cast<const char*>(info->dlpi_addr + header.p_vaddr);
    const char* const end = at + header.p_memsz;
    while (at + sizeof(ElfW(Nhdr)) <= end) {
      ElfW(Nhdr) note;
      std::memcpy(&note, at, sizeof note);
      const char* const name = at + sizeof note;
      const char* const descriptor = name + (size_t{note.n_namesz} + 3) / 4 * 4;
      if (note.n_type == protocol::kAnchorNoteType && note.n_namesz == sizeof protocol::kAnchorNoteName &&
          std::memcmp(name, protocol::kAnchorNoteName, note.n_namesz) == 0) {
        int64_t distance = 0;
        std::memcpy(&distance, descriptor, sizeof distance);
        *static_cast<const char**>(found) = descriptor + distance;
        return 1;
      }
      at = descriptor + (size_t{note.n_descsz} + 3) / 4 * 4;
    }
  }
  return 0;
}

class AnchorTest : public testing::Test {
 protected:
  AnchorTest() {
    options_.directory = directory_.path() + "/own";
    options_.helper = FAKE_HELPER;
  }

  void request(const std::string& directory, bool stop = false) {
    Anchor& anchor = stillpoint_anchor_object;
    std::memset(anchor.request_directory, 0, sizeof anchor.request_directory);
    directory.copy(anchor.request_directory, sizeof anchor.request_directory);
    anchor.request_stop = stop ? 1 : 0;
    ++anchor.request_sequence;
  }

  void expect_answered() {
    EXPECT_EQ(stillpoint_anchor_object.done_sequence, stillpoint_anchor_object.request_sequence);
  }

  const TemporaryDirectory directory_;
  CheckpointerOptions options_;
};

TEST_F(AnchorTest, IsFoundThroughTheNote) {
  const char* found = nullptr;
  ::dl_iterate_phdr(&look_for_note, &found);
  EXPECT_EQ(found, reinterpret_cast<const char*>(&stillpoint_anchor_object));
  EXPECT_EQ(stillpoint_anchor_object.magic, protocol::kAnchorMagic);
  EXPECT_EQ(stillpoint_anchor_object.version, protocol::kAnchorVersion);
  EXPECT_EQ(stillpoint_anchor_object.size, sizeof(Anchor));
}

TEST_F(AnchorTest, PollAnswersARequestInTheRequestedDirectory) {
  Checkpointer checkpointer(options_);
  const uint64_t calls = stillpoint_anchor_object.calls;
  EXPECT_EQ(*checkpointer.poll(), Poll::kNothingDue);
  EXPECT_GT(stillpoint_anchor_object.calls, calls);

  request(directory_.path() + "/asked");
  EXPECT_TRUE(checkpointer.due());
  const auto poll = checkpointer.poll();
  ASSERT_TRUE(poll.ok()) << poll.status().to_string();
  EXPECT_EQ(*poll, Poll::kCheckpointed);
  expect_answered();
  EXPECT_EQ(stillpoint_anchor_object.done_code, STILLPOINT_OK);
  EXPECT_EQ(stillpoint_anchor_object.done_image, directory_.path() + "/asked/ckpt-00000007");
  EXPECT_STREQ(stillpoint_anchor_object.done_message, "");
  EXPECT_EQ(*checkpointer.poll(), Poll::kNothingDue) << "answered once";
}

TEST_F(AnchorTest, ACheckpointCallAnswersToo) {
  request(directory_.path() + "/asked");
  CheckpointOptions options;
  options.directory = options_.directory;
  options.helper = options_.helper;
  const auto result = checkpoint(options);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->image_path, directory_.path() + "/asked/ckpt-00000007");
  expect_answered();
}

TEST_F(AnchorTest, AStopIsTheHelpersUnlessTheProgramWantsIt) {
  Checkpointer killed(options_);
  request(directory_.path() + "/asked", true);
  // The fake helper does not kill; what it was asked is in its notes.
  ASSERT_TRUE(killed.poll().ok());
  EXPECT_THAT(stillpoint_note_count(), testing::Gt(0u));
  std::string stop;
  for (size_t i = 0; i < stillpoint_note_count(); ++i) {
    if (std::string(stillpoint_note(i)).rfind("stop ", 0) == 0) stop = stillpoint_note(i);
  }
  EXPECT_EQ(stop, "stop 1");

  options_.return_on_stop = true;
  Checkpointer returning(options_);
  request(directory_.path() + "/asked", true);
  const auto poll = returning.poll();
  ASSERT_TRUE(poll.ok()) << poll.status().to_string();
  EXPECT_EQ(*poll, Poll::kStopRequested);
  expect_answered();
}

TEST_F(AnchorTest, FailuresAreAnswered) {
  Checkpointer checkpointer(options_);
  request("relative/path");
  EXPECT_EQ(checkpointer.poll().status().code(), Code::kInvalidArgument);
  expect_answered();
  EXPECT_EQ(stillpoint_anchor_object.done_code, STILLPOINT_INVALID_ARGUMENT);
  EXPECT_THAT(std::string(stillpoint_anchor_object.done_message), testing::HasSubstr("relative/path"));
  EXPECT_STREQ(stillpoint_anchor_object.done_image, "");

  const Environment mode("FAKE_HELPER", "findings");
  request(directory_.path() + "/asked");
  EXPECT_EQ(checkpointer.poll().status().code(), Code::kFailedPrecondition);
  expect_answered();
  EXPECT_THAT(std::string(stillpoint_anchor_object.done_message), testing::HasSubstr("2 findings"));
  EXPECT_EQ(std::string(stillpoint_anchor_object.done_findings).rfind("SP-", 0), 0u);

  // Those that do not fit are left out, whole; the list stays terminated.
  const size_t size = sizeof stillpoint_anchor_object.done_findings;
  const Finding large{"SP-LARGE", "object", std::string(size / 2, 'r'), "remedy"};
  anchor_answer(stillpoint_anchor_object.request_sequence, 9, "", "", {large, large});
  EXPECT_EQ(stillpoint_anchor_object.done_findings[size - 1], '\0');
  const std::string found(stillpoint_anchor_object.done_findings, size);
  EXPECT_EQ(found.find("SP-LARGE", 1), std::string::npos);
}

TEST_F(AnchorTest, UnterminatedTextIsCut) {
  Checkpointer checkpointer(options_);
  request(std::string(sizeof stillpoint_anchor_object.request_directory, '/'));
  EXPECT_EQ(anchor_request().directory.size(), sizeof stillpoint_anchor_object.request_directory);
  checkpointer.poll();  // whatever comes of it
  expect_answered();
}

}  // namespace
}  // namespace stillpoint::sdk
