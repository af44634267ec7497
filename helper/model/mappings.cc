#include "helper/model/mappings.h"

#include <sys/mman.h>

namespace stillpoint::model {
namespace {

template <typename Wanted>
std::set<uint64_t> files_of_shared_mappings(const Tree& tree, Wanted wanted) {
  std::set<uint64_t> ids;
  for (const AddressSpace& space : tree.address_spaces()) {
    for (const Vma& vma : space.vmas()) {
      if (vma.kind() == Vma::FILE_SHARED && wanted(vma)) ids.insert(vma.mapped_file());
    }
  }
  return ids;
}

}  // namespace

bool may_write(const Vma& vma) { return vma.may_write() || (vma.protection() & PROT_WRITE) != 0; }

std::set<uint64_t> files_mapped_shared(const Tree& tree) {
  return files_of_shared_mappings(tree, [](const Vma&) { return true; });
}

std::set<uint64_t> files_written_through_mappings(const Tree& tree) { return files_of_shared_mappings(tree, may_write); }

}  // namespace stillpoint::model
