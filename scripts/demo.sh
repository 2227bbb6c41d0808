#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Shows Sennet at work: a private MQTT broker, the gateway with an emulated ZigBee stick, and a street
# of simulated meters behind it. Installs what is missing (apt), builds the release preset, runs until
# Ctrl-C or for --seconds, prints what became of every message, and takes everything down again. Exit
# status: that of sennet-sim.
set -eu

usage() {
    cat <<'END'
usage: demo.sh [--seconds N] [--nodes N] [--stick KIND | --udp]

  --seconds N   end after N seconds; otherwise Ctrl-C ends
  --nodes N     simulated nodes, at least 4 (default 20)
  --stick KIND  the emulated stick: znp (default), ezsp, deconz or xbee
  --udp         nodes speak UDP, without a stick; so they do when there are more than 60
END
}

fail() {
    echo "demo.sh: $*" >&2
    exit 1
}

whole_number() { # OPTION VALUE MIN MAX
    case ${2:-} in
    '' | *[!0-9]* | ???????*)
        echo "demo.sh: $1 needs a whole number from $3 to $4" >&2
        exit 64
        ;;
    esac
    if [ "$2" -lt "$3" ] || [ "$2" -gt "$4" ]; then
        echo "demo.sh: $1 must be $3 to $4" >&2
        exit 64
    fi
}

seconds=
nodes=20
stick=znp
stick_nodes_max=60 # more would fill its serial line
while [ $# -gt 0 ]; do
    case $1 in
    --seconds)
        whole_number "$1" "${2:-}" 1 999999
        seconds=$2
        shift
        ;;
    --nodes)
        whole_number "$1" "${2:-}" 4 100000
        nodes=$2
        shift
        ;;
    --stick)
        case ${2:-} in
        znp | ezsp | deconz | xbee) stick=$2 ;;
        *)
            echo "demo.sh: --stick must be znp, ezsp, deconz or xbee" >&2
            exit 64
            ;;
        esac
        shift
        ;;
    --udp) stick= ;;
    --help | -h)
        usage
        exit 0
        ;;
    *)
        usage >&2
        exit 64
        ;;
    esac
    shift
done

[ "$nodes" -le $stick_nodes_max ] || stick=

cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin

# ---- build ---------------------------------------------------------------------------------------

./scripts/deps.sh demo
cmake --preset release
cmake --build --preset release --parallel "$(nproc)"
bin=build/release/bin

# ---- what is started, and taken down again -------------------------------------------------------

work=$(mktemp -d "${TMPDIR:-/tmp}/sennet-demo.XXXXXX")
broker_pid=
gateway_pid=
sim_pid=

stop() { # PID
    [ -n "$1" ] || return 0
    kill -TERM "$1" 2>/dev/null || return 0
    wait "$1" 2>/dev/null || true
}

