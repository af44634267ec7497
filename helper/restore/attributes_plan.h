// model -> the calls that give a new task the attributes that attributes_reader.h reads.
#ifndef STILLPOINT_HELPER_RESTORE_ATTRIBUTES_PLAN_H_
#define STILLPOINT_HELPER_RESTORE_ATTRIBUTES_PLAN_H_

#include "helper/model/model.pb.h"
#include "helper/restore/call_list.h"

namespace stillpoint {

// Made by the thread itself, before its credentials: some need what those take away.
void plan_thread_attributes(const model::Thread& thread, CallList& calls);
// Made by the leader before any thread has its extended state.
void plan_process_attributes(const model::Process& process, CallList& calls);
// Made by the leader last: from then on memory cannot become executable (MDWE).
void plan_address_space_attributes(const model::AddressSpace& space, CallList& calls);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESTORE_ATTRIBUTES_PLAN_H_
