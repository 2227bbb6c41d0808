#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The broker is out of reach while nodes publish at QoS 1: every message that a node was told to be
# safe must arrive, in the order of its node; nodes must be answered at once, and the gateway must
# neither grow nor spin meanwhile. Through a private mosquitto and a release build of the gateway.
#
#   scripts/outage-test.sh [SECONDS [MESSAGES [drop|stop|kill|dns]]]   (default 600, 1000000, drop)
#
#   drop   connections are accepted and dropped
#   stop   nothing is ever answered
#   kill   mosquitto is killed, its port is closed; it comes back with the sessions it had saved
#   dns    the connection breaks, and the name server does not answer any more
#
# Environment: P99_MS, the limit of the nodes' 99th percentile (default 50).
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-600}
messages=${2:-1000000}
how=${3:-drop}
nodes=100
rate=$((messages / seconds / nodes))
[ "$rate" -ge 1 ] || rate=1
published_for=$((seconds + 20))

. scripts/private.sh
build_programs asan cable resolver
build_programs release sennetd sennet-sim

# Whatever it has taken, mosquitto hands on at once, and does not drop.
options="max_queued_messages 0
max_inflight_messages 0
set_tcp_nodelay true"
if [ "$how" = kill ]; then
    mkdir -m 777 "$work/mosquitto"
    options+="
persistence true
persistence_location $work/mosquitto/"
fi
start_broker "$options"
broker_port=$mqtt_port
if [ "$how" != kill ]; then
    "${SENNET_BIN:-build/asan/bin}/cable" "$broker_port" >"$work/cable" &
    cable_pid=$!
    until [ -s "$work/cable" ]; do sleep 0.1; done
    mqtt_port=$(cat "$work/cable")
fi
if [ "$how" = dns ]; then
    echo up >"$work/resolver"
    broker_host=broker.test
    gateway_env=(LD_PRELOAD="${SENNET_BIN:-$PWD/build/asan/bin}/../tests/shim/libresolver.so"
        SENNET_RESOLVER="$work/resolver" ASAN_OPTIONS=verify_asan_link_order=0)
fi
start_gateway '' "[broker]
reconnect_max = 1s
[store]
spool_messages = $((rate * nodes * (published_for + 10)))
spool_bytes = 1GiB
max_size = 8GiB"

take_away() {
    case $how in
    drop) kill -USR1 "$cable_pid" ;;
    stop) kill -STOP "$cable_pid" ;;
    kill)
        kill -KILL "$broker_pid"
        wait "$broker_pid" 2>/dev/null || true
        ;;
    dns)
        echo hang >"$work/resolver"
        kill -USR1 "$cable_pid"
        ;;
    esac
}

give_back() {
    case $how in
    drop) kill -USR2 "$cable_pid" ;;
    stop) kill -CONT "$cable_pid" ;;
    kill) run_broker ;;
    dns)
        kill -USR2 "$cable_pid"
        echo up >"$work/resolver"
        ;;
    esac
}

"$bin/sennet-sim" --gateway "127.0.0.1:$udp_port" --broker "mqtt://127.0.0.1:$broker_port" --quiet \
    --nodes "$nodes" --rate "$rate" --qos 1 --observe-qos 1 --seconds "$published_for" --drain 300 \
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
# The first NAME in the ledger behind a line that has PLACE.
said() { grep -m 1 "$1" "$work/ledger.json" | grep -oE "\"$2\": [0-9]+" | grep -oE '[0-9]+$'; }

sleep 9
[ "$how" != kill ] || kill -USR1 "$broker_pid" # saves the sessions
sleep 1
resident_before=$(resident) ticks_before=$(ticks) written_before=$(written)
take_away
sleep "$seconds"
waited=$(waiting)
resident_after=$(resident)
used=$((($(ticks) - ticks_before) * 10)) wrote=$(($(written) - written_before))
begun=$(now_ms)
give_back
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
[ "$how" = kill ] || kill "$cable_pid"
p99=$(said '"publish_us"' p99)
reordered=$(said '"qos_1"' reordered)
noticed=$(grep -oE '"(disconnected_by_gateway|refused_congestion|timeouts)": [1-9][0-9]*' \
    "$work/ledger.json" || true)
echo "outage of $seconds s ($how): $waited messages waited, gone $drained ms after its end" \
    "($((waited * 1000 / (drained > 0 ? drained : 1)))/s, reconnecting included);" \
    "nodes answered after $(said '"publish_us"' p50) us (p50), $p99 us (p99)," \
    "$(said '"publish_us"' max) us at most, repeated $(said '"retransmissions"' retransmissions)," \
    "out of order $reordered; resident $resident_before KiB before, $resident_after KiB at its end;" \
    "$used ms of CPU, $((wrote / (waited > 0 ? waited : 1))) octets written per message"
fail() {
    echo "$1" >&2
    result=1
}
[ "$reordered" -eq 0 ] || fail "messages of a node arrived out of order"
if [ -n "$noticed" ]; then
    fail "nodes noticed: $noticed"
    grep -aE ' (stats\.spool|stats\.store|store\.|spool\.|broker\.)' "$work/log" | tail -20 >&2
fi
[ "$p99" -lt $((${P99_MS:-50} * 1000)) ] || fail "one node in a hundred waited for ${P99_MS:-50} ms"
[ $((resident_after - resident_before)) -le 65536 ] || fail "the gateway grew by more than 64 MiB"
[ "$used" -lt $((seconds * 600)) ] || fail "the gateway was busy most of the time"
exit "$result"
