#include <string>

#include "absl/status/status.h"
#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "helper/dump/dump.h"

namespace stillpoint {
namespace {

constexpr char kFindingsUrl[] = "stillpoint.dev/findings";

}  // namespace

absl::Status findings_status(const Findings& findings) {
  if (findings.empty()) return absl::OkStatus();
  std::string message = absl::StrCat("the checkpoint is refused: ", findings.all().size(),
                                     findings.all().size() == 1 ? " finding" : " findings");
  protocol::FindingList list;
  for (const Finding& finding : findings.all()) {
    absl::StrAppend(&message, "; ", finding.code, " ", finding.object);
    protocol::Finding* entry = list.add_findings();
    entry->set_code(finding.code);
    entry->set_object(finding.object);
    entry->set_reason(finding.reason);
    entry->set_remedy(finding.remedy);
  }
  absl::Status status = absl::FailedPreconditionError(message);
  status.SetPayload(kFindingsUrl, absl::Cord(list.SerializeAsString()));
  return status;
}

std::vector<Finding> findings_of(const absl::Status& status) {
  std::vector<Finding> findings;
  const absl::optional<absl::Cord> payload = status.GetPayload(kFindingsUrl);
  protocol::FindingList list;
  if (!payload.has_value() || !list.ParseFromString(std::string(*payload))) return findings;
  for (const protocol::Finding& entry : list.findings()) {
    findings.push_back({entry.code(), entry.object(), entry.reason(), entry.remedy()});
  }
  return findings;
}

}  // namespace stillpoint
