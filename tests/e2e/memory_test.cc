// Every kind of mapping, through checkpoints and new lives: the program (programs/memory_zoo.cc) prints what an
// uninterrupted run prints, and sees its mappings, their flags and their size as they were.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <regex>

#include "tests/e2e/support/program_job.h"

namespace stillpoint::e2e {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kPool[] = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";

// A pool of huge pages, as far as the user may have one.
class HugePagePool {
 public:
  explicit HugePagePool(int pages) : before_(read_file(kPool)) {
    if (is_root() && std::atoi(before_.c_str()) < pages) write_file(kPool, std::to_string(pages));
  }
  ~HugePagePool() {
    if (is_root() && !before_.empty()) write_file(kPool, before_);
  }

 private:
  const std::string before_;
};

// A field of /proc/PID/FILE in kB, added up over all its lines.
uint64_t kib(pid_t pid, const std::string& file, const std::string& field) {
  const std::string text = read_file("/proc/" + std::to_string(pid) + "/" + file);
  const std::regex line("(^|\n)" + field + ":\\s+(\\d+) kB");
  uint64_t sum = 0;
  for (std::sregex_iterator it(text.begin(), text.end(), line), end; it != end; ++it) sum += std::stoull((*it)[2]);
  return sum;
}

uint64_t bytes_below(const std::string& directory) {
  uint64_t sum = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    if (entry.is_regular_file()) sum += entry.file_size();
  }
  return sum;
}

std::string lines_with(const std::string& text, const std::string& word) {
  std::string found;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.find(word) != std::string::npos) found += line + "\n";
  }
  return found;
}

// The first line in which a report differs from what an undisturbed run says.
std::string first_difference(const std::string& report, const std::string& undisturbed) {
  std::istringstream said(report), expected(undisturbed);
  std::string line, other;
  while (std::getline(said, line)) {
    if (!std::getline(expected, other)) return "\"" + line + "\" is too much";
    if (line != other) return "\"" + line + "\" instead of \"" + other + "\"";
  }
  return std::getline(expected, other) ? "\"" + other + "\" is missing" : "";
}

enum class User { kTester, kOrdinary };

class Memory : public ::testing::TestWithParam<User> {
 protected:
  static constexpr int kRounds = 120;

  void SetUp() override {
    if (GetParam() == User::kOrdinary && !is_root()) GTEST_SKIP() << "the tests run as an ordinary user already";
  }
  static uid_t uid() { return GetParam() == User::kOrdinary && is_root() ? kNobody : static_cast<uid_t>(-1); }
  Memory() : pool_(16), job_(uid()) {}

  static std::string report(const ProgramJob& job) { return read_file(job.path("report")); }
  void start(ProgramJob& job, const std::map<std::string, std::string>& environment) {
    StartOptions options;
    options.environment = environment;
    job.start({built_program("memory_zoo"), job.path("report"), job.path(""), std::to_string(kRounds)}, options);
  }
  bool reaches(int round) {
    const std::string line = "round " + std::to_string(round) + "\n";
    return eventually([&] { return report(job_).find(line) != std::string::npos || !job_.running(); }) &&
           job_.running();
  }
  // What the program prints when nothing happens to it.
  std::string undisturbed(const std::map<std::string, std::string>& environment) {
    ProgramJob job(uid());
    start(job, environment);
    EXPECT_EQ(job.wait(), 0) << report(job);
    return report(job);
  }
  void stays_as_it_is(const std::map<std::string, std::string>& environment) {
    const std::string expected = undisturbed(environment);
    ASSERT_THAT(lines_with(expected, "ERROR"), IsEmpty());
    start(job_, environment);
    ASSERT_TRUE(reaches(10)) << report(job_);
    for (int i = 0; i < 3; ++i) {
      const Outcome outcome = job_.checkpoint({"--keep", "1"});
      ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
      ASSERT_TRUE(reaches(20 + 10 * i)) << report(job_);
    }
    for (int life = 1; life <= 2; ++life) {
      ASSERT_THAT(job_.round(), IsEmpty()) << "life " << life;
      ASSERT_TRUE(reaches(50 + 20 * life)) << job_.said() << report(job_);
    }
    EXPECT_EQ(job_.wait(), 0) << job_.said();
    EXPECT_THAT(lines_with(report(job_), "CHANGED"), IsEmpty());
    EXPECT_THAT(lines_with(report(job_), "ERROR"), IsEmpty());
    EXPECT_EQ(first_difference(report(job_), expected), "");
  }

  HugePagePool pool_;
  ProgramJob job_;
};

TEST_P(Memory, OfEveryKindStaysAsItIs) { stays_as_it_is({}); }

