#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Chaos in virtual time, in full: each seed is a day of 200 nodes in bad air (tests/sim/chaos/), on
# all processors, optimised and with assertions.
#
#   chaos.sh SEEDS [FIRST_SEED]
#
# Environment: CHAOS_NODES (200), CHAOS_MINUTES (1440), CHAOS_RESTARTS (0: never; else the gateway is
# killed every so many seconds or so), CHAOS_FAILURES (0; its store fails that often). Prints what
# failed, with the command that plays it again, and a summary; exit status 1 if anything failed.
set -eu

usage() {
    echo "Usage: chaos.sh SEEDS [FIRST_SEED]" >&2
    exit 2
}

seeds=${1:-}
first=${2:-1}
case $seeds$first in
'' | *[!0-9]*) usage ;;
esac
[ "$seeds" -gt 0 ] || usage

cd "$(dirname "$0")/.."
cmake -S . -B build/chaos -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo \
    -DCMAKE_C_FLAGS_RELWITHDEBINFO="-O2 -g" -DSENNET_MAN=OFF >/dev/null
cmake --build build/chaos --target sennet-chaos >/dev/null

jobs=$(nproc)
[ "$jobs" -le "$seeds" ] || jobs=$seeds
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A share of the seeds for each processor, one behind the other. What fails is seen at once.
share() {
    build/chaos/bin/sennet-chaos --nodes "${CHAOS_NODES:-200}" --minutes "${CHAOS_MINUTES:-1440}" \
        --restarts "${CHAOS_RESTARTS:-0}" --failures "${CHAOS_FAILURES:-0}" \
        --seed "$2" --seeds "$3" --figures 2>&1 | tee "$work/$1" |
        grep --line-buffered -A1 '^seed ' || true
}

start=$(date +%s)
at=$first
job=0
while [ "$job" -lt "$jobs" ]; do
    n=$(((seeds + jobs - 1 - job) / jobs))
    share "$job" "$at" "$n" &
    at=$((at + n))
    job=$((job + 1))
done
wait
seconds=$(($(date +%s) - start))

if [ "$(grep -c -h '^figures ' "$work"/* | awk '{ n += $1 } END { print n }')" -ne "$jobs" ]; then
    echo "chaos.sh: a program has died:" >&2
    cat "$work"/* >&2
    exit 1
fi

# Adds up the shares and lets the program judge and print the sum.
grep -h '^figures ' "$work"/* | awk '
    { for (i = 2; i <= NF; i++) sum[i] += $i; n = NF }
    END { for (i = 2; i <= n; i++) printf("%s%.0f", (i > 2) ? " " : "", sum[i]); print "" }' >"$work/sum"
status=0
build/chaos/bin/sennet-chaos --nodes "${CHAOS_NODES:-200}" --sum <"$work/sum" || status=1
echo "seeds $first to $((first + seeds - 1)) on $jobs processors in $seconds s"
exit $status
