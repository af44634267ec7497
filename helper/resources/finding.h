// A finding: one thing that would make a dump refuse, with its remedy.
#ifndef STILLPOINT_HELPER_RESOURCES_FINDING_H_
#define STILLPOINT_HELPER_RESOURCES_FINDING_H_

#include <string>
#include <vector>

namespace stillpoint {

struct Finding {
  std::string code;    // stable: "SP-LOCK-POSIX"
  std::string object;  // "fd 7 /data/run.lock"
  std::string reason;  // why it cannot be dumped
  std::string remedy;  // what to do, in SDK or CLI terms
};

// All findings of one audit; never only the first.
class Findings {
 public:
  void add(Finding finding) { all_.push_back(std::move(finding)); }
  bool empty() const { return all_.empty(); }
  const std::vector<Finding>& all() const { return all_; }

 private:
  std::vector<Finding> all_;
};

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_RESOURCES_FINDING_H_
