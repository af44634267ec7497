#include "helper/base/errors.h"
#include "helper/procfs/process_files.h"
#include "helper/procfs/scan.h"

namespace stillpoint::procfs {
namespace {

// Fields are numbered as in proc(5): state is 3.
class StatFields {
 public:
  explicit StatFields(absl::string_view text) : rest_(text) {}

  // Takes field `number`, passing over those before it. Numbers must ascend from call to call.
  template <typename T>
  bool take_field(int number, T& out) {
    absl::string_view word;
    for (; at_ < number; ++at_) word = take_word(rest_);
    return whole_number(word, out);
  }

 private:
  absl::string_view rest_;
  int at_ = 3;
};

// What the fields after the state lack, or nullptr.
const char* parse_fields(absl::string_view text, Stat& stat) {
  StatFields fields(text);
  if (!fields.take_field(4, stat.parent_pid)) return "parent pid";
  if (!fields.take_field(5, stat.process_group)) return "process group";
  if (!fields.take_field(6, stat.session)) return "session";
  if (!fields.take_field(7, stat.controlling_terminal)) return "tty_nr";
  if (!fields.take_field(8, stat.foreground_group)) return "tpgid";
  if (!fields.take_field(9, stat.flags)) return "flags";
  if (!fields.take_field(20, stat.threads)) return "number of threads";
  if (!fields.take_field(22, stat.start_time_ticks)) return "start time";
  if (!fields.take_field(26, stat.start_code) || !fields.take_field(27, stat.end_code)) return "code range";
  if (!fields.take_field(28, stat.start_stack)) return "start of the stack";
  if (!fields.take_field(38, stat.exit_signal)) return "exit signal";
  if (!fields.take_field(45, stat.start_data) || !fields.take_field(46, stat.end_data)) return "data range";
  if (!fields.take_field(47, stat.start_brk)) return "start_brk";
  if (!fields.take_field(48, stat.arg_start) || !fields.take_field(49, stat.arg_end)) return "argument range";
  if (!fields.take_field(50, stat.env_start) || !fields.take_field(51, stat.env_end)) return "environment range";
  if (!fields.take_field(52, stat.exit_code)) return "exit code";
  return nullptr;
}

absl::StatusOr<Stat> read_stat_file(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, read_text(path));
  absl::StatusOr<Stat> stat = parse_stat(text);
  if (!stat.ok()) return with_context(stat.status(), path);
  return stat;
}

}  // namespace

absl::StatusOr<Stat> parse_stat(absl::string_view text) {
  // comm is written as it is, newlines and parentheses included; nothing after it contains a parenthesis.
  Stat stat;
  absl::string_view rest = text;
  if (!take_number(rest, stat.pid) || !take(rest, ' ') || !take(rest, '(')) return malformed("stat", 1, "pid (", text);
  const size_t comm_length = rest.rfind(')');
  if (comm_length == absl::string_view::npos) return malformed("stat", 1, "command in parentheses", text);
  stat.comm = std::string(rest.substr(0, comm_length));
  rest.remove_prefix(comm_length + 1);
  if (!rest.empty() && rest.back() == '\n') rest.remove_suffix(1);
  if (rest.size() < 2 || !take(rest, ' ')) return malformed("stat", 1, "state", text);
  stat.state = rest.front();
  rest.remove_prefix(1);
  if (rest.empty() || rest.front() != ' ') return malformed("stat", 1, "state of one letter", text);
  if (const char* missing = parse_fields(rest, stat); missing != nullptr) return malformed("stat", 1, missing, text);
  return stat;
}

absl::StatusOr<Stat> read_stat(pid_t pid) { return read_stat_file(process_path(pid, "stat")); }

absl::StatusOr<Stat> read_stat(pid_t pid, pid_t tid) { return read_stat_file(task_path(pid, tid, "stat")); }

}  // namespace stillpoint::procfs