TEST_P(Memory, LockedAsAWholeStaysLocked) {
  if (uid() == kNobody) GTEST_SKIP() << "RLIMIT_MEMLOCK of an ordinary user";
  stays_as_it_is({{"LOCK_ALL", "1"}});
}

// What was never touched takes no room in the image, and none after a restart.
TEST_P(Memory, TakesNoMoreRoomThanItHas) {
  start(job_, {});
  ASSERT_TRUE(reaches(10)) << report(job_);
  const uint64_t own = kib(job_.pid(), "status", "RssAnon"), shared = kib(job_.pid(), "status", "RssShmem");
  const uint64_t huge = kib(job_.pid(), "smaps", "AnonHugePages");
  const uint64_t from_pool = kib(job_.pid(), "smaps", "Private_Hugetlb") + kib(job_.pid(), "smaps", "Shared_Hugetlb");
  ASSERT_THAT(job_.round(), IsEmpty());
  ASSERT_TRUE(reaches(60)) << job_.said() << report(job_);
  const uint64_t image = bytes_below(job_.images() + "/ckpt-00000001") / 1024;
  EXPECT_LE(image, own + shared + from_pool + 2048);
  EXPECT_LE(kib(job_.pid(), "status", "RssAnon"), own + 2048);
  EXPECT_LE(kib(job_.pid(), "status", "RssShmem"), shared + 1024);
  EXPECT_GE(kib(job_.pid(), "smaps", "AnonHugePages"), huge) << "transparent huge pages did not come back";
  EXPECT_LE(kib(job_.pid(), "smaps", "Private_Hugetlb") + kib(job_.pid(), "smaps", "Shared_Hugetlb"), from_pool);
}

// Excluded memory comes back zero-filled, whatever is behind it; pages that are excluded only in part are kept.
TEST_P(Memory, ThatIsExcludedComesBackAsZeroes) {
  job_.start({built_program("sdk_excluded"), job_.path("report"), job_.images()});
  ASSERT_TRUE(eventually([&] { return file_contains(job_.path("report"), "end\n") || !job_.running(); }))
      << report(job_);
  for (const char* region : {"anonymous", "dontfork", "file", "shared", "memfd"}) {
    EXPECT_THAT(report(job_), HasSubstr("resumed " + std::string(region) + ": excluded kept, around kept"));
  }
  ASSERT_EQ(job_.kill(), 128 + SIGKILL) << report(job_);
  job_.restart();
  EXPECT_EQ(job_.wait(), 0) << job_.said() << report(job_);
  for (const char* region : {"anonymous", "dontfork", "file", "shared", "memfd"}) {
    EXPECT_THAT(report(job_), HasSubstr("restored " + std::string(region) + ": excluded zero, around kept"));
  }
}

// Where there is no room for copies of shared memory the process stands still until all is written.
TEST_P(Memory, IsWrittenInPlaceWhereCopiesDoNotFit) {
  start(job_, {});
  ASSERT_TRUE(reaches(10)) << report(job_);
  const std::map<std::string, std::string> no_room = {{"STILLPOINT_DISABLE", "pause_copies"}};
  const Outcome outcome = job_.checkpoint({}, no_room);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  ASSERT_THAT(job_.round(no_room), IsEmpty());
  ASSERT_TRUE(reaches(40)) << job_.said() << report(job_);
  EXPECT_THAT(lines_with(report(job_), "CHANGED"), IsEmpty());
  EXPECT_THAT(lines_with(report(job_), "ERROR"), IsEmpty());
}

// Mappings come, go and change between the look ahead and the pause.
TEST_P(Memory, ThatChangesAllTheTimeIsSavedAsItIs) {
  job_.start({built_program("memory_churn"), job_.path("report")});
  const auto goes_on = [&] {
    const size_t before = count_lines(report(job_));
    return eventually([&] { return count_lines(report(job_)) > before + 1 || !job_.running(); }) && job_.running();
  };
  ASSERT_TRUE(goes_on()) << report(job_);
  for (int i = 0; i < rounds(100); ++i) {
    const Outcome outcome = job_.checkpoint({"--keep", "1"});
    ASSERT_EQ(outcome.exit_code, 0) << "checkpoint " << i << ": " << outcome.output;
    if (i % 20 != 19) continue;
    ASSERT_THAT(job_.round(), IsEmpty()) << i;
    ASSERT_TRUE(goes_on()) << job_.said() << report(job_);
  }
  EXPECT_THAT(lines_with(report(job_), "ERROR"), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(As, Memory, ::testing::Values(User::kTester, User::kOrdinary), [](const auto& parameter) {
  return parameter.param == User::kTester ? "Tester" : "OrdinaryUser";
});

}  // namespace
}  // namespace stillpoint::e2e
