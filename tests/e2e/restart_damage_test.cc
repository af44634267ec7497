// Damaged images: verify and restart refuse and name the file (and the chunk), not an instruction of the program runs,
// and
// --fallback takes an older image.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "tests/e2e/support/ticker.h"

namespace stillpoint::e2e {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr int kDamaged = 3;
constexpr int kNoUsableImage = 86;
constexpr int kFlips = 20;

// Changes a file and takes the change back.
class Damage {
 public:
  explicit Damage(std::string path) : path_(std::move(path)), whole_(read_file(path_)) {}
  Damage(const Damage&) = delete;
  Damage& operator=(const Damage&) = delete;
  ~Damage() { write_file(path_, whole_); }

  size_t size() const { return whole_.size(); }
  void flip(size_t at, char bits) const {
    std::string text = whole_;
    text[at] = static_cast<char>(text[at] ^ bits);
    write_file(path_, text);
  }
  void cut(size_t size) const { write_file(path_, whole_.substr(0, size)); }
  void remove() const { std::filesystem::remove(path_); }

 private:
  std::string path_;
  std::string whole_;
};

class RestartDamage : public ::testing::Test {
 protected:
  // Two images; the program is dead.
  void SetUp() override {
    job_.start();
    for (int i = 0; i < 2; ++i) {
      const Outcome checkpoint = job_.checkpoint(job_.program().pid());
      ASSERT_EQ(checkpoint.exit_code, 0) << checkpoint.output;
    }
    job_.kill_program();
    output_ = job_.output();
    for (const auto& entry : std::filesystem::directory_iterator(job_.image(2))) {
      files_.push_back(entry.path().filename().string());
    }
    ASSERT_THAT(files_, ::testing::IsSupersetOf({"manifest.pb", "state.pb"}));
  }

  std::string file(const std::string& name) const { return job_.image(2) + "/" + name; }

  void expect_refused(const std::string& names) {
    const Outcome verified = job_.stillpoint({"verify", job_.image(2)});
    EXPECT_EQ(verified.exit_code, kDamaged) << verified.output;
    EXPECT_THAT(verified.output, HasSubstr(names));
    const Outcome restarted = job_.stillpoint({"restart", job_.image(2)});
    EXPECT_EQ(restarted.exit_code, kNoUsableImage) << restarted.output;
    EXPECT_THAT(restarted.output, AllOf(HasSubstr(names), Not(HasSubstr("restored "))));
    EXPECT_EQ(job_.output(), output_) << "an instruction of the program has run";
    EXPECT_THAT(orphans_.left_over(), IsEmpty());
  }

  OrphanWatch orphans_;
  TickerJob job_{TickerJob::Kind::kPlain};
  std::string output_;
  std::vector<std::string> files_;
};

TEST_F(RestartDamage, AFlippedByteAnywhere) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  for (int flip = 0; flip < kFlips && !HasFailure(); ++flip) {
    // Every file in turn: the small ones would hardly be met among the pages.
    const std::string& name = files_[static_cast<size_t>(flip) % files_.size()];
    const Damage damage(file(name));
    if (damage.size() == 0) continue;
    const size_t at = random() % damage.size();
    SCOPED_TRACE(name + " byte " + std::to_string(at));
    damage.flip(at, static_cast<char>(1u << random() % 8));
    expect_refused(name);
    if (name != "manifest.pb") {
      EXPECT_THAT(job_.stillpoint({"verify", job_.image(2)}).output, HasSubstr("chunk"));
    }
  }
}

TEST_F(RestartDamage, AMissingFile) {
  for (const std::string& name : files_) {
    SCOPED_TRACE(name);
    const Damage damage(file(name));
    damage.remove();
    expect_refused(name);
  }
}

TEST_F(RestartDamage, ATruncatedFile) {
  for (const std::string& name : files_) {
    SCOPED_TRACE(name);
    const Damage damage(file(name));
    for (const size_t size : {damage.size() - 1, damage.size() / 2, size_t{0}}) {
      if (size >= damage.size()) continue;
      SCOPED_TRACE(std::to_string(size) + " of " + std::to_string(damage.size()) + " bytes");
      damage.cut(size);
      expect_refused(name);
    }
  }
}

TEST_F(RestartDamage, OfAStoredExecutableIsFoundByVerify) {
  const std::filesystem::path store = std::filesystem::path(job_.images()) / "files";
  for (const auto& entry : std::filesystem::directory_iterator(store)) {
    ASSERT_EQ(::chmod(entry.path().c_str(), 0600), 0);
    const Damage damage(entry.path());
    damage.flip(damage.size() / 2, 1);
    const Outcome verified = job_.stillpoint({"verify", job_.image(2)});
    EXPECT_EQ(verified.exit_code, kDamaged) << verified.output;
    EXPECT_THAT(verified.output, AllOf(HasSubstr(entry.path().filename().string()), HasSubstr("chunk")));
  }
}

TEST_F(RestartDamage, OfTheLatestImageFallsBackWhenAllowed) {
  const Damage damage(file("state.pb"));
  damage.flip(damage.size() / 2, 4);
  const Outcome refused = job_.stillpoint({"restart", job_.images()});
  EXPECT_EQ(refused.exit_code, kNoUsableImage) << refused.output;
  EXPECT_THAT(refused.output, AllOf(HasSubstr("state.pb"), HasSubstr("--fallback")));
  EXPECT_EQ(job_.output(), output_);

  EXPECT_GT(job_.restart({"--fallback"}), 0) << job_.said();
  EXPECT_THAT(job_.said(), AllOf(HasSubstr("state.pb"), HasSubstr("from " + job_.image(1))));
  EXPECT_EQ(job_.finish(job_.restarter()), 0) << job_.said();
  EXPECT_TRUE(job_.output_is_whole()) << job_.output();
}

TEST_F(RestartDamage, OfEveryImageLeavesNothingToFallBackTo) {
  const Damage newer(file("state.pb")), older(job_.image(1) + "/manifest.pb");
  newer.flip(0, 1);
  older.cut(10);
  for (const std::vector<std::string>& line :
       {std::vector<std::string>{"restart", "--fallback", job_.images()},
        {"run", "--dir", job_.images(), "--", built_program("ticker"), job_.path("finish")}}) {
    const Outcome refused = job_.stillpoint(line);
    EXPECT_EQ(refused.exit_code, kNoUsableImage) << refused.output;
    EXPECT_THAT(refused.output, AllOf(HasSubstr("ckpt-00000001"), HasSubstr("ckpt-00000002")));
    EXPECT_THAT(orphans_.left_over(), IsEmpty());
  }
  EXPECT_EQ(job_.output(), output_);
  EXPECT_TRUE(std::filesystem::exists(job_.image(1)) && std::filesystem::exists(job_.image(2)));
}

}  // namespace
}  // namespace stillpoint::e2e
