#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Hostile datagrams against the live daemon, built with sanitizers, while a normal node keeps
# publishing through it to a private mosquitto. Fails on a crash, a sanitizer report, a leak, or
# anything lost by the node.
#
#   scripts/hammer.sh [DATAGRAMS [SEED]]      (default 10 million: a minute or two)
set -eu
cd "$(dirname "$0")/.."
datagrams=${1:-10000000}
seed=${2:-$(date +%s)}

. scripts/private.sh
build_programs asan sennetd sennet-hammer

start_broker ''
start_gateway '' ''
result=0
"$bin/sennet-hammer" "$udp_port" "$mqtt_port" "$datagrams" "$seed" || result=$?
daemon_result=0
end_gateway || daemon_result=$?
grep -aoE "(packets\.in|malformed\.[a-z]+|kernel_drops)=[0-9]+" "$work/log" | sort -u || true
if [ "$daemon_result" -ne 0 ] || grep -aqE 'ERROR: (Address|Leak|Undefined)|runtime error' "$work/log"; then
    echo "the daemon ended with status $daemon_result; the end of its log:" >&2
    tail -n 60 "$work/log" >&2
    exit 1
fi
[ "$result" -eq 0 ] && echo "survived: seed $seed"
exit "$result"
