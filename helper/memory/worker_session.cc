#include "helper/memory/worker_session.h"

#include <cpuid.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/memory/task_liveness.h"
#include "helper/memory/worker_blob.h"
#include "helper/memory/worker_entry.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

namespace stillpoint {
namespace {

constexpr uint64_t kUserAddressEnd = uint64_t{1} << 47;

absl::Status check_size(const SessionSize& size) {
  // A chunk of 1024 scattered pages must fit into the main block, a call into every other.
  constexpr size_t kLeastControl = size_t{32} << 10, kLeastThreadControl = size_t{8} << 10;
  constexpr size_t kMostControl = size_t{1} << 30;
  if (size.control_bytes < kLeastControl || size.control_bytes > kMostControl ||
      size.thread_control_bytes < kLeastThreadControl || size.thread_control_bytes > kMostControl) {
    return absl::InvalidArgumentError(absl::StrCat("a worker's control blocks of ", size.control_bytes, " and ",
                                                   size.thread_control_bytes, " bytes"));
  }
  if (size.thread_count < 1 || size.thread_count > (1 << 22)) {
    return absl::InvalidArgumentError(absl::StrCat("a worker of ", size.thread_count, " threads"));
  }
  if (size.io_threads < 1 || size.io_threads > static_cast<int>(worker::kMaxThreads)) {
    return absl::InvalidArgumentError(absl::StrCat("a worker with ", size.io_threads, " threads for pages"));
  }
  return absl::OkStatus();
}

// With vm.memfd_noexec=2 only files without the execute bit may be made. Mapping them executable does not look at it.
absl::StatusOr<UniqueFd> create_memfd(const char* name) {
  constexpr unsigned kFlags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  UniqueFd fd(::memfd_create(name, kFlags | MFD_NOEXEC_SEAL));
  if (!fd.valid() && errno == EINVAL) fd.reset(::memfd_create(name, kFlags));
  if (!fd.valid()) return errno_status(errno, absl::StrCat("memfd_create of ", name));
  return fd;
}

absl::StatusOr<UniqueFd> create_code() {
  ASSIGN_OR_RETURN(UniqueFd fd, create_memfd("stillpoint-worker"));
  RETURN_IF_ERROR(write_all(fd.get(), worker_blob(), "the worker's code"));
  if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return errno_status(errno, "fcntl(F_ADD_SEALS) on the worker's code");
  }
  return fd;
}

absl::StatusOr<UniqueFd> create_control(uint64_t size) {
  ASSIGN_OR_RETURN(UniqueFd fd, create_memfd("stillpoint-control"));
  if (::ftruncate(fd.get(), static_cast<off_t>(size)) != 0) {
    return errno_status(errno, absl::StrCat("ftruncate of the worker's control blocks to ", size, " bytes"));
  }
  // A task that shrank the file would give the helper SIGBUS.
  if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return errno_status(errno, "fcntl(F_ADD_SEALS) on the worker's control blocks");
  }
  return fd;
}

bool cpu_has_protection_keys() {
  constexpr unsigned kOsPke = 1u << 4;
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (ecx & kOsPke) != 0;
}

}  // namespace

struct WorkerSession::State {
  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    if (controls != nullptr) ::munmap(controls, layout.control_file_size());
  }

  worker::Control& control(uint64_t i) {
    return *reinterpret_cast<worker::Control*>(controls + layout.control_offset(i));
  }

  WorkerLayout layout;
  UniqueFd code;
  UniqueFd control_file;
  char* controls = nullptr;  // the helper's view of all control blocks
  uint64_t base = 0;
  std::vector<WorkerClient> clients;
};

WorkerSession::WorkerSession(std::unique_ptr<State> state) : state_(std::move(state)) {}
WorkerSession::WorkerSession(WorkerSession&&) noexcept = default;
WorkerSession& WorkerSession::operator=(WorkerSession&&) noexcept = default;
WorkerSession::~WorkerSession() = default;

absl::StatusOr<WorkerSession> WorkerSession::create(const SessionSize& size) {
  RETURN_IF_ERROR(check_size(size));
  auto state = std::make_unique<State>();
  const WorkerLayout layout(size, worker_blob().size());
  ASSIGN_OR_RETURN(state->code, create_code());
  ASSIGN_OR_RETURN(state->control_file, create_control(layout.control_file_size()));
  void* const view =
      ::mmap(nullptr, layout.control_file_size(), PROT_READ | PROT_WRITE, MAP_SHARED, state->control_file.get(), 0);
  if (view == MAP_FAILED) return errno_status(errno, "mmap of the worker's control blocks");
  state->layout = layout;
  state->controls = static_cast<char*>(view);
  state->clients.reserve(layout.thread_count());
  for (uint64_t i = 0; i < layout.thread_count(); ++i) {
    state->clients.emplace_back(state->controls + layout.control_offset(i), layout.control_length(i),
                                static_cast<uint32_t>(size.io_threads));
  }
  return WorkerSession(std::move(state));
}

