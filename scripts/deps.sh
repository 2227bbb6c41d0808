#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Installs, with apt, exactly those packages of a profile that are missing, and says which.
# When nothing is missing it needs neither the network nor root.
set -eu

usage() {
    cat <<'END'
usage: deps.sh [--list] PROFILE...

  build   what it takes to build Sennet
  test    build, and what the tests need
  demo    build, and a broker with its command line clients
  check   test, and the tools of scripts/check.sh
  fuzz    test, and clang with its run-time libraries
  cross   test, and Node.js with npm (270 MB) for the test against foreign hosts

  --list  print the packages that are missing, install nothing
END
}

packages_of() {
    case $1 in
    build)
        echo build-essential ca-certificates cmake ninja-build pkg-config
        echo libuv1-dev libpaho-mqtt-dev libssl-dev libserialport-dev libsqlite3-dev scdoc
        ;;
    test)
        packages_of build
        echo check mosquitto mosquitto-clients openssl tshark valgrind
        ;;
    demo)
        packages_of build
        echo mosquitto mosquitto-clients
        ;;
    check)
        packages_of test
        echo clang-format-14 clang-tidy-14 cppcheck shellcheck codespell
        ;;
    fuzz)
        packages_of test
        echo clang libclang-rt-14-dev
        ;;
    cross)
        packages_of test
        echo nodejs npm
        ;;
    *)
        echo "deps.sh: unknown profile '$1'" >&2
        usage >&2
        return 64
        ;;
    esac
}

is_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

list_only=no
wanted=
for argument; do
    case $argument in
    --list) list_only=yes ;;
    --help | -h)
        usage
        exit 0
        ;;
    *)
        names=$(packages_of "$argument")
        wanted="$wanted $names"
        ;;
    esac
done
if [ -z "$wanted" ]; then
    usage >&2
    exit 64
fi
wanted=$(printf '%s' "$wanted" | tr -s '[:space:]' '\n' | sort -u)

if ! command -v dpkg-query >/dev/null; then
    echo "deps.sh: this is no Debian system, so nothing is installed for you. What Debian calls" >&2
    printf '%s\n' "$wanted" >&2
    echo "deps.sh: has to be there; trying to go on." >&2
    exit 0
fi

set --
for package in $wanted; do
    is_installed "$package" || set -- "$@" "$package"
done

if [ $# -eq 0 ]; then
    [ "$list_only" = yes ] || echo "deps.sh: nothing is missing"
    exit 0
fi
if [ "$list_only" = yes ]; then
    printf '%s\n' "$@"
    exit 0
fi

if [ "$(id -u)" -eq 0 ]; then
    as_root=""
elif command -v sudo >/dev/null; then
    as_root="sudo"
else
    echo "deps.sh: missing: $*" >&2
    echo "deps.sh: run this as root, or install sudo, or have these packages installed" >&2
    exit 77
fi

apt_get() {
    # The lock may be held by the unattended upgrade of a machine that has just booted.
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y \
        -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@"
}

echo "deps.sh: installing: $*"
apt_get update
apt_get install --no-install-recommends "$@"
echo "deps.sh: installed: $*"
