// switchboard REPORT: a process and three below it that talk to each other over connections made with connect() and
// accept(): TCP, UNIX stream and seqpacket sockets, in both directions at once, with more sent than read at any time.
// What arrives is a sequence in which not a byte may be missing, doubled or changed. Two connections stay as they are
// from the beginning: one with unread last words behind which the writer has shut down, one that is accepted at the
// very end. Ends when REPORT.stop exists. Lines that hold ERROR say what is not as it was.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "tests/e2e/programs/parts/say.h"

namespace {

constexpr int kWorkers = 3;
constexpr char kLastWords[] = "last words";

std::string stop_file;

void expect(bool holds, const char* what) {
  if (!holds) say("ERROR pid %d: %s: %s", getpid(), what, strerror(errno));
}
int need(int result, const char* what) {
  if (result < 0) {
    expect(false, what);
    _exit(1);
  }
  return result;
}

bool over() { return access(stop_file.c_str(), F_OK) == 0; }

struct Address {
  sockaddr_storage bytes = {};
  socklen_t length = sizeof bytes;
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&bytes); }
  std::string text() const { return std::string(reinterpret_cast<const char*>(&bytes), length); }
};
Address local_of(int fd) {
  Address address;
  need(getsockname(fd, address.get(), &address.length), "getsockname");
  return address;
}
Address peer_of(int fd) {
  Address address;
  need(getpeername(fd, address.get(), &address.length), "getpeername");
  return address;
}

int listen_tcp() {
  const int fd = need(socket(AF_INET, SOCK_STREAM, 0), "socket");
  const int on = 1;
  need(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), "SO_REUSEADDR");
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  need(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), "bind");
  need(listen(fd, 8), "listen");
  return fd;
}
int listen_unix(int type, const std::string& path) {
  const int fd = need(socket(AF_UNIX, type, 0), "socket");
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, path.data(), path.size());
  need(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), "bind");
  need(listen(fd, 8), "listen");
  return fd;
}
int connect_to(int listener) {
  Address address = local_of(listener);
  int type = 0;
  socklen_t size = sizeof type;
  need(getsockopt(listener, SOL_SOCKET, SO_TYPE, &type, &size), "SO_TYPE");
  const int fd = need(socket(address.bytes.ss_family, type, 0), "socket");
  need(connect(fd, address.get(), address.length), "connect");
  return fd;
}

// One direction of a connection: byte number n is the same in every life.
uint8_t byte_at(uint64_t n) { return static_cast<uint8_t>((n * 0x9e3779b97f4a7c15u) >> 53); }

class Line {
 public:
  Line(int fd, bool records) : fd_(fd), records_(records), local_(local_of(fd).text()), peer_(peer_of(fd).text()) {
    need(fcntl(fd, F_SETFL, O_NONBLOCK), "fcntl");
  }
  int fd() const { return fd_; }
  uint64_t received() const { return received_; }

  // Sends until the queues are well filled, reads about half of what waits.
  void turn(unsigned& random) {
    send_some(random);
    read_some(random);
    expect(local_of(fd_).text() == local_, "local address");
    expect(peer_of(fd_).text() == peer_, "peer address");
  }

 private:
  // Each piece tells its place, so that a reader knows records from one another.
  void send_some(unsigned& random) {
    for (int i = 0; i < 4; ++i) {
      uint8_t piece[997];
      const size_t size = records_ ? 1 + sent_ % sizeof piece : 1 + rand_r(&random) % sizeof piece;
      for (size_t at = 0; at < size; ++at) piece[at] = byte_at(sent_ + at);
      const ssize_t sent = send(fd_, piece, size, MSG_NOSIGNAL);
      if (sent < 0) {
        expect(errno == EAGAIN, "send");
        return;
      }
      sent_ += static_cast<uint64_t>(sent);
    }
  }
  void read_some(unsigned& random) {
    for (int i = 0; i < 4; ++i) {
      uint8_t piece[997];
      const size_t size = records_ ? sizeof piece : 1 + rand_r(&random) % sizeof piece;
      const ssize_t got = recv(fd_, piece, size, 0);
      if (got < 0) {
        expect(errno == EAGAIN, "recv");
        return;
      }
      expect(got > 0, "end of file");
      if (records_) expect(static_cast<uint64_t>(got) == 1 + received_ % sizeof piece, "length of a record");
      for (ssize_t at = 0; at < got; ++at) {
        if (piece[at] == byte_at(received_ + static_cast<uint64_t>(at))) continue;
        expect(false, "a byte is not the one that was sent");
        _exit(1);
      }
      received_ += static_cast<uint64_t>(got);
    }
  }

