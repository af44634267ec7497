#include <gtest/gtest.h>

#include "samples/heat/field.h"
#include "samples/heat/picture.h"
#include "samples/heat/solver.h"
#include "tests/tools/command_runner.h"

namespace heat {
namespace {

std::uint64_t checksum_with_threads(int threads) {
  Field field(65);
  {
    Solver solver(field, 200, threads);
    solver.wait_for_step(200);
  }
  return field.checksum();
}

TEST(Field, TheNumberOfThreadsDoesNotMatter) {
  const std::uint64_t alone = checksum_with_threads(1);
  for (const int threads : {2, 3, 7, 64}) EXPECT_EQ(checksum_with_threads(threads), alone) << threads;
}

TEST(Field, OneChangedBitChangesTheChecksum) {
  Field field(33);
  const std::uint64_t before = field.checksum();
  field.advance_rows(16, 24);           // the rim of the disc
  EXPECT_EQ(field.checksum(), before);  // not yet current
  field.swap();
  EXPECT_NE(field.checksum(), before);
}

TEST(Field, EdgesStayAndHeatSpreads) {
  Field field(65);
  const double before = field.at(1, 32);
  {
    Solver solver(field, 50, 2);
    EXPECT_GT(solver.wait_for_step(1), solver.wait_for_step(50));
  }
  EXPECT_EQ(field.at(0, 32), 40.0);
  EXPECT_EQ(field.at(64, 32), 0.0);
  EXPECT_GT(field.at(1, 32), before);
}

TEST(Picture, IsAPngOrAnError) {
  stillpoint::tools::TemporaryDirectory directory;
  const Field field(17);
  EXPECT_EQ(write_picture(field, directory / "a.png"), "");
  EXPECT_EQ(stillpoint::tools::file_contents(directory / "a.png").substr(0, 8), "\x89PNG\r\n\x1a\n");
  EXPECT_NE(write_picture(field, directory / "nowhere/a.png"), "");
}

}  // namespace
}  // namespace heat
