// Small programs in one, run by probe_test.cc.
#include <stillpoint/checkpoint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

// checkpoint DIR: prints the outcome, or the error.
int checkpoint(const char* directory) {
  const auto result = stillpoint::checkpoint({.directory = directory});
  if (!result.ok()) {
    std::printf("%s\n", result.status().to_string().c_str());
    return 1;
  }
  std::printf("outcome %d image %s\n", static_cast<int>(result->outcome), result->image_path.c_str());
  for (const std::string& note : result->notes) std::printf("note %s\n", note.c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3 && std::strcmp(argv[1], "checkpoint") == 0) return checkpoint(argv[2]);
  return 2;
}