uint64_t WorkerSession::region_size() const { return state_->layout.region_size(); }
int WorkerSession::code_fd() const { return state_->code.get(); }
int WorkerSession::control_fd() const { return state_->control_file.get(); }
int WorkerSession::thread_count() const { return static_cast<int>(state_->clients.size()); }
Range WorkerSession::region() const { return {state_->base, state_->base + region_size()}; }
WorkerClient& WorkerSession::client(int index) const { return state_->clients[static_cast<size_t>(index)]; }

absl::Status WorkerSession::place(uint64_t base) {
  if (base % kPageSize != 0 || base == 0 || base >= kUserAddressEnd || region_size() > kUserAddressEnd - base) {
    return absl::InvalidArgumentError(
        absl::StrCat("a worker of 0x", absl::Hex(region_size()), " bytes at 0x", absl::Hex(base)));
  }
  state_->base = base;
  const WorkerLayout& layout = state_->layout;
  const uint32_t reset_pkru = cpu_has_protection_keys() ? 1 : 0;
  for (uint64_t i = 0; i < layout.thread_count(); ++i) {
    worker::Control& control = state_->control(i);
    control.magic = worker::kMagic;
    control.staging = layout.staging(base);
    control.io_stacks = layout.io_stacks(base);
    control.reset_pkru = reset_pkru;
    state_->clients[i].set_address(layout.control(base, i));
  }
  return absl::OkStatus();
}

std::vector<worker::Call> WorkerSession::mapping_calls(int code_fd, int control_fd) const {
  std::vector<worker::Call> calls;
  state_->layout.for_each_mapping_call(state_->base, code_fd, control_fd, [&](const worker::Call& call) {
    calls.push_back(call);
    return true;
  });
  return calls;
}

WorkerRegisters WorkerSession::start_registers() const {
  const WorkerLayout& layout = state_->layout;
  return {.rip = state_->base, .rsp = layout.stack_top(state_->base, 0), .rdi = layout.control(state_->base, 0)};
}

void WorkerSession::enter() const {
  leave_c_library();
  worker::Control& control = state_->control(0);
  uint32_t step = 0;
  state_->layout.for_each_mapping_call(state_->base, code_fd(), control_fd(), [&](const worker::Call& call) {
    const int64_t result = raw_call(call);
    if (call.flags != 0 && static_cast<uint64_t>(result) != call.arguments[0]) {
      control.start_step = step;
      __atomic_store_n(&control.start_error, result < 0 ? result : -EEXIST, __ATOMIC_RELEASE);
      raw_exit(125);
    }
    ++step;
    return true;
  });
  const WorkerRegisters registers = start_registers();
  jump_to_worker(registers.rip, registers.rsp, registers.rdi);
}

void WorkerSession::watch(UniqueFd pidfd, absl::string_view name) {
  set_liveness(liveness_by_pidfd(std::move(pidfd), name));
}

void WorkerSession::set_liveness(const WorkerClient::Liveness& liveness) {
  for (WorkerClient& client : state_->clients) client.set_liveness(liveness);
}

void WorkerSession::set_patience(absl::Duration patience) {
  for (WorkerClient& client : state_->clients) client.set_patience(patience);
}

absl::StatusOr<std::vector<pid_t>> WorkerSession::spawn(absl::Span<const pid_t> tids) {
  const WorkerLayout& layout = state_->layout;
  if (tids.size() + 1 > layout.thread_count()) {
    return absl::InvalidArgumentError(
        absl::StrCat(tids.size(), " threads for a session made for ", layout.thread_count() - 1));
  }
  std::vector<worker::Spawn> spawns;
  spawns.reserve(tids.size());
  for (size_t i = 0; i < tids.size(); ++i) {
    spawns.push_back({.tid = tids[i],
                      .spawned_tid = 0,
                      .stack_top = layout.stack_top(state_->base, i + 1),
                      .control = layout.control(state_->base, i + 1)});
  }
  RETURN_IF_ERROR(main().spawn(spawns));
  std::vector<pid_t> started;
  started.reserve(spawns.size());
  for (const worker::Spawn& spawn : spawns) started.push_back(spawn.spawned_tid);
  return started;
}

}  // namespace stillpoint
