// onlooker REPORT: watches itself and says what a checkpoint changed (parts/onlooker.h), a line "tick N" per look.
#include "tests/e2e/programs/parts/onlooker.h"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  onlooker::Onlooker self(argv[1], /*wall=*/true);
  for (;;) self.tick();
}
