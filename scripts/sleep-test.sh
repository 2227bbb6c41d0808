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

. scripts/private.sh
build_programs release sennetd sennet-sim

# Mosquitto drops what subscribers don't fetch fast enough, unless told not to.
start_broker 'max_queued_messages 0
set_tcp_nodelay true'
start_gateway 'max_memory = 1GiB' "[client *]
max_queue = $((commands + 100))
max_queue_bytes = $(((commands + 100) * 512))"

# The sleep is long, so that nobody wakes up before the commands have come.
result=0
"$bin/sennet-sim" --gateway "127.0.0.1:$udp_port" --broker "mqtt://127.0.0.1:$mqtt_port" --plain \
    --sleepy --nodes "$sleepers" --sleep 600 --wake-together --wake-jitter 1 \
    --commands-per-sleep "$commands" --others "$others" --rate 10 --qos 1 \
    --rounds 1 --seconds 300 --drain 30 --p99 "${p99}ms" "$@" || result=$?

usage="$(ps -o cputime= -p "$daemon_pid") of CPU, $(awk '/VmHWM/ {print $2, $3}' \
    "/proc/$daemon_pid/status") at most"
end_gateway || result=1
echo "the gateway: $usage," \
    "dropped: $(grep -aoE 'drop\.[a-z_0-9.]+=[1-9][0-9]*' "$work/log" | sort -u | tr '\n' ' ')"
exit "$result"
