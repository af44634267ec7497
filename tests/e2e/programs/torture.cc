// torture REPORT SEED: builds, from the seed, a tree of processes that goes on changing, each of which checks what it
// sees of itself and of the others. Lines that hold ERROR say what is not as it ought to be; the last line, "result
// DIGEST", depends on nothing but the seed, whatever happens in between.
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include <cstdlib>

#include "tests/e2e/programs/parts/torture_channels.h"
#include "tests/e2e/programs/parts/torture_processes.h"
#include "tests/e2e/programs/parts/torture_state.h"

namespace torture {
namespace {

constexpr char kExecutable[] = "/proc/self/exe";
std::string report_path;

void member();
void exec_chain();

struct Scene {
  const char* name;
  Body body;
};
constexpr Scene kScenes[] = {
    {"zombies", zombies},
    {"stopped", stopped},
    {"orphans", orphans},
    {"left_group", left_group},
    {"sessions", sessions},
    {"exit_signals", exit_signals},
    {"threads", threads},
    {"attributes", attributes},
    {"echo", echo},
    {"ring", ring},
    {"queued_signals", queued_signals},
    {"semaphores", semaphores},
    {"passed_descriptors", passed_descriptors},
    {"shared_descriptions", shared_descriptions},
    {"copy_on_write", copy_on_write},
    {"shared_memory", shared_memory},
    {"shared_offsets", shared_offsets},
    {"timers", timers},
    {"exec_chain", exec_chain},
    {"member", member},
};

const Scene& scene_called(const std::string& name) {
  for (const Scene& scene : kScenes) {
    if (name == scene.name) return scene;
  }
  say("ERROR no scene %s", name.c_str());
  _exit(97);
}

// What a program that is executed anew needs to know.
std::vector<std::string> arguments_for(const std::string& scene, uint64_t seed, unsigned slot, const Setting& setting,
                                       pid_t parent) {
  std::vector<std::string> arguments = {"torture", report_path, std::to_string(seed), scene};
  for (const long number : {static_cast<long>(slot), static_cast<long>(self.root), static_cast<long>(parent),
                            static_cast<long>(self.session), static_cast<long>(self.group),
                            static_cast<long>(setting.own_session), static_cast<long>(setting.own_group)}) {
    arguments.push_back(std::to_string(number));
  }
  return arguments;
}

std::vector<char*> pointers(std::vector<std::string>& arguments) {
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  return argv;
}

Child execute_child(const Setting& setting, bool by_vfork) {
  const Child child = new_child();
  std::vector<std::string> arguments = arguments_for(setting.scene, child.seed, child.slot, setting, getpid());
  const std::vector<char*> argv = pointers(arguments);
  const pid_t pid = by_vfork ? vfork() : fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    execv(kExecutable, argv.data());
    _exit(96);
  }
  Child started = child;
  started.pid = pid;
  return started;
}

Child start(const Scene& scene) {
  const Setting setting = {scene.name, random.one_in(6), random.one_in(6)};
  switch (random.below(8)) {
    case 0:
    case 1:
      return execute_child(setting, false);
    case 2:
      return execute_child(setting, true);
    case 3:
    case 4:
      return fork_from_thread(setting, scene.body);
    default:
      return fork_child(setting, scene.body);
  }
}

// The same process executes the program again and again, with signals that wait, and descriptors that stay.
void exec_chain() {
  const char* const left = getenv("TORTURE_LEFT");
  const unsigned laps = left != nullptr ? static_cast<unsigned>(atoi(left)) : 4;
  if (laps < 4) {
    for (unsigned i = 0; i < 3; ++i) receive_value(getpid(), SIGRTMIN + 2, laps + i);
    EXPECT(read_one<unsigned>(150) == laps);
    EXPECT(fcntl(151, F_GETFD) < 0 && errno == EBADF);
    close(150);
    self.digest = std::strtoull(getenv("TORTURE_DIGEST"), nullptr, 10);
  }
  note(laps);
  tick_some();
  if (laps == 0) {
    unsetenv("TORTURE_LEFT");
    return;
  }
  for (unsigned i = 0; i < 3; ++i) send_value(getpid(), SIGRTMIN + 2, laps - 1 + i);
  int ends[2];
  REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
  write_one(ends[1], laps - 1);
  REQUIRE(dup2(ends[0], 150) == 150 && dup3(ends[1], 151, O_CLOEXEC) == 151);
  tick();
  setenv("TORTURE_LEFT", std::to_string(laps - 1).c_str(), 1);
  setenv("TORTURE_DIGEST", std::to_string(self.digest).c_str(), 1);
  std::vector<std::string> arguments = arguments_for("exec_chain", self.seed, self.slot, {}, self.parent);
  execv(kExecutable, pointers(arguments).data());
  REQUIRE(!"execv");
}

unsigned depth() {
  const char* const value = getenv("TORTURE_DEPTH");
  return value != nullptr ? static_cast<unsigned>(atoi(value)) : 0;
}

// Scenes side by side, started and awaited in any order.
void member() {
  const unsigned own_depth = depth();
  setenv("TORTURE_DEPTH", std::to_string(own_depth + 1).c_str(), 1);
  if (random.one_in(2)) change_some(add_region(random.between(1, 12)));
  std::vector<Child> children;
  const unsigned count = own_depth == 0 ? random.between(9, 13) : random.between(2, 3);
  const unsigned at_once = own_depth == 0 ? 4 : 2;
  for (unsigned started = 0; started < count || !children.empty();) {
    if (started < count && children.size() < at_once && !random.one_in(3)) {
      const unsigned kinds = sizeof kScenes / sizeof kScenes[0] - (own_depth < 2 ? 0 : 1);
      children.push_back(start(random.one_in(4) ? kScenes[kinds - 1] : kScenes[random.below(kinds)]));
      ++started;
    } else if (!children.empty()) {
      const size_t chosen = random.below(static_cast<unsigned>(children.size()));
      finish(children[chosen]);
      children.erase(children.begin() + static_cast<long>(chosen));
    }
    if (!regions.empty() && random.one_in(2)) change_some(regions.back());
    tick();
  }
}

void block_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (int signal = SIGRTMIN; signal <= SIGRTMAX; ++signal) sigaddset(&set, signal);
  sigaddset(&set, SIGUSR2);
  sigprocmask(SIG_BLOCK, &set, nullptr);
}