  int fd_;
  bool records_;
  std::string local_, peer_;
  uint64_t sent_ = 0, received_ = 0;
};

struct Listeners {
  int tcp, stream, records, late;
};

// The reader is slower than the writer at times, faster at others.
void converse(std::vector<Line>& lines, unsigned seed, bool reports) {
  unsigned random = seed;
  for (uint64_t round = 0; !over(); ++round) {
    uint64_t received = 0;
    for (Line& line : lines) {
      line.turn(random);
      received += line.received();
    }
    if (reports) say("round %lu", static_cast<unsigned long>(round));
    usleep(1000 + rand_r(&random) % 8000);
  }
}

[[noreturn]] void work(const Listeners& listeners, int index) {
  std::vector<Line> lines;
  lines.emplace_back(connect_to(listeners.tcp), false);
  lines.emplace_back(connect_to(listeners.stream), false);
  lines.emplace_back(connect_to(listeners.records), true);
  int ended = -1, waiting = -1;
  if (index == 0) {
    ended = connect_to(listeners.tcp);
    need(static_cast<int>(send(ended, kLastWords, sizeof kLastWords, 0)), "send");
    need(shutdown(ended, SHUT_WR), "shutdown");
    waiting = connect_to(listeners.late);
  }
  converse(lines, static_cast<unsigned>(index), false);
  if (index == 0) {
    need(static_cast<int>(send(waiting, "late", 4, 0)), "send");
    char answer[16] = "";
    expect(recv(waiting, answer, sizeof answer, 0) == 6 && strcmp(answer, "heard") == 0, "answer of the late one");
    expect(recv(ended, answer, sizeof answer, MSG_WAITALL) == 3 && strncmp(answer, "bye", 3) == 0,
           "answer to last words");
  }
  _exit(0);
}

int accept_from(int listener) { return need(accept(listener, nullptr, nullptr), "accept"); }

}  // namespace

int main(int, char** argv) {
  report_fd = need(open(argv[1], O_WRONLY | O_CREAT | O_APPEND, 0666), "open");
  stop_file = std::string(argv[1]) + ".stop";
  const Listeners listeners = {listen_tcp(), listen_unix(SOCK_STREAM, std::string(argv[1]) + ".stream"),
                               listen_unix(SOCK_SEQPACKET, std::string(argv[1]) + ".records"), listen_tcp()};
  std::vector<Line> lines;
  std::vector<pid_t> workers;
  int ended = -1;
  for (int index = 0; index < kWorkers; ++index) {
    workers.push_back(need(fork(), "fork"));
    if (workers.back() == 0) work(listeners, index);
    lines.emplace_back(accept_from(listeners.tcp), false);
    lines.emplace_back(accept_from(listeners.stream), false);
    lines.emplace_back(accept_from(listeners.records), true);
    if (index == 0) ended = accept_from(listeners.tcp);
  }
  converse(lines, 99, true);
  char words[32] = "";
  expect(recv(ended, words, sizeof words, MSG_WAITALL) == sizeof kLastWords && strcmp(words, kLastWords) == 0,
         "last words");
  expect(recv(ended, words, sizeof words, 0) == 0, "the end after the last words");
  expect(send(ended, "bye", 3, MSG_NOSIGNAL) == 3, "send after the other end has shut down");
  close(ended);
  const int late = accept_from(listeners.late);
  expect(recv(late, words, 4, MSG_WAITALL) == 4 && strncmp(words, "late", 4) == 0, "words of the late one");
  expect(send(late, "heard", 6, MSG_NOSIGNAL) == 6, "answer to the late one");
  for (const pid_t worker : workers) {
    int status = 0;
    expect(waitpid(worker, &status, 0) == worker && status == 0, "a worker's end");
  }
  say("end");
  return 0;
}
