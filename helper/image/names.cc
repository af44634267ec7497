#include "helper/image/names.h"

#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "helper/image/image.h"

namespace stillpoint::image {
namespace {

constexpr absl::string_view kImagePrefix = "ckpt-";
constexpr size_t kMaxNameLength = 128;

// 16 hex digits. O_EXCL makes collisions harmless, so a clock will do where getrandom(2) is forbidden.
std::string random_digits() {
  uint64_t value = 0;
  if (::getrandom(&value, sizeof value, GRND_NONBLOCK) != static_cast<ssize_t>(sizeof value)) {
    timespec now = {};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    value = (static_cast<uint64_t>(::getpid()) << 40) ^ static_cast<uint64_t>(now.tv_nsec) ^
            (static_cast<uint64_t>(now.tv_sec) << 30);
  }
  return absl::StrFormat("%016x", value);
}

bool is_lower_hex(char c) { return absl::ascii_isdigit(c) || (c >= 'a' && c <= 'f'); }

}  // namespace

std::string image_name(uint64_t sequence) { return absl::StrFormat("%s%08d", kImagePrefix, sequence); }

std::optional<uint64_t> image_sequence(absl::string_view name) {
  uint64_t sequence = 0;
  // SimpleAtoi is generous (signs, spaces); comparing with the canonical name is not.
  if (!absl::StartsWith(name, kImagePrefix) || !absl::SimpleAtoi(name.substr(kImagePrefix.size()), &sequence)) {
    return std::nullopt;
  }
  if (image_name(sequence) != name) return std::nullopt;
  return sequence;
}

std::string pages_name(uint32_t k) { return absl::StrCat("pages-", k, ".bin"); }

std::optional<uint32_t> pages_number(absl::string_view name) {
  absl::string_view digits = name;
  uint32_t k = 0;
  if (!absl::ConsumePrefix(&digits, "pages-") || !absl::ConsumeSuffix(&digits, ".bin")) return std::nullopt;
  if (!absl::SimpleAtoi(digits, &k) || pages_name(k) != name) return std::nullopt;
  return k;
}

bool is_file_name(absl::string_view name) {
  if (name.empty() || name.size() > kMaxNameLength || name.front() == '.') return false;
  return std::all_of(name.begin(), name.end(),
                     [](char c) { return absl::ascii_isalnum(c) || c == '.' || c == '_' || c == '-'; });
}

bool is_stored_name(absl::string_view name) {
  if (name.size() > kMaxNameLength) return false;
  absl::ConsumePrefix(&name, "xxh3-");
  if (name.empty() || name.front() == '-') return false;
  return std::all_of(name.begin(), name.end(), [](char c) { return is_lower_hex(c) || c == '-'; });
}

bool is_temporary_name(absl::string_view name) { return absl::StartsWith(name, kTemporaryPrefix); }

std::string temporary_image_name(uint64_t sequence) { return temporary_name(absl::StrFormat("%08d", sequence)); }

std::string temporary_name(absl::string_view what) {
  return absl::StrCat(kTemporaryPrefix, what, "-", random_digits());
}

std::optional<uint64_t> temporary_sequence(absl::string_view name) {
  if (!absl::ConsumePrefix(&name, kTemporaryPrefix)) return std::nullopt;
  const size_t dash = name.find('-');
  if (dash == absl::string_view::npos || dash == 0) return std::nullopt;
  const absl::string_view digits = name.substr(0, dash);
  uint64_t sequence = 0;
  if (!std::all_of(digits.begin(), digits.end(), absl::ascii_isdigit) || !absl::SimpleAtoi(digits, &sequence)) {
    return std::nullopt;
  }
  return sequence;
}

std::string beside_image(absl::string_view image_label, absl::string_view name) {
  const size_t slash = image_label.rfind('/');
  const bool alone = slash == absl::string_view::npos;
  // A label need not be a path to the image ("."): then this is the way that always leads there.
  if (!image_sequence(alone ? image_label : image_label.substr(slash + 1)))
    return absl::StrCat(image_label, "/../", name);
  return alone ? std::string(name) : absl::StrCat(image_label.substr(0, slash + 1), name);
}

}  // namespace stillpoint::image
