// lockers REPORT: a parent and a child that hold file locks of every kind, on files with a name and without one, and
// say in every round what the other sees of them; a second child waits for two of the locks. Ends when REPORT.stop
// exists. Lines that hold ERROR say what is not as it was.
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdarg>
#include <string>
#include <thread>
#include <vector>

#include "tests/e2e/programs/parts/expect.h"

namespace {

constexpr int kRanges = 500;  // of one byte each, with a gap between them

std::string report;

bool over() { return access((report + ".stop").c_str(), F_OK) == 0; }

int open_beside(const char* name, int flags = O_RDWR) {
  const int fd = open((report + name).c_str(), flags | O_CREAT | O_CLOEXEC, 0600);
  expect(fd >= 0, name);
  return fd;
}

int set(int fd, int command, short type, off_t start, off_t length) {
  struct flock lock = {};
  lock.l_type = type;
  lock.l_start = start;
  lock.l_len = length;
  return fcntl(fd, command, &lock);
}

// What stands in the way of a lock on this range.
struct flock in_the_way(int fd, short type, off_t start, off_t length) {
  struct flock lock = {};
  lock.l_type = type;
  lock.l_start = start;
  lock.l_len = length;
  expect(fcntl(fd, F_GETLK, &lock) == 0, "F_GETLK");
  return lock;
}

// Somebody else's flock(2), by an open file description of one's own.
bool is_flocked(const char* name, int mode) {
  const int fd = open_beside(name);
  const bool free = flock(fd, mode | LOCK_NB) == 0;
  close(fd);
  return !free;
}

// Held by the parent: nothing it does may close another fd of these files, which would end its POSIX locks.
struct Files {
  int posix = open_beside(".posix");
  int many = open_beside(".many");
  int shared = open_beside(".shared", O_RDONLY);
  int exclusive = open_beside(".exclusive");
  int ranges = open_beside(".ranges");
  int nameless = open_beside(".nameless");
  int directory = open(report.substr(0, report.rfind('/')).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
};

void take(const Files& files) {
  expect(unlink((report + ".nameless").c_str()) == 0, "unlink");
  expect(set(files.posix, F_SETLK, F_WRLCK, 10, 5) == 0, "POSIX, write");
  expect(set(files.posix, F_SETLK, F_RDLCK, 100, 0) == 0, "POSIX, read");
  for (off_t i = 0; i < kRanges; ++i) expect(set(files.many, F_SETLK, F_WRLCK, 2 * i, 1) == 0, "one of many");
  expect(flock(files.shared, LOCK_SH) == 0, "flock, shared");
  expect(flock(files.exclusive, LOCK_EX) == 0, "flock, exclusive");
  expect(flock(files.directory, LOCK_EX) == 0, "flock of a directory");
  expect(set(files.ranges, F_OFD_SETLK, F_WRLCK, 0, 8) == 0, "OFD, write");
  expect(set(files.ranges, F_OFD_SETLK, F_RDLCK, 8, 0) == 0, "OFD, read");
  expect(set(files.nameless, F_SETLK, F_WRLCK, 0, 0) == 0, "POSIX, nameless");
}

// The child looks at what the parent holds, through the descriptions that both have.
void check_parents(const Files& files, pid_t parent) {
  struct flock lock = in_the_way(files.posix, F_RDLCK, 0, 0);
  expect(lock.l_type == F_WRLCK && lock.l_start == 10 && lock.l_len == 5 && lock.l_pid == parent, "the write lock");
  lock = in_the_way(files.posix, F_WRLCK, 50, 0);
  expect(lock.l_type == F_RDLCK && lock.l_start == 100 && lock.l_len == 0 && lock.l_pid == parent, "the read lock");
  expect(in_the_way(files.posix, F_WRLCK, 0, 10).l_type == F_UNLCK, "before the write lock");
  expect(in_the_way(files.posix, F_WRLCK, 15, 85).l_type == F_UNLCK, "between the locks");
  for (off_t i = 0; i < kRanges; ++i) {
    lock = in_the_way(files.many, F_WRLCK, 2 * i, 2);
    expect(lock.l_type == F_WRLCK && lock.l_start == 2 * i && lock.l_len == 1, "one of many");
  }
  lock = in_the_way(files.ranges, F_RDLCK, 0, 0);
  expect(lock.l_type == F_WRLCK && lock.l_start == 0 && lock.l_len == 8 && lock.l_pid == -1, "the OFD write lock");
  lock = in_the_way(files.ranges, F_WRLCK, 8, 0);
  expect(lock.l_type == F_RDLCK && lock.l_start == 8 && lock.l_len == 0 && lock.l_pid == -1, "the OFD read lock");
  expect(set(files.ranges, F_OFD_SETLK, F_WRLCK, 0, 8) == 0, "the OFD lock is this description's own");
  lock = in_the_way(files.nameless, F_RDLCK, 0, 0);
  expect(lock.l_type == F_WRLCK && lock.l_pid == parent, "the lock without a name");
  expect(is_flocked(".shared", LOCK_EX) && !is_flocked(".shared", LOCK_SH), "the shared flock");
  expect(is_flocked(".exclusive", LOCK_SH), "the exclusive flock");
  expect(flock(files.exclusive, LOCK_EX | LOCK_NB) == 0, "the flock is this description's own");
}

[[noreturn]] void child(const Files& files, pid_t parent) {
  // On a description that only this child has, and on one that both have.
  const int own = open_beside(".own");
  expect(set(own, F_SETLK, F_WRLCK, 7, 1) == 0, "the child's own lock");
  expect(set(files.posix, F_SETLK, F_WRLCK, 30, 3) == 0, "the child's lock");
  say("ready");
  while (!over()) {
    check_parents(files, parent);
    say("beat");
    tick();
  }
  _exit(0);
}

// Waits until the others let go: not one EINTR on the way.
[[noreturn]] void waiter() {
  const int posix = open_beside(".posix"), exclusive = open_beside(".exclusive");
  std::thread of_flock([&] {
    expect(flock(exclusive, LOCK_EX) == 0 && over(), "waiting in flock");
    say("flock came");
  });
  expect(set(posix, F_SETLKW, F_WRLCK, 0, 200) == 0 && over(), "waiting in fcntl");
  say("fcntl came");
  of_flock.join();
  _exit(0);
}

void check_childs(const Files& files, int own, pid_t child) {
  struct flock lock = in_the_way(files.posix, F_RDLCK, 20, 30);
  expect(lock.l_type == F_WRLCK && lock.l_start == 30 && lock.l_len == 3 && lock.l_pid == child, "the child's lock");
  lock = in_the_way(own, F_RDLCK, 0, 0);
  expect(lock.l_type == F_WRLCK && lock.l_start == 7 && lock.l_len == 1 && lock.l_pid == child, "the child's own lock");
}

template <typename Function>
pid_t start(Function function) {
  const pid_t pid = fork();
  if (pid == 0) function();
  return pid;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  report = argv[1];
  report_fd = open(argv[1], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  const pid_t self = getpid();
  const Files files;
  take(files);
  const int own = open_beside(".own");
  const std::vector<pid_t> children = {start([&] { child(files, self); }), start([] { waiter(); })};
  while (in_the_way(own, F_WRLCK, 7, 1).l_type == F_UNLCK) tick();
  while (in_the_way(files.posix, F_WRLCK, 30, 3).l_type == F_UNLCK) tick();
  while (!over()) {
    check_childs(files, own, children[0]);
    tick();
  }
  int status = 0;
  expect(waitpid(children[0], &status, 0) == children[0] && status == 0, "the child's end");
  expect(set(files.posix, F_SETLK, F_UNLCK, 0, 0) == 0 && flock(files.exclusive, LOCK_UN) == 0, "letting go");
  expect(waitpid(children[1], &status, 0) == children[1] && status == 0, "the waiter's end");
  say("end");
  return 0;
}
