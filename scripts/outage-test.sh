#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The broker is out of reach while nodes publish at QoS 1: every message that a node was told to be
# safe must arrive, in the order of its node, and the gateway must not grow meanwhile. Through a
# private mosquitto, a release build of the gateway, and a cable between the two that is pulled (drop:
# connections are accepted and dropped) or goes dead (stop: nothing is ever answered).
#
#   scripts/outage-test.sh [SECONDS [MESSAGES [drop|stop]]]          (default 600, 1000000, drop)
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-600}
messages=${2:-1000000}
how=${3:-drop}
nodes=100

. scripts/private.sh
build_programs asan cable
build_programs release sennetd sennet-sim

start_broker 'max_queued_messages 0
set_tcp_nodelay true'
broker_port=$mqtt_port
"${SENNET_BIN:-build/asan/bin}/cable" "$broker_port" >"$work/cable" &
cable_pid=$!
until [ -s "$work/cable" ]; do sleep 0.1; done
mqtt_port=$(cat "$work/cable")
start_gateway '' "[broker]
reconnect_max = 1s
[store]
spool_messages = $((messages * 2))
spool_bytes = 1GiB
max_size = 8GiB"

rate=$((messages / seconds / nodes))
[ "$rate" -ge 1 ] || rate=1
"$bin/sennet-sim" --gateway "127.0.0.1:$udp_port" --broker "mqtt://127.0.0.1:$broker_port" --quiet \
    --nodes "$nodes" --rate "$rate" --qos 1 --observe-qos 1 --seconds $((seconds + 20)) --drain 300 \
    --json "$work/ledger.json" &
sim_pid=$!

ticks() { awk '{print $14 + $15}' "/proc/$daemon_pid/stat"; }
written() { awk '/^write_bytes/ {print $2}' "/proc/$daemon_pid/io"; }
waiting() {
    kill -USR1 "$daemon_pid"
    sleep 0.2
    counter stats.spool messages
}
now_ms() { date +%s%3N; }

sleep 10
resident_before=$(resident) ticks_before=$(ticks) written_before=$(written)
if [ "$how" = stop ]; then kill -STOP "$cable_pid"; else kill -USR1 "$cable_pid"; fi
sleep "$seconds"
waited=$(waiting)
resident_after=$(resident)
used=$(($(ticks) - ticks_before)) wrote=$(($(written) - written_before))
begun=$(now_ms)
if [ "$how" = stop ]; then kill -CONT "$cable_pid"; else kill -USR2 "$cable_pid"; fi
until [ "$(waiting)" -lt $((rate * nodes + 100)) ]; do
    if [ $(($(now_ms) - begun)) -gt 900000 ]; then
        echo "not drained after 15 minutes" >&2
        break
    fi
done
drained=$(($(now_ms) - begun))

result=0
wait "$sim_pid" || result=$?
end_gateway || result=1
kill "$cable_pid"
echo "outage of $seconds s ($how): $waited messages waited, gone $drained ms after its end" \
    "($((waited * 1000 / (drained > 0 ? drained : 1)))/s, reconnecting included);" \
    "resident $resident_before KiB before, $resident_after KiB at its end;" \
    "$((used * 10)) ms of CPU, $((wrote / (waited > 0 ? waited : 1))) octets written per message"
if [ $((resident_after - resident_before)) -gt 65536 ]; then
    echo "the gateway grew by more than 64 MiB" >&2
    result=1
fi
exit "$result"
