// Scenes of torture.cc about what goes from one process to another.
#ifndef STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_TORTURE_CHANNELS_H_
#define STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_TORTURE_CHANNELS_H_

#include <semaphore.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "tests/e2e/programs/parts/torture_children.h"

namespace torture {

struct Message {
  unsigned number = 0, length = 0;
  unsigned char bytes[1500];
};
inline size_t size_of(const Message& message) { return offsetof(Message, bytes) + message.length; }
inline Message message_of(uint64_t seed, unsigned number) {
  Message message;
  message.number = number;
  message.length = static_cast<unsigned>(mix(seed, number) % sizeof message.bytes);
  for (unsigned i = 0; i < message.length; ++i) message.bytes[i] = static_cast<unsigned char>(seed + i * number);
  return message;
}

// Two ends of a pipe or a pair of sockets, in both directions.
struct Link {
  int ours[2], theirs[2];  // to read from, to write to
  bool keeps_boundaries = false;

  explicit Link(unsigned kind) {
    int a[2], b[2];
    if (kind == 0) {
      REQUIRE(pipe2(a, O_CLOEXEC) == 0 && pipe2(b, O_CLOEXEC) == 0);
      ours[0] = a[0], theirs[1] = a[1], theirs[0] = b[0], ours[1] = b[1];
      return;
    }
    constexpr int kTypes[] = {SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM};
    REQUIRE(socketpair(AF_UNIX, kTypes[kind - 1] | SOCK_CLOEXEC, 0, a) == 0);
    ours[0] = a[0], theirs[0] = a[1];
    ours[1] = DONE(fcntl(a[0], F_DUPFD_CLOEXEC, 0)), theirs[1] = DONE(fcntl(a[1], F_DUPFD_CLOEXEC, 0));
    keeps_boundaries = kind > 1;
  }
  void send(const int* ends, const Message& message) const {
    if (keeps_boundaries) {
      REQUIRE(DONE(write(ends[1], &message, size_of(message))) == static_cast<ssize_t>(size_of(message)));
    } else {
      write_whole(ends[1], &message, size_of(message));
    }
  }
  void receive(const int* ends, const Message& expected) const {
    Message message;
    if (keeps_boundaries) {
      REQUIRE(DONE(read(ends[0], &message, sizeof message)) == static_cast<ssize_t>(size_of(expected)));
    } else {
      read_whole(ends[0], &message, size_of(expected));
    }
    REQUIRE(std::memcmp(&message, &expected, size_of(expected)) == 0);
  }
  static void close_ends(const int* ends) { close(ends[0]), close(ends[1]); }
};

// Questions and answers with some of each on their way.
inline void echo() {
  static std::unique_ptr<Link> link;
  static unsigned messages;
  link = std::make_unique<Link>(random.below(4));
  messages = random.between(10, 25);
  const Child child = fork_child([] {
    Link::close_ends(link->ours);
    for (unsigned i = 0; i < messages; ++i) {
      link->receive(link->theirs, message_of(11, i));
      if (random.one_in(2)) tick();
      link->send(link->theirs, message_of(22, i));
    }
    Link::close_ends(link->theirs);
    tick();
  });
  Link::close_ends(link->theirs);
  for (unsigned sent = 0, received = 0; received < messages;) {
    while (sent < messages && sent < received + 5) link->send(link->ours, message_of(11, sent++));
    if (random.one_in(2)) tick();
    const unsigned until = random.between(received + 1, sent);
    while (received < until) link->receive(link->ours, message_of(22, received++));
  }
  Link::close_ends(link->ours);
  finish(child);
}

// Tokens that run in a ring of siblings until the first has enough of them.
inline void ring() {
  static std::vector<int> readers, writers;
  static unsigned members, tokens, laps;
  members = random.between(2, 4), tokens = random.between(1, 6), laps = random.between(3, 7);
  readers.clear(), writers.clear();
  for (unsigned i = 0; i < members; ++i) {
    int ends[2];
    REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
    readers.push_back(ends[0]), writers.push_back(ends[1]);
  }
  static unsigned index;
  std::vector<Child> children;
  for (index = 0; index < members; ++index) {
    children.push_back(fork_child([] {
      const int in = readers[index], out = writers[(index + 1) % members];
      for (const int fd : readers) fd != in ? close(fd) : 0;
      for (const int fd : writers) fd != out ? close(fd) : 0;
      if (index == 0) {
        for (unsigned i = 0; i < tokens; ++i) write_one(out, uint64_t{i});
        for (unsigned i = 0; i < tokens * laps; ++i) {
          const uint64_t value = read_one<uint64_t>(in);
          if (random.one_in(3)) tick();
          note(value);
          if (i < tokens * (laps - 1)) write_one(out, value);
        }
        close(out);
      }
      uint64_t value;
      while (index != 0 && DONE(read(in, &value, sizeof value)) == sizeof value) {
        if (random.one_in(3)) rest();
        write_one(out, mix(value, index));
      }
      index != 0 ? close(out) : 0;
      EXPECT(DONE(read(in, &value, sizeof value)) == 0);
    }));
  }
  for (const int fd : readers) close(fd);
  for (const int fd : writers) close(fd);
  tick();
  for (const Child& child : children) finish(child);
}

// Queued signals with values in both directions, and plain ones for a handler on a stack of its own.
inline std::atomic<unsigned> handled{0};
inline void handle(int, siginfo_t* info, void*) {
  if (info->si_code != SI_USER) say("ERROR si_code %d", info->si_code);
  ++handled;
}
inline void send_value(pid_t pid, int signal, unsigned value) {
  sigval data{};
  data.sival_ptr = reinterpret_cast<void*>(uintptr_t{value} | uintptr_t{0x5a5a} << 40);
  REQUIRE(sigqueue(pid, signal, data) == 0);
}
inline void receive_value(pid_t from, int signal, unsigned value) {
  const siginfo_t info = wait_for_signal(signal);
  EXPECT(info.si_pid == from && info.si_code == SI_QUEUE);
  EXPECT(reinterpret_cast<uintptr_t>(info.si_value.sival_ptr) == (uintptr_t{value} | uintptr_t{0x5a5a} << 40));
}
inline void queued_signals() {
  static unsigned values, plain;
  static int ready[2];
  values = random.between(3, 12), plain = random.between(0, 4);
  REQUIRE(pipe2(ready, O_CLOEXEC) == 0);
  handled = 0;
  const Child child = fork_child([] {
    static char stack[16384];
    stack_t alternative = {};
    alternative.ss_sp = stack;
    alternative.ss_size = sizeof stack;
    REQUIRE(sigaltstack(&alternative, nullptr) == 0);
    struct sigaction action = {};
    action.sa_sigaction = handle;
    action.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
    REQUIRE(sigaction(SIGUSR2, &action, nullptr) == 0);
    write_one(ready[1], 'r');
    for (unsigned i = 0; i < values; ++i) {
      if (random.one_in(3)) tick();
      receive_value(self.parent, SIGRTMIN + static_cast<int>(i % 2), i);
      send_value(self.parent, SIGRTMIN, i);
    }
    const sigset_t set = set_of(SIGUSR2);
    sigprocmask(SIG_UNBLOCK, &set, nullptr);
    for (unsigned i = 1; i <= plain; ++i) {
      while (handled < i) usleep(500);
      write_one(ready[1], 'p');
    }
    sigprocmask(SIG_BLOCK, &set, nullptr);
    tick();
    EXPECT(handled == plain);
  });
  read_one<char>(ready[0]);
  for (unsigned i = 0; i < values; ++i) send_value(child.pid, SIGRTMIN + static_cast<int>(i % 2), i);
  tick();
  for (unsigned i = 0; i < values; ++i) {
    receive_value(child.pid, SIGRTMIN, i);
    if (random.one_in(5)) tick();
  }
  for (unsigned i = 0; i < plain; ++i) {
    if (random.one_in(2)) rest();
    REQUIRE(kill(child.pid, SIGUSR2) == 0);
    read_one<char>(ready[0]);
  }
  close(ready[0]), close(ready[1]);
  finish(child);
  EXPECT(!is_pending(SIGRTMIN) && !is_pending(SIGRTMIN + 1));
}

// Semaphores and a robust mutex in shared anonymous memory.
inline void semaphores() {
  struct Page {
    sem_t to_child, to_parent;
    pthread_mutex_t robust;
    uint64_t value;
  };
  static Page* page;
  page = static_cast<Page*>(mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  REQUIRE(page != MAP_FAILED);
  sem_init(&page->to_child, 1, 0), sem_init(&page->to_parent, 1, 0);
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(&page->robust, &attributes);
  static unsigned rounds;
  rounds = random.between(5, 15);
  const Child child = fork_child([] {
    REQUIRE(pthread_mutex_lock(&page->robust) == 0);
    for (unsigned i = 0; i < rounds; ++i) {
      REQUIRE(sem_wait(&page->to_child) == 0);
      page->value = mix(page->value, 5);
      if (random.one_in(3)) tick();
      REQUIRE(sem_post(&page->to_parent) == 0);
    }
    tick();  // and ends as the owner
  });
  for (unsigned i = 0; i < rounds; ++i) {
    if (random.one_in(3)) tick();
    REQUIRE(sem_post(&page->to_child) == 0);
    REQUIRE(sem_wait(&page->to_parent) == 0);
    page->value = mix(page->value, 6);
  }
  EXPECT(pthread_mutex_lock(&page->robust) == EOWNERDEAD);
  EXPECT(pthread_mutex_consistent(&page->robust) == 0 && pthread_mutex_unlock(&page->robust) == 0);
  note(page->value);
  tick();
  finish(child);
  munmap(page, sizeof(Page));
}

inline void send_fd(int socket, int fd) {
  char byte = 'd';
  iovec data = {&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &data, message.msg_iovlen = 1;
  message.msg_control = control, message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET, header->cmsg_type = SCM_RIGHTS, header->cmsg_len = CMSG_LEN(sizeof fd);
  std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  REQUIRE(DONE(sendmsg(socket, &message, 0)) == 1);
}
inline int receive_fd(int socket) {
  char byte = 0;
  iovec data = {&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &data, message.msg_iovlen = 1;
  message.msg_control = control, message.msg_controllen = sizeof control;
  REQUIRE(DONE(recvmsg(socket, &message, MSG_CMSG_CLOEXEC)) == 1);
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  REQUIRE(header != nullptr && header->cmsg_type == SCM_RIGHTS);
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return fd;
}

// A pipe's reading end and a memfd are given away, with content in them.
inline void passed_descriptors() {
  static int sockets[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0);
  const Child child = fork_child([] {
    close(sockets[0]);
    const int pipe_end = receive_fd(sockets[1]);
    tick();
    const int memory = receive_fd(sockets[1]);
    tick_some();
    uint64_t value = 0;
    while (DONE(read(pipe_end, &value, sizeof value)) == sizeof value) note(value);
    EXPECT(DONE(pread(memory, &value, sizeof value, 4096)) == sizeof value && value == 4242);
    EXPECT(DONE(lseek(memory, 0, SEEK_CUR)) == 96);
    close(pipe_end), close(memory), close(sockets[1]);
  });
  close(sockets[1]);
  int ends[2];
  REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
  const int memory = DONE(memfd_create("passed", MFD_CLOEXEC));
  const uint64_t content = 4242;
  REQUIRE(DONE(pwrite(memory, &content, sizeof content, 4096)) == sizeof content);
  REQUIRE(DONE(lseek(memory, 96, SEEK_SET)) == 96);
  for (unsigned i = random.between(0, 9); i > 0; --i) write_one(ends[1], random.next());
  send_fd(sockets[0], ends[0]);
  close(ends[0]);
  tick();
  write_one(ends[1], random.next());
  close(ends[1]);
  send_fd(sockets[0], memory);
  tick();
  close(memory), close(sockets[0]);
  finish(child);
}

// Descriptions that two processes have in common: what one of them does, the other sees.
inline void shared_descriptions() {
  static int event, watch, ends[2];
  const bool counts_singly = random.one_in(2);
  event = DONE(eventfd(0, EFD_CLOEXEC | (counts_singly ? EFD_SEMAPHORE : 0)));
  REQUIRE(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
  watch = DONE(epoll_create1(EPOLL_CLOEXEC));
  epoll_event wanted = {EPOLLIN, {.u64 = 99}};
  REQUIRE(epoll_ctl(watch, EPOLL_CTL_ADD, ends[0], &wanted) == 0);
  const Child child = fork_child([] {
    const int copy = DONE(dup(ends[1]));
    close(ends[1]);
    tick_some();
    epoll_event event_seen;
    EXPECT(DONE(epoll_wait(watch, &event_seen, 1, 0)) == 0);
    write_one(copy, random.next());
    close(copy);
    tick();
    uint64_t value = 0;
    REQUIRE(DONE(read(event, &value, sizeof value)) == sizeof value);
    note(value);
    tick();
  });
  epoll_event seen;
  REQUIRE(DONE(epoll_wait(watch, &seen, 1, -1)) == 1 && seen.data.u64 == 99);
  tick();
  note(read_one<uint64_t>(ends[0]));
  EXPECT((DONE(fcntl(ends[0], F_GETFL)) & O_NONBLOCK) != 0);
  const uint64_t amount = counts_singly ? 3 : 5;
  REQUIRE(DONE(write(event, &amount, sizeof amount)) == sizeof amount);
  tick();
  finish(child);
  if (counts_singly) {
    note(read_one<uint64_t>(event));
    note(read_one<uint64_t>(event));
  }
  close(event), close(watch), close(ends[0]), close(ends[1]);
}

}  // namespace torture

#endif  // STILLPOINT_TESTS_E2E_PROGRAMS_PARTS_TORTURE_CHANNELS_H_
