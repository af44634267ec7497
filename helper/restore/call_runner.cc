#include "helper/restore/call_runner.h"

#include <cstring>
#include <string>

#include "helper/memory/call_batch.h"
#include "helper/memory/worker_abi.h"

namespace stillpoint {
namespace {

// Puts data where the task sees it, what it points to first.
uint64_t place(const CallList& calls, size_t index, CallBatch& batch) {
  const CallList::Data& data = calls.all_data()[index];
  std::string bytes = data.bytes;
  for (const auto& [offset, target] : data.pointers) {
    const uint64_t address = place(calls, target.index, batch);
    std::memcpy(bytes.data() + offset, &address, sizeof address);
  }
  return batch.put(bytes);
}

uint32_t flags_of(const CallList::Call& call) {
  if (call.may_fail) return 0;
  return worker::kStopOnError | (call.must_return_argument0 ? worker::kExpectArgument0 : 0u);
}

}  // namespace

absl::Status run_calls(const CallList& calls, WorkerClient& client) {
  CallBatch batch(client);
  for (const CallList::Call& call : calls.calls()) {
    uint64_t a[6] = {};
    for (size_t i = 0; i < call.arguments.size() && i < 6; ++i) {
      const Argument& argument = call.arguments[i];
      a[i] = argument.is_data ? place(calls, argument.value, batch) : argument.value;
    }
    batch.add(call.number, {a[0], a[1], a[2], a[3], a[4], a[5]}, flags_of(call), call.what);
  }
  return batch.run();
}

}  // namespace stillpoint
