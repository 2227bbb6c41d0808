#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Hostile datagrams against the live daemon, built with sanitizers, while a normal node keeps
# publishing through it to a private mosquitto. Fails on a crash, a sanitizer report, a leak, or
# anything lost by the node.
#
#   scripts/hammer.sh [DATAGRAMS [SEED]]      (default 10 million: about half an hour)
set -eu
cd "$(dirname "$0")/.."
datagrams=${1:-10000000}
seed=${2:-$(date +%s)}

scripts/deps.sh test
cmake --preset asan >/dev/null
cmake --build --preset asan --target sennetd sennet-hammer
bin=build/asan/bin

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
cat >"$work/mosquitto.conf" <<CONF
listener $mqtt_port 127.0.0.1
allow_anonymous true
persistence false
log_type error
CONF
cat >"$work/gateway.conf" <<CONF
[gateway]
name = hammered
state_dir = $work/state
log_level = notice
[broker]
address = mqtt://127.0.0.1:$mqtt_port
[link hammer]
driver = udp
listen = 127.0.0.1:$udp_port
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

result=0
"$bin/sennet-hammer" "$udp_port" "$mqtt_port" "$datagrams" "$seed" || result=$?
kill -USR1 "$daemon_pid"
sleep 1
kill -TERM "$daemon_pid"
daemon_result=0
wait "$daemon_pid" || daemon_result=$?
daemon_pid=''
grep -aoE "(packets\.in|malformed\.[a-z]+|kernel_drops)=[0-9]+" "$work/log" | sort -u || true
if [ "$daemon_result" -ne 0 ] || grep -aqE 'ERROR: (Address|Leak|Undefined)|runtime error' "$work/log"; then
    echo "the daemon ended with status $daemon_result; the end of its log:" >&2
    tail -n 60 "$work/log" >&2
    exit 1
fi
[ "$result" -eq 0 ] && echo "survived: seed $seed"
exit "$result"
