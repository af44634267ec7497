#include "helper/resources/socket_options.h"

#include <linux/filter.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/resources/printable.h"
#include "helper/resources/socket_option_table.h"

namespace stillpoint {
namespace {

using resources::SocketOption;
using resources::SocketSettings;

constexpr size_t kLongestValue = 256;

// Empty where this kernel, or this socket, does not know the option.
std::optional<std::string> read_option(int fd, const SocketOptionEntry& entry) {
  std::array<char, kLongestValue> value = {};
  socklen_t length = kLongestValue;
  switch (entry.form) {
    case OptionForm::kInt:
    case OptionForm::kBuffer:
      length = sizeof(int);
      break;
    case OptionForm::kUint64:
      length = sizeof(uint64_t);
      break;
    case OptionForm::kLinger:
      length = sizeof(linger);
      break;
    case OptionForm::kTimeval:
      length = sizeof(timeval);
      break;
    case OptionForm::kInAddr:
      length = 4;
      break;
    case OptionForm::kBytes:
    case OptionForm::kText:
      break;
  }
  if (::getsockopt(fd, entry.level, entry.number, value.data(), &length) != 0) return std::nullopt;
  length = std::min<socklen_t>(length, kLongestValue);
  if (entry.form == OptionForm::kText) return std::string(value.data(), ::strnlen(value.data(), length));
  return std::string(value.data(), length);
}

bool well_formed(const SocketOptionEntry& entry, const std::string& value) {
  switch (entry.form) {
    case OptionForm::kInt:
    case OptionForm::kBuffer:
      return value.size() == sizeof(int);
    case OptionForm::kUint64:
      return value.size() == sizeof(uint64_t);
    case OptionForm::kLinger:
      return value.size() == sizeof(linger);
    case OptionForm::kTimeval:
      return value.size() == sizeof(timeval);
    case OptionForm::kInAddr:
      return value.size() == 4;
    case OptionForm::kBytes:
      return value.size() <= 40;
    case OptionForm::kText:
      return value.size() < 64 && value.find('\0') == std::string::npos;
  }
  return false;
}

// The kernel doubles what it is given, and caps it for those without CAP_NET_ADMIN. Returns the errno.
int set_buffer(int fd, const SocketOptionEntry& entry, const std::string& value) {
  int wanted = 0;
  std::memcpy(&wanted, value.data(), sizeof wanted);
  const int half = wanted / 2;
  const int force = entry.number == SO_SNDBUF ? SO_SNDBUFFORCE : SO_RCVBUFFORCE;
  if (::setsockopt(fd, SOL_SOCKET, force, &half, sizeof half) != 0 &&
      ::setsockopt(fd, SOL_SOCKET, entry.number, &half, sizeof half) != 0) {
    return errno;
  }
  int now = 0;
  socklen_t length = sizeof now;
  if (::getsockopt(fd, SOL_SOCKET, entry.number, &now, &length) != 0) return errno;
  return now < wanted - 1 ? EPERM : 0;
}

absl::Status apply_option(int fd, const SocketOptionEntry& entry, const std::string& value, absl::string_view object,
                          OpenFileRestoreContext& context) {
  int error = 0;
  if (entry.form == OptionForm::kBuffer) {
    error = set_buffer(fd, entry, value);
  } else if (::setsockopt(fd, entry.level, entry.number, value.data(), static_cast<socklen_t>(value.size())) != 0) {
    error = errno;
  }
  // What follows from another option (TCP_MAXSEG from IP_OPTIONS) is right already, though it may not be set.
  if (error == 0 || read_option(fd, entry) == value) return absl::OkStatus();
  if ((entry.traits & kRequired) != 0) {
    return errno_status(error, absl::StrCat(object, ": setsockopt(", entry.name, ")"));
  }
  context.note(absl::StrCat(object, ": ", entry.name, " could not be set as it was: ", errno_name(error)));
  return absl::OkStatus();
}

absl::StatusOr<std::string> read_filter(int fd) {
  socklen_t count = 0;  // in and out: instructions, not bytes
  if (::getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, nullptr, &count) != 0) {
    return errno_status(errno, "getsockopt(SO_GET_FILTER)");
  }
  if (count == 0) return std::string();
  if (count > BPF_MAXINSNS) return absl::DataLossError(absl::StrCat("a filter of ", count, " instructions"));
  std::string filter(count * sizeof(sock_filter), '\0');
  if (::getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, filter.data(), &count) != 0) {
    return errno_status(errno, "getsockopt(SO_GET_FILTER)");
  }
  filter.resize(std::min<size_t>(filter.size(), count * sizeof(sock_filter)));
  return filter;
}

absl::Status apply_filter(int fd, const std::string& filter, absl::string_view object) {
  if (filter.empty()) return absl::OkStatus();
  if (filter.size() % sizeof(sock_filter) != 0 || filter.size() / sizeof(sock_filter) > BPF_MAXINSNS) {
    return absl::DataLossError(absl::StrCat(object, ": its filter is damaged"));
  }
  std::vector<sock_filter> code(filter.size() / sizeof(sock_filter));
  std::memcpy(code.data(), filter.data(), filter.size());
  const sock_fprog program = {static_cast<unsigned short>(code.size()), code.data()};
  if (::setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0) return absl::OkStatus();
  return errno_status(errno, absl::StrCat(object, ": setsockopt(SO_ATTACH_FILTER)"));
}

}  // namespace

bool has_bpf_filter(int fd) {
  socklen_t count = 0;
  return ::getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, nullptr, &count) != 0 && errno == EACCES;
}

absl::StatusOr<SocketSettings> read_socket_settings(int fd, const SocketIdentity& identity) {
  ASSIGN_OR_RETURN(const UniqueFd fresh, new_socket(identity.domain, identity.type, identity.protocol));
  SocketSettings settings;
  for (const SocketOptionEntry& entry : socket_option_table()) {
    if (!applies_to(entry, identity)) continue;
    std::optional<std::string> value = read_option(fd, entry);
    if (!value.has_value()) continue;
    if ((entry.traits & kAlways) == 0 && value == read_option(fresh.get(), entry)) continue;
    SocketOption* option = settings.add_options();
    option->set_name(std::string(entry.name));
    option->set_value(*std::move(value));
  }
  ASSIGN_OR_RETURN(*settings.mutable_filter(), read_filter(fd));
  return settings;
}

absl::Status apply_socket_settings(int fd, const SocketSettings& settings, SettingsPhase phase,
                                   absl::string_view object, OpenFileRestoreContext& context) {
  // A locked filter cannot be attached any more.
  if (phase == SettingsPhase::kLast) RETURN_IF_ERROR(apply_filter(fd, settings.filter(), object));
  for (const SocketOption& option : settings.options()) {
    const SocketOptionEntry* entry = find_socket_option(option.name());
    if (entry == nullptr || !well_formed(*entry, option.value())) {
      return absl::DataLossError(absl::StrCat(object, ": unknown or damaged socket option ", printable(option.name())));
    }
    const bool last = (entry->traits & OptionTraits::kLast) != 0;
    if (last != (phase == SettingsPhase::kLast)) continue;
    RETURN_IF_ERROR(apply_option(fd, *entry, option.value(), object, context));
  }
  return absl::OkStatus();
}

}  // namespace stillpoint
