#include <stillpoint/checkpointer.h>
#include <stillpoint/hooks.h>
#include <stillpoint/resources.h>

#include <cstdio>
#include <vector>

int main() {
  std::vector<char> scratch(1 << 16);
  const stillpoint::ExcludedMemory excluded(scratch.data(), scratch.size());
  const stillpoint::HookRegistration hook = stillpoint::on_pre_dump("hook", [] { return true; });
  stillpoint::CheckpointerOptions options;
  options.directory = "ckpt";
  options.every = std::chrono::hours(1);
  stillpoint::Checkpointer checkpointer(options);
  checkpointer.poll();
  const stillpoint::Result<stillpoint::CheckpointResult> result = checkpointer.checkpoint();
  if (!result.ok()) {
    std::printf("%s\n", result.status().to_string().c_str());
    for (const stillpoint::Finding& finding : stillpoint::findings(result.status())) std::puts(finding.code.c_str());
    return 1;
  }
  std::printf("outcome %d\n", static_cast<int>(result->outcome));
  return 0;
}
