// The program that the tracee tests freeze: one mode per way to be hard to freeze.
//
// It prints "ready" when the mode's threads stand where they should, runs until a byte arrives on (or the end of) its
// standard input, and then prints "ok ..." and exits with 0, or says on standard output what was wrong and exits
// with 1.
#ifndef STILLPOINT_TESTS_TRACEE_TARGET_H_
#define STILLPOINT_TESTS_TRACEE_TARGET_H_

#include <atomic>
#include <string>

extern std::atomic<bool> stopping;  // set when the command to end has arrived
extern std::atomic<int> stop_word;  // the same for futex(2) and assembler; 0 until then

void fail(const std::string& what);  // remembers that the program has failed, and says why
bool failed();
void announce_ready();
void wait_for_command();  // checks that nothing but the command interrupts it

int run_blocked(int threads, bool helper_dies);  // threads in every blocking call, computing, and taking signals
int run_vfork();
int run_zombie_leader();
int run_thread_storm();
int run_many(int threads);
int run_rseq();
int run_small_stack();
int run_seccomp();

#endif  // STILLPOINT_TESTS_TRACEE_TARGET_H_
