// PostgreSQL as Debian ships it, with a client: server, client and the script that starts both are one tree. It is
// checkpointed in the middle of a transaction, killed, restarted, and in the end every row is there once.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "tests/e2e/support/installed.h"
#include "tests/e2e/support/program_job.h"

namespace stillpoint::e2e {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kBash[] = "/bin/bash";
constexpr char kSetpriv[] = "/usr/bin/setpriv";
constexpr int kRounds = 12;
constexpr int kBarrier = 6;  // the round in whose transaction the client waits for a file

// The directory of Debian's newest server; empty: none.
std::string binaries() {
  std::string newest;
  std::error_code none;
  for (const auto& version : std::filesystem::directory_iterator("/usr/lib/postgresql", none)) {
    const std::string bin = version.path() / "bin";
    if (::access((bin + "/initdb").c_str(), X_OK) == 0 && bin > newest) newest = bin;
  }
  return newest;
}

// DIR of the job, BIN of the server.
constexpr char kScript[] = R"sh(cd "$1"; bin=$2
"$bin"/postgres -D "$1/data" -k "$1" -c listen_addresses= -c autovacuum=off >>"$1/log" 2>&1 </dev/null &
server=$!
until "$bin"/psql -h "$1" -U me -d postgres -Atc 'select 1' >/dev/null 2>&1; do sleep 0.1; done
"$bin"/psql -h "$1" -U me -d postgres -AtqX -v ON_ERROR_STOP=1 -f "$1/work.sql" >>"$1/out" 2>&1 </dev/null
echo "client $?" >>"$1/out"
kill -INT $server
wait $server
echo "server $?" >>"$1/out"
)sh";

std::string work(const std::string& directory) {
  std::string sql = "create table t (i int primary key, payload text);\ncreate table sums (round int, sum bigint);\n";
  for (int round = 1; round <= kRounds; ++round) {
    const std::string n = std::to_string(round);
    sql += "begin;\ninsert into t select i, md5(i::text) from generate_series(" + n + "000, " + n + "499) i;\n";
    if (round == kBarrier) sql += "\\echo waits\n\\! until [ -e " + directory + "/go ]; do sleep 0.05; done\n";
    sql += "select pg_sleep(0.1) is null;\ninsert into t select i, md5(i::text) from generate_series(" + n + "500, " +
           n + "999) i;\ninsert into sums select " + n + ", sum(i) from t;\ncommit;\nselect count(*), sum(i) from t;\n";
    // More than fits into a socket's buffer at once.
    sql += "select md5(string_agg(payload, ',' order by i)) from t;\nselect payload from t order by i limit 3000;\n";
  }
  return sql + "select * from sums order by round;\n";
}

// The first line that differs, and its number; empty: none does.
std::string difference(const std::string& text, const std::string& wanted) {
  std::istringstream lines(text), wanted_lines(wanted);
  for (int number = 1;; ++number) {
    std::string line, wanted_line;
    const bool more = !std::getline(lines, line).fail(), wants_more = !std::getline(wanted_lines, wanted_line).fail();
    if (!more && !wants_more) return "";
    if (more != wants_more || line != wanted_line) {
      return std::to_string(number) + ": " + (more ? line : "(end)") + " instead of " +
             (wants_more ? wanted_line : "(end)");
    }
  }
}

enum class As { kTester, kOrdinaryUser };
std::string name_of(const testing::TestParamInfo<As>& info) {
  return info.param == As::kTester ? "Tester" : "OrdinaryUser";
}
uid_t uid_of(As as) { return as == As::kOrdinaryUser && is_root() ? kNobody : static_cast<uid_t>(-1); }

// PostgreSQL refuses to be root: there it is nobody's, and root's alone are the checkpoints and restarts.
class PostgreSql : public ::testing::TestWithParam<As> {
 protected:
  PostgreSql() : job_(uid_of(GetParam())) {}
  // The system keeps what a killed server leaves behind.
  ~PostgreSql() override {
    job_.end();
    if (segment_ >= 0) ::shmctl(segment_, IPC_RMID, nullptr);
  }

  void SetUp() override {
    if (binaries().empty()) GTEST_SKIP() << "postgresql is not installed (scripts/install-deps.sh --tests)";
    SKIP_WITHOUT(kSetpriv);
  }

