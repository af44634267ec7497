#include <stillpoint/absl.h>
#include <stillpoint/checkpoint.h>

#include <cstdio>

#include "absl/strings/str_cat.h"

int main() {
  stillpoint::CheckpointOptions options;
  options.directory = "ckpt";
  const absl::StatusOr<stillpoint::CheckpointResult> result = stillpoint::to_absl(stillpoint::checkpoint(options));
  if (!result.ok()) {
    std::puts(result.status().ToString().c_str());
    return 1;
  }
  std::puts(absl::StrCat("outcome ", static_cast<int>(result->outcome)).c_str());
  return 0;
}
