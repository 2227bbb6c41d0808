#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# How many messages a second go through an emulated stick at 115200 baud, the release build of the
# gateway and a private mosquitto, and what of the processor the gateway takes for each. Three loads
# for each family: up at QoS 0, more than the line carries; up at QoS 1, each of 40 nodes as fast as it
# is acknowledged; down at QoS 0, a bit more than the line carries. Prints a table in Markdown.
#
#   scripts/stick-rate.sh [SECONDS [FAMILY...]]      (default 20 znp ezsp deconz xbee serial)
#
# A PUBLISH of a reading has 55 octets, that of a command 47. The share is of what the protocol lets
# the line carry of them (docs/radio.md says how that is counted). Connecting and subscribing is part
# of the time. On a machine that is busy otherwise both sides wait for the processor, and the line for
# them.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-20}
shift $(($# < 1 ? $# : 1))
[ $# -gt 0 ] || set -- znp ezsp deconz xbee serial

log_level=info # link.opening is told
. scripts/private.sh
build_programs release sennetd sennet-sim >/dev/null

nodes=40
reading=55
command=47 # or one less or more: numbers grow
answer=7   # PUBACK

# Octets of a family's frames beside the packet: to a node, its answer, what became of it, the question
# for that; from a node, the question for that. `one`: one request at a time; `asked`: all is asked for.
frames() {
    case $1 in
    znp) echo one 15 6 8 0 25 0 ;;
    ezsp) echo one 25 11 26 0 32 0 ;; # EZSP 13, now and then with the sender's name in front
    deconz) echo asked 26 13 23 11 42 12 ;;
    xbee) echo free 18 0 11 0 16 0 ;;
    serial) echo free 6 0 0 0 6 0 ;; # SLIP, behind a forwarder
    *)
        echo "stick-rate.sh: no stick is called $1" >&2
        exit 64
        ;;
    esac
}

# Messages per second that the line carries at best.
capacity() { # FAMILY LOAD
    # shellcheck disable=SC2046 # words are wanted
    set -- "$2" $(frames "$1")
    awk -v load="$1" -v way="$2" -v request="$3" -v reply="$4" -v confirm="$5" -v ask="$6" \
        -v incoming="$7" -v fetch="$8" -v reading=$reading -v command=$command \
        -v puback=$answer 'BEGIN {
            down = load == "down" ? request + command : load == "qos1" ? request + puback : 0
            if (down == 0)
                reply = confirm = ask = 0
            up = load == "down" ? 0 : incoming + reading
            if (load == "down")
                fetch = 0
            octets = reply + confirm + up
            if (down > octets)
                octets = down
            if (way == "one" && down + reply > octets)
                octets = down + reply
            if (way == "asked")
                octets = down + reply + confirm + ask + up + fetch
            printf "%.1f\n", 11520 / octets
        }'
}

cpu_us() { # of all threads
    cat "/proc/$daemon_pid"/task/*/schedstat | awk '{ sum += $1 } END { printf "%d\n", sum / 1000 }'
}

of_each() { # RATE TIMES: so much of it is one node's
    awk -v rate="$1" -v times="$2" -v nodes=$nodes 'BEGIN { printf "%.2f\n", rate * times / nodes }'
}

# Seconds from the opening of the terminal until packets pass.
start_seconds() {
    awk '/link\.opening/ { from = substr($1, 15, 9) }
         /link\.up/ { split($1, t, "T"); to = substr($1, 15, 9) }
         function s(x) { return substr(x, 1, 2) * 60 + substr(x, 4) }
         END { d = s(to) - s(from); printf "%.2f\n", d < 0 ? d + 3600 : d }' "$work/log"
}

# run FAMILY LOAD: a fresh gateway and simulator, and a row of the table.
run() {
    local family=$1 load=$2 way=up limit options more='' before after messages
    limit=$(capacity "$family" "$load")
    case $load in
    qos0) options="--qos 0 --rate $(of_each "$limit" 1.15)" ;;
    qos1) options="--qos 1 --rate max" ;;
    down)
        options="--qos 0 --rate 0.02 --downlink $(of_each "$limit" 1.1)"
        way=down
        ;;
    esac
    [ "$family" != serial ] || more='framing = slip
forwarder = yes'
    start_broker 'max_queued_messages 0
set_tcp_nodelay true'
    rm -rf "$work/state"
    start_gateway '' "[link stick]
driver = $family
device = $work/stick
baud = 115200
$more"
    before=$(cpu_us)
    # shellcheck disable=SC2086 # words are wanted
    "$bin/sennet-sim" --stick "$family" --stick-link "$work/stick" --nodes $nodes \
        --connect-window 8 --size 48 --broker "mqtt://127.0.0.1:$mqtt_port" \
        --seconds "$seconds" --drain 0 --quiet --json "$work/report" $options \
        >"$work/ledger" 2>&1 || cat "$work/ledger" >&2
    after=$(cpu_us)
    messages=$(sed -n "/\"$way\": {/,/}\$/p" "$work/report" |
        sed -nE 's/.*"all":.*"arrived": ([0-9]+).*/\1/p')
    awk -v family="$family" -v load="$load" -v start="$(start_seconds)" -v n="$messages" \
        -v seconds="$seconds" -v limit="$limit" -v us=$((after - before)) \
        -v line="$(sed -nE 's/^stick.*\(([0-9]+) % and ([0-9]+) %.*/\1 + \2/p' "$work/ledger")" \
        'BEGIN {
            names["qos0"] = "up, QoS 0"; names["qos1"] = "up, QoS 1"; names["down"] = "down, QoS 0"
            printf "| `%s` | %s s | %s | %.0f | %.0f | %.0f %% | %s %% | %.0f µs |\n", family, start,
                names[load], n / seconds, limit, 100 * n / seconds / limit, line, us / n
        }'
    end_gateway
    kill "$broker_pid"
    wait "$broker_pid" || true
    broker_pid=''
}

for family in "$@"; do
    frames "$family" >/dev/null
done
echo '| Driver | Up after | Load | Messages/s | Line at best | Share | Line busy, to and from it |' \
    'CPU per message |'
echo '|---|---|---|---|---|---|---|---|'
for family in "$@"; do
    for load in qos0 qos1 down; do
        run "$family" $load
    done
done
