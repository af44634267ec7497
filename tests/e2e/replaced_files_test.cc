// What became of files between checkpoint and restart: a replaced executable or library is mapped from its stored copy,
// a vanished open file is refused by name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>

#include "tests/e2e/support/ticker.h"

namespace stillpoint::e2e {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int kFailed = 125;

// The C++ library this test is itself linked with.
std::string cxx_library() {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    const size_t slash = line.find('/');
    if (slash != std::string::npos && line.find("/libstdc++.so", slash) != std::string::npos) return line.substr(slash);
  }
  return "";
}

// As an upgrade does it: another file under the old name.
void replace(const std::string& path, const std::string& by) {
  std::filesystem::copy_file(by, path + ".new");
  std::filesystem::rename(path + ".new", path);
}

long mentions(const std::string& text, const std::string& path) {
  const std::regex word(path + "[^\n]*stored");
  return std::distance(std::sregex_iterator(text.begin(), text.end(), word), std::sregex_iterator());
}

class ReplacedFiles : public ::testing::Test {
 protected:
  // A job that runs copies of its own: executable and C++ library may be replaced.
  void start() {
    std::filesystem::copy_file(built_program("ticker"), job_.path("program"));
    std::filesystem::create_directory(job_.path("lib"));
    ASSERT_FALSE(cxx_library().empty());
    std::filesystem::copy_file(cxx_library(), job_.path("lib/libstdc++.so.6"));
    StartOptions options;
    options.output = job_.path("output");
    options.environment = {{"LD_LIBRARY_PATH", job_.path("lib")}};
    program_ = std::make_unique<RunningProgram>(
        std::vector<std::string>{job_.path("program"), job_.path("finish"), job_.path("open file")}, options);
    ASSERT_TRUE(job_.ticks_go_on()) << job_.output();
  }
  void checkpoint_and_kill(std::vector<std::string> options = {}) {
    options.insert(options.begin(), {"checkpoint", "--pid", std::to_string(program_->pid()), job_.images()});
    const Outcome checkpoint = job_.stillpoint(options);
    ASSERT_EQ(checkpoint.exit_code, 0) << checkpoint.output;
    program_->kill_and_wait();
    output_ = job_.output();
  }

  void expect_refused(const std::vector<std::string>& line, const std::string& path, const std::string& why) {
    const Outcome refused = job_.stillpoint(line);
    EXPECT_EQ(refused.exit_code, kFailed) << refused.output;
    EXPECT_THAT(refused.output, AllOf(HasSubstr(path), HasSubstr(why)));
    EXPECT_EQ(job_.output(), output_) << "an instruction of the program has run";
    EXPECT_THAT(orphans_.left_over(), IsEmpty());
    EXPECT_EQ(job_.stillpoint({"verify", job_.images()}).exit_code, 0) << "the image was touched";
  }

  void expect_restarts() {
    ASSERT_GT(job_.restart(), 0) << job_.said();
    EXPECT_EQ(job_.finish(job_.restarter()), 0) << job_.said();
    EXPECT_TRUE(job_.output_is_whole()) << job_.output();
    EXPECT_THAT(orphans_.left_over(), IsEmpty());
  }

  OrphanWatch orphans_;
  TickerJob job_{TickerJob::Kind::kPlain};
  std::unique_ptr<RunningProgram> program_;
  std::string output_;
};

TEST_F(ReplacedFiles, Executable) {
  ASSERT_NO_FATAL_FAILURE(start());
  ASSERT_NO_FATAL_FAILURE(checkpoint_and_kill());
  replace(job_.path("program"), "/bin/true");
  expect_refused({"restart", "--no-embed", job_.images()}, job_.path("program"), "--no-embed");
  expect_restarts();
  EXPECT_EQ(mentions(job_.said(), job_.path("program")), 1) << job_.said();
}

TEST_F(ReplacedFiles, ExecutableThatIsGone) {
  ASSERT_NO_FATAL_FAILURE(start());
  ASSERT_NO_FATAL_FAILURE(checkpoint_and_kill());
  std::filesystem::remove(job_.path("program"));
  expect_refused({"restart", "--no-embed", job_.images()}, job_.path("program"), "--no-embed");
  expect_restarts();
  EXPECT_EQ(mentions(job_.said(), job_.path("program")), 1) << job_.said();
}

TEST_F(ReplacedFiles, Library) {
  ASSERT_NO_FATAL_FAILURE(start());
  ASSERT_NO_FATAL_FAILURE(checkpoint_and_kill());
  replace(job_.path("lib/libstdc++.so.6"), "/bin/true");
  expect_refused({"restart", "--no-embed", job_.images()}, job_.path("lib/libstdc++.so.6"), "--no-embed");
  expect_restarts();
  EXPECT_EQ(mentions(job_.said(), job_.path("lib/libstdc..") + ".so.6"), 1) << job_.said();
}

TEST_F(ReplacedFiles, NothingStored) {
  ASSERT_NO_FATAL_FAILURE(start());
  ASSERT_NO_FATAL_FAILURE(checkpoint_and_kill({"--no-embed"}));
  replace(job_.path("program"), "/bin/true");
  expect_refused({"restart", job_.images()}, job_.path("program"), "no copy is stored");
  replace(job_.path("program"), built_program("ticker"));
  expect_restarts();
}

TEST_F(ReplacedFiles, StoredCopyDamaged) {
  ASSERT_NO_FATAL_FAILURE(start());
  ASSERT_NO_FATAL_FAILURE(checkpoint_and_kill());
  replace(job_.path("program"), "/bin/true");
  for (const auto& entry : std::filesystem::directory_iterator(job_.images() + "/files")) {
    ASSERT_EQ(::chmod(entry.path().c_str(), 0600), 0);
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(5000);
    const char byte = static_cast<char>(file.get());
    file.seekp(5000);
    file.put(static_cast<char>(byte ^ 1));
  }
  const Outcome refused = job_.stillpoint({"restart", job_.images()});
  EXPECT_EQ(refused.exit_code, 86) << refused.output;
  EXPECT_THAT(refused.output, AllOf(HasSubstr("files/"), HasSubstr("chunk")));
  EXPECT_EQ(job_.output(), output_) << "an instruction of the program has run";
  EXPECT_THAT(orphans_.left_over(), IsEmpty());
}

TEST_F(ReplacedFiles, OpenFileVanished) {
  ASSERT_NO_FATAL_FAILURE(start());
  ASSERT_NO_FATAL_FAILURE(checkpoint_and_kill());
  std::filesystem::rename(job_.path("open file"), job_.path("kept"));
  expect_refused({"restart", job_.images()}, job_.path("open file"), "vanished");
  std::filesystem::rename(job_.path("kept"), job_.path("open file"));
  expect_restarts();
}

}  // namespace
}  // namespace stillpoint::e2e