int move_to(int fd, int number) {
  REQUIRE(fd >= 0 && dup2(fd, number) == number);
  close(fd);
  return number;
}

void map_board() {
  void* const memory = mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED, kBoardFd, 0);
  REQUIRE(memory != MAP_FAILED);
  board = static_cast<Board*>(memory);
}

// Every record that anybody has written is in the file, whole.
void check_records() {
  uint64_t sum = 0, count = 0, record[2];
  while (pread(kRecordsFd, record, sizeof record, static_cast<off_t>(count * sizeof record)) == sizeof record) {
    if (record[1] != mix(record[0], 16)) break;
    sum += record[0];
    ++count;
  }
  EXPECT(count == board->records && sum == board->record_sum);
  EXPECT(lseek(kRecordsFd, 0, SEEK_END) == static_cast<off_t>(count * sizeof record));
}

int run_root(uint64_t seed) {
  move_to(open(report_path.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0666), kReportFd);
  move_to(memfd_create("board", 0), kBoardFd);
  move_to(open((self.directory + "/records").c_str(), O_RDWR | O_CREAT | O_TRUNC, 0666), kRecordsFd);
  REQUIRE(ftruncate(kBoardFd, sizeof(Board)) == 0);
  map_board();
  REQUIRE(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);
  self.scene = "root";
  self.seed = seed;
  self.pid = self.root = getpid();
  block_signals();
  say("begin");
  random = Random(seed);
  member();
  int status = 0;
  EXPECT(waitpid(-1, &status, __WALL) < 0 && errno == ECHILD);
  check_records();
  say("result %016lx %lu records, %u processes", mix(self.digest, board->record_sum), board->records.load(),
      board->slots.load());
  return 0;
}

}  // namespace
}  // namespace torture

int main(int argc, char** argv) {
  using namespace torture;
  report_path = argv[1];
  self.directory = report_path.substr(0, report_path.rfind('/'));
  const uint64_t seed = std::strtoull(argv[2], nullptr, 10);
  if (argc == 3) return run_root(seed);
  map_board();
  self.root = atoi(argv[5]);
  self.session = atoi(argv[7]);
  self.group = atoi(argv[8]);
  const Scene& scene = scene_called(argv[3]);
  live({scene.name, atoi(argv[9]) != 0, atoi(argv[10]) != 0}, scene.body, seed, static_cast<unsigned>(atoi(argv[4])),
       atoi(argv[6]));
}
