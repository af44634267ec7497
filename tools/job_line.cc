#include "tools/job_line.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/base/unique_fd.h"

namespace stillpoint::tools {
namespace {

constexpr char kName[] = "command";
constexpr size_t kLongest = size_t{4} << 20;  // arguments may have 2 MiB, and quoting adds to them

std::string quoted(const std::string& argument) {
  const auto plain = [](unsigned char c) {
    return absl::ascii_isalnum(c) || absl::string_view("_-./=:,+@%").find(static_cast<char>(c)) != std::string::npos;
  };
  if (!argument.empty() && std::all_of(argument.begin(), argument.end(), plain)) return argument;
  return absl::StrCat("'", absl::StrReplaceAll(argument, {{"'", "'\\''"}}), "'");
}

}  // namespace

std::string shell_line(const std::vector<std::string>& arguments) {
  return absl::StrJoin(arguments, " ",
                       [](std::string* out, const std::string& argument) { out->append(quoted(argument)); });
}

absl::Status remember_line(const image::JobDirectory& directory, const std::vector<std::string>& arguments) {
  const std::string label = absl::StrCat(directory.name(), "/", kName);
  const UniqueFd fd(
      ::openat(directory.fd(), kName, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600));
  if (!fd.valid()) return errno_status(errno, absl::StrCat("open of ", label));
  return write_all(fd.get(), shell_line(arguments) + "\n", label);
}

std::optional<std::string> other_line(const image::JobDirectory& directory, const std::vector<std::string>& arguments) {
  const UniqueFd fd(::openat(directory.fd(), kName, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!fd.valid()) return std::nullopt;
  const absl::StatusOr<std::string> text = read_whole(fd.get(), kName, kLongest);
  if (!text.ok() || !absl::EndsWith(*text, "\n")) return std::nullopt;
  const absl::string_view line = absl::StripSuffix(*text, "\n");
  if (line == shell_line(arguments)) return std::nullopt;
  return std::string(line);
}

}  // namespace stillpoint::tools
