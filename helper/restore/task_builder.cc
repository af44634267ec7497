#include "helper/restore/task_builder.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/base/test_switch.h"
#include "helper/memory/free_region.h"
#include "helper/memory/page_file.h"
#include "helper/model/ids.h"
#include "helper/restore/address_space_plan.h"
#include "helper/restore/attributes_plan.h"
#include "helper/restore/call_runner.h"
#include "helper/restore/thread_plan.h"
#include "helper/restore/vdso.h"

namespace stillpoint {
namespace {

constexpr int kIoThreads = 2;

void collect(Thread& thread) {
  const pid_t tid = thread.tid();
  thread.forget();
  while (::waitpid(tid, nullptr, __WALL) < 0 && errno == EINTR) {
  }
}

}  // namespace

uint64_t whole_pages(const model::SharedMemory& memory) {
  const uint64_t unit = memory.huge_page_size() != 0 ? memory.huge_page_size() : kPageSize;
  return (memory.size() + unit - 1) / unit * unit;
}

SessionSize worker_size(const model::Process& process) {
  return {.thread_count = process.threads_size() + (process.leader_ended() ? 1 : 0), .io_threads = kIoThreads};
}

TaskBuilder::TaskBuilder(RestoreParts& parts, const model::Process& process, WorkerSession& session)
    : parts_(parts),
      process_(process),
      space_(*model::find_address_space(parts.tree, process.address_space())),
      session_(session) {}

TaskBuilder::~TaskBuilder() {
  if (!pidfd_.valid() || (!leader_.has_value() && threads_.empty())) return;
  // Not one instruction of the program has run: it is killed before the threads are let go.
  sys_pidfd_send_signal(pidfd_.get(), SIGKILL);
  if (leader_.has_value()) threads_.insert(threads_.begin(), *std::move(leader_));
  leader_.reset();
  // As its tracer we see its end before its parent does; the leader's comes last.
  for (size_t i = threads_.size(); i-- > 0;) collect(threads_[i]);
}

absl::Status TaskBuilder::choose_places(std::vector<Range> taken) {
  for (const model::Vma& vma : space_.vmas()) taken.push_back({vma.start(), vma.end()});
  ASSIGN_OR_RETURN(const uint64_t base, find_free_region(taken, session_.region_size()));
  RETURN_IF_ERROR(session_.place(base));
  taken.push_back(session_.region());
  ASSIGN_OR_RETURN(vdso_room_, find_free_region(std::move(taken), kVdsoRoom));
  return absl::OkStatus();
}

absl::Status TaskBuilder::take(pid_t pid) {
  pidfd_.reset(sys_pidfd_open(pid, 0));
  if (!pidfd_.valid()) return errno_status(errno, absl::StrCat("pidfd_open of the new task ", pid));
  ASSIGN_OR_RETURN(Thread leader, Thread::seize(pid, PTRACE_O_EXITKILL));
  leader_ = std::move(leader);
  UniqueFd watched(::fcntl(pidfd_.get(), F_DUPFD_CLOEXEC, 0));
  if (!watched.valid()) return errno_status(errno, "duplicate of a pidfd");
  session_.watch(std::move(watched), "new process");
  return absl::OkStatus();
}

absl::Status TaskBuilder::build_memory(bool shared) {
  die_if_stage("restore-memory");
  CallList calls;
  std::vector<Range> kept = {session_.region()};
  const auto each_temporary = [&](const auto& step) {
    for (const auto* temporaries : {&parts_.temporaries, &parts_.read_only_temporaries}) {
      for (const auto& [id, address] : *temporaries) {
        step(address, whole_pages(*model::find_shared_memory(parts_.tree, id)));
      }
    }
  };
  each_temporary([&](uint64_t address, uint64_t size) { kept.push_back({address, address + size}); });
  plan_unmapping(parts_.mappings_at_clone, std::move(kept), calls);
  std::string current;
  for (const procfs::Mapping& mapping : parts_.mappings_at_clone) {
    if (mapping.name != "[vdso]") continue;
    current.resize(mapping.end - mapping.start);
    RETURN_IF_ERROR(read_memory(::getpid(), mapping.start, current.data(), current.size()));
  }
  ASSIGN_OR_RETURN(const VdsoPlan vdso,
                   plan_vdso(process_, space_, parts_.mappings_at_clone, current, vdso_room_, calls));
  MemoryFds fds;
  for (const auto& [id, fd] : parts_.mapped_files) fds.mapped_files[id] = fd.get();
  for (const auto& [id, fd] : parts_.files.shared_memories()) fds.shared_memories[id] = fd.get();
  for (const auto& [id, fd] : parts_.read_only_files) fds.read_only_files[id] = fd.get();
  for (const auto& [id, fd] : parts_.read_only_memories) fds.read_only_memories[id] = fd.get();
  fds.anonymous_shared = parts_.temporaries;
  fds.read_only_shared = parts_.read_only_temporaries;
  RETURN_IF_ERROR(plan_mappings(space_, parts_.tree, fds, calls));
  RETURN_IF_ERROR(run_calls(calls, session_.main()));
  RETURN_IF_ERROR(read_pages(shared));

  CallList rest;
  each_temporary([&](uint64_t address, uint64_t size) {
    rest.add("munmap of a temporary mapping", SYS_munmap, {address, size});
  });
  plan_attributes(space_, rest);
  plan_process_image(space_, parts_.mapped_files.at(space_.executable()).get(), rest);
  RETURN_IF_ERROR(run_calls(rest, session_.main()));
  if (vdso.stubs) {
    RETURN_IF_ERROR(write_memory(pid(), vdso.stub_address, vdso.stub_bytes.data(), vdso.stub_bytes.size()));
  }
  return absl::OkStatus();
}

absl::Status TaskBuilder::read_pages(bool shared) {
  for (const auto& [k, fd] : parts_.page_files) RETURN_IF_ERROR(read_page_file(k, shared));
  return absl::OkStatus();
}

absl::Status TaskBuilder::read_page_file(uint32_t file, bool shared) {
  std::vector<worker::Extent> extents;
  uint64_t bytes = 0;
  const auto add = [&](const model::PageExtent& extent, uint64_t base) {
    if (extent.file() != file) return;
    extents.push_back({base + extent.address(), extent.length(), extent.offset()});
    bytes += extent.length();
  };
  for (const model::PageExtent& extent : space_.pages()) add(extent, 0);
  for (const model::SharedMemory& memory : parts_.tree.shared_memories()) {
    if (!shared) break;
    for (const model::PageExtent& extent : memory.pages()) add(extent, parts_.temporaries.at(memory.id()));
  }
  if (extents.empty()) return absl::OkStatus();
  const std::string name = image::pages_name(file);
  const image::FileEntry* entry = parts_.image.find(name);
  if (entry == nullptr) return absl::DataLossError(absl::StrCat("the manifest does not name ", name));
  std::sort(extents.begin(), extents.end(), [](const auto& a, const auto& b) { return a.offset < b.offset; });
  const int fd = parts_.page_files.at(file).get();
  if (bytes <= SmallPagesReader::kLimit) {
    return with_context(parts_.small_pages.read(file, fd, *entry, extents, pid()), name);
  }
  TransferOptions options;
  options.threads = kIoThreads;
  options.direct = set_direct(fd);
  const std::vector<uint64_t> checksums(entry->chunks().begin(), entry->chunks().end());
  return with_context(session_.main().read_pages(fd, extents, entry->size(), checksums, options), name);
}

absl::Status TaskBuilder::build_process() {
  die_if_stage("restore-files");
  CallList calls;
  const model::FilesystemContext* context = model::find_filesystem_context(parts_.tree, process_.filesystem_context());
  const model::SignalTable* signals = model::find_signal_table(parts_.tree, process_.signal_table());
  const model::FileTable* table = model::find_file_table(parts_.tree, process_.file_table());
  plan_process(process_, *signals, *context, parts_.files.map_path(context->working_directory()), calls);
  RETURN_IF_ERROR(parts_.files.plan_descriptors(*table, calls));
  return run_calls(calls, session_.main());
}

absl::Status TaskBuilder::build_threads() {
  die_if_stage("restore-threads");
  std::vector<pid_t> tids;
  for (const model::Thread& thread : process_.threads()) {
    if (thread.tid() != pid()) tids.push_back(thread.tid());
  }
  if (!tids.empty()) RETURN_IF_ERROR(session_.spawn(tids).status());
  set_proc_values();

  // The worker's main thread comes last: it makes the process's own calls and, when the leader had left, nothing else.
  for (int i = process_.threads_size() - 1; i >= 0; --i) {
    if (process_.threads(i).tid() == pid()) continue;
    CallList calls;
    plan_thread(process_.threads(i), pid(), parts_.caller, calls);
    RETURN_IF_ERROR(run_calls(calls, session_.client(i + static_cast<int>(first_thread()))));
  }
  CallList late;
  RETURN_IF_ERROR(plan_late(process_, late, parts_.notes));
  parts_.files.plan_late(pid(), late);
  late.add("close_range of the restorer's fds", SYS_close_range, {parts_.files.first_free_number(), ~0u, 0});
  RETURN_IF_ERROR(parts_.files.plan_locks(process_, late));
  if (!process_.leader_ended()) plan_thread(process_.threads(0), pid(), parts_.caller, late);
  // Changed credentials make a process undumpable; a restored one is what it was.
  late.add("prctl(PR_SET_DUMPABLE)", SYS_prctl, {PR_SET_DUMPABLE, space_.dumpable() == 1 ? 1 : 0, 0, 0, 0});
  plan_address_space_attributes(space_, late);
  return run_calls(late, session_.main());
}

}  // namespace stillpoint
