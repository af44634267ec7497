// Looking up the model's shared objects by id.
#ifndef STILLPOINT_HELPER_MODEL_IDS_H_
#define STILLPOINT_HELPER_MODEL_IDS_H_

#include <cstdint>

#include "helper/model/model.pb.h"

namespace stillpoint::model {

// nullptr when the tree holds no such object (a damaged image, never an assertion).
const AddressSpace* find_address_space(const Tree& tree, uint64_t id);
const FileTable* find_file_table(const Tree& tree, uint64_t id);
const OpenFile* find_open_file(const Tree& tree, uint64_t id);
const SharedMemory* find_shared_memory(const Tree& tree, uint64_t id);
const MappedFile* find_mapped_file(const Tree& tree, uint64_t id);
const SignalTable* find_signal_table(const Tree& tree, uint64_t id);
const FilesystemContext* find_filesystem_context(const Tree& tree, uint64_t id);

}  // namespace stillpoint::model

#endif  // STILLPOINT_HELPER_MODEL_IDS_H_
