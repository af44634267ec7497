// epoll instances: the interest list. An entry is known to the kernel by fd number and open file description, so the
// list is made again by the new process, with the numbers it had.
//
// Two differences remain, both within what epoll(7) allows: an edge-triggered entry that was ready reports once more,
// and a disarmed EPOLLONESHOT entry may report EPOLLERR or EPOLLHUP, which epoll_ctl(2) cannot switch off.
#include <linux/kcmp.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/base/test_switch.h"
#include "helper/resources/detail.h"
#include "helper/resources/epoll.pb.h"
#include "helper/resources/fdinfo.h"
#include "helper/resources/kinds.h"
#include "helper/resources/same_file.h"

namespace stillpoint {
namespace {

using resources::EpollDetail;

// "tfd:        5 events: 80000019 data:                5  pos:0 ino:79ff sdev:f"
struct TargetLine {
  int number = -1;
  uint32_t events = 0;
  uint64_t data = 0;
  std::optional<uint64_t> inode;
  unsigned nth = 0;  // among the entries with this number
};

absl::StatusOr<std::vector<TargetLine>> parse_targets(const OpenFileView& file) {
  std::vector<TargetLine> targets;
  std::map<int, unsigned> seen;
  for (const std::string& line : fdinfo_lines(file, "tfd:")) {
    uint64_t number = 0, events = 0, inode = 0;
    TargetLine target;
    if (!parse_unsigned(word_value(line, "tfd"), 10, number) || number > INT32_MAX ||
        !parse_unsigned(word_value(line, "events"), 16, events) || events > UINT32_MAX ||
        !parse_unsigned(word_value(line, "data"), 16, target.data)) {
      return malformed_fdinfo(file, line);
    }
    target.number = static_cast<int>(number);
    target.events = static_cast<uint32_t>(events);
    target.nth = seen[target.number]++;
    if (parse_unsigned(word_value(line, "ino"), 16, inode)) target.inode = inode;
    targets.push_back(target);
  }
  return targets;
}

// Whether the fd with the entry's number is still the file that was added under it. The kernel keeps an entry whose
// number was closed as long as another fd leads to the file, and the number may be something else by now.
bool is_current(const OpenFileView& file, const TargetLine& target) {
  const std::optional<struct stat> there = stat_fd(file.pid, target.number);
  if (!there.has_value() || (target.inode.has_value() && there->st_ino != *target.inode)) return false;
  if (feature_disabled("kcmp")) return true;
  const kcmp_epoll_slot slot = {
      .efd = static_cast<uint32_t>(file.number), .tfd = static_cast<uint32_t>(target.number), .toff = target.nth};
  const int order = sys_kcmp(file.pid, file.pid, KCMP_EPOLL_TFD, static_cast<uint64_t>(target.number),
                             reinterpret_cast<uint64_t>(&slot));
  // Without kcmp(2), inode equality is what can be known.
  return order == 0 || (order < 0 && (errno == ENOSYS || errno == EPERM || errno == EOPNOTSUPP));
}

class EpollKind : public OpenFileKind {
 public:
  absl::string_view name() const override { return "epoll"; }
  bool claims(const OpenFileView& file) const override { return file.link == "anon_inode:[eventpoll]"; }

  void audit(const OpenFileView& file, const OpenFileDumpContext& context, Findings& findings) const override {
    const absl::StatusOr<std::vector<TargetLine>> targets = parse_targets(file);
    if (!targets.ok()) return;  // dump() says it
    for (const TargetLine& target : *targets) {
      const std::string object = absl::StrCat(describe(file), ", its entry for fd ", target.number);
      if (!is_current(file, target)) {
        findings.add({"SP-EPOLL-STALE", object,
                      "the fd it was added with is closed or leads elsewhere, while the file is still open somewhere",
                      "remove the fd from the epoll instance (epoll_ctl with EPOLL_CTL_DEL) before closing it"});
      } else if (context.open_file_of(file.pid, target.number) == 0) {
        findings.add({"SP-EPOLL-EXTERNAL", object, "the file it watches is not part of the image",
                      "remove it (epoll_ctl with EPOLL_CTL_DEL) in a stillpoint::on_pre_dump hook and add it again in "
                      "stillpoint::on_post_resume and stillpoint::on_post_restore"});
      }
    }
  }

  absl::Status dump(const OpenFileView& file, OpenFileDumpContext& context, model::OpenFile& out) const override {
    EpollDetail detail;
    detail.set_number(file.number);
    ASSIGN_OR_RETURN(const std::vector<TargetLine> targets, parse_targets(file));
    for (const TargetLine& target : targets) {
      EpollDetail::Interest& interest = *detail.add_interests();
      interest.set_number(target.number);
      interest.set_events(target.events);
      interest.set_data(target.data);
      interest.set_open_file(context.open_file_of(file.pid, target.number));
      if (interest.open_file() == 0 || !is_current(file, target)) {
        return absl::FailedPreconditionError(
            absl::StrCat(describe(file), ": what it watches as fd ", target.number, " is not part of the image"));
      }
    }
    return store_detail(detail, file, out);
  }

  int restore_stage() const override { return 1; }

  absl::StatusOr<UniqueFd> restore(const model::OpenFile& file, OpenFileRestoreContext&) const override {
    ASSIGN_OR_RETURN(const EpollDetail detail, parse_detail<EpollDetail>(file));
    RETURN_IF_ERROR(check_fd_number(file, detail.number()));
    UniqueFd fd(::epoll_create1(EPOLL_CLOEXEC));
    if (!fd.valid()) return errno_status(errno, absl::StrCat("epoll_create1 for ", describe(file)));
    return fd;
  }

  absl::Status finish(const model::OpenFile& file, int, OpenFileRestoreContext& context) const override {
    ASSIGN_OR_RETURN(const EpollDetail detail, parse_detail<EpollDetail>(file));
    for (const EpollDetail::Interest& interest : detail.interests()) {
      RETURN_IF_ERROR(check_fd_number(file, interest.number()));
      if (context.fd_of(interest.open_file()) < 0) {
        return damaged_detail(file,
                              absl::StrCat("open file ", interest.open_file(), ", which it watches, is not there"));
      }
      epoll_event event = {};
      event.events = interest.events();
      event.data.u64 = interest.data();
      context.in_process({.number = SYS_epoll_ctl,
                          .arguments = {static_cast<uint64_t>(detail.number()), EPOLL_CTL_ADD,
                                        static_cast<uint64_t>(interest.number()), 0},
                          .data_argument = 3,
                          .data = std::string(reinterpret_cast<const char*>(&event), sizeof event),
                          .what = absl::StrCat("epoll_ctl of ", file.description(), " for fd ", interest.number())});
    }
    return absl::OkStatus();
  }
};

}  // namespace

const OpenFileKind& epoll_kind() {
  static const auto& kind = *new EpollKind;
  return kind;
}

}  // namespace stillpoint