  static std::vector<std::string> as_server_owner(std::vector<std::string> command) {
    if (!is_root()) return command;
    const std::vector<std::string> change = {kSetpriv, "--reuid=65534", "--regid=65534", "--clear-groups"};
    command.insert(command.begin(), change.begin(), change.end());
    return command;
  }
  // As the ordinary user the whole job already is.
  std::vector<std::string> owned(std::vector<std::string> command) const {
    return GetParam() == As::kOrdinaryUser ? command : as_server_owner(std::move(command));
  }
  void prepare(const std::string& directory) {
    if (::access(directory.c_str(), F_OK) != 0) {
      ASSERT_EQ(::mkdir(directory.c_str(), 0777), 0);
    }
    ASSERT_EQ(::chmod(directory.c_str(), 0777), 0);
    const Outcome made = run(as_server_owner({binaries() + "/initdb", "-D", directory + "/data", "-A", "trust", "-U",
                                              "me", "--no-locale", "-E", "UTF8", "--no-sync"}));
    ASSERT_EQ(made.exit_code, 0) << made.output;
    write_file(directory + "/script", kScript);
    write_file(directory + "/work.sql", work(directory));
  }
  std::string undisturbed() {
    const std::string directory = job_.path("whole");
    prepare(directory);
    write_file(directory + "/go", "");
    const Outcome outcome = run(as_server_owner({kBash, directory + "/script", directory, binaries()}));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.output << read_file(directory + "/log");
    return read_file(directory + "/out");
  }
  void start() {
    prepare(job_.path("pg"));
    job_.start(owned({kBash, job_.path("pg/script"), job_.path("pg"), binaries()}));
  }
  // Key and id stand in the seventh line.
  void remember_segment() {
    std::istringstream file(read_file(job_.path("pg/data/postmaster.pid")));
    std::string line;
    for (int i = 0; i < 7; ++i) std::getline(file, line);
    std::istringstream words(line);
    std::string key;
    if (!(words >> key >> segment_)) segment_ = -1;
  }
  std::string out() const { return read_file(job_.path("pg/out")); }
  bool reaches(const std::string& text) {
    return eventually([&] { return out().find(text) != std::string::npos || !job_.running(); }) && job_.running();
  }
  bool grows() {
    const size_t before = count_lines(out());
    return eventually([&] { return count_lines(out()) > before || !job_.running(); }) && job_.running();
  }
  // At once: a server process that sees another's end would still write to the files.
  void kill() {
    const std::vector<pid_t> family = family_of(job_.pid());
    for (size_t i = 1; i < family.size(); ++i) ::kill(family[i], SIGSTOP);
    for (const pid_t pid : family) ::kill(pid, SIGKILL);
    ASSERT_EQ(job_.wait(), 128 + SIGKILL);
  }
  std::string troubles() const { return job_.said() + read_file(job_.path("pg/log")) + out().substr(0, 2000); }

  // The files of the job as they are, and the server's in /dev/shm: an image does not hold what has a name.
  void keep_files(const std::string& shared) {
    shell("cd $0 && cp -a pg kept && for f in $1; do cp -a $f kept-shm-${f##*/}; done", shared);
  }
  void put_files_back(const std::string& shared) {
    shell("cd $0 && rm -rf pg && cp -a kept pg && for f in $1; do cp -a kept-shm-${f##*/} $f; done", shared);
  }
  void shell(const std::string& script, const std::string& argument) {
    const Outcome outcome = run({kBash, "-ec", script, job_.path(""), argument});
    ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  }
  // Names of what the server maps from /dev/shm.
  std::string named_shared_memory() {
    std::string files;
    for (const pid_t pid : family_of(job_.pid())) files += " /proc/" + std::to_string(pid) + "/maps";
    return run({kBash, "-c", "grep -ho '/dev/shm/PostgreSQL[^ ]*' " + files + " | sort -u | tr '\\n' ' '"}).output;
  }

  ProgramJob job_;
  int segment_ = -1;  // of the first life
};

TEST_P(PostgreSql, IsKilledInATransactionAndComesBackTwiceFromOneImage) {
  const std::string whole = undisturbed();
  ASSERT_THAT(whole, HasSubstr("client 0\nserver 0\n"));
  start();
  ASSERT_TRUE(reaches("waits\n")) << troubles();
  remember_segment();
  const std::string shared = named_shared_memory();
  const Outcome outcome = job_.checkpoint();
  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  kill();
  keep_files(shared);
  for (int life = 1; life <= 2; ++life) {
    if (life == 2) put_files_back(shared);
    ASSERT_TRUE(job_.restart()) << "life " << life << ": " << troubles();
    write_file(job_.path("pg/go"), "");
    ASSERT_EQ(job_.wait(), 0) << "life " << life << ": " << troubles();
    EXPECT_THAT(difference(out(), whole), IsEmpty()) << "life " << life << ": " << read_file(job_.path("pg/log"));
  }
}

TEST_P(PostgreSql, IsEndedWhileItWorksAndGoesOn) {
  const std::string whole = undisturbed();
  start();
  write_file(job_.path("pg/go"), "");
  for (int life = 1; life <= 3; ++life) {
    ASSERT_TRUE(grows()) << "life " << life << ": " << troubles();
    if (life == 1) remember_segment();
    const Outcome outcome = job_.checkpoint({"--stop"});
    ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
    ASSERT_EQ(job_.wait(), 128 + SIGKILL);
    ASSERT_TRUE(job_.restart()) << "life " << life << ": " << troubles();
  }
  ASSERT_EQ(job_.wait(), 0) << troubles();
  EXPECT_THAT(difference(out(), whole), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(As, PostgreSql, testing::Values(As::kTester, As::kOrdinaryUser), name_of);

}  // namespace
}  // namespace stillpoint::e2e
