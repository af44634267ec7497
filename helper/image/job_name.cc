#include "helper/image/job_name.h"

#include <cstdlib>

#include "absl/strings/str_cat.h"

namespace stillpoint::image {
namespace {

// Arrays before the plain jobs of the same system: in an array task Slurm sets both.
struct Variables {
  const char* id;
  const char* task;     // null: none
  const char* no_task;  // what `task` holds outside an array; null: then it is not set
  bool task_is_needed;  // without it the other variable means something else
};
constexpr Variables kSystems[] = {
    {"STILLPOINT_JOB_ID", nullptr, nullptr, false}, {"SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", nullptr, true},
    {"SLURM_JOB_ID", nullptr, nullptr, false},      {"PBS_JOBID", "PBS_ARRAY_INDEX", nullptr, false},
    {"LSB_JOBID", "LSB_JOBINDEX", "0", false},      {"JOB_ID", "SGE_TASK_ID", "undefined", true},
};

}  // namespace

JobName job_name(const std::function<std::string(const char* name)>& variable) {
  for (const Variables& system : kSystems) {
    JobName job;
    job.id = variable(system.id);
    if (job.id.empty()) continue;
    if (system.task != nullptr) job.task = variable(system.task);
    if (job.task.empty() && system.task_is_needed) continue;
    if (system.no_task != nullptr && job.task == system.no_task) job.task.clear();
    return job;
  }
  return {};
}

JobName job_name_of_this_process() {
  return job_name([](const char* name) {
    const char* const value = ::secure_getenv(name);
    return std::string(value == nullptr ? "" : value);
  });
}

std::string text_of(const JobName& job) { return job.task.empty() ? job.id : absl::StrCat(job.id, "[", job.task, "]"); }

}  // namespace stillpoint::image
