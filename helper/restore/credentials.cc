#include "helper/restore/credentials.h"

#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "helper/base/errors.h"
#include "helper/procfs/process_files.h"

namespace stillpoint {
namespace {

constexpr uint64_t bit(int capability) { return uint64_t{1} << capability; }

bool same_ids(const model::Credentials& a, const model::Credentials& b) {
  return a.uid() == b.uid() && a.euid() == b.euid() && a.suid() == b.suid() && a.gid() == b.gid() &&
         a.egid() == b.egid() && a.sgid() == b.sgid();
}

bool same_groups(const model::Credentials& a, const model::Credentials& b) {
  std::vector<uint32_t> left(a.groups().begin(), a.groups().end());
  std::vector<uint32_t> right(b.groups().begin(), b.groups().end());
  std::sort(left.begin(), left.end());
  std::sort(right.begin(), right.end());
  return left == right;
}

bool same_capabilities(const model::Credentials& a, const model::Credentials& b) {
  return a.inheritable() == b.inheritable() && a.permitted() == b.permitted() && a.effective() == b.effective() &&
         a.ambient() == b.ambient();
}

void plan_ids(const model::Credentials& wanted, const CallerCredentials& caller, CallList& calls) {
  if (!same_groups(wanted, caller.credentials) && !caller.own_user_namespace) {
    std::string groups;
    for (const uint32_t group : wanted.groups()) groups.append(reinterpret_cast<const char*>(&group), sizeof group);
    calls.add("setgroups", SYS_setgroups, {wanted.groups_size(), calls.data(groups)});
  }
  if (same_ids(wanted, caller.credentials)) return;
  calls.add("prctl(PR_SET_KEEPCAPS)", SYS_prctl, {PR_SET_KEEPCAPS, 1, 0, 0, 0});
  calls.add("setresgid", SYS_setresgid, {wanted.gid(), wanted.egid(), wanted.sgid()});
  calls.add("setresuid", SYS_setresuid, {wanted.uid(), wanted.euid(), wanted.suid()});
  calls.add("prctl(PR_SET_KEEPCAPS)", SYS_prctl, {PR_SET_KEEPCAPS, 0, 0, 0, 0});
  if (wanted.fsgid() != wanted.egid()) calls.add("setfsgid", SYS_setfsgid, {wanted.fsgid()});
  if (wanted.fsuid() != wanted.euid()) calls.add("setfsuid", SYS_setfsuid, {wanted.fsuid()});
}

void plan_capset(uint64_t inheritable, uint64_t permitted, uint64_t effective, CallList& calls) {
  const __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  for (int i = 0; i < 2; ++i) {
    data[i].inheritable = static_cast<uint32_t>(inheritable >> (32 * i));
    data[i].permitted = static_cast<uint32_t>(permitted >> (32 * i));
    data[i].effective = static_cast<uint32_t>(effective >> (32 * i));
  }
  const DataRef header_data = calls.data_of(header);
  calls.add("capset", SYS_capset, {header_data, calls.data_of(data)});
}

void plan_bounding_set(const model::Credentials& wanted, const CallerCredentials& caller, CallList& calls) {
  if (caller.own_user_namespace) return;  // the set shown there is the namespace's own
  for (int capability = 0; capability < 64; ++capability) {
    const bool has = (caller.credentials.bounding() & bit(capability)) != 0;
    const bool keeps = (wanted.bounding() & bit(capability)) != 0;
    if (has && !keeps) calls.add("prctl(PR_CAPBSET_DROP)", SYS_prctl, {PR_CAPBSET_DROP, capability, 0, 0, 0});
  }
}

}  // namespace

absl::StatusOr<CallerCredentials> read_caller_credentials() {
  ASSIGN_OR_RETURN(const procfs::TaskStatus status, procfs::read_status(::getpid(), ::getpid()));
  CallerCredentials caller;
  model::Credentials& credentials = caller.credentials;
  credentials.set_uid(status.uid);
  credentials.set_euid(status.euid);
  credentials.set_suid(status.suid);
  credentials.set_fsuid(status.fsuid);
  credentials.set_gid(status.gid);
  credentials.set_egid(status.egid);
  credentials.set_sgid(status.sgid);
  credentials.set_fsgid(status.fsgid);
  for (const uint32_t group : status.groups) credentials.add_groups(group);
  credentials.set_inheritable(status.cap_inheritable);
  credentials.set_permitted(status.cap_permitted);
  credentials.set_effective(status.cap_effective);
  credentials.set_bounding(status.cap_bounding);
  credentials.set_ambient(status.cap_ambient);
  caller.no_new_privs = status.no_new_privs;
  return caller;
}

absl::Status check_credentials(const model::Tree& tree, const CallerCredentials& caller) {
  const model::Credentials& own = caller.credentials;
  const bool root = own.uid() == 0 && (own.permitted() & bit(CAP_SETUID)) != 0 && !caller.own_user_namespace;
  for (const model::Process& process : tree.processes()) {
    if (process.ended()) continue;  // a zombie is nobody
    for (const model::Thread& thread : process.threads()) {
      const model::Credentials& wanted = thread.credentials();
      if (!root && !same_ids(wanted, own)) {
        return absl::PermissionDeniedError(
            absl::StrCat("tid ", thread.tid(), " of the image belongs to uid ", wanted.uid(), " gid ", wanted.gid(),
                         "; you are uid ", own.uid(), " gid ", own.gid(), ": restart it as that user or as root"));
      }
      const uint64_t allowed = caller.own_user_namespace ? 0 : own.permitted();
      const uint64_t beyond = (wanted.permitted() | wanted.effective() | wanted.ambient()) & ~allowed;
      if (beyond != 0) {
        return absl::PermissionDeniedError(
            absl::StrCat("tid ", thread.tid(), " of the image has capabilities you do not have (mask ",
                         absl::Hex(beyond), "); an image gives nobody a capability: restart it as root"));
      }
      if (caller.no_new_privs && !thread.no_new_privs()) {
        return absl::PermissionDeniedError(
            absl::StrCat("tid ", thread.tid(),
                         " of the image runs without no_new_privs, which is set here and cannot "
                         "be cleared; restart it from a shell without no_new_privs"));
      }
    }
  }
  return absl::OkStatus();
}

void plan_credentials(const model::Credentials& wanted, const CallerCredentials& caller, CallList& calls) {
  plan_bounding_set(wanted, caller, calls);
  const bool ids_change = !same_ids(wanted, caller.credentials);
  plan_ids(wanted, caller, calls);
  const bool change = ids_change || caller.own_user_namespace || !same_capabilities(wanted, caller.credentials);
  if (wanted.securebits() != 0) {
    calls.add("prctl(PR_SET_SECUREBITS)", SYS_prctl, {PR_SET_SECUREBITS, wanted.securebits(), 0, 0, 0});
  }
  if (!change) return;
  plan_capset(wanted.inheritable(), wanted.permitted(), wanted.effective(), calls);
  for (int capability = 0; capability < 64; ++capability) {
    if ((wanted.ambient() & bit(capability)) == 0) continue;
    calls.add("prctl(PR_CAP_AMBIENT)", SYS_prctl, {PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0});
  }
}

absl::StatusOr<FilesystemIdentity> FilesystemIdentity::assume(const model::Credentials& owner) {
  FilesystemIdentity identity;
  if (::geteuid() != 0 || (owner.fsuid() == 0 && owner.fsgid() == 0)) return identity;
  const int count = ::getgroups(0, nullptr);
  if (count < 0) return errno_status(errno, "getgroups");
  identity.saved_groups_.resize(static_cast<size_t>(count));
  if (::getgroups(count, identity.saved_groups_.data()) < 0) return errno_status(errno, "getgroups");
  const std::vector<gid_t> groups(owner.groups().begin(), owner.groups().end());
  // The raw call: the C library's wrapper would change every thread of the helper.
  if (::syscall(SYS_setgroups, groups.size(), groups.data()) != 0) return errno_status(errno, "setgroups");
  identity.active_ = true;
  identity.saved_fsgid_ = static_cast<unsigned>(::setfsgid(owner.fsgid()));
  identity.saved_fsuid_ = static_cast<unsigned>(::setfsuid(owner.fsuid()));
  if (static_cast<uint32_t>(::setfsuid(-1)) != owner.fsuid() ||
      static_cast<uint32_t>(::setfsgid(-1)) != owner.fsgid()) {
    return absl::PermissionDeniedError(absl::StrCat("cannot open files as uid ", owner.fsuid()));
  }
  return identity;
}

FilesystemIdentity::FilesystemIdentity(FilesystemIdentity&& other) noexcept
    : active_(std::exchange(other.active_, false)),
      saved_fsuid_(other.saved_fsuid_),
      saved_fsgid_(other.saved_fsgid_),
      saved_groups_(std::move(other.saved_groups_)) {}

FilesystemIdentity::~FilesystemIdentity() {
  if (!active_) return;
  // What was set a moment ago by the same thread cannot be refused now.
  ::setfsuid(saved_fsuid_);
  ::setfsgid(saved_fsgid_);
  if (::syscall(SYS_setgroups, saved_groups_.size(), saved_groups_.data()) != 0) ::_exit(125);
}

}  // namespace stillpoint
