// Where the SDK's thread comes back to after a restart. Filled by the SDK's
// capture_context (sdk/context.S), read by the helper from the application's memory.
#ifndef STILLPOINT_HELPER_PROTOCOL_CONTEXT_H_
#define STILLPOINT_HELPER_PROTOCOL_CONTEXT_H_

#include <cstddef>
#include <cstdint>

namespace stillpoint::protocol {

// The registers that a C function preserves (System V ABI), and where to go. The restored thread starts at rip with
// rsp as given and rax = kRestoredMarker; x87 and SSE control words are those it had when it was stopped.
struct SavedContext {
  uint64_t magic;  // kSavedContextMagic
  uint64_t rbx, rbp, r12, r13, r14, r15, rsp, rip;
};

inline constexpr uint64_t kSavedContextMagic = 0x5854434b54504c53;  // "SLPTKCTX"
inline constexpr uint64_t kRestoredMarker = 1;
inline constexpr uint32_t kProtocolVersion = 1;

// What a new life learns about itself. Stands at the start of the SDK's scratch memory, which the SDK zeroes before it
// sends its request; the restorer writes it before the restored thread runs. Text is terminated, or cut and terminated.
struct RestoredInfo {
  uint64_t magic;     // kRestoredInfoMagic once the restorer has written it
  uint32_t flags;     // RestoredFlags
  uint32_t reserved;  // 0
  uint64_t sequence;  // of the image
  char image[256];    // its name below the checkpoint directory: "ckpt-00000042"
  char notes[512];    // what this life does differently, one note per line
};

enum RestoredFlags : uint32_t {
  kRestoredInOwnNamespace = 1,  // user, pid and mount namespaces of its own
  kRestoredClocksJumped = 2,    // CLOCK_MONOTONIC and CLOCK_BOOTTIME do not go on from where they were
};

inline constexpr uint64_t kRestoredInfoMagic = 0x4f464e4954534552;  // "RESTINFO"

// The helper's own use of the scratch memory begins behind what the SDK keeps.
inline constexpr size_t kScratchKeptBySdk = 1024;
inline constexpr size_t kScratchSize = 4096;
static_assert(sizeof(RestoredInfo) <= kScratchKeptBySdk);

}  // namespace stillpoint::protocol

#endif  // STILLPOINT_HELPER_PROTOCOL_CONTEXT_H_
