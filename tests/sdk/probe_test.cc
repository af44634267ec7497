// The SDK in a program of its own: shared and static, and under AT_SECURE.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <sstream>
#include <string>

#include "tests/sdk/test_support.h"

namespace stillpoint::sdk {
namespace {

using testing::HasSubstr;

// Runs a shell command line; its standard output.
std::string output_of(const std::string& command, int* status = nullptr) {
  std::string output;
  FILE* const pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return "(popen failed)";
  char buffer[4096];
  for (size_t size = 0; (size = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) output.append(buffer, size);
  const int ended = ::pclose(pipe);
  if (status != nullptr) *status = ended;
  return output;
}

class Probe : public testing::TestWithParam<const char*> {};

TEST_P(Probe, Checkpoints) {
  const TemporaryDirectory directory;
  const std::string output =
      output_of("STILLPOINT_HELPER=" FAKE_HELPER " " + std::string(GetParam()) + " checkpoint " + directory.path());
  EXPECT_THAT(output, HasSubstr("outcome 1 image " + directory.path() + "/ckpt-00000007"));
}

TEST_P(Probe, FindsAHelperInLibexecBesideIt) {
  const TemporaryDirectory prefix;
  std::filesystem::create_directories(prefix.path() + "/bin");
  std::filesystem::create_directories(prefix.path() + "/libexec/stillpoint");
  std::filesystem::copy(GetParam(), prefix.path() + "/bin/probe");
  std::filesystem::create_symlink(FAKE_HELPER, prefix.path() + "/libexec/stillpoint/stillpoint-helper");
  const std::string output = output_of(prefix.path() + "/bin/probe checkpoint " + prefix.path() + "/ckpt");
  EXPECT_THAT(output, HasSubstr("outcome 1"));
}

TEST_P(Probe, CarriesTheAnchorsNote) {
  const std::string file = std::string(GetParam()) == SDK_PROBE_STATIC
                               ? SDK_PROBE_STATIC
                               : output_of("ldd " SDK_PROBE " | awk '/libstillpoint/ {printf \"%s\", $3}'");
  EXPECT_THAT(output_of("readelf --notes --wide " + file), HasSubstr("Stillpoint"));
}

INSTANTIATE_TEST_SUITE_P(Builds, Probe, testing::Values(SDK_PROBE, SDK_PROBE_STATIC),
                         [](const auto& test) { return std::string(test.param) == SDK_PROBE ? "Shared" : "Static"; });

TEST(SharedLibrary, ExportsStillpointsNamesOnly) {
  const std::string library = output_of("ldd " SDK_PROBE " | awk '/libstillpoint/ {printf \"%s\", $3}'");
  const std::string names = output_of("nm -D --defined-only --format=posix " + library + " | awk '{print $1}'");
  EXPECT_THAT(names, HasSubstr("stillpoint_checkpoint"));
  std::istringstream lines(names);
  for (std::string name; std::getline(lines, name);) {
    EXPECT_TRUE(name.rfind("stillpoint_", 0) == 0 || name.rfind("STILLPOINT_0", 0) == 0) << name;
  }
  EXPECT_THAT(output_of("readelf --dynamic " + library), HasSubstr("libstillpoint.so.0"));
}

// As setuid programs do: the environment belongs to whoever called, and must count for nothing.
TEST(AtSecure, TheEnvironmentIsIgnored) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to make a setuid program";
  const TemporaryDirectory prefix;
  ::chmod(prefix.path().c_str(), 0755);
  const std::string program = prefix.path() + "/probe";
  std::filesystem::copy(SDK_PROBE_STATIC, program);
  ASSERT_EQ(::chown(program.c_str(), 0, 0), 0);
  ASSERT_EQ(::chmod(program.c_str(), 04755), 0);
  // Beside it, where an attacker with a hard link could put one.
  std::filesystem::create_symlink(FAKE_HELPER, prefix.path() + "/stillpoint-helper");
  const std::string command = "cd / && STILLPOINT_HELPER=" FAKE_HELPER " STILLPOINT_DIR=" + prefix.path() +
                              "/from-environment STILLPOINT_OFF=1 setpriv --reuid 65534 --regid 65534 --clear-groups " +
                              program + " checkpoint " + prefix.path() + "/from-code";
  const std::string output = output_of(command);
  EXPECT_FALSE(std::filesystem::exists(prefix.path() + "/from-environment"));
  EXPECT_THAT(output, testing::Not(HasSubstr("outcome"))) << "neither off nor served by a helper from the environment";
  EXPECT_THAT(output, testing::AnyOf(HasSubstr("UNAVAILABLE"), HasSubstr("PERMISSION_DENIED")));
}

}  // namespace
}  // namespace stillpoint::sdk
