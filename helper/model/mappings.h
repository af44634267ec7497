// What the mappings of a tree have to do with the files behind them.
#ifndef STILLPOINT_HELPER_MODEL_MAPPINGS_H_
#define STILLPOINT_HELPER_MODEL_MAPPINGS_H_

#include <cstdint>
#include <set>

#include "helper/model/model.pb.h"

namespace stillpoint::model {

// A mapping that mprotect(2) could make writable counts as well.
bool may_write(const Vma& vma);

// Ids of the files that are mapped shared.
std::set<uint64_t> files_mapped_shared(const Tree& tree);
// Those of them that the processes may write through a mapping: their contents are data, not part of a program.
std::set<uint64_t> files_written_through_mappings(const Tree& tree);

}  // namespace stillpoint::model

#endif  // STILLPOINT_HELPER_MODEL_MAPPINGS_H_
