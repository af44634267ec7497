#!/usr/bin/env bash
# Installs what is missing, builds everything and runs all tests.
#
#   scripts/test.sh [--sanitize | --tidy] [--no-install] [--build-dir DIR] [--jobs N] [-- CTEST-ARGUMENT...]
#
#   --sanitize  builds with AddressSanitizer and UndefinedBehaviorSanitizer into build-asan and runs the same tests
#   --tidy      runs clang-tidy over the tree instead of the tests
#
# Exit codes: 0 all tests passed (skipped ones are listed with their reasons), 1 something failed.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

mode=test
install=yes
build=
jobs=
ctest_arguments=()
while (($#)); do
  case $1 in
    --sanitize) mode=sanitize; shift ;;
    --tidy) mode=tidy; shift ;;
    --no-install) install=no; shift ;;
    --build-dir) build=$(realpath -m "${2:?--build-dir needs a directory}"); shift 2 ;;
    --jobs) jobs=${2:?--jobs needs a number}; shift 2 ;;
    --) shift; ctest_arguments=("$@"); break ;;
    -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "test: unknown argument $1" >&2; exit 2 ;;
  esac
done

say() { printf '\n== %s\n' "$*"; }
fail() { printf '\ntest FAILED: %s\n' "$*" >&2; exit 1; }

# One job per processor, but none that has less than 1 GiB to compile in.
default_jobs() {
  local memory_jobs
  memory_jobs=$(awk '/^MemAvailable:/ { print int($2 / 1048576) }' /proc/meminfo)
  ((memory_jobs >= 1)) || memory_jobs=1
  local processors
  processors=$(nproc)
  echo $((processors < memory_jobs ? processors : memory_jobs))
}

install_dependencies() {
  local sets=(--tests)
  [[ $mode != tidy ]] || sets+=(--tidy)
  say "Installing what is missing"
  scripts/install-deps.sh "${sets[@]}" || fail "scripts/install-deps.sh did not succeed"
}

configure() {
  local options=(-DCMAKE_BUILD_TYPE=RelWithDebInfo -DBUILD_TESTING=ON)
  # A build directory keeps the generator it began with.
  if command -v ninja >/dev/null && [[ ! -f $build/CMakeCache.txt ]]; then options+=(-G Ninja); fi
  if command -v ccache >/dev/null; then
    options+=(-DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
    # What one clone has compiled serves the next one, wherever it is.
    export CCACHE_BASEDIR=$root CCACHE_NOHASHDIR=1
  fi
  [[ $mode != sanitize ]] || options+=(-DSTILLPOINT_SANITIZE=address,undefined -DSTILLPOINT_BENCHMARKS=OFF)
  say "Configuring $build"
  cmake -S "$root" -B "$build" "${options[@]}" || fail "cmake"
}

# Helpers, and programs that are restored by them, have no terminal of their own: what a sanitizer finds is collected.
collect_reports() {
  reports=$build/sanitizer-reports
  rm -rf "$reports"
  mkdir -p "$reports"
  chmod 1777 "$reports"
  # LeakSanitizer stops a process by ptrace: a helper, which traces or is the init of a namespace, spins in it.
  export ASAN_OPTIONS=detect_leaks=0:log_path=$reports/asan UBSAN_OPTIONS=log_path=$reports/ubsan:print_stacktrace=1
}

print_reports() {
  local found=("$reports"/*)
  [[ -e ${found[0]} ]] || return 0
  say "Sanitizers reported"
  head -n 40 "${found[@]:0:5}"
  fail "${#found[@]} sanitizer reports in $reports"
}

compile() {
  say "Building with $jobs jobs"
  cmake --build "$build" --parallel "$jobs" || fail "the build"
}

# Name and reason of every test that was skipped, from CTest's log.
print_skipped() {
  awk '/^[0-9]+\/[0-9]+ Test: / { name = $3; next }
       reason_follows { print "  " name ": " $0; reason_follows = 0; next }
       /: Skipped$/ { reason_follows = 1 }' "$build/Testing/Temporary/LastTest.log"
}

run_tests() {
  say "Testing with $jobs jobs"
  local log=$build/ctest.log
  local status=0
  [[ $mode != sanitize ]] || collect_reports
  ctest --test-dir "$build" --parallel "$jobs" --output-on-failure --no-tests=error "${ctest_arguments[@]}" 2>&1 |
    tee "$log" || status=$?
  local total failed skipped
  total=$(sed -n 's/^.*tests failed out of \([0-9]*\)$/\1/p' "$log" | tail -n 1)
  failed=$(sed -n 's/^.*, \([0-9]*\) tests failed out of [0-9]*$/\1/p' "$log" | tail -n 1)
  skipped=$(grep -c '\*\*\*Skipped' "$log" || true)
  say "Summary"
  if ((skipped > 0)); then
    echo "Skipped, with what was missing:"
    print_skipped
  fi
  if [[ -z $total || -z $failed ]]; then fail "ctest did not finish; see $log"; fi
  echo "$((total - failed - skipped)) passed, $failed failed, $skipped skipped, of $total, in $SECONDS s"
  [[ $mode != sanitize ]] || print_reports
  if ((status != 0 || failed > 0)); then fail "$failed of $total tests"; fi
}

# clang-tidy needs the generated headers, so the tree is built first. What protoc generated is not looked at.
run_tidy() {
  say "clang-tidy"
  python3 - "$build/compile_commands.json" "$root" >"$build/tidy-files" <<'PYTHON' || fail "no compile_commands.json"
import json, sys
root = sys.argv[2] + "/"
files = {entry["file"] for entry in json.load(open(sys.argv[1]))}
for name in sorted(files):
    if name.startswith(root) and not name[len(root):].startswith("build") and name.endswith((".cc", ".c")):
        print(name)
PYTHON
  echo "$(wc -l <"$build/tidy-files") files"
  # GCC's warning names are not all known to Clang.
  xargs --arg-file="$build/tidy-files" --max-args=1 --max-procs="$jobs" \
    clang-tidy -p "$build" --quiet --warnings-as-errors='*' --extra-arg=-Wno-unknown-warning-option \
    2>"$build/tidy.err" || { grep -v 'warnings generated\|Suppressed\|Use -header-filter' "$build/tidy.err" | head -n 50 >&2 || true; fail "clang-tidy"; }
  echo "clean"
}

# True when an ordinary user, which tests run by root become now and then, can execute what is built in `$1`.
others_reach() {
  local directory=$1
  while [[ ! -d $directory ]]; do directory=$(dirname "$directory"); done
  setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all test -x "$directory"
}

case $mode in
  sanitize) : "${build:=$root/build-asan}" ;;
  *) : "${build:=$root/build}" ;;
esac
if [[ $mode != tidy && $EUID == 0 ]] && ! others_reach "$build"; then
  build=/var/cache/stillpoint/$(cksum <<<"$build" | cut -d ' ' -f 1)
  install -d -m 755 "${build%/*}" "$build" || fail "$build cannot be made"
  echo "No other user reaches this clone, and some tests run as one: building in $build"
fi
: "${jobs:=$(default_jobs)}"
[[ $install == no ]] || install_dependencies
configure
compile
if [[ $mode == tidy ]]; then run_tidy; else run_tests; fi
