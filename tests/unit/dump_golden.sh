#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# sennet-dump against tests/golden/dump: dump_golden.sh SENNET_DUMP GOLDEN_DIRECTORY
# What it prints (errors behind the packets) and how it exits. After an intended change of the
# output, UPDATE=1 writes the expectations anew; read the difference before committing it.
set -u
PATH=$(dirname "$1"):$PATH # errors begin with the name that it was called by
dump=$(basename "$1")
cd "$2" || exit 1
failed=0
runs=0

# check NAME EXIT_CODE ARGUMENT...: standard input is the caller's.
check() {
    name=$1
    want=$2
    shift 2
    runs=$((runs + 1))
    actual=$("$dump" "$@" 2>&1; echo "exit $?")
    if [ -n "${UPDATE:-}" ]; then
        printf '%s\n' "$actual" >"$name.txt"
    fi
    if [ "$actual" != "$(cat "$name.txt")" ] || [ "${actual##*exit }" != "$want" ]; then
        echo "$name: expected (<) exit $want and this output, got (>):"
        printf '%s\n' "$actual" | diff "$name.txt" -
        failed=1
    fi
}

for capture in ethernet.pcap cooked-big-endian.pcap cooked2-nanoseconds.pcap loopback.pcap \
        openbsd-loopback.pcap raw-big-endian-nanoseconds.pcap big-endian.pcapng \
        little-endian.pcapng unsupported-link.pcap; do
    check "$capture" 0 -r "$capture"
done
check ends-within-a-record.pcap 66 -r ends-within-a-record.pcap
check json 0 -r ethernet.pcap --json
check json-hex 0 --json <hex-lines
check strict 1 --strict -r ethernet.pcap
check strict-good 0 --strict -r loopback.pcap
check one-port 0 -r ethernet.pcap -p 1999
check two-ports 0 -r ethernet.pcap -p 1 --port 1884
check standard-input 0 -r - <big-endian.pcapng
check hex-arguments 0 09 0C A0 00 21 00 05 34 32
# The case has the name of its input; nothing is written there.
# shellcheck disable=SC2094
check hex-lines 0 <hex-lines
# shellcheck disable=SC2094
check hex-bad-lines 66 --strict <hex-bad-lines
check hex-bad-argument 64 0g
check usage-two-sources 64 -r ethernet.pcap 0216
check usage-port 64 -r ethernet.pcap -p 65536
check usage-port-of-hex 64 -p 1884 0216
check usage-unknown 64 --loud
check no-file 66 -r does-not-exist.pcap
check no-capture 66 -r hex-lines
check empty 66 -r /dev/null
check help 0 --help

if ! "$dump" --version | grep -q '^sennet-dump [0-9]'; then
    echo "--version says: $("$dump" --version)"
    failed=1
fi
echo "$runs runs"
exit $failed
