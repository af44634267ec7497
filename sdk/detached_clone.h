// Starting a task that is no child of the application: an intermediate task starts it and is gone at once.
//
// The intermediate has no exit signal (no SIGCHLD), shares memory and fd table (nothing is copied), and is waited for
// by its pid: only another thread inside wait4(-1, __WALL) at that very moment could see it. What it started is then a
// child of init or of the next subreaper above the application. An application that is a subreaper itself is none for
// that moment; in one that is pid 1 of its namespace every orphan lands, so there it cannot be done.
#ifndef STILLPOINT_SDK_DETACHED_CLONE_H_
#define STILLPOINT_SDK_DETACHED_CLONE_H_

#include <sys/types.h>

#include <cstddef>

namespace stillpoint::sdk {

inline constexpr size_t kCloneStackSize = size_t{32} * 1024;

// Memory for the intermediate task and for one it may start in turn. Reused by one start after another.
struct CloneStacks {
  alignas(16) unsigned char intermediate[kCloneStackSize];
  alignas(16) unsigned char task[kCloneStackSize];
};

// True for pid 1 of a pid namespace.
bool orphans_land_here();

// Runs `intermediate(argument)` in the intermediate task and waits for its end. It shares all memory: what it finds out
// it writes into *argument. It must use raw system calls only. 0 or -errno. All signals must be blocked. Neither
// allocates nor takes a lock.
int run_in_intermediate(int (*intermediate)(void*), void* argument, CloneStacks& stacks);

}  // namespace stillpoint::sdk

#endif  // STILLPOINT_SDK_DETACHED_CLONE_H_
