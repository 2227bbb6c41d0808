#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Sticks that come and go: for every family a release build of the gateway with an emulated stick,
# forty nodes behind it, half of them asleep most of the time, and a private mosquitto; all families
# at once. The air loses 20 % of all packets and doubles 5 %, nodes get other 16-bit addresses, the
# stick's firmware starts again now and then, frames come damaged, and the stick is pulled out and
# comes back under another tty name, REPLUGS times in all.
#
#   scripts/stick-test.sh [REPLUGS [SEED]]           (default 1000: 200 of each family, half an hour)
#
# Fails when a message of QoS 1 or 2 was lost, one of QoS 2 came twice, a stick was not open again
# within two seconds of its return, a node lost its session, or the gateway kept descriptors or
# memory. Environment: FAMILIES ("znp ezsp deconz xbee serial"), BIN (another build's programs), KEEP
# (a directory for ledger, log and capture of each gateway).
set -eu
cd "$(dirname "$0")/.."
replugs=${1:-1000}
seed=${2:-$(date +%s)}
read -ra families <<<"${FAMILIES:-znp ezsp deconz xbee serial}"
each=$(((replugs + ${#families[@]} - 1) / ${#families[@]}))
period=6      # seconds that a stick is there, on average
reopened=2000 # milliseconds: not as late as that
growth=512    # KiB of the gateway from a tenth of the run to its end

. scripts/private.sh
results=$work
trap 'exit 130' INT
trap 'exit 143' TERM
bin=${BIN:-}
[ -n "$bin" ] || build_programs release sennetd sennet-sim

# The nodes of a plain line are named by their forwarder alone: no 16-bit address to change.
start_nodes() { # FAMILY
    local more=(--rejoin 2)
    [ "$1" != serial ] || more=(--framing hdlc)
    "$bin/sennet-sim" --stick "$1" --stick-link "$work/stick" --broker "mqtt://127.0.0.1:$mqtt_port" \
        --scenario tools/scenarios/stick.scenario --seed "$seed" --no-ack 150ms \
        --replug $period --replugs "$each" --reset 60 --line-faults 0.02 "${more[@]}" \
        --json "$work/json" --plain >"$work/ledger" 2>"$work/progress" &
    sim_pid=$!
    until grep -qs '^device' "$work/ledger"; do
        kill -0 "$sim_pid"
        sleep 0.1
    done
}

# Every second: open descriptors, resident KiB.
watch_gateway() {
    while kill -0 "$sim_pid" 2>/dev/null; do
        # shellcheck disable=SC2012 # they are numbers
        echo "$(ls "/proc/$daemon_pid/fd" | wc -l) $(resident)" >>"$work/samples"
        sleep 1
    done
}

# The middle of some lines of numbers: a stick that is out now has one descriptor less.
median() {
    sort -n | awk '{a[NR] = $1} END {print a[int((NR + 1) / 2)]}'
}

number() { # NAME, of the ledger
    sed -nE "s/.*\"$1\": ([0-9]+).*/\1/p" "$work/json" | head -n 1
}

breach() {
    echo "FAILED: $*"
    result=1
}

none() { # NUMBER WHAT
    [ "${1:-1}" -eq 0 ] || breach "${1:-?} x $2"
}

judge_sessions() {
    [ "$(number stalled_ms)" -lt 10000 ] || echo "the machine was busy with other things"
    none "$(number disconnected_by_gateway)" "nodes were told DISCONNECT"
    none "$(number timeouts)" "nodes gave up"
    none "$(number connects_refused)" "nodes were refused"
    none "$(number wills_unexpected)" "wills of nodes that were there"
    none "$(counter stats.engine lost)" "the gateway gave a node up for lost"
    [ "$result" -ne 0 ] || echo "sessions: all as they were, no node had to connect again"
}

judge_gateway() {
    local samples=$work/samples tenth fds=() kib=()
    tenth=$(($(wc -l <"$samples") / 10 + 1))
    fds=("$(head -n 30 "$samples" | cut -d' ' -f1 | median)"
        "$(tail -n 30 "$samples" | cut -d' ' -f1 | median)")
    kib=("$(sed -n 1p "$samples" | cut -d' ' -f2)" "$(sed -n "${tenth}p" "$samples" | cut -d' ' -f2)"
        "$(tail -n 1 "$samples" | cut -d' ' -f2)")
    echo "gateway: descriptors ${fds[0]} before, ${fds[1]} after; resident ${kib[0]} KiB at the start," \
        "${kib[1]} after a tenth, ${kib[2]} at the end; $usage of CPU"
    [ "${fds[1]}" -le "${fds[0]}" ] || breach "descriptors were kept"
    [ $((kib[2] - kib[1])) -le $growth ] || breach "more than $growth KiB were kept"
}

family() { # NAME
    result=0
    . scripts/private.sh
    trap 'exit 143' TERM
    start_broker 'max_queued_messages 0
set_tcp_nodelay true'
    start_nodes "$1"
    start_gateway "retry_interval = 2s
retry_count = 10
${KEEP:+pcap = $KEEP/$1.pcap}" "$(sed -n '/^\[link/,$p' "$work/ledger")
[topics]
1 = meters/reading"
    watch_gateway
    wait "$sim_pid" || result=1
    usage=$(ps -o cputime= -p "$daemon_pid")
    end_gateway || breach "the gateway ended with status $?"
    [ -z "${KEEP:-}" ] || cp "$work/log" "$KEEP/$1.log"
    [ -z "${KEEP:-}" ] || cp "$work/ledger" "$KEEP/$1.ledger"
    echo "==== $1 ===="
    if [ ! -s "$work/json" ]; then
        tail -n 3 "$work/progress"
        return 1
    fi
    sed -n '/^---- ledger/,$p' "$work/ledger"
    [ "$(number slowest_reopen_ms)" -lt $reopened ] || breach "opened again too late"
    judge_sessions
    judge_gateway
    return "$result"
}

echo "${families[*]}: $each replugs each, seed $seed;" \
    "$((each * (period + 1) / 60 + 1)) minutes or so"
pids=()
for name in "${families[@]}"; do
    (family "$name") >"$results/$name" 2>&1 &
    pids+=($!)
done

failed=''
at=0
for name in "${families[@]}"; do
    wait "${pids[$at]}" || failed="$failed $name"
    at=$((at + 1))
    cat "$results/$name"
done
if [ -n "$failed" ]; then
    echo "FAILED:$failed (seed $seed)"
    exit 1
fi
echo "OK: $((each * ${#families[@]})) replugs"
