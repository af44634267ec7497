#include "helper/procfs/process_stamp.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

namespace stillpoint::procfs {
namespace {

TEST(ProcessStamp, OfThisProcessStaysTheSame) {
  const absl::StatusOr<ProcessStamp> stamp = read_stamp(::getpid());
  ASSERT_TRUE(stamp.ok()) << stamp.status();
  EXPECT_TRUE(same_process(*stamp, read_stamp(::getpid()).value()));
  EXPECT_TRUE(still_runs(*stamp));
  EXPECT_FALSE(still_runs({stamp->pid, stamp->start_ms - 1000}));
  EXPECT_FALSE(same_process(*stamp, {stamp->pid + 1, stamp->start_ms}));
}

TEST(ProcessStamp, AZombieDoesNotRun) {
  const pid_t child = ::fork();
  if (child == 0) ::pause();
  const absl::StatusOr<ProcessStamp> stamp = read_stamp(child);
  ASSERT_TRUE(stamp.ok()) << stamp.status();
  EXPECT_TRUE(still_runs(*stamp));
  EXPECT_FALSE(same_process(*stamp, read_stamp(::getpid()).value()));
  const absl::StatusOr<std::vector<ProcessStamp>> lineage = read_lineage(child);
  ASSERT_TRUE(lineage.ok() && lineage->size() >= 2) << lineage.status();
  EXPECT_TRUE(same_process((*lineage)[0], *stamp));
  EXPECT_TRUE(same_process((*lineage)[1], read_stamp(::getpid()).value()));
  ASSERT_EQ(::kill(child, SIGKILL), 0);
  siginfo_t ended{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOWAIT), 0);
  EXPECT_FALSE(still_runs(*stamp));
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  EXPECT_FALSE(still_runs(*stamp));
  EXPECT_FALSE(read_lineage(child).ok());
}

TEST(ProcessStamp, TheOffsetOfATimeNamespaceIsRead) {
  EXPECT_EQ(parse_boottime_offset_ms("monotonic  0  0\nboottime   864000  500000000\n").value(), 864000500);
  EXPECT_EQ(parse_boottime_offset_ms("boottime   -2  500000000\n").value(), -1500);
  for (const char* text : {"", "monotonic 0 0\n", "boottime 1\n", "boottime x 0\n", "boottime 1 0x\n",
                           "boottime 9223372036854775807 0\n", "boottime 1 1000000000\n"}) {
    EXPECT_FALSE(parse_boottime_offset_ms(text).ok()) << text;
  }
}

}  // namespace
}  // namespace stillpoint::procfs
