// A program that carries an anchor, made by hand from helper/protocol/anchor.h: answers requests ("answer"), refuses
// them ("refuse"), ends when asked to stop ("stop"), or never looks ("idle").
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "helper/protocol/anchor.h"

extern "C" {
__attribute__((used)) stillpoint::protocol::Anchor test_anchor = {stillpoint::protocol::kAnchorMagic,
                                                                  stillpoint::protocol::kAnchorVersion,
                                                                  sizeof(stillpoint::protocol::Anchor),
                                                                  0,
                                                                  0,
                                                                  0,
                                                                  0,
                                                                  0,
                                                                  {},
                                                                  {},
                                                                  {}};
}

asm(R"(
  .pushsection .note.stillpoint,"aR",@note
  .balign 4
  .long 2f - 1f, 8, 1
1: .asciz "Stillpoint"
2: .balign 4
3: .quad test_anchor - 3b
  .popsection
)");

int main(int argc, char** argv) {
  const char* mode = argc > 1 ? argv[1] : "idle";
  std::printf("ready\n");
  std::fflush(stdout);
  volatile stillpoint::protocol::Anchor& anchor = test_anchor;
  for (;;) {
    ::usleep(5000);
    if (std::strcmp(mode, "idle") == 0) continue;
    anchor.calls = anchor.calls + 1;
    if (anchor.request_sequence <= anchor.done_sequence) continue;
    if (std::strcmp(mode, "refuse") == 0) {
      std::strcpy(test_anchor.done_message, "hook 'flush' failed");
      const char finding[] = "SP-ONE\0fd 7\0because\0do otherwise\0SP-CUT\0fd 8";
      std::memcpy(test_anchor.done_findings, finding, sizeof finding);
      anchor.done_code = 10;
    } else {
      std::snprintf(test_anchor.done_image, sizeof test_anchor.done_image, "%.900s/ckpt-00000009",
                    test_anchor.request_directory);
      anchor.done_code = 0;
    }
    __atomic_store_n(&test_anchor.done_sequence, test_anchor.request_sequence, __ATOMIC_RELEASE);
    if (anchor.request_stop != 0) return 0;
  }
}
