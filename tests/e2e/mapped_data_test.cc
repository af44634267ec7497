// Data files in mappings: what a program writes through a mapping is the file's, what it may only read stays as it was.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>

#include "tests/e2e/support/installed.h"
#include "tests/e2e/support/program_job.h"

namespace stillpoint::e2e {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kPython[] = "/usr/bin/python3";

// A thread counts in a shared mapping of `data` without a pause; the other one writes what it sees in `words`, mapped
// shared and read-only, beside the count to `out`. What it last counted stands in its memory, too: it must be in the
// file, or later there.
constexpr char kScript[] = R"(import hashlib, mmap, os, struct, sys, threading, time
at = sys.argv[1] + '/'
data = mmap.mmap(os.open(at + 'data', os.O_RDWR), 0, mmap.MAP_SHARED)
words = mmap.mmap(os.open(at + 'words', os.O_RDONLY), 0, mmap.MAP_SHARED, mmap.PROT_READ)
counted = 0
def count():
    global counted
    while True:
        for place in range(0, len(data), 8):
            data[place:place + 8] = struct.pack('Q', counted + 1)
        counted += 1
threading.Thread(target=count, daemon=True).start()
with open(at + 'out', 'w') as out:
    while not os.path.exists(at + 'stop'):
        before = counted
        if struct.unpack('Q', data[:8])[0] < before:
            print('ERROR the count went back', file=out, flush=True)
        print(before, hashlib.sha256(words[:]).hexdigest(), file=out, flush=True)
        time.sleep(0.01)
)";

class MappedData : public ::testing::Test {
 protected:
  void start() {
    write_file(job_.path("script"), kScript);
    write_file(job_.path("data"), std::string(256 << 10, '\0'));
    write_file(job_.path("words"), std::string(20000, 'w'));
    job_.start({kPython, job_.path("script"), std::filesystem::path(job_.path("script")).parent_path()});
    ASSERT_TRUE(goes_on()) << job_.said();
  }
  bool goes_on() {
    const size_t before = count_lines(out());
    return eventually([&] { return count_lines(out()) > before + 3 || !job_.running(); }) && job_.running();
  }
  void ends_well() {
    ASSERT_TRUE(goes_on()) << job_.said();
    write_file(job_.path("stop"), "");
    EXPECT_EQ(job_.wait(), 0) << job_.said();
    EXPECT_THAT(errors_in(job_.path("out")), IsEmpty());
    const std::string first = out().substr(0, out().find('\n')), last_words = out().substr(out().rfind(' '));
    EXPECT_EQ(last_words, first.substr(first.find(' ')) + "\n") << "what is mapped read-only has changed";
  }
  std::string out() const { return read_file(job_.path("out")); }

  ProgramJob job_;
};

TEST_F(MappedData, IsWrittenWhileTheImageIsMade) {
  SKIP_WITHOUT(kPython);
  ASSERT_NO_FATAL_FAILURE(start());
  for (int i = 0; i < rounds(20); ++i) {
    const Outcome outcome = job_.checkpoint({"--keep", "1"});
    ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  }
  ASSERT_THAT(job_.round(), IsEmpty());
  ends_well();
}

// As an upgrade of a library's data does it.
TEST_F(MappedData, ThatWasReplacedBySomethingShorter) {
  SKIP_WITHOUT(kPython);
  ASSERT_NO_FATAL_FAILURE(start());
  ASSERT_EQ(job_.checkpoint().exit_code, 0);
  ASSERT_EQ(job_.kill(), 128 + SIGKILL);
  write_file(job_.path("words.new"), "shorter");
  std::filesystem::rename(job_.path("words.new"), job_.path("words"));
  EXPECT_FALSE(job_.restart({"--no-embed"}));
  EXPECT_THAT(job_.said(), AllOf(HasSubstr(job_.path("words")), HasSubstr("--no-embed")));
  ASSERT_TRUE(job_.restart()) << job_.said();
  EXPECT_THAT(job_.said(), AllOf(HasSubstr(job_.path("words")), HasSubstr("stored with the image")));
  ends_well();
}

TEST_F(MappedData, ThatWasWrittenAndIsGone) {
  SKIP_WITHOUT(kPython);
  ASSERT_NO_FATAL_FAILURE(start());
  ASSERT_EQ(job_.checkpoint().exit_code, 0);
  ASSERT_EQ(job_.kill(), 128 + SIGKILL);
  std::filesystem::rename(job_.path("data"), job_.path("data.away"));
  EXPECT_FALSE(job_.restart());
  EXPECT_THAT(job_.said(), HasSubstr(job_.path("data")));
  std::filesystem::rename(job_.path("data.away"), job_.path("data"));
  ASSERT_TRUE(job_.restart()) << job_.said();
  ends_well();
}

}  // namespace
}  // namespace stillpoint::e2e
