#include "tools/options.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "helper/base/errors.h"
#include "tools/console.h"
#include "tools/duration.h"
#include "tools/exit_codes.h"

namespace stillpoint::tools {
namespace {

constexpr size_t kHelpColumn = 26;

std::string help_entry(const std::string& left, const std::string& help) {
  std::string entry = absl::StrCat("  ", left);
  if (entry.size() + 2 > kHelpColumn) {
    entry += '\n';
    entry.append(kHelpColumn, ' ');
  } else {
    entry.append(kHelpColumn - entry.size(), ' ');
  }
  const std::string indent = "\n" + std::string(kHelpColumn, ' ');
  const std::vector<absl::string_view> lines = absl::StrSplit(help, '\n');
  for (size_t i = 0; i < lines.size(); ++i) absl::StrAppend(&entry, i == 0 ? "" : indent, lines[i]);
  return entry + "\n";
}

// "DIR" of "checkpoint --pid P [OPTION]... DIR", "PROGRAM" of "run [OPTION]... --dir DIR -- PROGRAM [ARGUMENT]...".
absl::string_view operand_name(absl::string_view synopsis) {
  const size_t dashes = synopsis.find(" -- ");
  if (dashes == absl::string_view::npos) return synopsis.substr(synopsis.rfind(' ') + 1);
  const absl::string_view rest = synopsis.substr(dashes + 4);
  return rest.substr(0, rest.find(' '));
}

}  // namespace

Options::Options(std::string synopsis, std::string summary, std::string details)
    : synopsis_(std::move(synopsis)), summary_(std::move(summary)), details_(std::move(details)) {}

Options& Options::flag(std::string name, bool& target, std::string help) {
  options_.push_back({std::move(name), "",
                      [&target](absl::string_view) {
                        target = true;
                        return absl::OkStatus();
                      },
                      std::move(help)});
  return *this;
}

Options& Options::text(std::string name, std::string metavar, std::string& target, std::string help) {
  return value(
      std::move(name), std::move(metavar),
      [&target](absl::string_view value) {
        if (value.empty()) return absl::InvalidArgumentError("must not be empty");
        target = std::string(value);
        return absl::OkStatus();
      },
      std::move(help));
}

Options& Options::required() {
  options_.back().required = true;
  return *this;
}

Options& Options::number(std::string name, std::string metavar, int64_t low, int64_t high, int64_t& target,
                         std::string help) {
  value(
      std::move(name), std::move(metavar),
      [&target, low, high](absl::string_view value) {
        int64_t parsed = 0;
        if (!absl::SimpleAtoi(value, &parsed) || parsed < low || parsed > high) {
          return absl::InvalidArgumentError(absl::StrCat("\"", value, "\" is not a number from ", low, " to ", high));
        }
        target = parsed;
        return absl::OkStatus();
      },
      std::move(help));
  options_.back().takes_number = true;
  return *this;
}

Options& Options::pids(std::string name, std::vector<pid_t>& target, std::string help) {
  return value(
      std::move(name), "PID",
      [&target](absl::string_view value) {
        pid_t pid = 0;
        if (!absl::SimpleAtoi(value, &pid) || pid <= 0) return absl::InvalidArgumentError("is no process id");
        target.push_back(pid);
        return absl::OkStatus();
      },
      std::move(help));
}

Options& Options::duration(std::string name, std::string metavar, absl::Duration& target, std::string help) {
  return value(
      std::move(name), std::move(metavar),
      [&target](absl::string_view value) {
        ASSIGN_OR_RETURN(target, parse_duration(value));
        return absl::OkStatus();
      },
      std::move(help));
}

Options& Options::value(std::string name, std::string metavar, Setter setter, std::string help) {
  options_.push_back({std::move(name), std::move(metavar), std::move(setter), std::move(help)});
  return *this;
}

Options& Options::stop_at_operand() {
  stop_at_operand_ = true;
  return *this;
}

const Options::Option* Options::find(absl::string_view name) const {
  const auto it = std::find_if(options_.begin(), options_.end(), [&](const Option& o) { return o.name == name; });
  return it == options_.end() ? nullptr : &*it;
}

absl::Status Options::check_required(const std::set<const Option*>& given,
                                     const std::vector<std::string>& operands) const {
  for (const Option& option : options_) {
    if (!option.required || given.contains(&option)) continue;
    const std::string missing = absl::StrCat("--", option.name, " is missing");
    int64_t number = 0;
    if (!option.takes_number || operands.empty() || !absl::SimpleAtoi(operands[0], &number)) {
      return absl::InvalidArgumentError(missing);
    }
    return absl::InvalidArgumentError(absl::StrCat(missing, ": did you mean --", option.name, " ", operands[0], "?"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> Options::parse(const std::vector<std::string>& arguments) const {
  std::vector<std::string> operands;
  std::set<const Option*> given;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    const bool is_option = argument.size() > 1 && argument[0] == '-';
    if (argument == "--" || (!is_option && stop_at_operand_)) {
      const size_t first = argument == "--" ? i + 1 : i;
      operands.insert(operands.end(), arguments.begin() + static_cast<std::ptrdiff_t>(first), arguments.end());
      break;
    }
    if (!is_option) {
      operands.push_back(argument);
      continue;
    }
    if (argument == "--help" || argument == "-h") return absl::CancelledError("help");
    const size_t equals = argument.find('=');
    const bool inline_value = equals != std::string::npos;
    const std::string dashed = argument.substr(0, equals);
    const Option* option = dashed.size() > 2 && dashed[1] == '-' ? find(absl::string_view(dashed).substr(2)) : nullptr;
    if (option == nullptr) return absl::InvalidArgumentError(absl::StrCat("unknown option ", dashed));
    std::string value;
    if (option->metavar.empty()) {
      if (inline_value) return absl::InvalidArgumentError(absl::StrCat(dashed, " takes no value"));
    } else if (inline_value) {
      value = argument.substr(equals + 1);
    } else if (++i < arguments.size()) {
      value = arguments[i];
    } else {
      return absl::InvalidArgumentError(absl::StrCat(dashed, " needs a value: ", dashed, " ", option->metavar));
    }
    RETURN_IF_ERROR(with_context(option->set(value), dashed));
    given.insert(option);
  }
  RETURN_IF_ERROR(check_required(given, operands));
  return operands;
}

std::string Options::help() const {
  std::string text = absl::StrCat("Usage: stillpoint ", synopsis_, "\n\n", summary_, "\n\nOptions:\n");
  for (const Option& option : options_) {
    const std::string left =
        option.metavar.empty() ? absl::StrCat("--", option.name) : absl::StrCat("--", option.name, " ", option.metavar);
    text += help_entry(left, option.help);
  }
  text += help_entry("--help", "print this and exit");
  if (!details_.empty()) absl::StrAppend(&text, "\n", details_);
  return text;
}

bool parse_or_explain(const Options& options, const std::vector<std::string>& arguments, size_t least, size_t most,
                      std::vector<std::string>& operands, int& exit_code) {
  absl::StatusOr<std::vector<std::string>> parsed = options.parse(arguments);
  if (absl::IsCancelled(parsed.status())) {
    print(options.help());
    exit_code = kSuccess;
    return false;
  }
  absl::Status status = parsed.status();
  if (status.ok() && parsed->size() < least) {
    status = absl::InvalidArgumentError(absl::StrCat(operand_name(options.synopsis()), " is missing"));
  }
  if (status.ok() && parsed->size() > most) {
    status = absl::InvalidArgumentError(absl::StrCat("unexpected operand \"", (*parsed)[most], "\""));
  }
  if (status.ok()) {
    operands = *std::move(parsed);
    return true;
  }
  const std::string command = options.synopsis().substr(0, options.synopsis().find(' '));
  say(absl::StrCat(command, ": ", status.message(), "\nUsage: stillpoint ", options.synopsis(), "\nSee stillpoint ",
                   command, " --help"));
  exit_code = kFailed;
  return false;
}

}  // namespace stillpoint::tools
