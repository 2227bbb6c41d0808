#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The emulated sticks against zigbee-herdsman and xbee-api: installs those into the build directory,
# then runs cross.mjs. Says 77 (skipped) where there is no Node.js or no registry of packages.
set -eu

if [ $# -lt 2 ]; then
    echo "usage: run.sh PROGRAMS DIRECTORY [CASE]" >&2
    exit 64
fi
programs=$1 # the directory of cross_stick and cross_frames
directory=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)

skip() {
    echo "skipped: $*"
    exit 77
}

command -v node >/dev/null || skip "there is no node"
command -v npm >/dev/null || skip "there is no npm"
major=$(node -p 'process.versions.node.split(".")[0]')
[ "$major" -ge 18 ] || skip "node is version $major, which is older than 18"

install_modules() {
    rm -rf "$directory"
    mkdir -p "$directory"
    cp "$here/package.json" "$here/package-lock.json" "$directory/"
    # Nobody's scripts are run; the native module comes with builds for the usual machines.
    (cd "$directory" && timeout 120 npm ci --ignore-scripts --no-audit --no-fund --loglevel=error \
        --fetch-retries=1 --fetch-timeout=20000) >"$directory/log" 2>&1 || return 1
    touch "$directory/complete"
}

if ! [ -e "$directory/complete" ] || ! cmp -s "$here/package-lock.json" "$directory/package-lock.json"; then
    if ! install_modules; then
        cat "$directory/log"
        if grep -qE 'ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|network|E40[134]|E5[0-9][0-9]' \
            "$directory/log" || ! [ -s "$directory/log" ]; then
            skip "the registry of packages can't be reached"
        fi
        echo "run.sh: npm could not install what package-lock.json names" >&2
        exit 1
    fi
fi

exec node "$here/cross.mjs" "$programs" "$directory/node_modules" "$@"
