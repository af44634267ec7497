// What no release saves: each is a finding with everything a user needs.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <linux/perf_event.h>
#include <linux/userfaultfd.h>
#include <mqueue.h>
#include <sys/fanotify.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <string>

#include "absl/strings/str_cat.h"
#include "helper/base/unique_fd.h"
#include "helper/resources/kinds.h"
#include "helper/resources/printable.h"
#include "tests/resources/round_trip.h"

namespace stillpoint {
namespace {

using ::testing::IsEmpty;
using ::testing::Not;

int raw(long result) { return static_cast<int>(result); }

int open_io_uring() {
  io_uring_params parameters = {};
  return raw(::syscall(SYS_io_uring_setup, 1, &parameters));
}

int open_perf_event() {
  perf_event_attr attributes = {};
  attributes.size = sizeof attributes;
  attributes.type = PERF_TYPE_SOFTWARE;
  attributes.config = PERF_COUNT_SW_TASK_CLOCK;
  attributes.exclude_kernel = 1;
  return raw(::syscall(SYS_perf_event_open, &attributes, 0, -1, -1, PERF_FLAG_FD_CLOEXEC));
}

int open_bpf_map() {
  bpf_attr attributes = {};
  attributes.map_type = BPF_MAP_TYPE_ARRAY;
  attributes.key_size = 4;
  attributes.value_size = 8;
  attributes.max_entries = 1;
  return raw(::syscall(SYS_bpf, BPF_MAP_CREATE, &attributes, sizeof attributes));
}

int open_message_queue() {
  const std::string name = absl::StrCat("/stillpoint-test-", ::getpid());
  const int fd = ::mq_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600, nullptr);
  const int error = errno;
  if (fd >= 0) ::mq_unlink(name.c_str());
  errno = error;
  return fd;
}

struct Unsupported {
  const char* name;
  const char* code;
  int (*open)();
};

const Unsupported kUnsupported[] = {
    {"io_uring", "SP-IOURING", open_io_uring},
    {"userfaultfd", "SP-USERFAULTFD", [] { return raw(::syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY)); }},
    {"perf_event", "SP-PERF", open_perf_event},
    {"bpf", "SP-BPF", open_bpf_map},
    {"fanotify", "SP-FANOTIFY", [] { return ::fanotify_init(FAN_CLASS_NOTIF | FAN_REPORT_FID, O_RDONLY); }},
    {"memfd_secret", "SP-SECRETMEM", [] { return raw(::syscall(SYS_memfd_secret, 0)); }},
    {"mqueue", "SP-MQUEUE", open_message_queue},
    {"namespace", "SP-NAMESPACE-FD", [] { return ::open("/proc/self/ns/net", O_RDONLY); }},
    {"landlock", "SP-ANON-INODE",
     [] {
       const uint64_t handled = 1;
       return raw(::syscall(444 /* landlock_create_ruleset */, &handled, sizeof handled, 0));
     }},
};

class UnsupportedTest : public testing::TestWithParam<Unsupported> {};

TEST_P(UnsupportedTest, IsAFindingAndNothingElse) {
  const UniqueFd fd(GetParam().open());
  if (!fd.valid()) GTEST_SKIP() << GetParam().name << " is not to be had here: " << std::strerror(errno);
  const Findings findings = audit_one(::getpid(), fd.get());
  ASSERT_EQ(findings.all().size(), 1u);
  const Finding& finding = findings.all()[0];
  EXPECT_EQ(finding.code, GetParam().code);
  EXPECT_THAT(finding.object, Not(IsEmpty()));
  EXPECT_THAT(finding.reason, Not(IsEmpty()));
  EXPECT_THAT(finding.remedy, Not(IsEmpty()));
  const OpenFileView view = view_of(::getpid(), fd.get(), fd.get());
  FakeDumpContext context;
  model::OpenFile message;
  EXPECT_FALSE(kind_of(view).dump(view, context, message).ok()) << "dumped what the audit refuses";
}

INSTANTIATE_TEST_SUITE_P(Objects, UnsupportedTest, testing::ValuesIn(kUnsupported),
                         [](const auto& parameter) { return std::string(parameter.param.name); });

// Every finding a kind can make of a link the kernel might show, whether this machine has such an object or not.
TEST(FindingsTest, AreCompleteAndPrintable) {
  const char* links[] = {"anon_inode:[io_uring]",   "anon_inode:[userfaultfd]",
                         "anon_inode:[perf_event]", "anon_inode:bpf-map",
                         "anon_inode:bpf_link",     "anon_inode:[fanotify]",
                         "anon_inode:kvm-vm",       "anon_inode:sync_file",
                         "anon_inode:[fscontext]",  "/dmabuf:buffer",
                         "/secretmem (deleted)",    "anon_inode:\xff\x01",
                         "unheard-of:[7]",          "",
                         "/deleted \xe9 (deleted)"};
  FakeDumpContext context;
  for (const char* link : links) {
    for (const mode_t mode : {mode_t{S_IFREG}, mode_t{S_IFCHR}, mode_t{S_IFBLK}, mode_t{S_IFIFO}, mode_t{0}}) {
      OpenFileView view;
      view.pid = ::getpid();
      view.number = 1 << 20;  // no such fd
      view.link = link;
      view.stat.st_mode = mode;
      view.stat.st_nlink = 1;
      view.flags = O_RDWR;
      Findings findings;
      kind_of(view).audit(view, context, findings);
      for (const Finding& finding : findings.all()) {
        EXPECT_THAT(finding.code, testing::StartsWith("SP-")) << link;
        for (const std::string& text : {finding.object, finding.reason, finding.remedy}) {
          EXPECT_THAT(text, Not(IsEmpty())) << finding.code << " of " << link;
          EXPECT_EQ(printable(text), text) << finding.code << " of " << link;
        }
      }
    }
  }
}

TEST(FindingsTest, DevicesNameTheirNumbers) {
  OpenFileView view;
  view.pid = ::getpid();
  view.number = 9;
  view.link = "/dev/accelerator0";
  view.stat.st_mode = S_IFCHR;
  view.stat.st_rdev = makedev(195, 3);
  FakeDumpContext context;
  Findings findings;
  kind_of(view).audit(view, context, findings);
  ASSERT_THAT(codes(findings), testing::ElementsAre("SP-DEVICE"));
  EXPECT_THAT(findings.all()[0].reason, testing::HasSubstr("195:3"));
  EXPECT_THAT(findings.all()[0].reason, testing::HasSubstr("/dev/accelerator0"));
  EXPECT_THAT(findings.all()[0].remedy, testing::HasSubstr("stillpoint::on_pre_dump"));
}

}  // namespace
}  // namespace stillpoint
