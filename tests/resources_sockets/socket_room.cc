#include "tests/resources_sockets/socket_room.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "helper/base/errors.h"
#include "helper/resources/kinds.h"
#include "helper/resources/socket_kinds.h"

namespace stillpoint {
namespace {

const std::array<const OpenFileKind*, 4>& kinds() {
  static const auto& all = *new std::array<const OpenFileKind*, 4>{&tcp_socket_kind(), &udp_socket_kind(),
                                                                   &unix_socket_kind(), &other_socket_kind()};
  return all;
}

std::string file_text(const std::string& path) {
  std::ifstream in(path);
  return std::string(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
}

}  // namespace

const OpenFileKind* socket_kind_for(const OpenFileView& view) {
  for (const OpenFileKind* kind : kinds()) {
    if (kind->claims(view)) return kind;
  }
  return nullptr;
}

const OpenFileKind* socket_kind_named(absl::string_view name) {
  if (name == "inherited") return &inherited_kind();
  for (const OpenFileKind* kind : kinds()) {
    if (kind->name() == name) return kind;
  }
  return nullptr;
}

uint64_t FakeDumpContext::open_file_of(pid_t, int number) const {
  const auto found = ids.find(number);
  return found == ids.end() ? 0 : found->second;
}

uint64_t FakeDumpContext::open_file_of_inode(uint64_t inode, uint64_t except_id) const {
  for (const auto& [id, its_inode] : inodes) {
    if (its_inode == inode && id != except_id) return id;
  }
  return 0;
}

const OpenFileView* FakeDumpContext::view_of(uint64_t id) const {
  const auto found = views.find(id);
  return found == views.end() ? nullptr : &found->second;
}

int FakeRestoreContext::fd_of(uint64_t id) const {
  const auto found = fds.find(id);
  return found == fds.end() ? -1 : found->second.get();
}

absl::StatusOr<UniqueFd> FakeRestoreContext::inherited_fd(int number) {
  asked_inherited.push_back(number);
  return make_socket(AF_UNIX, SOCK_STREAM);
}

std::string FakeRestoreContext::map_path(absl::string_view path) const {
  if (!mapped.first.empty() && absl::ConsumePrefix(&path, mapped.first)) return absl::StrCat(mapped.second, path);
  return std::string(path);
}

uint64_t SocketRoom::enter(UniqueFd fd) {
  const uint64_t id = sockets_.size() + 1;
  struct stat file = {};
  EXPECT_EQ(::fstat(fd.get(), &file), 0);
  dump_context.ids[fd.get()] = id;
  dump_context.inodes[id] = file.st_ino;
  copies_[id] = UniqueFd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
  sockets_[id] = std::move(fd);
  dump_context.views[id] = view(id);
  return id;
}

OpenFileView SocketRoom::view(uint64_t id) const {
  OpenFileView view;
  view.pid = ::getpid();
  view.number = fd(id);
  view.numbers = {view.number};
  view.fd = copies_.at(id).get();
  std::error_code error;
  view.link = std::filesystem::read_symlink(absl::StrCat("/proc/self/fd/", view.number), error).string();
  view.fdinfo = file_text(absl::StrCat("/proc/self/fdinfo/", view.number));
  EXPECT_EQ(::fstat(view.number, &view.stat), 0);
  view.flags = static_cast<uint32_t>(::fcntl(view.number, F_GETFL));
  return view;
}

std::vector<Finding> SocketRoom::audit(uint64_t id) const {
  const OpenFileView file = view(id);
  const OpenFileKind* kind = socket_kind_for(file);
  Findings findings;
  if (kind != nullptr) kind->audit(file, dump_context, findings);
  return findings.all();
}

absl::StatusOr<model::OpenFile> SocketRoom::dump_one(uint64_t id) {
  const OpenFileView file = view(id);
  const OpenFileKind* kind = socket_kind_for(file);
  if (kind == nullptr) return absl::NotFoundError("no kind claims it");
  model::OpenFile out;
  out.set_id(id);
  out.set_kind(std::string(kind->name()));
  out.set_flags(file.flags);
  RETURN_IF_ERROR(kind->dump(file, dump_context, out));
  return out;
}

void SocketRoom::dump() {
  model::Tree written;
  for (const auto& [id, socket] : sockets_) {
    for (const Finding& finding : audit(id)) FAIL() << finding.code << ": " << finding.reason;
    absl::StatusOr<model::OpenFile> file = dump_one(id);
    ASSERT_TRUE(file.ok()) << file.status();
    *written.add_open_files() = *std::move(file);
  }
  ASSERT_TRUE(tree.ParseFromString(written.SerializeAsString()));
  copies_.clear();
  sockets_.clear();
}

absl::Status SocketRoom::try_restore() {
  std::vector<const model::OpenFile*> files;
  for (const model::OpenFile& file : tree.open_files()) files.push_back(&file);
  if (backwards) std::reverse(files.begin(), files.end());
  for (const model::OpenFile* file : files) {
    const OpenFileKind* kind = socket_kind_named(file->kind());
    if (kind == nullptr) return absl::NotFoundError(absl::StrCat("no kind ", file->kind()));
    ASSIGN_OR_RETURN(restore_context.fds[file->id()], kind->restore(*file, restore_context));
  }
  for (const model::OpenFile* file : files) {
    const int fd = restore_context.fd_of(file->id());
    RETURN_IF_ERROR(socket_kind_named(file->kind())->fill(*file, fd, restore_context));
  }
  for (const model::OpenFile* file : files) {
    const int fd = restore_context.fd_of(file->id());
    RETURN_IF_ERROR(socket_kind_named(file->kind())->finish(*file, fd, restore_context));
    if (::fcntl(fd, F_SETFL, static_cast<int>(file->flags())) != 0) return errno_status(errno, "fcntl(F_SETFL)");
  }
  return absl::OkStatus();
}

void SocketRoom::restore() {
  const absl::Status status = try_restore();
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_TRUE(restore_context.spares.empty());
}

UniqueFd make_socket(int domain, int type, int protocol) {
  UniqueFd fd(::socket(domain, type | SOCK_CLOEXEC, protocol));
  EXPECT_TRUE(fd.valid()) << errno_name(errno);
  return fd;
}

std::pair<UniqueFd, UniqueFd> make_socketpair(int type) {
  int ends[2] = {-1, -1};
  EXPECT_EQ(::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends), 0);
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

SocketAddress loopback(int family, uint16_t port) {
  if (family == AF_INET6) {
    sockaddr_in6 address = {};
    address.sin6_family = AF_INET6;
    address.sin6_port = htons(port);
    address.sin6_addr = in6addr_loopback;
    return SocketAddress(reinterpret_cast<const sockaddr*>(&address), sizeof address);
  }
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return SocketAddress(reinterpret_cast<const sockaddr*>(&address), sizeof address);
}

SocketAddress unix_address(absl::string_view name) {
  absl::StatusOr<SocketAddress> address = SocketAddress::unix_named(name);
  EXPECT_TRUE(address.ok()) << address.status();
  return address.ok() ? *address : SocketAddress();
}

void bind_to(int fd, const SocketAddress& address) {
  EXPECT_EQ(::bind(fd, address.get(), address.length()), 0) << address.text() << " " << errno_name(errno);
}

void connect_to(int fd, const SocketAddress& address) {
  EXPECT_EQ(::connect(fd, address.get(), address.length()), 0) << address.text() << " " << errno_name(errno);
}

SocketAddress local_address(int fd) {
  absl::StatusOr<SocketAddress> address = SocketAddress::local(fd);
  EXPECT_TRUE(address.ok()) << address.status();
  return address.ok() ? *address : SocketAddress();
}

int get_int(int fd, int level, int option) {
  int value = -1;
  socklen_t length = sizeof value;
  EXPECT_EQ(::getsockopt(fd, level, option, &value, &length), 0) << errno_name(errno);
  return value;
}

void set_int(int fd, int level, int option, int value) {
  EXPECT_EQ(::setsockopt(fd, level, option, &value, sizeof value), 0) << option << " " << errno_name(errno);
}

std::string receive(int fd, int flags) {
  std::string buffer(1 << 20, '\0');
  const ssize_t size = ::recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT | flags);
  if (size < 0) return absl::StrCat("<", errno_name(errno), ">");
  buffer.resize(static_cast<size_t>(size));
  return buffer;
}

std::string receive_soon(int fd) {
  pollfd request = {fd, POLLIN, 0};
  EXPECT_EQ(::poll(&request, 1, 30'000), 1);
  return receive(fd);
}

std::vector<std::string> codes(const std::vector<Finding>& findings) {
  std::vector<std::string> all;
  for (const Finding& finding : findings) {
    EXPECT_FALSE(finding.object.empty());
    EXPECT_FALSE(finding.reason.empty());
    EXPECT_FALSE(finding.remedy.empty());
    all.push_back(finding.code);
  }
  return all;
}

ScratchDirectory::ScratchDirectory() {
  char path[] = "/tmp/stillpoint-sockets-XXXXXX";
  EXPECT_NE(::mkdtemp(path), nullptr);
  path_ = path;
}

ScratchDirectory::~ScratchDirectory() {
  std::error_code error;
  std::filesystem::remove_all(path_, error);
}

}  // namespace stillpoint
