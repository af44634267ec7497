// Numbers in fdinfo text, which is untrusted: a malformed one is an error that names key and file.
#ifndef STILLPOINT_HELPER_RESOURCES_FDINFO_H_
#define STILLPOINT_HELPER_RESOURCES_FDINFO_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "helper/resources/open_file_kind.h"

namespace stillpoint {

// The whole of `text` as an unsigned number in `base`, without a prefix; false when it is none or overflows.
bool parse_unsigned(absl::string_view text, int base, uint64_t& value);

absl::StatusOr<uint64_t> fdinfo_unsigned(const OpenFileView& file, absl::string_view key, int base);
absl::StatusOr<int64_t> fdinfo_signed(const OpenFileView& file, absl::string_view key);

// The value of "key:VALUE" among the space-separated words of one line; blanks between key and value are allowed, as in
// "data:       5". Empty when the key is not there.
absl::string_view word_value(absl::string_view line, absl::string_view key);

absl::Status malformed_fdinfo(const OpenFileView& file, absl::string_view line);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESOURCES_FDINFO_H_
