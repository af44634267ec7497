#include "helper/dump/attributes_reader.h"

#include <sys/syscall.h>

#include <cstring>
#include <string>

#include "helper/base/errors.h"
#include "helper/model/attributes.h"

namespace stillpoint {
namespace {

constexpr uint64_t kMaxNodes = 1024;  // CONFIG_NODES_SHIFT is 10 at most

// The result, or `none` where the kernel does not know the question.
absl::StatusOr<int64_t> ask(ApplicationCalls& calls, long number, std::initializer_list<uint64_t> arguments,
                            int64_t none) {
  ASSIGN_OR_RETURN(const int64_t result, calls.call(number, arguments));
  return result < 0 ? none : result;
}

// The value that the call writes to the scratch memory; `none` likewise.
template <typename T>
absl::StatusOr<T> ask_value(ApplicationCalls& calls, long number, std::initializer_list<uint64_t> arguments, T none) {
  ASSIGN_OR_RETURN(const int64_t result, calls.call(number, arguments));
  if (result < 0) return none;
  T value{};
  RETURN_IF_ERROR(read_memory(calls.tid(), calls.scratch(), &value, sizeof value));
  return value;
}

absl::Status ask_memory_policy(ApplicationCalls& calls, model::Thread& out) {
  struct {
    uint64_t nodes[kMaxNodes / 64];
    int32_t mode;
  } policy = {};
  const uint64_t base = calls.scratch();
  ASSIGN_OR_RETURN(const int64_t result,
                   calls.call(SYS_get_mempolicy, {base + sizeof policy.nodes, base, kMaxNodes, 0, 0}));
  if (result < 0) return absl::OkStatus();  // a kernel without NUMA
  RETURN_IF_ERROR(read_memory(calls.tid(), base, &policy, sizeof policy));
  if (policy.mode == 0) return absl::OkStatus();
  out.mutable_memory_policy()->set_mode(policy.mode);
  out.mutable_memory_policy()->set_nodes(std::string(reinterpret_cast<const char*>(policy.nodes), sizeof policy.nodes));
  return absl::OkStatus();
}

}  // namespace

absl::Status ask_thread_attributes(ApplicationCalls& calls, model::Thread& out) {
  ASSIGN_OR_RETURN(const int tsc, ask_value<int>(calls, SYS_prctl, {kPrGetTsc, calls.scratch()}, kTscEnabled));
  out.set_tsc_faults(tsc != kTscEnabled);
  ASSIGN_OR_RETURN(const int64_t cpuid, ask(calls, SYS_arch_prctl, {kArchGetCpuid}, 1));
  out.set_cpuid_faults(cpuid == 0);
  ASSIGN_OR_RETURN(const int64_t flusher, ask(calls, SYS_prctl, {kPrGetIoFlusher}, 0));  // EPERM: it cannot be one
  out.set_io_flusher(flusher != 0);
  ASSIGN_OR_RETURN(const int64_t machine_check, ask(calls, SYS_prctl, {kPrMceKillGet}, kMceKillDefault));
  if (machine_check != kMceKillDefault) {
    out.set_machine_check_early(machine_check == kMceKillEarly);
    out.set_machine_check_late(machine_check != kMceKillEarly);
  }
  for (uint32_t which = 0; which < kSpeculationKinds; ++which) {
    ASSIGN_OR_RETURN(const int64_t state, ask(calls, SYS_prctl, {kPrGetSpeculation, which}, 0));
    if ((state & kSpeculationByThread) == 0 || (state & kSpeculationRestricted) == 0) continue;
    model::SpeculationControl& control = *out.add_speculation();
    control.set_which(which);
    control.set_state(static_cast<uint32_t>(state & kSpeculationRestricted));
  }
  return ask_memory_policy(calls, out);
}

absl::Status ask_process_attributes(ApplicationCalls& calls, model::Process& process, model::AddressSpace& space) {
  ASSIGN_OR_RETURN(const uint64_t permitted,
                   ask_value<uint64_t>(calls, SYS_arch_prctl, {kArchGetXcompPermitted, calls.scratch()}, 0));
  process.set_xstate_permissions(permitted);
  ASSIGN_OR_RETURN(const int64_t mdwe, ask(calls, SYS_prctl, {kPrGetMdwe}, 0));
  space.set_mdwe(static_cast<uint32_t>(mdwe));
  ASSIGN_OR_RETURN(const int64_t merge, ask(calls, SYS_prctl, {kPrGetMemoryMerge}, 0));
  space.set_merge_any(merge != 0);
  return absl::OkStatus();
}

}  // namespace stillpoint
