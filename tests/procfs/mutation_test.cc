// Texts of real kernels, damaged at random: every parser answers with a value or a status, and what it accepts keeps
// its promises. The seeds are fixed, so that a failure comes again.
#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "helper/procfs/process_files.h"
#include "tests/procfs/kernel_texts.h"

namespace stillpoint::procfs {
namespace {

constexpr int kMutationsPerText = 6000;

class Mutator {
 public:
  explicit Mutator(uint32_t seed) : random_(seed) {}

  std::string mutate(std::string text) {
    const size_t times = 1 + pick(4);
    for (size_t i = 0; i < times; ++i) mutate_once(text);
    return text;
  }

 private:
  size_t pick(size_t below) { return std::uniform_int_distribution<size_t>(0, below - 1)(random_); }

  void mutate_once(std::string& text) {
    static const std::string kFragments[] = {"\n",
                                             " ",
                                             "-",
                                             ":",
                                             "/",
                                             "(",
                                             ")",
                                             ") R 1 (",
                                             "\\012",
                                             "\\",
                                             "18446744073709551616",
                                             "ffffffffffffffff",
                                             "-1",
                                             "99999999999999999999999",
                                             "VmFlags:",
                                             "KernelPageSize: 0 kB\n",
                                             "\t",
                                             "- ",
                                             "ID: 1\n",
                                             std::string(1, '\0')};
    const size_t at = pick(text.size() + 1);
    const size_t length = std::min(1 + pick(40), text.size() - at);
    switch (pick(6)) {
      case 0:
        if (at < text.size()) text[at] = static_cast<char>(pick(256));
        break;
      case 1:
        text.erase(at, length);
        break;
      case 2:
        text.insert(at, kFragments[pick(std::size(kFragments))]);
        break;
      case 3:
        text.insert(pick(text.size() + 1), text.substr(at, length));
        break;
      case 4:
        text.resize(at);
        break;
      default:
        if (at < text.size()) text[at] = static_cast<char>(text[at] ^ (1 << pick(8)));
    }
  }

  std::mt19937 random_;
};

template <typename Check>
void mutate_all(const std::vector<const char*>& texts, Check check) {
  uint32_t seed = 1;
  for (const char* text : texts) {
    Mutator mutator(seed++);
    for (int i = 0; i < kMutationsPerText; ++i) {
      // A buffer of exactly this size, so that AddressSanitizer sees one byte too many.
      const std::string mutated = mutator.mutate(text);
      const std::vector<char> exact(mutated.begin(), mutated.end());
      check(absl::string_view(exact.data(), exact.size()));
    }
  }
}

template <typename T>
void expect_useful_error(const absl::StatusOr<T>& result) {
  if (result.ok()) return;
  EXPECT_FALSE(result.status().message().empty());
  EXPECT_LT(result.status().message().size(), 600u);
}

void expect_ordered(const absl::StatusOr<std::vector<Mapping>>& mappings) {
  expect_useful_error(mappings);
  if (!mappings.ok()) return;
  uint64_t end = 0;
  for (const Mapping& mapping : *mappings) {
    ASSERT_LT(mapping.start, mapping.end);
    ASSERT_GE(mapping.start, end);
    ASSERT_EQ((mapping.start | mapping.end) % 4096, 0u);
    ASSERT_LE(mapping.protection, 7u);
    ASSERT_GE(mapping.kernel_page_size, 1024u);
    end = mapping.end;
  }
}

TEST(Mutation, Maps) {
  mutate_all({kMaps514, kMaps618, kMaps32Bit}, [](absl::string_view text) { expect_ordered(parse_maps(text)); });
}

TEST(Mutation, Smaps) {
  mutate_all({kSmaps514, kSmaps618, kMaps618}, [](absl::string_view text) { expect_ordered(parse_smaps(text)); });
}

TEST(Mutation, Stat) {
  mutate_all({kStat, kStatKernelThread}, [](absl::string_view text) { expect_useful_error(parse_stat(text)); });
}

TEST(Mutation, Status) {
  mutate_all({kStatus514, kStatus618, kStatusZombie}, [](absl::string_view text) {
    const auto status = parse_status(text);
    expect_useful_error(status);
    if (status.ok()) {
      ASSERT_LE(status->umask, 0777u);
    }
  });
}

TEST(Mutation, Limits) {
  mutate_all({kLimits}, [](absl::string_view text) {
    const auto limits = parse_limits(text);
    expect_useful_error(limits);
    if (limits.ok()) {
      ASSERT_EQ(limits->size(), 16u);
    }
  });
}

TEST(Mutation, Timers) {
  mutate_all({kTimers}, [](absl::string_view text) { expect_useful_error(parse_timers(text)); });
}

TEST(Mutation, Mountinfo) {
  mutate_all({kMountinfo}, [](absl::string_view text) { expect_useful_error(parse_mountinfo(text)); });
}

// Each parser is also given the others' texts, and nothing but noise.
TEST(Mutation, ForeignTexts) {
  mutate_all({kMaps618, kSmaps618, kStat, kStatus618, kLimits, kTimers, kMountinfo, "", "\n"},
             [](absl::string_view text) {
               expect_ordered(parse_maps(text));
               expect_ordered(parse_smaps(text));
               expect_useful_error(parse_stat(text));
               expect_useful_error(parse_status(text));
               expect_useful_error(parse_limits(text));
               expect_useful_error(parse_timers(text));
               expect_useful_error(parse_mountinfo(text));
             });
}

}  // namespace
}  // namespace stillpoint::procfs
