// The worker: waits for a job in its control block, does it, says so. See
// worker_abi.h. Freestanding: no C library, no writable data, no relocations.
#include <linux/sched.h>

#include "helper/memory/worker_abi.h"
#include "helper/memory/worker_system.h"

namespace stillpoint::worker {
namespace {

// Gives this thread access to memory under every protection key; a new thread inherits it.
void reset_protection_keys() {
  asm volatile(".byte 0x0f, 0x01, 0xef" : : "a"(0), "c"(0), "d"(0) : "memory");  // wrpkru
}

template <typename T>
T* array_in(Control* control, uint64_t offset) {
  return reinterpret_cast<T*>(reinterpret_cast<char*>(control) + offset);
}

bool failed(const Call& call) {
  if ((call.flags & kExpectArgument0) != 0 && static_cast<uint64_t>(call.result) != call.arguments[0]) return true;
  // Results that are addresses or counts are never among the last 4095 values.
  return (call.flags & kStopOnError) != 0 && call.result < 0 && call.result >= -4095;
}

void make_calls(Control* control) {
  Call* calls = array_in<Call>(control, control->calls);
  const uint64_t count = control->call_count;
  for (uint64_t i = 0; i < count; ++i) {
    Call& call = calls[i];
    const uint64_t* a = call.arguments;
    call.result = system_call(call.number, a[0], a[1], a[2], a[3], a[4], a[5]);
    __atomic_fetch_add(&control->progress, 1, __ATOMIC_RELAXED);
    if (!failed(call)) continue;
    control->failed_index = i;
    control->error = call.result < 0 ? call.result : -kEADDRINUSE;
    return;
  }
}

void run(void* control_page);

// A tid may still be taken for a moment, by a thread of this task that is on its way out: tried again for two seconds.
int64_t spawn_thread(Spawn& spawn) {
  constexpr int64_t kPatience = 2'000'000'000;
  const int64_t begin = monotonic_ns();
  uint64_t wanted = static_cast<uint64_t>(static_cast<uint32_t>(spawn.tid));
  clone_args arguments = {};
  arguments.flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
  arguments.stack = spawn.stack_top - kStackSize;
  arguments.stack_size = kStackSize;
  if (spawn.tid != 0) {
    arguments.set_tid = reinterpret_cast<uint64_t>(&wanted);
    arguments.set_tid_size = 1;
  }
  for (;;) {
    const int64_t result = worker_clone3(&arguments, sizeof arguments, run, reinterpret_cast<void*>(spawn.control));
    if (result != -kEEXIST || monotonic_ns() - begin > kPatience) return result;
    sleep_ns(1'000'000);
  }
}

void spawn_threads(Control* control) {
  Spawn* spawns = array_in<Spawn>(control, control->spawns);
  const uint64_t count = control->spawn_count;
  for (uint64_t i = 0; i < count; ++i) {
    const int64_t result = spawn_thread(spawns[i]);
    if (result < 0) {
      control->failed_index = i;
      control->error = result;
      return;
    }
    spawns[i].spawned_tid = static_cast<int32_t>(result);
    __atomic_fetch_add(&control->progress, 1, __ATOMIC_RELAXED);
  }
}

void finish(Control* control, uint32_t request) {
  store_release(&control->done, request);
  futex_wake(&control->done);
}

void do_job(Control* control, uint32_t request) {
  switch (static_cast<Job>(control->job)) {
    case Job::kWritePages:
      return transfer_pages(control, true);
    case Job::kReadPages:
      return transfer_pages(control, false);
    case Job::kCalls:
      return make_calls(control);
    case Job::kSpawn:
      return spawn_threads(control);
    case Job::kExit:
      finish(control, request);
      for (;;) system_call(__NR_exit_group, 0);
    case Job::kNone:
      return;
  }
  control->error = -kENOSYS;
}

void run(void* control_page) {
  Control* control = static_cast<Control*>(control_page);
  if (control->reset_pkru != 0) reset_protection_keys();
  for (;;) {
    const uint32_t done = control->done;
    const uint32_t request = load_acquire(&control->request);
    if (request == done) {
      futex_wait(&control->request, done);
      continue;
    }
    do_job(control, request);
    finish(control, request);
  }
}

}  // namespace

extern "C" [[noreturn]] void worker_main(Control* control) {
  if (control->magic == kMagic) run(control);
  for (;;) system_call(__NR_exit_group, 125);
}

}  // namespace stillpoint::worker

// The compiler may call these on its own.
extern "C" {
void* memcpy(void* to, const void* from, size_t size) {
  stillpoint::worker::copy_bytes(to, from, size);
  return to;
}
void* memset(void* to, int value, size_t size) {
  void* at = to;
  asm volatile("rep stosb" : "+D"(at), "+c"(size) : "a"(value) : "memory");
  return to;
}
}
