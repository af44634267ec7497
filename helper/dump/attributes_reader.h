// What prctl(2) and its like keep about a task or an address space and /proc does not show.
#ifndef STILLPOINT_HELPER_DUMP_ATTRIBUTES_READER_H_
#define STILLPOINT_HELPER_DUMP_ATTRIBUTES_READER_H_

#include "absl/status/status.h"
#include "helper/dump/application_calls.h"
#include "helper/model/model.pb.h"

namespace stillpoint {

// Of the calling thread. A feature that the kernel or the processor lacks is left out.
absl::Status ask_thread_attributes(ApplicationCalls& calls, model::Thread& out);
// Of its process and address space.
absl::Status ask_process_attributes(ApplicationCalls& calls, model::Process& process, model::AddressSpace& space);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_DUMP_ATTRIBUTES_READER_H_
