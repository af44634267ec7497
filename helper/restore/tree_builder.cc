#include "helper/restore/tree_builder.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/memory/free_region.h"
#include "helper/model/ids.h"
#include "helper/model/mappings.h"
#include "helper/restore/address_space_plan.h"
#include "helper/restore/call_runner.h"
#include "helper/restore/mapped_files_restorer.h"

namespace stillpoint {
namespace {

constexpr absl::Duration kEndLimit = absl::Seconds(10);

// Of a task that makes a few calls and ends.
constexpr SessionSize kMortalSize = {.control_bytes = size_t{64} << 10, .io_threads = 1};

// Whatever its parent is to learn of an end must have reached it.
absl::Status wait_for_end(pid_t pid) {
  const absl::Time deadline = absl::Now() + kEndLimit;
  for (;;) {
    const absl::StatusOr<procfs::Stat> stat = procfs::read_stat(pid);
    if (absl::IsNotFound(stat.status())) return absl::OkStatus();
    RETURN_IF_ERROR(stat.status());
    if (stat->state == 'Z') return absl::OkStatus();
    if (absl::Now() > deadline) return absl::DeadlineExceededError(absl::StrCat("pid ", pid, " does not end"));
    absl::SleepFor(absl::Microseconds(100));
  }
}

std::vector<Range> ranges_of(const std::vector<procfs::Mapping>& mappings) {
  std::vector<Range> ranges;
  ranges.reserve(mappings.size());
  for (const procfs::Mapping& mapping : mappings) ranges.push_back({mapping.start, mapping.end});
  return ranges;
}

// Attached with SHM_RDONLY, or in some other way that mprotect(2) cannot make writable.
bool is_mapped_read_only(const model::Tree& tree, uint64_t shared_memory) {
  for (const model::AddressSpace& space : tree.address_spaces()) {
    for (const model::Vma& vma : space.vmas()) {
      if (vma.kind() == model::Vma::SHARED_MEMORY && vma.shared_memory() == shared_memory && !model::may_write(vma)) {
        return true;
      }
    }
  }
  return false;
}

bool is_unreserved(const model::Tree& tree, uint64_t shared_memory) {
  for (const model::AddressSpace& space : tree.address_spaces()) {
    for (const model::Vma& vma : space.vmas()) {
      if (vma.kind() == model::Vma::SHARED_MEMORY && vma.shared_memory() == shared_memory && vma.no_reserve())
        return true;
    }
  }
  return false;
}

// The end of a task that is to be a zombie with this wait(2) status.
void plan_end(int status, pid_t pid, CallList& calls) {
  if (WIFEXITED(status)) {
    calls.add("exit_group", SYS_exit_group, {WEXITSTATUS(status)});
    return;
  }
  const int signal = WTERMSIG(status);
  const rlimit no_core = {0, 0};
  const uint64_t no_signals = 0;
  const std::string default_action(32, '\0');  // struct kernel_sigaction
  calls.add("prlimit(RLIMIT_CORE)", SYS_prlimit64, {0, int{RLIMIT_CORE}, calls.data_of(no_core), 0});
  // SIGKILL has no action to be set.
  calls.add("rt_sigaction", SYS_rt_sigaction, {signal, calls.data(default_action), 0, 8}).may_fail = true;
  calls.add("rt_sigprocmask", SYS_rt_sigprocmask, {SIG_SETMASK, calls.data_of(no_signals), 0, 8});
  calls.add("kill", SYS_kill, {pid, signal});
}

// A signal that this restore has caused. The process had it in its first life, or it is among the pending ones that
// come back later.
absl::Status take_back(int signal, WorkerClient& worker) {
  const uint64_t set = uint64_t{1} << (signal - 1);
  const timespec now = {0, 0};
  CallList calls;
  calls.add("rt_sigtimedwait", SYS_rt_sigtimedwait, {calls.data_of(set), 0, calls.data_of(now), sizeof set}).may_fail =
      true;
  return run_calls(calls, worker);
}

}  // namespace

TreeBuilder::~TreeBuilder() {
  unmap_temporaries();
  for (const UniqueFd& pidfd : pidfds_) {
    if (pidfd.valid()) sys_pidfd_send_signal(pidfd.get(), SIGKILL);
  }
}

absl::Status TreeBuilder::open_files() {
  const model::Tree& tree = parts_.tree;
  ASSIGN_OR_RETURN(plan_, model::plan_births(tree));
  // The image is the restarter's, who need not be the processes' owner.
  for (const image::FileEntry& entry : parts_.image.manifest().files()) {
    const std::optional<uint32_t> k = image::pages_number(entry.name());
    if (!k.has_value()) continue;
    ASSIGN_OR_RETURN(UniqueFd fd, parts_.image.open_file(entry.name()));
    ASSIGN_OR_RETURN(parts_.page_files[*k], parts_.files.lift(std::move(fd)));
  }
  ASSIGN_OR_RETURN(const FilesystemIdentity identity,
                   FilesystemIdentity::assume(tree.processes(0).threads(0).credentials()));
  ASSIGN_OR_RETURN(parts_.mapped_files, open_mapped_files(tree, parts_.image, parts_.options, parts_.notes));
  for (auto& [id, fd] : parts_.mapped_files) {
    ASSIGN_OR_RETURN(fd, parts_.files.lift(std::move(fd)));
  }
  for (const model::SharedMemory& memory : tree.shared_memories()) {
    // Shared anonymous hugetlb memory cannot be mapped twice by mremap(2) as other memory can.
    if (memory.memfd() || memory.huge_page_size() != 0) {
      RETURN_IF_ERROR(parts_.files.memfd(memory.id()).status());
    }
  }
  RETURN_IF_ERROR(open_for_read_only_mappings());
  return parts_.files.restore_all();
}

absl::Status TreeBuilder::open_for_read_only_mappings() {
  const auto reopen = [&](int fd, UniqueFd& out) -> absl::Status {
    if (out.valid()) return absl::OkStatus();
    UniqueFd copy(::open(absl::StrCat("/proc/self/fd/", fd).c_str(), O_RDONLY | O_CLOEXEC));
    if (!copy.valid()) return errno_status(errno, "open of a mapped file for reading");
    ASSIGN_OR_RETURN(out, parts_.files.lift(std::move(copy)));
    return absl::OkStatus();
  };
  const std::map<uint64_t, UniqueFd>& memories = parts_.files.shared_memories();
  for (const model::AddressSpace& space : parts_.tree.address_spaces()) {
    for (const model::Vma& vma : space.vmas()) {
      if (model::may_write(vma)) continue;
      const auto file = parts_.mapped_files.find(vma.mapped_file());
      if (vma.kind() == model::Vma::FILE_SHARED && file != parts_.mapped_files.end()) {
        RETURN_IF_ERROR(reopen(file->second.get(), parts_.read_only_files[file->first]));
      }
      const auto memory = memories.find(vma.shared_memory());
      if (vma.kind() == model::Vma::SHARED_MEMORY && memory != memories.end()) {
        RETURN_IF_ERROR(reopen(memory->second.get(), parts_.read_only_memories[memory->first]));
      }
    }
  }
  return absl::OkStatus();
}

bool TreeBuilder::is_mortal(const model::Birth& birth) const {
  return birth.process < 0 || parts_.tree.processes(birth.process).ended();
}

absl::Status TreeBuilder::create_sessions() {
  sessions_.reserve(plan_.births.size());
  for (const model::Birth& birth : plan_.births) {
    const SessionSize size = is_mortal(birth) ? kMortalSize : worker_size(parts_.tree.processes(birth.process));
    ASSIGN_OR_RETURN(WorkerSession session, WorkerSession::create(size));
    sessions_.push_back(std::move(session));
    if (is_mortal(birth)) continue;
    processes_.push_back(std::make_unique<TaskBuilder>(parts_, parts_.tree.processes(birth.process), sessions_.back()));
  }
  return absl::OkStatus();
}

// Mapped in the restorer, where nothing of any process is, so that every task inherits the same memory.
absl::Status TreeBuilder::map_temporaries() {
  ASSIGN_OR_RETURN(const std::vector<procfs::Mapping> own, procfs::read_maps(::getpid()));
  std::vector<Range> taken = ranges_of(own);
  for (const model::AddressSpace& space : parts_.tree.address_spaces()) {
    for (const model::Vma& vma : space.vmas()) taken.push_back({vma.start(), vma.end()});
  }
  for (const model::SharedMemory& memory : parts_.tree.shared_memories()) {
    const uint64_t size = whole_pages(memory);
    if (size == 0) continue;
    ASSIGN_OR_RETURN(const uint64_t at,
                     find_free_region(taken, size, std::max<uint64_t>(memory.huge_page_size(), kPageSize)));
    taken.push_back({at, at + size});
    if (memory.has_sysv()) {
      RETURN_IF_ERROR(parts_.segments.create(parts_.tree, memory, at, parts_.notes));
      parts_.temporaries[memory.id()] = at;
      if (!is_mapped_read_only(parts_.tree, memory.id())) continue;
      ASSIGN_OR_RETURN(const uint64_t again, find_free_region(taken, size));
      taken.push_back({again, again + size});
      RETURN_IF_ERROR(SysvSegments::attach_read_only(memory, again));
      parts_.read_only_temporaries[memory.id()] = again;
      continue;
    }
    const auto fd = parts_.files.shared_memories().find(memory.id());
    const bool memfd = fd != parts_.files.shared_memories().end();
    const void* const mapped = ::mmap(reinterpret_cast<void*>(at), size, PROT_READ | PROT_WRITE,
                                      MAP_SHARED | MAP_FIXED_NOREPLACE | (memfd ? 0 : MAP_ANONYMOUS) |
                                          (is_unreserved(parts_.tree, memory.id()) ? MAP_NORESERVE : 0),
                                      memfd ? fd->second.get() : -1, 0);
    if (mapped == MAP_FAILED) return errno_status(errno, absl::StrCat("mmap of shared memory ", memory.name()));
    parts_.temporaries[memory.id()] = reinterpret_cast<uint64_t>(mapped);
  }
  return absl::OkStatus();
}

void TreeBuilder::unmap_temporaries() {
  for (const model::SharedMemory& memory : parts_.tree.shared_memories()) {
    for (const auto* temporaries : {&parts_.temporaries, &parts_.read_only_temporaries}) {
      const auto place = temporaries->find(memory.id());
      if (place != temporaries->end()) ::munmap(reinterpret_cast<void*>(place->second), whole_pages(memory));
    }
  }
  parts_.temporaries.clear();
  parts_.read_only_temporaries.clear();
}

absl::Status TreeBuilder::choose_places() {
  ASSIGN_OR_RETURN(parts_.mappings_at_clone, procfs::read_maps(::getpid()));
  const std::vector<Range> taken = ranges_of(parts_.mappings_at_clone);
  for (const std::unique_ptr<TaskBuilder>& process : processes_) RETURN_IF_ERROR(process->choose_places(taken));
  for (size_t i = 0; i < sessions_.size(); ++i) {
    if (!is_mortal(plan_.births[i])) continue;
    ASSIGN_OR_RETURN(const uint64_t base, find_free_region(taken, sessions_[i].region_size()));
    RETURN_IF_ERROR(sessions_[i].place(base));
  }
  return absl::OkStatus();
}

absl::Status TreeBuilder::clone(unsigned long long flags) {
  RETURN_IF_ERROR(create_sessions());
  RETURN_IF_ERROR(map_temporaries());
  RETURN_IF_ERROR(choose_places());
  skeleton_.emplace(plan_, sessions_);
  RETURN_IF_ERROR(skeleton_->clone(flags));
  RETURN_IF_ERROR(take_tasks());
  return skeleton_->release();
}

absl::Status TreeBuilder::take_tasks() {
  size_t process = 0;
  for (size_t i = 0; i < plan_.births.size(); ++i) {
    const pid_t pid = plan_.births[i].pid;
    pidfds_.emplace_back(sys_pidfd_open(pid, 0));
    if (!pidfds_.back().valid()) return errno_status(errno, absl::StrCat("pidfd_open of the new task ", pid));
    if (!is_mortal(plan_.births[i])) {
      RETURN_IF_ERROR(processes_[process++]->take(pid));
      continue;
    }
    UniqueFd watched(::fcntl(pidfds_.back().get(), F_DUPFD_CLOEXEC, 0));
    if (!watched.valid()) return errno_status(errno, "duplicate of a pidfd");
    sessions_[i].watch(std::move(watched), "new process");
  }
  return absl::OkStatus();
}

absl::Status TreeBuilder::build() {
  for (size_t i = 0; i < processes_.size(); ++i) RETURN_IF_ERROR(processes_[i]->build_memory(/*shared=*/i == 0));
  RETURN_IF_ERROR(unmap_temporaries_of_mortals());
  unmap_temporaries();
  for (const model::SharedMemory& memory : parts_.tree.shared_memories()) {
    if (memory.has_sysv()) RETURN_IF_ERROR(parts_.segments.finish(memory));
  }
  CallList seals;  // a memfd can be sealed when nobody maps it to fill it any more
  parts_.files.plan_seals(seals);
  RETURN_IF_ERROR(run_calls(seals, sessions_.front().main()));
  RETURN_IF_ERROR(join_groups());
  for (const std::unique_ptr<TaskBuilder>& process : processes_) RETURN_IF_ERROR(process->build_process());
  RETURN_IF_ERROR(end_mortals());
  for (const std::unique_ptr<TaskBuilder>& process : processes_) RETURN_IF_ERROR(process->build_threads());
  return stop_processes();
}

absl::Status TreeBuilder::unmap_temporaries_of_mortals() {
  CallList calls;
  for (const auto& [id, address] : parts_.temporaries) {
    calls.add("munmap of a temporary mapping", SYS_munmap,
              {address, whole_pages(*model::find_shared_memory(parts_.tree, id))});
  }
  if (calls.empty()) return absl::OkStatus();
  for (size_t i = 0; i < plan_.births.size(); ++i) {
    if (is_mortal(plan_.births[i])) RETURN_IF_ERROR(run_calls(calls, sessions_[i].main()));
  }
  return absl::OkStatus();
}

absl::Status TreeBuilder::join_groups() {
  for (const auto& [birth, group] : plan_.groups) {
    const pid_t pid = plan_.births[static_cast<size_t>(birth)].pid;
    CallList calls;
    calls.add(absl::StrCat("setpgid of pid ", pid, " to ", group), SYS_setpgid, {0, group});
    RETURN_IF_ERROR(run_calls(calls, sessions_[static_cast<size_t>(birth)].main()));
  }
  return absl::OkStatus();
}

WorkerClient& TreeBuilder::parent_of(size_t birth) const {
  return sessions_[static_cast<size_t>(plan_.births[birth].parent)].main();
}

absl::Status TreeBuilder::end_stand_in(size_t birth) {
  const pid_t pid = plan_.births[birth].pid;
  RETURN_IF_ERROR(sessions_[birth].main().exit());
  CallList calls;
  calls.add(absl::StrCat("wait4 for the stand-in ", pid), SYS_wait4, {pid, 0, __WALL, 0});
  return run_calls(calls, parent_of(birth));
}

absl::Status TreeBuilder::end_zombie(size_t birth) {
  const model::Process& process = parts_.tree.processes(plan_.births[birth].process);
  CallList calls;
  if (!process.threads().empty()) {
    calls.add("prctl(PR_SET_NAME)", SYS_prctl, {PR_SET_NAME, calls.text(process.threads(0).name())});
  }
  plan_end(process.exit_status(), process.pid(), calls);
  // The last call does not return: that the task is gone is its answer.
  const absl::Status gone = run_calls(calls, sessions_[birth].main());
  return with_context(wait_for_end(process.pid()), gone.message());
}

absl::Status TreeBuilder::end_mortals() {
  // Stand-ins first: whoever has to collect one may be a zombie to be.
  for (size_t i = 0; i < plan_.births.size(); ++i) {
    if (plan_.births[i].process >= 0) continue;
    RETURN_IF_ERROR(end_stand_in(i));
    pidfds_[i].reset();
  }
  std::set<std::pair<int, int>> signalled;
  for (size_t i = 0; i < plan_.births.size(); ++i) {
    const model::Birth& birth = plan_.births[i];
    if (birth.process < 0 || !is_mortal(birth)) continue;
    RETURN_IF_ERROR(end_zombie(i));
    if (birth.exit_signal != 0) signalled.insert({birth.parent, birth.exit_signal});
    pidfds_[i].reset();
  }
  for (const auto& [parent, signal] : signalled) {
    RETURN_IF_ERROR(take_back(signal, sessions_[static_cast<size_t>(parent)].main()));
  }
  return absl::OkStatus();
}

// While all are still workers: what wait(2) reports of a stop, and has reported already, must be the parent's doing.
absl::Status TreeBuilder::stop_processes() {
  std::map<pid_t, size_t> births;
  for (size_t i = 0; i < plan_.births.size(); ++i) births[plan_.births[i].pid] = i;
  // Children first: a stopped parent's worker makes no call.
  for (size_t i = processes_.size(); i-- > 1;) {
    TaskBuilder& process = *processes_[i];
    if (process.is_stopped_early() || process.model().continue_unreported()) {
      RETURN_IF_ERROR(stop_process(process, births.at(process.pid())));
    }
  }
  return absl::OkStatus();
}

absl::Status TreeBuilder::stop_process(TaskBuilder& process, size_t birth) {
  const auto wait_for = [&](int what) {
    CallList calls;
    calls.add(absl::StrCat("waitid for pid ", process.pid()), SYS_waitid,
              {int{P_PID}, process.pid(), 0, what | __WALL, 0});
    return run_calls(calls, parent_of(birth));
  };
  const bool goes_on = process.model().continue_unreported();
  RETURN_IF_ERROR(process.stop_worker());
  RETURN_IF_ERROR(wait_for(WSTOPPED | (process.model().stop_unreported() ? WNOWAIT : 0)));
  if (goes_on) {
    RETURN_IF_ERROR(process.continue_worker());
    RETURN_IF_ERROR(take_back(SIGCONT, sessions_[birth].main()));
    RETURN_IF_ERROR(wait_for(WCONTINUED | WNOWAIT));
  }
  return take_back(SIGCHLD, parent_of(birth));
}

absl::Status TreeBuilder::start(uint32_t info_flags) {
  for (const std::unique_ptr<TaskBuilder>& process : processes_) {
    RETURN_IF_ERROR(process->prepare_start(info_flags));
  }
  RETURN_IF_ERROR(parts_.files.commit_all());
  // From here on there is no way back. Children first: a parent that runs finds them.
  parts_.segments.keep();
  for (UniqueFd& pidfd : pidfds_) pidfd.reset();
  for (size_t i = processes_.size(); i-- > 0;) RETURN_IF_ERROR(processes_[i]->release());
  return absl::OkStatus();
}

}  // namespace stillpoint
