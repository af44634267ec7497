#include "helper/restore/attributes_plan.h"

#include <sys/syscall.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "helper/model/attributes.h"

namespace stillpoint {

void plan_thread_attributes(const model::Thread& thread, CallList& calls) {
  const std::string tid = absl::StrCat(" of tid ", thread.tid());
  if (thread.has_memory_policy()) {
    // Another machine has other nodes: the program is right without its policy.
    const std::string& nodes = thread.memory_policy().nodes();
    calls
        .add("set_mempolicy" + tid, SYS_set_mempolicy,
             {thread.memory_policy().mode(), calls.data(nodes), nodes.size() * 8})
        .may_fail = true;
  }
  if (thread.io_flusher()) {
    calls.add("prctl(PR_SET_IO_FLUSHER)" + tid, SYS_prctl, {kPrSetIoFlusher, 1, 0, 0, 0}).may_fail = true;
  }
  if (thread.machine_check_early() || thread.machine_check_late()) {
    calls
        .add("prctl(PR_MCE_KILL)" + tid, SYS_prctl,
             {kPrMceKill, kMceKillSet, thread.machine_check_early() ? kMceKillEarly : kMceKillLate, 0, 0})
        .may_fail = true;
  }
  for (const model::SpeculationControl& control : thread.speculation()) {
    // A processor that does not need it, or a system that has it for all or for none, refuses.
    calls
        .add("prctl(PR_SET_SPECULATION_CTRL)" + tid, SYS_prctl,
             {kPrSetSpeculation, control.which(), control.state(), 0, 0})
        .may_fail = true;
  }
  if (thread.tsc_faults()) calls.add("prctl(PR_SET_TSC)" + tid, SYS_prctl, {kPrSetTsc, kTscFaults, 0, 0, 0});
  if (thread.cpuid_faults()) calls.add("arch_prctl(ARCH_SET_CPUID)" + tid, SYS_arch_prctl, {kArchSetCpuid, 0});
}

void plan_process_attributes(const model::Process& process, CallList& calls) {
  for (int component = 0; component < 64; ++component) {
    const uint64_t bit = uint64_t{1} << component;
    if ((process.xstate_permissions() & kXstateOnRequest & bit) == 0) continue;
    calls
        .add(absl::StrCat("arch_prctl(ARCH_REQ_XCOMP_PERM) for component ", component), SYS_arch_prctl,
             {kArchRequestXcomp, component})
        .may_fail = component == 17;  // AMX's two are asked for by the second
  }
}

void plan_address_space_attributes(const model::AddressSpace& space, CallList& calls) {
  if (space.merge_any()) {
    calls.add("prctl(PR_SET_MEMORY_MERGE)", SYS_prctl, {kPrSetMemoryMerge, 1, 0, 0, 0}).may_fail = true;
  }
  if (space.mdwe() != 0) calls.add("prctl(PR_SET_MDWE)", SYS_prctl, {kPrSetMdwe, space.mdwe(), 0, 0, 0});
}

}  // namespace stillpoint
