#include "helper/restore/task_builder.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/base/test_switch.h"
#include "helper/memory/free_region.h"
#include "helper/memory/page_file.h"
#include "helper/model/ids.h"
#include "helper/restore/call_runner.h"
#include "helper/restore/mapped_files_restorer.h"
#include "helper/restore/task.h"
#include "helper/restore/thread_plan.h"
#include "helper/restore/vdso.h"

namespace stillpoint {
namespace {

constexpr int kIoThreads = 2;

uint64_t whole_pages(const model::SharedMemory& memory) {
  const uint64_t unit = memory.huge_page_size() != 0 ? memory.huge_page_size() : kPageSize;
  return (memory.size() + unit - 1) / unit * unit;
}

std::string page_file_name(uint32_t k) { return absl::StrCat("pages-", k, ".bin"); }

// What a new task does first: wait until it is traced (or its maker is gone), then be the worker.
[[noreturn]] void wait_and_enter(int go, int go_writer, const WorkerSession& session) {
  ::close(go_writer);
  char byte = 0;
  ssize_t n;
  do {
    n = ::read(go, &byte, 1);
  } while (n < 0 && errno == EINTR);
  if (n != 1) ::_exit(125);
  session.enter();
}

}  // namespace

TaskBuilder::TaskBuilder(const image::ImageReader& image, const model::Tree& tree, const RestoreOptions& options,
                         const CallerCredentials& caller, std::vector<std::string>& notes)
    : image_(image), tree_(tree), caller_(caller), notes_(notes), options_(options), files_(tree, options, notes) {}

TaskBuilder::~TaskBuilder() {
  if (!leader_.has_value()) return;
  if (pidfd_.valid()) sys_pidfd_send_signal(pidfd_.get(), SIGKILL);
  leader_->forget();
  while (::waitpid(pid_, nullptr, __WALL) < 0 && errno == EINTR) {
  }
}

absl::Status TaskBuilder::open_files() {
  ASSIGN_OR_RETURN(const FilesystemIdentity identity, FilesystemIdentity::assume(process().threads(0).credentials()));
  ASSIGN_OR_RETURN(mapped_files_, open_mapped_files(tree_, image_, options_, notes_));
  for (auto& [id, fd] : mapped_files_) {
    ASSIGN_OR_RETURN(fd, files_.lift(std::move(fd)));
  }
  for (const model::SharedMemory& memory : tree_.shared_memories()) {
    if (memory.memfd()) RETURN_IF_ERROR(files_.memfd(memory.id()).status());
  }
  return files_.restore_all();
}

absl::Status TaskBuilder::choose_places() {
  ASSIGN_OR_RETURN(const std::string text, procfs::read_text("/proc/self/maps"));
  ASSIGN_OR_RETURN(mappings_at_clone_, procfs::parse_maps(text));
  std::vector<Range> taken;
  for (const procfs::Mapping& mapping : mappings_at_clone_) taken.push_back({mapping.start, mapping.end});
  for (const model::Vma& vma : space().vmas()) taken.push_back({vma.start(), vma.end()});

  ASSIGN_OR_RETURN(const uint64_t base, find_free_region(taken, session_->region_size()));
  RETURN_IF_ERROR(session_->place(base));
  taken.push_back({base, base + session_->region_size()});
  ASSIGN_OR_RETURN(vdso_room_, find_free_region(taken, kVdsoRoom));
  taken.push_back({vdso_room_, vdso_room_ + kVdsoRoom});
  for (const model::SharedMemory& memory : tree_.shared_memories()) {
    const uint64_t size = whole_pages(memory);
    if (size == 0) continue;
    ASSIGN_OR_RETURN(const uint64_t at,
                     find_free_region(taken, size, std::max<uint64_t>(memory.huge_page_size(), kPageSize)));
    temporaries_[memory.id()] = at;
    taken.push_back({at, at + size});
  }
  return absl::OkStatus();
}

absl::Status TaskBuilder::clone(unsigned long long flags) {
  ASSIGN_OR_RETURN(WorkerSession session,
                   WorkerSession::create({.thread_count = process().threads_size(), .io_threads = kIoThreads}));
  session_ = std::move(session);
  RETURN_IF_ERROR(choose_places());
  for (const image::FileEntry& entry : image_.manifest().files()) {
    for (uint32_t k = 0; k < 2; ++k) {
      if (entry.name() != page_file_name(k)) continue;
      ASSIGN_OR_RETURN(UniqueFd fd, image_.open_file(entry.name()));
      ASSIGN_OR_RETURN(page_files_[k], files_.lift(std::move(fd)));
    }
  }
  int go[2];
  if (::pipe2(go, O_CLOEXEC) != 0) return errno_status(errno, "pipe2");
  const UniqueFd go_reader(go[0]), go_writer(go[1]);
  ASSIGN_OR_RETURN(pid_, clone_task(process().pid(), SIGCHLD, flags, [&] { wait_and_enter(go[0], go[1], *session_); }));
  pidfd_.reset(sys_pidfd_open(pid_, 0));
  if (!pidfd_.valid()) return errno_status(errno, absl::StrCat("pidfd_open of the new task ", pid_));
  ASSIGN_OR_RETURN(Thread leader, Thread::seize(pid_, PTRACE_O_EXITKILL));
  leader_ = std::move(leader);
  UniqueFd watched(::fcntl(pidfd_.get(), F_DUPFD_CLOEXEC, 0));
  session_->watch(std::move(watched), "new process");
  if (::write(go_writer.get(), "g", 1) != 1) return errno_status(errno, "write to the new task");
  return absl::OkStatus();
}

absl::Status TaskBuilder::map_temporaries(CallList& calls) {
  for (const model::SharedMemory& memory : tree_.shared_memories()) {
    const auto place = temporaries_.find(memory.id());
    if (place == temporaries_.end()) continue;
    const auto fd = files_.shared_memories().find(memory.id());
    const bool memfd = fd != files_.shared_memories().end();
    calls
        .add(absl::StrCat("mmap of shared memory ", memory.name()), SYS_mmap,
             {place->second, whole_pages(memory), PROT_READ | PROT_WRITE,
              MAP_SHARED | MAP_FIXED_NOREPLACE | (memfd ? 0 : MAP_ANONYMOUS), memfd ? fd->second.get() : -1, 0})
        .must_return_argument0 = true;
  }
  return absl::OkStatus();
}

absl::Status TaskBuilder::build_memory() {
  die_if_stage("restore-memory");
  CallList calls;
  const Range worker = session_->region();
  plan_unmapping(mappings_at_clone_, worker.start, worker.end, calls);
  std::string current;
  for (const procfs::Mapping& mapping : mappings_at_clone_) {
    if (mapping.name != "[vdso]") continue;
    current.resize(mapping.end - mapping.start);
    RETURN_IF_ERROR(read_memory(::getpid(), mapping.start, current.data(), current.size()));
  }
  ASSIGN_OR_RETURN(const VdsoPlan vdso, plan_vdso(tree_, space(), mappings_at_clone_, current, vdso_room_, calls));
  RETURN_IF_ERROR(map_temporaries(calls));
  MemoryFds fds;
  for (const auto& [id, fd] : mapped_files_) fds.mapped_files[id] = fd.get();
  for (const auto& [id, fd] : files_.shared_memories()) fds.shared_memories[id] = fd.get();
  fds.anonymous_shared = temporaries_;
  RETURN_IF_ERROR(plan_mappings(space(), tree_, fds, calls));
  RETURN_IF_ERROR(run_calls(calls, session_->main()));
  RETURN_IF_ERROR(read_pages());

  CallList rest;
  for (const auto& [id, address] : temporaries_) {
    rest.add("munmap of a temporary mapping", SYS_munmap,
             {address, whole_pages(*model::find_shared_memory(tree_, id))});
  }
  plan_attributes(space(), rest);
  plan_process_image(space(), mapped_files_.at(space().executable()).get(), rest);
  files_.plan_seals(rest);
  RETURN_IF_ERROR(run_calls(rest, session_->main()));
  if (vdso.stubs) {
    RETURN_IF_ERROR(write_memory(pid_, vdso.stub_address, vdso.stub_bytes.data(), vdso.stub_bytes.size()));
  }
  return absl::OkStatus();
}

absl::Status TaskBuilder::read_pages() {
  for (const auto& [k, fd] : page_files_) RETURN_IF_ERROR(read_page_file(k, space()));
  return absl::OkStatus();
}

absl::Status TaskBuilder::read_page_file(uint32_t file, const model::AddressSpace& of_space) {
  const std::string name = page_file_name(file);
  const image::FileEntry* entry = image_.find(name);
  if (entry == nullptr) return absl::DataLossError(absl::StrCat("the manifest does not name ", name));
  std::vector<worker::Extent> extents;
  const auto add = [&](const model::PageExtent& extent, uint64_t base) {
    if (extent.file() == file) extents.push_back({base + extent.address(), extent.length(), extent.offset()});
  };
  for (const model::PageExtent& extent : of_space.pages()) add(extent, 0);
  for (const model::SharedMemory& memory : tree_.shared_memories()) {
    for (const model::PageExtent& extent : memory.pages()) add(extent, temporaries_.at(memory.id()));
  }
  std::sort(extents.begin(), extents.end(), [](const auto& a, const auto& b) { return a.offset < b.offset; });
  const int fd = page_files_.at(file).get();
  TransferOptions options;
  options.threads = kIoThreads;
  options.direct = set_direct(fd);
  const std::vector<uint64_t> checksums(entry->chunks().begin(), entry->chunks().end());
  return with_context(session_->main().read_pages(fd, extents, entry->size(), checksums, options), name);
}

absl::Status TaskBuilder::build_process() {
  die_if_stage("restore-files");
  CallList calls;
  const model::FilesystemContext* context = model::find_filesystem_context(tree_, process().filesystem_context());
  const model::SignalTable* signals = model::find_signal_table(tree_, process().signal_table());
  const model::FileTable* table = model::find_file_table(tree_, process().file_table());
  plan_process(process(), *signals, *context, files_.map_path(context->working_directory()), calls);
  RETURN_IF_ERROR(files_.plan_descriptors(*table, calls));
  return run_calls(calls, session_->main());
}

absl::Status TaskBuilder::build_threads() {
  die_if_stage("restore-threads");
  std::vector<pid_t> tids;
  for (int i = 1; i < process().threads_size(); ++i) tids.push_back(process().threads(i).tid());
  if (!tids.empty()) RETURN_IF_ERROR(session_->spawn(tids).status());
  set_proc_values();

  CallList late;
  plan_late(process(), late, notes_);
  files_.plan_late(late);
  late.add("close_range of the restorer's fds", SYS_close_range, {files_.first_free_number(), ~0u, 0});
  for (int i = process().threads_size() - 1; i >= 0; --i) {
    CallList calls = i == 0 ? std::move(late) : CallList();
    plan_thread(process().threads(i), process().pid(), caller_, calls);
    if (i == 0) {
      // Changed credentials make a process undumpable; a restored one is what it was.
      calls.add("prctl(PR_SET_DUMPABLE)", SYS_prctl, {PR_SET_DUMPABLE, space().dumpable() == 1 ? 1 : 0, 0, 0, 0});
    }
    RETURN_IF_ERROR(run_calls(calls, session_->client(i)));
  }
  return absl::OkStatus();
}

}  // namespace stillpoint
