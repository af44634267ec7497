// What waits in a pipe, read without taking it out.
#ifndef STILLPOINT_HELPER_RESOURCES_PIPE_CONTENT_H_
#define STILLPOINT_HELPER_RESOURCES_PIPE_CONTENT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace stillpoint {

struct PipeContent {
  bool packets = false;               // written in packet mode (O_DIRECT): a read takes one segment
  std::vector<std::string> segments;  // one for a plain pipe with content
};

// `fd` is open for reading; `capacity` is the pipe's. tee(2) leaves everything where it is.
absl::StatusOr<PipeContent> read_pipe_content(int fd, size_t capacity, absl::string_view what);

// Fills an empty pipe through its end `fd`, which must not block. Its O_DIRECT flag is left as it was.
absl::Status write_pipe_content(int fd, const PipeContent& content, absl::string_view what);

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESOURCES_PIPE_CONTENT_H_
