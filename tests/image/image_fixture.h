// A checkpoint directory of its own for each test, images in it, and processes that die.
#ifndef STILLPOINT_TESTS_IMAGE_IMAGE_FIXTURE_H_
#define STILLPOINT_TESTS_IMAGE_IMAGE_FIXTURE_H_

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "helper/image/image.h"

namespace stillpoint::image {

class ImageTest : public testing::Test {
 protected:
  ImageTest();
  ~ImageTest() override;

  const std::string& root() const { return root_; }     // an empty directory
  std::string path() const { return root_ + "/ckpt"; }  // of the job; made by job()
  std::string path(const std::string& below) const { return path() + "/" + below; }
  JobDirectory job();
  // A temporary file with that content, for store_file.
  UniqueFd source(const std::string& content);
  // Names in DIR that begin with ".tmp-", DIR/files included.
  std::vector<std::string> leftovers();

 private:
  std::string root_;
};

// Repeatable bytes that no filesystem or checksum treats specially.
std::string noise(size_t size, uint64_t seed);
// The content of a sample image; `pages` bytes in pages-0.bin.
inline constexpr char kSampleState[] = "state of the sample";
absl::Status fill_sample(ImageWriter& writer, size_t pages);
// A whole sample image with that number, checked.
void publish_sample(const JobDirectory& job, uint64_t sequence, size_t pages = 10000, const Manifest& manifest = {});

std::string read_file_at(const std::string& path);
void write_file_at(const std::string& path, const std::string& content);
void flip_byte(const std::string& path, uint64_t offset, uint8_t mask = 0x01);
std::string all_messages(const std::vector<absl::Status>& errors);
absl::Status verification(const std::string& path);  // verify_image as one status

// Runs `body` in a forked child and returns the text it returns; the child must end by itself.
std::string in_child(const std::function<std::string()>& body);
pid_t fork_child(const std::function<int()>& body);
int wait_for(pid_t pid);  // the wait status

}  // namespace stillpoint::image

#endif  // STILLPOINT_TESTS_IMAGE_IMAGE_FIXTURE_H_
