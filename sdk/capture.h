// capture_context(): where a restored process comes back to.
#ifndef STILLPOINT_SDK_CAPTURE_H_
#define STILLPOINT_SDK_CAPTURE_H_

#include <cstddef>
#include <cstdint>

#include "helper/protocol/context.h"

// 0, and kRestoredMarker when it returns a second time in a restored process. The calling function must
// not have returned by the time the memory is saved.
extern "C" __attribute__((returns_twice, visibility("hidden"))) uint64_t stillpoint_capture_context(
    stillpoint::protocol::SavedContext* context);

// What context.S relies on.
static_assert(offsetof(stillpoint::protocol::SavedContext, rbx) == 8);
static_assert(offsetof(stillpoint::protocol::SavedContext, rbp) == 16);
static_assert(offsetof(stillpoint::protocol::SavedContext, r12) == 24);
static_assert(offsetof(stillpoint::protocol::SavedContext, r15) == 48);
static_assert(offsetof(stillpoint::protocol::SavedContext, rsp) == 56);
static_assert(offsetof(stillpoint::protocol::SavedContext, rip) == 64);
static_assert(stillpoint::protocol::kSavedContextMagic == 0x5854434b54504c53);

#endif  // STILLPOINT_SDK_CAPTURE_H_
