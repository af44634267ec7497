// sdk_member REPORT NAME [DIR]: a process of a tree, with hooks and memory that is not saved; polls until REPORT.stop
// is there, and says in REPORT what happens to it. With DIR it starts two more like it, and takes a checkpoint itself
// whenever there is a file REPORT.go. Its pre-dump hook fails when there is REPORT.fail.NAME; it polls no more when
// there is REPORT.deaf.NAME.
#include <fcntl.h>
#include <stillpoint/checkpointer.h>
#include <stillpoint/hooks.h>
#include <stillpoint/resources.h>
#include <sys/wait.h>

#include <string>
#include <vector>

#include "tests/e2e/programs/parts/report_line.h"

namespace {

int report = -1;
std::string path, name;

__attribute__((format(printf, 1, 2))) void say(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  write_line(report, format, arguments);
  va_end(arguments);
}

bool there(const std::string& suffix) { return ::access((path + suffix).c_str(), F_OK) == 0; }

class Scratch {
 public:
  Scratch() : bytes_(256 << 10), excluded_(bytes_.data(), bytes_.size()) { fill(); }
  void fill() { bytes_.assign(bytes_.size(), 'x'); }
  const char* state() const {
    const size_t page = 4096, first = page - reinterpret_cast<uintptr_t>(bytes_.data()) % page;
    size_t zeroes = 0, kept = 0;
    for (size_t i = first; i < first + 60 * page; ++i) {
      if (bytes_[i] == 0) ++zeroes;
      if (bytes_[i] == 'x') ++kept;
    }
    return zeroes == 60 * page ? "zero" : kept == 60 * page ? "kept" : "WRONG";
  }

 private:
  std::vector<char> bytes_;
  stillpoint::ExcludedMemory excluded_;
};

void tell(const stillpoint::Result<stillpoint::Poll>& polled, Scratch& scratch) {
  if (!polled.ok()) {
    say("%s error: %s", name.c_str(), polled.status().message().c_str());
  } else if (*polled == stillpoint::Poll::kRestored) {
    say("%s restored, scratch %s", name.c_str(), scratch.state());
  } else if (*polled == stillpoint::Poll::kCheckpointed) {
    say("%s checkpointed, scratch %s", name.c_str(), scratch.state());
  } else {
    return;
  }
  scratch.fill();
}

void start(const char* program, const char* child) {
  const pid_t pid = ::fork();
  if (pid < 0) std::_Exit(3);
  if (pid != 0) return;
  ::execl(program, program, path.c_str(), child, nullptr);
  std::_Exit(3);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  path = argv[1], name = argv[2];
  report = ::open(argv[1], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (report < 0) return 3;
  if (argc > 3) start(argv[0], "first"), start(argv[0], "second");

  const auto pre_dump = stillpoint::on_pre_dump("release", [] {
    say("%s pre-dump", name.c_str());
    return !there(".fail." + name);
  });
  const auto post_resume = stillpoint::on_post_resume("take", [] { say("%s post-resume", name.c_str()); });
  const auto post_restore = stillpoint::on_post_restore("take again", [] { say("%s post-restore", name.c_str()); });
  Scratch scratch;
  stillpoint::CheckpointerOptions options;
  if (argc > 3) options.directory = argv[3];
  stillpoint::Checkpointer checkpointer(options);
  for (bool ready = false; !there(".stop");) {
    ::usleep(2000);
    if (there(".deaf." + name)) continue;
    tell(checkpointer.poll(), scratch);
    if (!ready) say("%s ready", name.c_str());
    ready = true;
    if (argc > 3 && ::unlink((path + ".go").c_str()) == 0) {
      const auto taken = checkpointer.checkpoint();
      if (!taken.ok()) {
        say("%s refused: %s", name.c_str(), taken.status().message().c_str());
      } else {
        say("%s %s", name.c_str(), taken->outcome == stillpoint::Outcome::kRestored ? "restored" : "checkpointed");
      }
    }
  }
  int status = 0;
  while (::wait(&status) > 0) {
    if (status != 0) return 4;
  }
  say("%s end", name.c_str());
  return 0;
}