# shellcheck disable=SC2317 # called by the trap
clean_up() {
    trap '' INT TERM HUP
    stop "$sim_pid"
    stop "$gateway_pid"
    stop "$broker_pid"
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# A port that nobody uses now, by the kernel's own tables; ours are below the ephemeral range.
port_in_use() { # PORT FILE...
    hex=$(printf ':%04X ' "$1")
    shift
    cat "$@" 2>/dev/null | grep -q "^ *[0-9]*: [0-9A-F]*$hex"
}

next_port=$((20000 + $$ % 10000))
find_port() { # tcp|udp; sets $port
    while port_in_use "$next_port" "/proc/net/$1" "/proc/net/${1}6"; do
        next_port=$((next_port + 1))
    done
    port=$next_port
    next_port=$((next_port + 1))
}

# Waits up to 10 s for a line in a log; false when its process ended or nothing came.
wait_for() { # PID FILE TEXT
    tries=100
    while ! grep -q "$3" "$2" 2>/dev/null; do
        kill -0 "$1" 2>/dev/null || return 1
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        sleep 0.1
    done
}

# ---- broker --------------------------------------------------------------------------------------

# In sessions of their own: the terminal's Ctrl-C is for the simulator only.
start_broker() {
    find_port tcp
    broker_port=$port
    cat >"$work/mosquitto.conf" <<END
listener $broker_port 127.0.0.1
allow_anonymous true
persistence false
max_queued_messages 0
set_tcp_nodelay true
END
    setsid mosquitto -c "$work/mosquitto.conf" >"$work/mosquitto.log" 2>&1 </dev/null &
    broker_pid=$!
    wait_for "$broker_pid" "$work/mosquitto.log" ' running$' && return 0
    kill -0 "$broker_pid" 2>/dev/null && stop "$broker_pid"
    broker_pid=
    return 1
}

tries=5
until start_broker; do
    tries=$((tries - 1))
    if [ $tries -eq 0 ]; then
        cat "$work/mosquitto.log" >&2
        fail "mosquitto does not start"
    fi
done

# ---- gateway -------------------------------------------------------------------------------------

find_port udp
gateway_port=$port
if [ -n "$stick" ]; then
    rate=0.5
    where="an emulated stick ($stick) at $work/stick"
    link="[link zigbee]
driver = $stick
device = $work/stick"
else
    rate=2
    where="udp 127.0.0.1:$gateway_port"
    link="[link lan]
driver = udp
listen = 127.0.0.1:$gateway_port"
fi
cat >"$work/gateway.conf" <<END
[gateway]
id = 1
name = demo
state_dir = $work/state
log_level = info

[broker]
address = mqtt://127.0.0.1:$broker_port

$link

[topics]
1 = meters/reading
END
setsid "$bin/sennetd" -c "$work/gateway.conf" >"$work/sennetd.log" 2>&1 </dev/null &
gateway_pid=$!
if ! wait_for "$gateway_pid" "$work/sennetd.log" 'broker\.connected'; then
    cat "$work/sennetd.log" >&2
    fail "sennetd does not start, or does not reach the broker"
fi

# ---- nodes ---------------------------------------------------------------------------------------

valves=$((nodes / 4))
bells=$((nodes / 10 + 1))
meters=$((nodes - valves - bells))
gone=$((meters / 6 + 1))
vanish_at=10
back_at=40
if [ -n "$seconds" ] && [ "$seconds" -lt 60 ]; then
    vanish_at=$((seconds / 6))
    back_at=$((seconds * 2 / 3))
fi
cat >"$work/demo.scenario" <<END
[run]
drain = 20s
connect-window = 1000
[group meters]
nodes = $meters
id-prefix = meter
rate = $rate
qos = mix
topics = mix
wills = yes
keep-alive = 6s
downlink = 0.2
[group valves]
nodes = $valves
id-prefix = valve
rate = 0.5
qos = 2
wills = yes
keep-alive = 6s
downlink = 0.5
[group bells]
nodes = $bells
id-prefix = bell
rate = 0.5
qos = -1
topics = mix
[events]
at ${vanish_at}s group meters vanish $gone
at ${back_at}s group meters reconnect
END

echo "demo.sh: broker mqtt://127.0.0.1:$broker_port, gateway at $where;" \
    "$gone of $nodes nodes will vanish after $vanish_at s, so that their wills are seen"
[ -n "$seconds" ] || echo "demo.sh: Ctrl-C ends"

set -- --broker "mqtt://127.0.0.1:$broker_port" --scenario "$work/demo.scenario"
if [ -n "$stick" ]; then
    set -- "$@" --stick "$stick" --stick-link "$work/stick"
else
    set -- "$@" --gateway "127.0.0.1:$gateway_port"
fi
[ -z "$seconds" ] || set -- "$@" --seconds "$seconds"
"$bin/sennet-sim" "$@" &
sim_pid=$!

# The simulator ends in order on TERM, and says what became of everything.
trap 'kill -TERM "$sim_pid" 2>/dev/null || true' INT TERM HUP
result=0
while kill -0 "$sim_pid" 2>/dev/null; do
    result=0
    wait "$sim_pid" || result=$?
done
sim_pid=

kill -0 "$gateway_pid" 2>/dev/null || {
    tail -n 20 "$work/sennetd.log" >&2
    fail "sennetd ended on its own"
}
[ "$result" -eq 0 ] || {
    echo "demo.sh: the end of the gateway's log:" >&2
    tail -n 20 "$work/sennetd.log" >&2
}
exit $result
