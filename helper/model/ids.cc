#include "helper/model/ids.h"

namespace stillpoint::model {
namespace {

template <typename Objects>
const typename Objects::value_type* find(const Objects& objects, uint64_t id) {
  for (const auto& object : objects) {
    if (object.id() == id) return &object;
  }
  return nullptr;
}

}  // namespace

const AddressSpace* find_address_space(const Tree& tree, uint64_t id) { return find(tree.address_spaces(), id); }
const FileTable* find_file_table(const Tree& tree, uint64_t id) { return find(tree.file_tables(), id); }
const OpenFile* find_open_file(const Tree& tree, uint64_t id) { return find(tree.open_files(), id); }
const SharedMemory* find_shared_memory(const Tree& tree, uint64_t id) { return find(tree.shared_memories(), id); }
const MappedFile* find_mapped_file(const Tree& tree, uint64_t id) { return find(tree.mapped_files(), id); }
const SignalTable* find_signal_table(const Tree& tree, uint64_t id) { return find(tree.signal_tables(), id); }
const FilesystemContext* find_filesystem_context(const Tree& tree, uint64_t id) {
  return find(tree.filesystem_contexts(), id);
}

}  // namespace stillpoint::model
