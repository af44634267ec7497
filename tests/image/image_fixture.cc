#include "tests/image/image_fixture.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "helper/image/image_layout.h"
#include "helper/image/names.h"

namespace stillpoint::image {

ImageTest::ImageTest() {
  const char* base = ::getenv("TMPDIR");
  root_ = std::string(base != nullptr ? base : "/tmp") + "/stillpoint-image-XXXXXX";
  if (::mkdtemp(root_.data()) == nullptr) ADD_FAILURE() << "mkdtemp " << root_ << ": errno " << errno;
}

ImageTest::~ImageTest() {
  std::error_code ignored;
  ::chmod(path().c_str(), 0700);
  std::filesystem::remove_all(root_, ignored);
}

JobDirectory ImageTest::job() {
  absl::StatusOr<JobDirectory> directory = JobDirectory::open(path(), true);
  EXPECT_TRUE(directory.ok()) << directory.status();
  return *std::move(directory);
}

UniqueFd ImageTest::source(const std::string& content) {
  std::string name = root_ + "/source-XXXXXX";
  UniqueFd fd(::mkostemp(name.data(), O_CLOEXEC));
  EXPECT_TRUE(fd.valid()) << name;
  write_file_at(name, content);
  ::unlink(name.c_str());
  return fd;
}

std::vector<std::string> ImageTest::leftovers() {
  std::vector<std::string> names;
  for (const std::string& directory : {path(), path("files")}) {
    if (!std::filesystem::exists(directory)) continue;
    for (const auto& entry : std::filesystem::directory_iterator(directory)) {
      if (is_temporary_name(entry.path().filename().string())) names.push_back(entry.path().string());
    }
  }
  return names;
}

std::string noise(size_t size, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::string bytes;
  bytes.reserve(size + 8);
  while (bytes.size() < size) {
    const uint64_t word = random();
    bytes.append(reinterpret_cast<const char*>(&word), sizeof word);
  }
  bytes.resize(size);
  return bytes;
}

absl::Status fill_sample(ImageWriter& writer, size_t pages) {
  absl::Status status = writer.write_file(kStateName, kSampleState);
  if (!status.ok()) return status;
  absl::StatusOr<UniqueFd> fd = writer.create_file("pages-0.bin");
  if (!fd.ok()) return fd.status();
  const std::string bytes = noise(pages, pages);
  if (::pwrite(fd->get(), bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    return absl::ErrnoToStatus(errno, "pages-0.bin");
  }
  absl::StatusOr<std::vector<uint64_t>> chunks = checksum_file(fd->get(), "pages-0.bin");
  if (!chunks.ok()) return chunks.status();
  writer.add_file("pages-0.bin", pages, *std::move(chunks));
  return absl::OkStatus();
}

void publish_sample(const JobDirectory& job, uint64_t sequence, size_t pages, const Manifest& manifest) {
  absl::StatusOr<ImageWriter> writer = ImageWriter::create(job, sequence);
  ASSERT_TRUE(writer.ok()) << writer.status();
  const absl::Status filled = fill_sample(*writer, pages);
  ASSERT_TRUE(filled.ok()) << filled;
  const absl::StatusOr<std::string> name = writer->publish(manifest);
  ASSERT_TRUE(name.ok()) << name.status();
  EXPECT_EQ(*name, image_name(sequence));
}

std::string read_file_at(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  std::stringstream content;
  content << file.rdbuf();
  return content.str();
}

void write_file_at(const std::string& path, const std::string& content) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << content;
  file.close();
  EXPECT_TRUE(file.good()) << path;
}

void flip_byte(const std::string& path, uint64_t offset, uint8_t mask) {
  const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_TRUE(fd.valid()) << path;
  uint8_t byte = 0;
  ASSERT_EQ(::pread(fd.get(), &byte, 1, static_cast<off_t>(offset)), 1) << path << " at " << offset;
  byte ^= mask;
  ASSERT_EQ(::pwrite(fd.get(), &byte, 1, static_cast<off_t>(offset)), 1) << path << " at " << offset;
}

std::string all_messages(const std::vector<absl::Status>& errors) {
  std::string text;
  for (const absl::Status& error : errors) text += error.ToString() + "\n";
  return text;
}

absl::Status verification(const std::string& path) { return join_errors(verify_image(path)); }

pid_t fork_child(const std::function<int()>& body) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(body());
  EXPECT_GT(pid, 0) << "fork: errno " << errno;
  return pid;
}

int wait_for(pid_t pid) {
  int status = 0;
  pid_t waited = -1;
  do {
    waited = ::waitpid(pid, &status, 0);
  } while (waited < 0 && errno == EINTR);
  EXPECT_EQ(waited, pid);
  return status;
}

std::string in_child(const std::function<std::string()>& body) {
  int ends[2];
  EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  const pid_t pid = fork_child([&] {
    const std::string text = body();
    return ::write(writer.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()) ? 0 : 1;
  });
  writer.reset();
  std::string text;
  char buffer[4096];
  for (ssize_t n = 0; (n = ::read(reader.get(), buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<size_t>(n));
  EXPECT_EQ(wait_for(pid), 0) << "the child did not end by itself";
  return text;
}

}  // namespace stillpoint::image
