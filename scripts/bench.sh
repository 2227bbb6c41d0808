#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# How fast the gateway is, what it costs and whether everything arrives: a release build, a private
# mosquitto or a stub in its place, many nodes over UDP. Prints tables in Markdown.
#
#   scripts/bench.sh [OPTION]... [GROUP...]
#
#   --quick            a few seconds, to see that all works; the figures mean nothing
#   --repeat N         medians of N runs (3)
#   --seconds S        of each measurement (2)
#   --durability D     of the gateway's store: off, process or power (process)
#   --conf FILE        more lines of configuration for the gateway
#   --json FILE        append a JSON object per figure to this file
#   GROUP              up down fan pace stub connect flush memory idle crowd stick; all but stick
#
# Everything is measured beside its raw limit of the same run, but a machine that is busy otherwise
# takes from each another part: run it where nothing else runs. What the figures are: sennet-bench(1).
# What came out: docs/performance.md.
set -eu
cd "$(dirname "$0")/.."

quick=no repeat=3 seconds=2 durability=process conf='' json=''
while [ $# -gt 0 ]; do
    case $1 in
    --quick) quick=yes ;;
    --repeat | --seconds | --durability | --conf | --json)
        [ $# -gt 1 ] || { echo "bench.sh: $1 needs a value" >&2; exit 64; }
        declare "${1#--}=$2"
        shift
        ;;
    -*)
        sed -n 's/^# \{0,1\}//; 3,17p' "$0" >&2
        exit 64
        ;;
    *) break ;;
    esac
    shift
done
[ -z "$json" ] || json=$(realpath "$json")
[ $# -gt 0 ] || set -- up down fan pace stub connect flush memory idle crowd

. scripts/private.sh
build_programs release sennetd sennet-bench >/dev/null

busy=$(cut -d' ' -f1 /proc/loadavg)
if [ "$quick" = no ] && awk -v busy="$busy" 'BEGIN { exit !(busy > 0.5) }'; then
    echo "bench.sh: the machine has a load of $busy already: these figures will be worse" >&2
fi

# Limits that would be reached, and a broker that is asked again at once: the stub comes second.
gateway_lines='max_clients = 250000
max_memory = 1GiB
max_waiting = 10000000'
# shellcheck disable=SC2034 # for start_gateway
broker_lines='reconnect_min = 50ms
reconnect_max = 50ms'
more_lines() {
    printf '[store]\ndurability = %s\n' "$durability"
    [ -z "$conf" ] || cat "$conf"
}

end_programs() {
    local pid
    for pid in "$daemon_pid" "$broker_pid"; do
        [ -z "$pid" ] || kill "$pid"
        [ -z "$pid" ] || wait "$pid" || true
    done
    daemon_pid='' broker_pid=''
    rm -rf "$work/state"
}

status=0 head=''
# bench BROKER LABEL OPTION|FIGURE...: with a fresh gateway.
bench() {
    local broker=$1 label=$2 where
    shift 2
    if [ "$broker" = stub ]; then
        mqtt_port=$(free_port)
        configure_gateway "$gateway_lines" "$(more_lines)"
        run_gateway
        where="--stub $mqtt_port"
    else
        # Unbounded, because mosquitto drops what exceeds its bounds.
        start_broker 'max_inflight_messages 0
max_queued_messages 0
set_tcp_nodelay true'
        start_gateway "$gateway_lines" "$(more_lines)"
        where="--broker 127.0.0.1:$mqtt_port"
    fi
    # shellcheck disable=SC2086 # words are wanted
    "$bin/sennet-bench" --gateway "127.0.0.1:$udp_port" $where --pid "$daemon_pid" \
        --label "$label, store $durability" --seconds "$seconds" --repeat "$repeat" \
        ${json:+--json "$json"} ${head:+"$head"} "$@" || status=1
    end_programs
}

# Each of the figures with each of the numbers.
with() { # NUMBERS FIGURE...
    local numbers=$1 figure n
    shift
    for figure; do
        for n in $numbers; do
            echo "$figure:$n"
        done
    done
}

group() {
    local sizes='10 100 1000 10000' head=''
    # shellcheck disable=SC2046 # words are wanted
    case $1 in
    up) bench mosquitto 'Up' echo echo-batch $(with "$sizes" up-0 up-1 up-2) up-m1:100 ;;
    down) bench mosquitto 'Down' $(with "$sizes" down-0 down-1 down-2) ;;
    fan) bench mosquitto 'Fan-out' $(with '100 1000' fan-0 fan-1) ;;
    pace) bench mosquitto 'Delay' $(with '1000 5000' pace-0 pace-1) ;;
    stub)
        bench stub 'Up, down and fan-out' \
            $(with '100 1000' up-m1 up-0 up-1 up-2 down-0 down-1 down-2 fan-0 fan-1)
        ;;
    connect) # a gateway each
        for nodes in 1000 10000 50000 100000; do
            bench mosquitto 'Connect storm' connect:$nodes
            head=--no-head
        done
        ;;
    flush) bench stub 'Sleep flush' flush-0:10000 flush-1:10000 ;;
    memory) # a gateway each, once: memory stays with the process
        local repeat=1
        for figure in memory:0 $(with '1000 10000 100000' memory memory-full); do
            bench stub 'Memory' "$figure"
            head=--no-head
        done
        ;;
    idle)
        local seconds=20 repeat=1
        bench mosquitto 'Idle' idle:100000
        ;;
    crowd)
        bench stub 'Alone' up-0:100 up-1:100 down-1:100
        echo
        bench stub 'Among 100000 idle nodes' --crowd 100000 up-0:100 up-1:100 down-1:100
        ;;
    stick) scripts/stick-rate.sh ;;
    *)
        echo "bench.sh: no group is called $1" >&2
        exit 64
        ;;
    esac
}

if [ "$quick" = yes ]; then
    seconds=0.3 repeat=1
    bench mosquitto 'Quick' --warm 0.1 echo up-m1:20 up-0:20 up-1:20 up-2:20 down-0:20 down-1:20 \
        down-2:20 fan-0:20 fan-1:20 pace-1:200 connect:200 flush-1:20 memory-full:20 idle:20
    echo
    bench stub 'Quick' --warm 0.1 --ports 7 --crowd 30 up-0:20 up-1:20 up-2:20 down-0:20 down-1:20 \
        down-2:20 fan-1:20 flush-0:20
else
    for name; do
        group "$name"
        echo
    done
    echo "At radio speed, behind an emulated stick of 115200 baud: scripts/bench.sh stick"
fi
exit $status
