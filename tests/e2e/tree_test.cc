// Whole process trees: checkpointed in the middle of their work from outside, every process killed, restarted, and in
// the end with the result of an uninterrupted run.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "tests/e2e/support/installed.h"
#include "tests/e2e/support/program_job.h"

namespace stillpoint::e2e {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kBash[] = "/bin/bash";
constexpr char kMake[] = "/usr/bin/make";
constexpr char kPython[] = "/usr/bin/python3";

enum class As { kTester, kOrdinaryUser };
std::string name_of(const testing::TestParamInfo<As>& info) {
  return info.param == As::kTester ? "Tester" : "OrdinaryUser";
}
uid_t uid_of(As as) { return as == As::kOrdinaryUser && is_root() ? kNobody : static_cast<uid_t>(-1); }

class Tree : public ::testing::TestWithParam<As> {
 protected:
  Tree() : job_(uid_of(GetParam())) {}

  size_t lines(const std::string& file) const { return count_lines(read_file(job_.path(file))); }
  bool grows(const std::string& file) {
    const size_t before = lines(file);
    return eventually([&] { return lines(file) > before + 3 || !job_.running(); }) && job_.running();
  }
  // Two rounds in the middle of a run that must be as long as that, against a run that nobody disturbs.
  void survives(const std::vector<std::string>& command, const std::string& out, const std::string& whole) {
    job_.start(command);
    for (int life = 1; life <= 2; ++life) {
      ASSERT_TRUE(grows(out)) << "life " << life << ": " << job_.said();
      ASSERT_THAT(job_.round(), IsEmpty()) << "life " << life;
    }
    ASSERT_EQ(job_.wait(), 0) << job_.said();
    EXPECT_EQ(read_file(job_.path(out)), whole);
  }

