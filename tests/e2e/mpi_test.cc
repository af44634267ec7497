// MPICH as Debian ships it, on one node: mpiexec, its proxy and the ranks as one tree, in the end with the results of
// an undisturbed run.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <string>
#include <vector>

#include "tests/e2e/support/installed.h"
#include "tests/e2e/support/program_job.h"

namespace stillpoint::e2e {
namespace {

using ::testing::IsEmpty;

constexpr char kMpicc[] = "/usr/bin/mpicc.mpich";
constexpr char kMpiexec[] = "/usr/bin/mpiexec.mpich";

// ring OUT STEPS MICROSECONDS: values go round and are summed up. Ends after STEPS, or when OUT.stop exists.
constexpr char kRing[] = R"(#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int rank, size, last = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  FILE* out = rank == 0 ? fopen(argv[1], "w") : NULL;
  char stop[4096];
  snprintf(stop, sizeof stop, "%s.stop", argv[1]);
  unsigned long value = (unsigned long)rank + 1, from_left, sum;
  for (int step = 0; step < atoi(argv[2]) && !last; step++) {
    MPI_Sendrecv(&value, 1, MPI_UNSIGNED_LONG, (rank + 1) % size, 0, &from_left, 1, MPI_UNSIGNED_LONG,
                 (rank + size - 1) % size, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    value = from_left * 6364136223846793005ul + (unsigned long)step;
    MPI_Allreduce(&value, &sum, 1, MPI_UNSIGNED_LONG, MPI_SUM, MPI_COMM_WORLD);
    if (out != NULL) {
      fprintf(out, "%d %lu\n", step, sum);
      fflush(out);
      last = access(stop, F_OK) == 0;
    }
    MPI_Bcast(&last, 1, MPI_INT, 0, MPI_COMM_WORLD);
    usleep((useconds_t)atoi(argv[3]));
  }
  if (out != NULL) fclose(out);
  MPI_Finalize();
  return 0;
}
)";

enum class As { kTester, kOrdinaryUser };
std::string name_of(const testing::TestParamInfo<As>& info) {
  return info.param == As::kTester ? "Tester" : "OrdinaryUser";
}
uid_t uid_of(As as) { return as == As::kOrdinaryUser && is_root() ? kNobody : static_cast<uid_t>(-1); }

class Mpich : public ::testing::TestWithParam<As> {
 protected:
  Mpich() : job_(uid_of(GetParam())) {}

  std::vector<std::string> ring(const std::string& out, const std::string& steps, const std::string& pause) const {
    return {kMpiexec, "-n", "4", job_.path("ring"), job_.path(out), steps, pause};
  }
  StartOptions options() const {
    StartOptions options;
    options.output = job_.path("said by mpiexec");
    // Left to itself, UCX takes System V shared memory too.
    options.environment = {{"UCX_TLS", "posix,self"}};
    return options;
  }
  size_t lines() const { return count_lines(read_file(job_.path("out"))); }
  bool grows() {
    const size_t before = lines();
    return eventually([&] { return lines() > before + 3 || !job_.running(); }) && job_.running();
  }

  ProgramJob job_;
};

TEST_P(Mpich, RingOfFourRanks) {
  SKIP_WITHOUT(kMpicc);
  SKIP_WITHOUT(kMpiexec);
  write_file(job_.path("ring.c"), kRing);
  const Outcome compiled = run({kMpicc, "-O1", "-o", job_.path("ring"), job_.path("ring.c")});
  ASSERT_EQ(compiled.exit_code, 0) << compiled.output;
  const std::string said = job_.path("said by mpiexec");
  write_file(said, "");
  ASSERT_EQ(::chmod(said.c_str(), 0666), 0);

  job_.start(ring("out", "1000000", "2000"), options());
  for (int life = 1; life <= 2; ++life) {
    ASSERT_TRUE(grows()) << "life " << life << ": " << job_.said() << read_file(said);
    ASSERT_THAT(job_.round(), IsEmpty()) << "life " << life;
  }
  ASSERT_TRUE(grows()) << job_.said() << read_file(said);
  write_file(job_.path("out.stop"), "");
  ASSERT_EQ(job_.wait(), 0) << job_.said() << read_file(said);

  const std::string out = read_file(job_.path("out"));
  StartOptions undisturbed = options();
  undisturbed.uid = uid_of(GetParam());
  ASSERT_EQ(run(ring("whole", std::to_string(count_lines(out)), "0"), undisturbed).exit_code, 0) << read_file(said);
  EXPECT_EQ(out, read_file(job_.path("whole")));
}

INSTANTIATE_TEST_SUITE_P(As, Mpich, testing::Values(As::kTester, As::kOrdinaryUser), name_of);

}  // namespace
}  // namespace stillpoint::e2e
