// Knowing an executable or library again: the GNU build-id note of its file.
#ifndef STILLPOINT_HELPER_MODEL_BUILD_ID_H_
#define STILLPOINT_HELPER_MODEL_BUILD_ID_H_

#include <string>

namespace stillpoint::model {

struct ElfIdentity {
  bool elf = false;
  std::string build_id;  // lower-case hex; empty when the file has none
};

// Reads from the fd at explicit offsets; its position does not move. A malformed file is simply not ELF or has no id.
ElfIdentity elf_identity(int fd);

}  // namespace stillpoint::model

#endif  // STILLPOINT_HELPER_MODEL_BUILD_ID_H_
