// What `inspect` shows of an image: the manifest and the model in it, for people and for programs.
#ifndef STILLPOINT_TOOLS_IMAGE_REPORT_H_
#define STILLPOINT_TOOLS_IMAGE_REPORT_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "helper/image/image.h"
#include "helper/model/model.pb.h"

namespace stillpoint::tools {

struct ImageContents {
  std::string name;
  image::Manifest manifest;
  model::Tree tree;
};

// Reads manifest and state. DATA_LOSS when either is damaged.
absl::StatusOr<ImageContents> read_image(const std::string& path);

// Tables: the image, its files, processes and threads, VMAs, fds. `all_vmas`: every VMA, not only their sums by kind.
std::string image_table(const ImageContents& contents, bool all_vmas);
// One JSON object and a newline. Addresses are strings ("0x7f..."), sizes are numbers of bytes.
std::string image_json(const ImageContents& contents);

// Bytes of an image's own files, without the stored executable and libraries.
uint64_t image_bytes(const image::Manifest& manifest);
uint64_t stored_bytes(const image::Manifest& manifest);
// "5 threads" for a single process, else "4 processes, 5 threads".
std::string task_counts(const image::Manifest& manifest);

// "rw-p" and the like, as /proc/PID/maps writes it.
std::string vma_permissions(const model::Vma& vma);
// "private anonymous", "shared file", ...
std::string vma_kind(const model::Vma& vma);
// What is mapped: a path, a memfd's name, "[heap]", "[stack]", or empty.
std::string vma_name(const model::Tree& tree, const model::AddressSpace& space, const model::Vma& vma);
// Bytes of page content that the image holds for [start, end).
uint64_t saved_bytes(const model::AddressSpace& space, uint64_t start, uint64_t end);

}  // namespace stillpoint::tools

#endif  // STILLPOINT_TOOLS_IMAGE_REPORT_H_
