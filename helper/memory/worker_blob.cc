#include "helper/memory/worker_blob.h"

// STILLPOINT_WORKER_BLOB is the path of the file, given by the build.
asm(".pushsection .rodata, \"a\", @progbits\n"
    ".balign 64\n"
    ".globl stillpoint_worker_blob_begin\n"
    ".hidden stillpoint_worker_blob_begin\n"
    "stillpoint_worker_blob_begin:\n"
    ".incbin \"" STILLPOINT_WORKER_BLOB
    "\"\n"
    ".globl stillpoint_worker_blob_end\n"
    ".hidden stillpoint_worker_blob_end\n"
    "stillpoint_worker_blob_end:\n"
    ".popsection\n");

extern "C" {
extern const char stillpoint_worker_blob_begin[] __attribute__((visibility("hidden")));
extern const char stillpoint_worker_blob_end[] __attribute__((visibility("hidden")));
}

namespace stillpoint {

absl::string_view worker_blob() {
  return absl::string_view(stillpoint_worker_blob_begin,
                           static_cast<size_t>(stillpoint_worker_blob_end - stillpoint_worker_blob_begin));
}

}  // namespace stillpoint