  ProgramJob job_;
};

TEST_P(Tree, IsThereAgainInEveryRelation) {
  for (int life = 0; life <= rounds(10); ++life) {
    if (life == 0) {
      job_.start({built_program("family"), job_.path("report")});
    } else {
      ASSERT_THAT(job_.round(), IsEmpty()) << "life " << life;
    }
    ASSERT_TRUE(grows("report")) << job_.said() << errors_in(job_.path("report"));
  }
  write_file(job_.path("report.stop"), "");
  ASSERT_EQ(job_.wait(), 0) << job_.said() << errors_in(job_.path("report"));
  EXPECT_THAT(errors_in(job_.path("report")), IsEmpty());
  EXPECT_THAT(read_file(job_.path("report")), HasSubstr("end\n"));
}

TEST_P(Tree, GoesOnAfterACheckpointAsBefore) {
  job_.start({built_program("family"), job_.path("report")});
  for (int i = 0; i < rounds(20); ++i) {
    ASSERT_TRUE(grows("report")) << errors_in(job_.path("report"));
    const Outcome outcome = job_.checkpoint({"--keep", "1"});
    ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  }
  write_file(job_.path("report.stop"), "");
  ASSERT_EQ(job_.wait(), 0) << errors_in(job_.path("report"));
  EXPECT_THAT(errors_in(job_.path("report")), IsEmpty());
}

TEST_P(Tree, TalksOnOverItsConnections) {
  job_.start({built_program("switchboard"), job_.path("report")});
  for (int life = 1; life <= rounds(20); ++life) {
    ASSERT_TRUE(grows("report")) << job_.said() << errors_in(job_.path("report"));
    ASSERT_THAT(job_.round(), IsEmpty()) << "life " << life;
  }
  ASSERT_TRUE(grows("report")) << job_.said() << errors_in(job_.path("report"));
  write_file(job_.path("report.stop"), "");
  ASSERT_EQ(job_.wait(), 0) << job_.said() << errors_in(job_.path("report"));
  EXPECT_THAT(errors_in(job_.path("report")), IsEmpty());
  EXPECT_THAT(read_file(job_.path("report")), HasSubstr("end\n"));
}

TEST_P(Tree, IsEndedByStopAndComesBack) {
  job_.start({built_program("family"), job_.path("report")});
  ASSERT_TRUE(grows("report"));
  const std::vector<pid_t> family = family_of(job_.pid());
  const Outcome outcome = job_.checkpoint({"--stop"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_EQ(job_.wait(), 128 + SIGKILL);
  for (const pid_t pid : family) {
    EXPECT_TRUE(eventually([&] { return ::kill(pid, 0) != 0; })) << "pid " << pid << " runs on";
  }
  ASSERT_TRUE(job_.restart()) << job_.said();
  ASSERT_TRUE(grows("report")) << job_.said();
  write_file(job_.path("report.stop"), "");
  EXPECT_EQ(job_.wait(), 0) << job_.said();
  EXPECT_THAT(errors_in(job_.path("report")), IsEmpty());
}

TEST_P(Tree, BashWithAPipelineAndABackgroundJob) {
  SKIP_WITHOUT(kBash);
  write_file(job_.path("script"), R"sh(exec 4>"$1"
( for ((i = 0; i < 80; i++)); do echo $i; sleep 0.02; done | while read x; do echo "line $((x * x))" >&4; done ) &
job=$!
wait $job
echo "job $?" >&4
sort -n <(seq 5) | tail -n 1 >&4
)sh");
  std::string whole;
  for (int i = 0; i < 80; ++i) whole += "line " + std::to_string(i * i) + "\n";
  survives({kBash, job_.path("script"), job_.path("out")}, "out", whole + "job 0\n5\n");
}

TEST_P(Tree, PythonPoolWithQueueAndLock) {
  SKIP_WITHOUT(kPython);
  write_file(job_.path("pool.py"), R"(import hashlib, multiprocessing, sys, time
def begin(lock, total):
    global the_lock, the_total
    the_lock, the_total = lock, total
def work(i):
    state = str(i).encode()
    for _ in range(100): state = hashlib.sha256(state).digest()
    time.sleep(float(sys.argv[3]))
    with the_lock: the_total.value += state[0]
    return state.hex()
def produce(queue, n):
    for i in range(n): queue.put(i)
    queue.put('last')
if __name__ == '__main__':
    context, n = multiprocessing.get_context('fork'), int(sys.argv[2])
    lock, total, queue = context.Lock(), context.Value('l', 0), context.Queue()
    producer = context.Process(target=produce, args=(queue, n))
    producer.start()
    with open(sys.argv[1], 'w') as out, context.Pool(4, begin, (lock, total)) as pool:
        for i, digest in enumerate(pool.imap(work, range(n))): print(i, digest, queue.get(), file=out, flush=True)
        producer.join()
        print(queue.get(), total.value, producer.exitcode, file=out, flush=True)
)");
  const Outcome undisturbed = run({kPython, job_.path("pool.py"), job_.path("whole"), "200", "0"});
  ASSERT_EQ(undisturbed.exit_code, 0) << undisturbed.output;
  survives({kPython, job_.path("pool.py"), job_.path("out"), "200", "0.02"}, "out", read_file(job_.path("whole")));
}

TEST_P(Tree, MakeWithFourJobs) {
  SKIP_WITHOUT(kMake);
  std::string makefile = "all: $(foreach n,$(shell seq 40),part$(n).o)\n\tcat $^ > all\n\techo linked >> log\n";
  makefile += "part%.o: part%.c\n\tcc -O1 -c -o $@ $<\n\tsleep 0.1\n\techo $@ >> log\n";
  write_file(job_.path("Makefile"), makefile);
  for (int n = 1; n <= 40; ++n) {
    const std::string number = std::to_string(n);
    write_file(job_.path("part" + number + ".c"), "int f" + number + "(int x) { return x * " + number + "; }\n");
  }
  const auto make = [&](const std::string& where) { return std::vector<std::string>{kMake, "-s", "-j4", "-C", where}; };
  // What make's children do to files after a checkpoint, a restart does not undo: here they do nothing after it.
  StartOptions options;
  options.output = job_.path("said by make");
  write_file(options.output, "");
  ASSERT_EQ(::chmod(options.output.c_str(), 0666), 0);
  job_.start(make(job_.path("")), options);
  for (int life = 1; life <= 3; ++life) {
    ASSERT_TRUE(grows("log")) << "life " << life << ": " << job_.said() << read_file(options.output);
    const Outcome outcome = job_.checkpoint({"--stop"});
    ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
    ASSERT_EQ(job_.wait(), 128 + SIGKILL);
    ASSERT_TRUE(job_.restart()) << job_.said();
  }
  ASSERT_EQ(job_.wait(), 0) << job_.said() << read_file(options.output);
  const std::string first = read_file(job_.path("all"));
  EXPECT_THAT(read_file(job_.path("log")), HasSubstr("linked\n"));
  ASSERT_EQ(run({kMake, "-s", "-j4", "-B", "-C", job_.path("")}).exit_code, 0);
  EXPECT_EQ(first, read_file(job_.path("all")));
}

INSTANTIATE_TEST_SUITE_P(As, Tree, testing::Values(As::kTester, As::kOrdinaryUser), name_of);

}  // namespace
}  // namespace stillpoint::e2e
