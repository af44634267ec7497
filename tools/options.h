// The command line of one command: declared once, parsed and explained from the same declaration.
#ifndef STILLPOINT_TOOLS_OPTIONS_H_
#define STILLPOINT_TOOLS_OPTIONS_H_

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace stillpoint::tools {

class Options {
 public:
  using Setter = std::function<absl::Status(absl::string_view value)>;

  // `synopsis` without the program: "restart [OPTION]... DIR|IMAGE". `details` stands below the list of options.
  Options(std::string synopsis, std::string summary, std::string details = "");

  // Targets must outlive parse(). `name` is without dashes.
  Options& flag(std::string name, bool& target, std::string help);
  Options& text(std::string name, std::string metavar, std::string& target, std::string help);
  Options& number(std::string name, std::string metavar, int64_t low, int64_t high, int64_t& target, std::string help);
  Options& duration(std::string name, std::string metavar, absl::Duration& target, std::string help);
  // Each occurrence names one more.
  Options& pids(std::string name, std::vector<pid_t>& target, std::string help);
  // Called once for each occurrence.
  Options& value(std::string name, std::string metavar, Setter setter, std::string help);
  // The option declared last must be given.
  Options& required();
  // Options end at the first operand: what follows belongs to another program.
  Options& stop_at_operand();

  // The operands. "--name value" and "--name=value" are the same; "--" ends the options. INVALID_ARGUMENT names the
  // option; CANCELLED after --help was asked for (nothing is printed here).
  absl::StatusOr<std::vector<std::string>> parse(const std::vector<std::string>& arguments) const;

  std::string help() const;
  const std::string& synopsis() const { return synopsis_; }

 private:
  struct Option {
    std::string name;
    std::string metavar;  // empty: a flag
    Setter set;
    std::string help;
    bool required = false;
    bool takes_number = false;
  };
  const Option* find(absl::string_view name) const;
  absl::Status check_required(const std::set<const Option*>& given, const std::vector<std::string>& operands) const;

  std::string synopsis_;
  std::string summary_;
  std::string details_;
  std::vector<Option> options_;
  bool stop_at_operand_ = false;
};

// What every command does with its arguments: parses; prints --help (exit 0) or the usage error (exit 125).
// Returns true when the command goes on, else `exit_code` is set. The number of operands must be in [least, most].
bool parse_or_explain(const Options& options, const std::vector<std::string>& arguments, size_t least, size_t most,
                      std::vector<std::string>& operands, int& exit_code);

}  // namespace stillpoint::tools

#endif  // STILLPOINT_TOOLS_OPTIONS_H_
