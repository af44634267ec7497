#!/usr/bin/env bash
# Installs the Debian packages that Stillpoint needs and that are missing; does nothing, and needs no privilege, when all
# are there.
#
#   scripts/install-deps.sh [--tests] [--tidy] [--list]
#
#   (none)   what the build needs, the sample included
#   --tests  and what the tests need: the programs they checkpoint, a second compiler
#   --tidy   and clang-tidy
#   --list   only prints the names of the packages that are missing
set -euo pipefail

build_packages=(
  g++                 # C++20
  cmake
  ninja-build
  pkgconf             # finds xxHash
  libabsl-dev
  libprotobuf-dev
  protobuf-compiler
  libxxhash-dev
  libpng-dev          # samples/heat draws its field
)
test_packages=(
  libgtest-dev
  libgmock-dev
  libbenchmark-dev    # bench/
  clang               # the consumer tests build with GCC and with Clang
  libcap2-bin         # setcap, for a helper with file capabilities
  git
  # programs that are checkpointed as they come from Debian
  gzip
  libmpich-dev        # mpicc.mpich
  make
  mpich
  nginx-light
  perl
  postgresql
  python3
  redis-server
  sqlite3
)
tidy_packages=(clang-tidy)

packages=("${build_packages[@]}")
list_only=no
while (($#)); do
  case $1 in
    --tests) packages+=("${test_packages[@]}") ;;
    --tidy) packages+=("${tidy_packages[@]}") ;;
    --list) list_only=yes ;;
    -h | --help) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "install-deps: unknown argument $1" >&2; exit 2 ;;
  esac
  shift
done

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "install-deps: this is not a Debian system; Stillpoint needs what these packages hold: ${packages[*]}" >&2
  exit 1
fi

installed() { [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]; }

missing=()
for package in "${packages[@]}"; do
  installed "$package" || missing+=("$package")
done
if [[ $list_only == yes ]]; then
  ((${#missing[@]} == 0)) || printf '%s\n' "${missing[@]}"
  exit 0
fi
if ((${#missing[@]} == 0)); then
  echo "install-deps: everything is there"
  exit 0
fi

as_root=()
if ((EUID != 0)); then
  if ! command -v sudo >/dev/null; then
    echo "install-deps: missing ${missing[*]}; become root (or install sudo) and run: apt-get install ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi

# A package that brings a service must not start it because somebody runs the tests.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
  "${as_root[@]}" chmod 755 "$policy"
  trap '"${as_root[@]}" rm -f "$policy"' EXIT
fi

install_packages() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 \
    install --yes --quiet --no-install-recommends "$@"
}
# The server's package makes a cluster for the whole system, which the tests have no use for: they make their own.
without_a_cluster() {
  [[ " ${missing[*]} " == *" postgresql "* ]] || return 0
  ! installed postgresql-common || return 0
  install_packages postgresql-common || return 1
  echo 'create_main_cluster = false' | "${as_root[@]}" tee -a /etc/postgresql-common/createcluster.conf >/dev/null
}
install() { without_a_cluster && install_packages "${missing[@]}"; }
update() {
  "${as_root[@]}" apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 update --quiet
}

echo "install-deps: installing ${missing[*]}"
# The package lists of a fresh machine are missing, and those of an old one out of date.
install || { update && install; } || { echo "install-deps: apt-get could not install ${missing[*]}" >&2; exit 1; }
