#include "helper/dump/ownership.h"

#include <sys/utsname.h>

#include <cerrno>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "helper/base/errors.h"
#include "helper/procfs/process_files.h"
#include "helper/procfs/process_stamp.h"

namespace stillpoint {
namespace {

procfs::ProcessStamp stamp_of(const image::LifeProcess& process) { return {process.pid, process.start_ms}; }

image::ProcessQuestions questions() {
  image::ProcessQuestions questions;
  questions.same = [](const image::LifeProcess& a, const image::LifeProcess& b) {
    return procfs::same_process(stamp_of(a), stamp_of(b));
  };
  questions.still_runs = [](const image::LifeProcess& process) { return procfs::still_runs(stamp_of(process)); };
  return questions;
}

// As the program was given it: what it does to its environment afterwards is not seen, and is not its starter's word.
image::JobName job_in_environment_of(pid_t pid) {
  const absl::StatusOr<std::string> text = procfs::read_text(absl::StrCat("/proc/", pid, "/environ"));
  if (!text.ok()) return {};
  const std::vector<absl::string_view> entries = absl::StrSplit(*text, '\0', absl::SkipEmpty());
  return image::job_name([&](const char* name) {
    const std::string prefix = absl::StrCat(name, "=");
    for (absl::string_view entry : entries) {
      if (absl::ConsumePrefix(&entry, prefix)) return std::string(entry);
    }
    return std::string();
  });
}

}  // namespace

absl::StatusOr<Ownership> Ownership::of(pid_t pid, const std::string& job_id) {
  Ownership ownership;
  image::Publisher& publisher = ownership.publisher_;
  utsname system{};
  if (::uname(&system) != 0) return errno_status(errno, "uname");
  publisher.host = system.nodename;
  ASSIGN_OR_RETURN(const std::string boot_id, procfs::read_text("/proc/sys/kernel/random/boot_id"));
  publisher.boot_id = std::string(absl::StripAsciiWhitespace(boot_id));
  publisher.job = job_id.empty() ? job_in_environment_of(pid) : image::JobName{job_id, ""};
  ASSIGN_OR_RETURN(const std::vector<procfs::ProcessStamp> lineage, procfs::read_lineage(pid));
  for (const procfs::ProcessStamp& stamp : lineage) publisher.lineage.push_back({stamp.pid, stamp.start_ms});
  return ownership;
}

absl::Status Ownership::look(const image::JobDirectory& directory) {
  ASSIGN_OR_RETURN(life_, image::may_publish(directory, publisher_, questions()));
  return absl::OkStatus();
}

void Ownership::describe(image::Manifest& manifest) const {
  manifest.set_epoch(life_.epoch);
  manifest.set_job_id(text_of(life_.job));
}

absl::Status Ownership::admit(const image::JobDirectory& directory) const {
  ASSIGN_OR_RETURN(const image::Life life, image::admit_publisher(directory, publisher_, questions()));
  if (life.epoch == life_.epoch) return absl::OkStatus();
  return absl::AbortedError(absl::StrCat(directory.name(), " has changed hands while the image was written"));
}

}  // namespace stillpoint
