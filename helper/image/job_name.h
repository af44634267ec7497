// The name that a batch system gives a job.
#ifndef STILLPOINT_HELPER_IMAGE_JOB_NAME_H_
#define STILLPOINT_HELPER_IMAGE_JOB_NAME_H_

#include <functional>
#include <string>

namespace stillpoint::image {

struct JobName {
  std::string id;    // empty: no batch system
  std::string task;  // of an array job; empty: none
};

// From the variables that STILLPOINT_JOB_ID, Slurm, PBS, LSF and Grid Engine set. `variable` gives "" for one that is
// not set.
JobName job_name(const std::function<std::string(const char* name)>& variable);
JobName job_name_of_this_process();
// "1001", "1001[3]", "".
std::string text_of(const JobName& job);

}  // namespace stillpoint::image

#endif  // STILLPOINT_HELPER_IMAGE_JOB_NAME_H_
