#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What the gateway writes to its disk, of the kernel's count (write_bytes of /proc/PID/io, which is what
# goes to a medium, also when a block is changed several times before), for each kind of traffic, through
# a private mosquitto and a release build: octets per message, and per hour at that rate. The state_dir
# lies under TMPDIR, which must be on a disk: nothing is ever written to a tmpfs.
#
#   scripts/wear.sh [SECONDS [DURABILITY [NODES]]]        (per kind of traffic; default 30, process, 100)
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-30}
durability=${2:-process}
nodes=${3:-100}

. scripts/private.sh
build_programs asan cable
build_programs release sennetd sennet-sim
if [ "$(stat -f -c %T "$work")" = tmpfs ]; then
    echo "$work is in memory: set TMPDIR to a directory on a disk" >&2
    exit 1
fi

start_broker 'max_queued_messages 0
set_tcp_nodelay true'
broker_port=$mqtt_port
"${SENNET_BIN:-build/asan/bin}/cable" "$broker_port" >"$work/cable" &
cable_pid=$!
until [ -s "$work/cable" ]; do sleep 0.1; done
mqtt_port=$(cat "$work/cable")

# Its log goes through a pipe: it is none of the store's.
run_gateway() {
    env "${gateway_env[@]}" "$bin/sennetd" -c "$work/gateway.conf" 2> >(cat >>"$work/log") &
    daemon_pid=$!
}
start_gateway '' "[broker]
reconnect_max = 1s
[store]
durability = $durability"

written() { awk '/^write_bytes/ {print $2}' "/proc/$daemon_pid/io"; }

# Name of the traffic, messages per second of all nodes together, options of sennet-sim.
kind() {
    local name=$1 rate=$2 before after octets
    shift 2
    "$bin/sennet-sim" --gateway "127.0.0.1:$udp_port" --broker "mqtt://127.0.0.1:$broker_port" --quiet \
        --nodes "$nodes" --id-prefix "w$RANDOM" --seconds $((seconds + 8)) --drain 30 "$@" \
        >"$work/report" 2>&1 &
    local sim_pid=$!
    sleep 5
    [ "$name" != 'broker away, QoS 1 up' ] || kill -USR1 "$cable_pid"
    sleep 1
    before=$(written)
    sleep "$seconds"
    after=$(written)
    [ "$name" != 'broker away, QoS 1 up' ] || kill -USR2 "$cable_pid"
    if ! wait "$sim_pid"; then
        cat "$work/report" >&2
        exit 1
    fi
    octets=$((after - before))
    awk -v name="$name" -v octets="$octets" -v seconds="$seconds" -v rate="$rate" 'BEGIN {
        per = "-"
        if (rate > 0)
            per = sprintf("%.0f", octets / seconds / rate)
        else
            rate = "-"
        printf("| %s | %s | %s | %.1f |\n", name, rate, per, octets / seconds * 3600 / 1048576)
    }'
}

echo "durability $durability, $nodes nodes, $seconds s of each"
echo "| Traffic | messages/s | octets written per message | MiB per hour |"
echo "|---|---|---|---|"
kind 'nothing but keep alive' 0 --rate 0.001 --keep-alive 5 --topics short
kind 'QoS 0 up' "$nodes" --rate 1 --qos 0
kind 'QoS 1 up' "$nodes" --rate 1 --qos 1
kind 'QoS 2 up' "$nodes" --rate 1 --qos 2
kind 'QoS 0 down' "$nodes" --rate 0.001 --topics short --downlink 1 --qos 0
kind 'QoS 1 down' "$nodes" --rate 0.001 --topics short --downlink 1 --qos 1
kind 'QoS 2 down' "$nodes" --rate 0.001 --topics short --downlink 1 --qos 2
kind 'sleepers, 2 s each, nothing waits' 0 --sleepy --sleep 2
kind 'the same, one message of QoS 0 each time' $((nodes / 2)) --sleepy --sleep 2 \
    --commands-per-sleep 1 --qos 0
kind 'the same, one message of QoS 1 each time' $((nodes / 2)) --sleepy --sleep 2 \
    --commands-per-sleep 1 --qos 1
kind 'broker away, QoS 1 up' "$nodes" --rate 1 --qos 1
end_gateway
kill "$cable_pid"
