// Stands in for stillpoint-helper (--fd N): speaks the protocol, touches no process. What it does with a request is
// said by FAKE_HELPER.
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

#include "helper/base/syscalls.h"
#include "helper/image/image.h"
#include "helper/model/model.pb.h"
#include "helper/protocol/channel.h"

namespace stillpoint {
namespace {

protocol::Packet failure(absl::StatusCode code, const std::string& message) {
  protocol::Packet packet;
  packet.mutable_reply()->set_code(static_cast<int32_t>(code));
  packet.mutable_reply()->set_message(message);
  return packet;
}

protocol::Packet refusal() {
  protocol::Packet packet = failure(absl::StatusCode::kFailedPrecondition, "the checkpoint is refused");
  for (const char* code : {"SP-ONE", "SP-TWO"}) {
    protocol::Finding& finding = *packet.mutable_reply()->mutable_findings()->add_findings();
    finding.set_code(code);
    finding.set_object("fd 7 /data/\"run\".lock");
    finding.set_reason("because");
    finding.set_remedy("do otherwise");
  }
  return packet;
}

model::Tree small_tree(pid_t pid) {
  model::Tree tree;
  model::Process& process = *tree.add_processes();
  process.set_pid(pid);
  process.add_threads()->set_tid(pid);
  return tree;
}

absl::StatusOr<std::string> write_image(const protocol::CheckpointRequest& request, int directory_fd) {
  auto directory = image::JobDirectory::from_fd(directory_fd, request.directory_name());
  if (!directory.ok()) return directory.status();
  auto writer = image::ImageWriter::create(*directory);
  if (!writer.ok()) return writer.status();
  if (auto written = writer->write_file(image::kStateName, small_tree(request.pid()).SerializeAsString());
      !written.ok()) {
    return written;
  }
  image::Manifest manifest;
  manifest.set_program("sleeper --long");
  manifest.set_thread_count(1);
  manifest.set_process_count(1);
  manifest.set_root_pid(request.pid());
  manifest.set_created_ns(1700000000000000000);
  manifest.set_host("here");
  auto name = writer->publish(manifest);
  if (name.ok() && request.keep_last() > 0) {
    if (auto pruned = directory->prune(request.keep_last()); !pruned.ok()) return pruned;
  }
  return name;
}

protocol::Packet checkpoint(const protocol::CheckpointRequest& request, int directory_fd) {
  const auto name = write_image(request, directory_fd);
  if (!name.ok()) return failure(name.status().code(), std::string(name.status().message()));
  if (request.stop()) ::kill(request.pid(), SIGKILL);
  protocol::Packet packet;
  packet.mutable_reply()->set_image(*name);
  packet.mutable_reply()->mutable_statistics()->set_bytes(4096);
  packet.mutable_reply()->add_notes("a note");
  return packet;
}

[[noreturn]] void be_restored(const std::string& behaviour) {
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execl("/bin/bash", "bash", "-c", behaviour.c_str(), nullptr);
  ::_exit(97);
}

// Clones the "restored" process as the requester's child, as the real helper does.
pid_t clone_sibling(const std::string& behaviour) {
  const long pid = ::syscall(SYS_clone, CLONE_PARENT | SIGCHLD, nullptr, nullptr, nullptr, nullptr);
  if (pid == 0) be_restored(behaviour);
  return static_cast<pid_t>(pid);
}

protocol::Packet restored(pid_t pid) {
  protocol::Packet packet;
  packet.mutable_reply()->set_pid(pid);
  packet.mutable_reply()->set_inner_pid(pid);
  packet.mutable_reply()->set_child_pid(pid);
  return packet;
}

void restart(const Channel& channel, const std::string& behaviour) {
  const pid_t pid = clone_sibling(behaviour);
  const UniqueFd pidfd(sys_pidfd_open(pid, 0));
  (void)channel.send(restored(pid), {pidfd.get()});
}

// Half a restore, then nothing: what an interrupted `restart` has to clean up.
void hang_in_restart() {
  const pid_t pid = clone_sibling("exec sleep 1000");
  std::ofstream(std::getenv("FAKE_HELPER_PID_FILE")) << pid << "\n";
  for (;;) ::pause();
}

// As with a pid namespace: the child's exit code is init's own, the program's wait status comes through the pipe.
void restart_in_namespace(const Channel& channel, const std::string& behaviour) {
  int pipe_fds[2];
  if (::pipe2(pipe_fds, O_CLOEXEC) != 0) return;
  const int wait_status = std::atoi(behaviour.c_str());
  (void)!::write(pipe_fds[1], &wait_status, sizeof wait_status);
  const pid_t pid = clone_sibling("exit 0");
  const UniqueFd pidfd(sys_pidfd_open(pid, 0));
  protocol::Packet packet = restored(pid);
  packet.mutable_reply()->set_own_namespace(true);
  packet.mutable_reply()->set_inner_pid(1);
  (void)channel.send(packet, {pidfd.get(), pipe_fds[0]});
}

void serve(const Channel& channel, const std::string& mode, const std::string& detail) {
  auto received = channel.receive();
  if (!received.ok()) return;
  const protocol::Request& request = received->packet.request();
  if (mode == "die") ::raise(SIGKILL);
  if (mode == "silent") return (void)channel.receive();
  if (mode == "refuse") return (void)channel.send(refusal());
  if (mode == "fail") return (void)channel.send(failure(absl::StatusCode::kInternal, detail));
  if (request.has_check()) {
    protocol::Packet packet;
    packet.mutable_reply()->set_check_text(request.check().json() ? "{\"kernel\": \"6.1\"}" : "kernel 6.1\n");
    packet.mutable_reply()->set_restart_possible(mode != "hopeless");
    return (void)channel.send(packet);
  }
  if (request.has_audit()) return (void)channel.send(protocol::Packet(restored(0)));
  if (request.has_checkpoint()) {
    return (void)channel.send(checkpoint(request.checkpoint(), received->fds.empty() ? -1 : received->fds[0].get()));
  }
  if (mode == "hang") return hang_in_restart();
  if (mode == "namespace") return restart_in_namespace(channel, detail);
  if (request.has_restart()) restart(channel, detail);
}

}  // namespace
}  // namespace stillpoint

int main(int argc, char** argv) {
  if (argc != 3 || std::strcmp(argv[1], "--fd") != 0) return 96;
  const char* mode = std::getenv("FAKE_HELPER");
  const char* detail = std::getenv("FAKE_HELPER_DETAIL");
  const auto channel = stillpoint::Channel::over(stillpoint::UniqueFd(std::atoi(argv[2])));
  if (!channel.ok()) return 95;
  stillpoint::serve(*channel, mode != nullptr ? mode : "", detail != nullptr ? detail : "");
  return 0;
}
