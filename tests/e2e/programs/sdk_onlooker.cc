// sdk_onlooker REPORT DIRECTORY: as onlooker, with the SDK: between two looks it takes a checkpoint, and says what came
// of it. Threads that wait for any child ask as programs do, without __WALL (docs/sdk.md).
#include <stillpoint/checkpoint.h>

#include "tests/e2e/programs/parts/onlooker.h"

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  onlooker::Onlooker self(argv[1], /*wall=*/false);
  stillpoint::CheckpointOptions options;
  options.directory = argv[2];
  options.keep_last = 1;
  for (int i = 0;; ++i) {
    self.tick();
    if (i < 5) continue;
    const stillpoint::Result<stillpoint::CheckpointResult> result = stillpoint::checkpoint(options);
    if (!result.ok()) {
      memory::say("refused: %s", result.status().message().c_str());
    } else {
      memory::say(result->outcome == stillpoint::Outcome::kRestored ? "restored" : "checkpointed");
    }
  }
}
