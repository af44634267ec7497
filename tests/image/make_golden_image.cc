// Writes the golden image of this format version into a directory.
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <iostream>

#include "helper/base/errors.h"
#include "helper/image/image.h"

namespace stillpoint::image {
namespace {

absl::Status write_golden(const std::string& path) {
  ASSIGN_OR_RETURN(const JobDirectory job, JobDirectory::open(path, true));
  ASSIGN_OR_RETURN(ImageWriter writer, ImageWriter::create(job, 1));
  RETURN_IF_ERROR(writer.write_file(kStateName, "golden state\n"));
  RETURN_IF_ERROR(writer.write_file("pages-0.bin", std::string(4096, 'P')));
  const UniqueFd library(::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (!library.valid() || ::write(library.get(), "library\n", 8) != 8) return absl::InternalError("temporary file");
  Manifest manifest;
  ASSIGN_OR_RETURN(*manifest.add_stored_files(),
                   job.store_file("0123456789abcdef0123456789abcdef01234567", library.get()));
  manifest.set_created_ns(1'700'000'000'000'000'000);
  manifest.set_stillpoint_version("0.1.0");
  manifest.set_kernel("6.18.0");
  manifest.set_host("node17");
  manifest.set_boot_id("00000000-1111-2222-3333-444444444444");
  manifest.add_cpu_features("fpu");
  manifest.add_cpu_features("avx2");
  manifest.set_program("./solver input.nml");
  manifest.set_process_count(1);
  manifest.set_thread_count(4);
  manifest.set_root_pid(4242);
  manifest.set_job_id("17");
  manifest.set_epoch(3);
  manifest.set_xsave_features(7);
  return writer.publish(manifest).status();
}

}  // namespace
}  // namespace stillpoint::image

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: make_golden_image DIRECTORY\n";
    return 2;
  }
  const absl::Status status = stillpoint::image::write_golden(argv[1]);
  if (!status.ok()) std::cerr << status << "\n";
  return status.ok() ? 0 : 1;
}
