// The anchor: how a tool finds the SDK inside a running program and asks it for a
// checkpoint at its next call, without a thread, a signal or an fd of the SDK's.
//
// Every binary or library that contains the SDK carries an ELF note (PT_NOTE, name
// "Stillpoint", type kAnchorNoteType) whose 8-byte descriptor is the signed distance from the
// descriptor to the Anchor in memory.
#ifndef STILLPOINT_HELPER_PROTOCOL_ANCHOR_H_
#define STILLPOINT_HELPER_PROTOCOL_ANCHOR_H_

#include <cstdint>

#include "helper/protocol/context.h"

namespace stillpoint::protocol {

inline constexpr uint64_t kAnchorMagic = 0x524f48434e415053;  // "SPANCHOR"
inline constexpr uint32_t kAnchorVersion = 1;
inline constexpr uint32_t kAnchorNoteType = 1;
inline constexpr char kAnchorNoteName[] = "Stillpoint";

// A checkpoint of a process tree, as it looks to a member that links the SDK and is not the one that asked for it. A
// helper writes asked_* and, last, asked; the next checkpoint() or poll() of the program runs its pre-dump hooks,
// enters joined_* and, last, joined, and waits. `resumed` ends the wait for the pause (post-resume hooks run), `done`
// the call. In a new life neither comes: `restored` is written before a thread runs. done without joined withdraws what
// was asked. Each number is that of the round, and rises.
struct TreeRound {
  uint64_t asked;
  uint64_t joined;
  uint64_t resumed;
  uint64_t done;
  uint64_t beat;                 // raised by the helper while it lives, several times a second
  int32_t asked_helper_pid;      // as seen in the pid namespace below
  uint32_t asked_helper_pid_ns;  // inode number
  int32_t joined_code;           // stillpoint_code_t: why it does not take part; joined_message says more
  int32_t done_code;             // stillpoint_code_t
  uint64_t joined_excluded;      // address of joined_excluded_count pairs (start, length) of excluded memory
  uint64_t joined_excluded_count;
  uint64_t done_sequence;  // of the image
  RestoredInfo restored;
  char asked_directory[1024];  // for paths of images
  char joined_message[1024];
  char done_image[256];  // its name below the directory
  char done_message[2048];
};

// A tool writes request_* with process_vm_writev, request_sequence last. The SDK answers in done_*, done_sequence last.
// Both treat the other's text as untrusted: fixed sizes, terminated by whoever reads. request_directory is an absolute
// path, opened by the program with its own credentials.
//
// A request with request_stop that succeeds has no answer: the helper kills the program while its threads are still
// stopped, so that nothing it does is lost; the tool sees the program end and a newer image in the directory. (A
// program that asked its Checkpointer to return on a stop answers and ends by itself.) A failure is always answered.
struct Anchor {
  uint64_t magic;
  uint32_t version;
  uint32_t size;
  uint64_t request_sequence;  // raised by a tool
  uint64_t done_sequence;     // the last request answered
  uint32_t request_stop;      // 1: the process ends once the image is durable
  int32_t done_code;          // stillpoint_code_t
  uint64_t calls;  // checkpoint() and poll() calls since exec or fork(3): shows that the program reaches them
  char request_directory[1024];
  char done_image[1024];  // path of the image
  char done_message[1024];
  // Why it was refused: code, object, reason and remedy of each finding, each terminated; an empty code ends the list.
  // Findings that do not fit are left out; done_message names all.
  char done_findings[8192];
  int32_t request_leave_out[32];  // processes below this one that are not to be part of the image; a 0 ends the list
  TreeRound round;
};

}  // namespace stillpoint::protocol

#endif  // STILLPOINT_HELPER_PROTOCOL_ANCHOR_H_
