#!/usr/bin/env bash
# Shows on this machine what Stillpoint does: installs what is missing, builds, runs the heat sample without a break, then
# again with a kill -9 at a random moment and a restart, and compares the two results bit for bit.
#
#   scripts/quickstart.sh [--build-dir DIR] [--no-install]
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

build=$root/build-quickstart
install=yes
while (($#)); do
  case $1 in
    --build-dir) build=$(realpath -m "${2:?--build-dir needs a directory}"); shift 2 ;;
    --no-install) install=no; shift ;;
    -h | --help) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "quickstart: unknown argument $1" >&2; exit 2 ;;
  esac
done

say() { printf '\n== %s\n' "$*"; }
fail() { printf '\nquickstart FAILED: %s\n' "$*" >&2; exit 1; }

# Editors and terminals leave descriptors open in their shells; a pipe among them would be a finding of the sample's.
for descriptor in "/proc/$$/fd/"*; do
  descriptor=${descriptor##*/}
  if ((descriptor > 2 && descriptor != 255)); then eval "exec $descriptor>&-"; fi
done

pid=
cleanup() {
  if [[ -n $pid ]] && kill -0 "$pid" 2>/dev/null; then kill -KILL "$pid" 2>/dev/null || true; fi
}
trap cleanup EXIT

if [[ $install == yes ]]; then
  say "Installing what is missing"
  scripts/install-deps.sh || fail "scripts/install-deps.sh did not succeed"
fi

say "Building into $build (some minutes; progress in $build.log)"
generator=()
if command -v ninja >/dev/null && [[ ! -f $build/CMakeCache.txt ]]; then generator=(-G Ninja); fi
cmake -S "$root" -B "$build" "${generator[@]}" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DBUILD_TESTING=OFF \
  -DSTILLPOINT_BENCHMARKS=OFF >"$build.log" 2>&1 || { tail -n 30 "$build.log"; fail "cmake; see $build.log"; }
cmake --build "$build" --parallel "$(nproc)" >>"$build.log" 2>&1 || { tail -n 30 "$build.log"; fail "the build; see $build.log"; }
rm -f "$build.log"
stillpoint=$build/tools/stillpoint
heat=$build/samples/heat/heat
[[ -x $heat ]] || fail "samples/heat was not built: libpng's headers are missing"
STILLPOINT_HELPER=$(find "$build/helper" -name stillpoint-helper -type f -perm -u+x | head -n 1)
[[ -n $STILLPOINT_HELPER ]] || fail "stillpoint-helper was not built"
export STILLPOINT_HELPER

"$stillpoint" check >"$build/check.txt" || { cat "$build/check.txt"; fail "a restart is not possible on this machine (see above)"; }

results=$build/quickstart
rm -rf "$results"
mkdir -p "$results"
cd "$results"
options=(--size 800 --steps 6000 --threads 4 --report-every 500 --checkpoint-every 500)

say "Run 1: without a break, without checkpoints"
started=$(date +%s%N)
"$heat" --size 800 --steps 6000 --threads 4 --report-every 500 --picture uninterrupted.png >uninterrupted.txt 2>uninterrupted.err ||
  { cat uninterrupted.err; fail "heat did not succeed"; }
milliseconds=$((($(date +%s%N) - started) / 1000000))
expected=$(grep '^checksum ' uninterrupted.txt) || fail "heat printed no checksum"
echo "$expected, after $milliseconds ms"

say "Run 2: the same, with checkpoints, and kill -9 at a random moment"
"$heat" "${options[@]}" --dir ckpt --picture restarted.png >interrupted.txt 2>interrupted.err &
pid=$!
while [[ ! -e ckpt/latest ]]; do
  kill -0 "$pid" 2>/dev/null || { cat interrupted.err; fail "heat ended before its first checkpoint"; }
  sleep 0.02
done
delay=$((RANDOM % (milliseconds / 2 + 1)))
sleep "$(printf '%d.%03d' $((delay / 1000)) $((delay % 1000)))"
kill -KILL "$pid" 2>/dev/null || fail "heat had ended before it could be killed; run the script again"
wait "$pid" 2>/dev/null && fail "heat ended by itself before it was killed; run the script again"
pid=
if grep -q '^checksum ' interrupted.txt; then fail "heat had finished before it was killed; run the script again"; fi
echo "Killed after it had printed: $(tail -n 1 interrupted.txt)"
"$stillpoint" list ckpt

say "Restart: stillpoint restart ckpt"
"$stillpoint" restart ckpt >restarted.txt 2>restarted.err || { cat restarted.err; fail "the restart did not succeed"; }
grep '^stillpoint: restored' restarted.err || fail "stillpoint did not say what it restored"
# Where heat's standard output was a file, the restarted heat goes on writing to that file.
actual=$(cat interrupted.txt restarted.txt | grep '^checksum ' | tail -n 1) || fail "the restarted heat printed no checksum"
echo "$actual"

[[ $actual == "$expected" ]] || fail "the results differ: $expected without a break, $actual after the restart"
cmp uninterrupted.png restarted.png || fail "the pictures differ"

say "What happened"
cat <<EXPLANATION
heat computed the same thing twice, with four threads. The second time it was killed with SIGKILL in the middle: no chance
to save anything. Stillpoint brought it back from the image that heat had last written of itself, inside the same function
call, with all its threads and memory, and it went on to the end. Both results are equal in every bit
($expected), and so are the pictures:
  $results/uninterrupted.png
  $results/restarted.png
EXPLANATION
