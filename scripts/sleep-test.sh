#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The storm of sleepers: all nodes asleep, commands of QoS 1 sent to each, then all wake up within one
# second, while other nodes publish at QoS 1. Through a private mosquitto and a release build of the
# gateway, over UDP on loopback. Fails unless every node gets each command once, in order, PINGRESP
# last, and of the other nodes' acknowledgements 99 in a hundred come in time.
#
#   scripts/sleep-test.sh [SLEEPERS [COMMANDS [OTHERS [P99 [MORE_OPTIONS_OF_SENNET_SIM...]]]]]
#                                                      (default 1000, 100, 100, 200 ms)
set -eu
cd "$(dirname "$0")/.."
sleepers=${1:-1000}
commands=${2:-100}
others=${3:-100}
p99=${4:-200}
shift $(($# < 4 ? $# : 4))

scripts/deps.sh test
cmake --preset release >/dev/null
cmake --build --preset release --target sennetd sennet-sim
bin=build/release/bin

free_port() { # a loopback TCP port that nobody listens on
    local port
    for port in $(shuf -i 20000-32000 -n 50); do
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
    echo "no free port found" >&2
    exit 1
}

work=$(mktemp -d)
broker_pid='' daemon_pid=''
# shellcheck disable=SC2317 # called by the trap
stop_all() {
    [ -z "$daemon_pid" ] || kill "$daemon_pid" 2>/dev/null || true
    [ -z "$broker_pid" ] || kill "$broker_pid" 2>/dev/null || true
    rm -rf "$work"
}
trap stop_all EXIT

mqtt_port=$(free_port)
udp_port=$(free_port)
# Mosquitto drops what subscribers don't fetch fast enough, unless told not to.
cat >"$work/mosquitto.conf" <<CONF
listener $mqtt_port 127.0.0.1
allow_anonymous true
persistence false
max_queued_messages 0
set_tcp_nodelay true
log_type error
CONF
cat >"$work/gateway.conf" <<CONF
[gateway]
name = sleep-test
state_dir = $work/state
log_level = notice
max_memory = 1GiB
[broker]
address = mqtt://127.0.0.1:$mqtt_port
[link test]
driver = udp
listen = 127.0.0.1:$udp_port
[client *]
max_queue = $((commands + 100))
max_queue_bytes = $(((commands + 100) * 512))
CONF
chmod 755 "$work"
mosquitto=$(command -v mosquitto || echo /usr/sbin/mosquitto)
"$mosquitto" -c "$work/mosquitto.conf" &
broker_pid=$!
"$bin/sennetd" -c "$work/gateway.conf" 2>"$work/log" &
daemon_pid=$!
tries=0
until grep -aq broker.connected "$work/log"; do # before that, nodes are refused
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || { cat "$work/log" >&2; exit 1; }
    sleep 0.1
done

# The sleep is long, so that nobody wakes up before the commands have come.
result=0
"$bin/sennet-sim" --gateway "127.0.0.1:$udp_port" --broker "mqtt://127.0.0.1:$mqtt_port" --plain \
    --sleepy --nodes "$sleepers" --sleep 600 --wake-together --wake-jitter 1 \
    --commands-per-sleep "$commands" --others "$others" --rate 10 --qos 1 \
    --rounds 1 --seconds 300 --drain 30 --p99 "${p99}ms" "$@" || result=$?

kill -USR1 "$daemon_pid"
sleep 1
echo "the gateway: $(ps -o cputime= -p "$daemon_pid") of CPU," \
    "$(awk '/VmHWM/ {print $2, $3}' "/proc/$daemon_pid/status") at most," \
    "dropped: $(grep -aoE 'drop\.[a-z_0-9.]+=[1-9][0-9]*' "$work/log" | sort -u | tr '\n' ' ')"
kill -TERM "$daemon_pid"
wait "$daemon_pid" || result=1
daemon_pid=''
exit "$result"
