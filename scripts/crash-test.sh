#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# kill -9, again and again: 50 nodes, a third of them asleep most of the time, publish and are sent
# commands with all QoS, through a private mosquitto and a release build of the gateway, while the
# gateway is killed at random moments and started again. Fails when anything acknowledged is lost,
# anything of QoS 2 comes twice, or a node notices (it is told to reconnect, "congestion",
# or a topic id that it was told before).
#
# With SIGNALS = mix it is also told to end (SIGTERM) and to reload (SIGHUP) at such moments.
#
#   scripts/crash-test.sh [ROUNDS [SEED [DURABILITY [kill|mix]]]]   (default 1000, 1, process, kill)
set -eu
cd "$(dirname "$0")/.."
rounds=${1:-1000}
seed=${2:-1}
durability=${3:-process}
signals=${4:-kill}

. scripts/private.sh
build_programs release sennetd sennet-sim

# Whatever mosquitto keeps for a gateway that is away, it must not drop.
start_broker 'max_queued_messages 0
set_tcp_nodelay true'
start_gateway 'retry_interval = 1s' "[store]
durability = $durability
[topics]
1 = meters/reading
[client *]
max_queue = 10000
max_queue_bytes = 10MiB"

cat >"$work/nodes.scn" <<SCENARIO
[run]
drain = 60s
gateway-dies = yes
[group active]
nodes = 33
rate = 2
qos = mix
topics = mix
clean = no
wills = yes
keep-alive = 300s
downlink = 0.5
retry-interval = 1
retry-count = 60
[group sleepers]
nodes = 17
sleepy = yes
clean = no
sleep = 3s
wake-publish = 2
commands-per-sleep = 2
qos = 1
retry-interval = 1
retry-count = 60
SCENARIO
"$bin/sennet-sim" --gateway "127.0.0.1:$udp_port" --broker "mqtt://127.0.0.1:$mqtt_port" --quiet \
    --scenario "$work/nodes.scn" --seed "$seed" --observe-qos 2 --json "$work/ledger.json" &
sim_pid=$!

RANDOM=$seed
sleep 2
slowest=0
for round in $(seq "$rounds"); do
    sleep "0.$((RANDOM % 900 + 100))"
    signal=KILL
    if [ "$signals" = mix ]; then
        signal=$(shuf -e -n 1 --random-source=<(yes "$seed $round") KILL TERM HUP)
    fi
    kill "-$signal" "$daemon_pid"
    [ "$signal" != HUP ] || continue
    wait "$daemon_pid" 2>/dev/null || true
    [ $((RANDOM % 4)) -ne 0 ] || sleep "0.$((RANDOM % 900 + 100))"
    run_gateway
    size=$(stat -c %s "$work/state/sennet.db" 2>/dev/null || echo 0)
    [ "$size" -le "$slowest" ] || slowest=$size
    if [ $((round % 100)) -eq 0 ]; then
        echo "killed $round times"
    fi
    if ! kill -0 "$sim_pid" 2>/dev/null; then
        echo "the simulator has ended early" >&2
        break
    fi
done
sleep 3
kill -INT "$sim_pid"
result=0
wait "$sim_pid" || result=$?
end_gateway || result=1

# That a node knows a topic id is learned from its REGACK, and rests on nothing: with `power` the row may
# not be there yet when the gateway is killed, and the node is told once more.
said="disconnected_by_gateway|refused_congestion|connects_refused"
[ "$durability" = power ] || said="$said|told_again"
noticed=$(grep -oE "\"($said)\": [1-9][0-9]*" "$work/ledger.json" || true)
echo "killed $rounds times ($signals, $durability, seed $seed); the database at most $slowest octets;" \
    "noticed by nodes: ${noticed:-nothing}"
grep -aE 'level=(error|warn)|ERROR|WARN' "$work/log" | grep -avE 'broker\.' | sort | uniq -c | sort -rn | head -5
[ -z "$noticed" ] || result=1
exit "$result"
