#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What sessions of their own, several brokers and bad brokers cost, and that nothing is lost by them.
# Through private brokers and a release build of the gateway; prints one table in Markdown.
#
#   scripts/broker-test.sh [PART...]          (default: all but versions and foreign)
#
#   nodes     NODES nodes with a session each: connecting, memory, a restart of the broker, wills, queues
#   tls       the same, over TLS
#   takeover  another gateway process comes with the same client ids, a tenth of NODES
#   slow      one session refused, others at a broker that accepts and never answers, among NODES
#   cost      messages per second and processor time: shared and own, plain and TLS, MQTT 3.1.1 and 5
#   flap      a broker that goes every 3 to 20 s; flap_shared, then flap_own (or one of these alone)
#   dns       the broker's name can't be looked up any more for 30 s, while nodes publish
#   window    a broker with a Receive Maximum of 1, 10 and 20, a millisecond away
#   failover  two addresses of one broker: how long until the second has it
#   routes    two brokers, of which the second flaps, or is there and never answers
#   versions  the whole end-to-end suite, all of it with MQTT 5 and all of it with 3.1.1: 20 minutes
#   foreign   another broker: RabbitMQ with its MQTT plugin, if it is installed
#
# Environment: NODES (1000), SECONDS_OF of flap (300; an hour is 3600) and of foreign, SEED (1),
# SENNET_BIN (programs that are there already), P99_MS (50), the limit where nodes must be answered fast;
# for shorter runs and other builds TAKEOVER_SECONDS (60), FLAP_RATE (2 messages per second and node),
# FLAP_WARM (40 s that do not count), FLAP_LEAST and FLAP_MOST (3 and 20 s between two flaps), FLAP_KIB (5120,
# what it may grow), DURABILITY of the flapping gateway (process), DNS_SECONDS (30), WINDOW_LEAST (500 messages per second), ROUTES_SECONDS (20), ROUTES_RATE
# (10 messages per second and node), FAILOVER_SECONDS (31), COST_SECONDS (1) of a measurement, COST_REPEAT (1).
# A build with AddressSanitizer keeps up to 256 MiB of what was freed, so a flapping gateway grows by that (140 MB in
# three minutes); with ASAN_OPTIONS=quarantine_size_mb=1 it grows by as little as any other.
#
# shellcheck disable=SC2317 # parts are called by their names
set -eu
cd "$(dirname "$0")/.."
nodes=${NODES:-1000}
flap_seconds=${SECONDS_OF:-300} flap_least=${FLAP_LEAST:-3} flap_most=${FLAP_MOST:-20}
seed=${SEED:-1}
p99_ms=${P99_MS:-50}
[ $# -gt 0 ] || set -- nodes tls takeover slow cost flap dns window routes failover
ulimit -n "$(ulimit -Hn)"
RANDOM=$seed

. scripts/private.sh
# shellcheck disable=SC2154 # set there
table=$work/table
build_programs asan cable
build_programs release sennetd sennet-sim sennet-bench sennet-sub
cable=${SENNET_BIN:-build/asan/bin}/cable
# shellcheck disable=SC2154 # set by build_programs
sim=$bin/sennet-sim

result=0
row() { printf '| %s | %s |\n' "$1" "$2" | tee -a "$table" >&2; }
# require WHAT TEST-ARGUMENT...
require() {
    local what=$1
    shift
    [ "$@" ] || {
        echo "FAILED: $what ($*)" >&2
        result=1
    }
}
now_ms() { date +%s%3N; }
# until_true SECONDS COMMAND...
until_true() {
    local end=$(($(now_ms) + $1 * 1000))
    shift
    until "$@"; do
        [ "$(now_ms)" -lt "$end" ] || return 1
        sleep 0.1
    done
}
# said PLACE NAME LEDGER: the first NAME behind a line that has PLACE; in all, "up" and "down".
total() { sed -n "/^  \"$1\"/,/^  }/p" "$work/$3.json" | grep '"all"' | grep -oE "\"$2\": [0-9]+" | grep -oE '[0-9]+$'; }
said() { sed -n "/\"$1\"/,\$p" "$work/$3.json" | grep -m 1 -oE "\"$2\": [0-9]+" | grep -oE '[0-9]+$'; }
files_open() { find "/proc/$daemon_pid/fd" -mindepth 1 | wc -l; }

# ---- broker and gateway --------------------------------------------------------------------------

# A broker that drops nothing, keeps its sessions, and says who connects when.
talking_broker() {
    rm -rf "$work/mosquitto"
    mkdir -m 777 "$work/mosquitto"
    start_broker "max_queued_messages 0
max_inflight_messages 0
set_tcp_nodelay true
persistence true
persistence_location $work/mosquitto/
log_type notice
log_dest stderr
log_timestamp_format %s
${1:-}" 2>"$work/mosquitto/log"
}

# kill_broker SECONDS: away for so long. It comes back with the sessions that it had saved before.
kill_broker() {
    kill -USR1 "$broker_pid"
    sleep 1
    kill -KILL "$broker_pid"
    wait "$broker_pid" 2>/dev/null || true
    sleep "$1"
    run_broker 2>>"$work/mosquitto/log"
}

# Lines about clients that connected, from line $1 of the broker's log on, whose id begins with $2.
connected() { tail -n "+$1" "$work/mosquitto/log" | grep -a "New client connected .* as $2"; }
connects() { connected "$1" "$2" | wc -l; }
have_connected() { [ "$(connects "$1" "$2")" -ge "$3" ]; }
most_per_second() { connected "$1" "$2" | cut -d: -f1 | sort | uniq -c | sort -rn | awk 'NR == 1 {print $1}'; }
log_lines() { wc -l <"$work/mosquitto/log"; }

# own_gateway MORE_OF_BROKER MORE
own_gateway() {
    rm -rf "$work/state"
    broker_lines="sessions = own
$1"
    start_gateway 'max_clients = 10000' "$2"
    broker_lines=''
}

end_all() {
    local pid
    end_gateway || { echo "FAILED: the gateway ended with an error" >&2; result=1; }
    grep -aE 'Sanitizer|level=error|ERROR' "$work/log" | sort | uniq -c | sort -rn | head -5 >&2 || true
    for pid in "$broker_pid" "$@"; do
        kill "$pid" 2>/dev/null || true
        kill -CONT "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    broker_pid=''
}

# start_nodes NAME OPTION...: sets sim_pid; its ledger is NAME.json
start_nodes() {
    local name=$1
    shift
    "$sim" --gateway "127.0.0.1:$udp_port" --quiet --seed "$seed" --json "$work/$name.json" "$@" \
        &>"$work/$name.out" &
    sim_pid=$!
}

# end_nodes NAME: waits for them. What was acknowledged has arrived.
end_nodes() {
    local status=0
    wait "$sim_pid" || status=$?
    [ "$status" -eq 0 ] || cat "$work/$1.out" >&2
    require "sennet-sim $1" "$status" -eq 0
}

# ---- many sessions -------------------------------------------------------------------------------

# make_pki PORT: sets tls_listener, for the broker's configuration.
make_pki() {
    [ -d "$work/pki" ] || {
        mkdir "$work/pki"
        tests/e2e/pki.sh "$work/pki"
        chmod -R a+rX "$work/pki"
    }
    tls_listener="listener $1 127.0.0.1
cafile $work/pki/ca.pem
certfile $work/pki/server.pem
keyfile $work/pki/server.key"
}

cpu_ms() { # of the gateway so far
    awk -v tick="$(getconf CLK_TCK)" '{print int(($14 + $15) * 1000 / tick)}' "/proc/$daemon_pid/stat"
}

part_nodes() { nodes_over plain; }
part_tls() { nodes_over tls; }

nodes_over() { # plain|tls
    local before begun took after restarted waiting plain_port tls_port tls_listener spent lines=''
    tls_port=$(free_port)
    make_pki "$tls_port"
    talking_broker "$tls_listener"
    plain_port=$mqtt_port
    if [ "$1" = tls ]; then
        mqtt_port=$tls_port broker_scheme=mqtts
        lines="ca_file = $work/pki/ca.pem"
    fi
    own_gateway "$lines" "[client *]
max_queue = 1000"
    mqtt_port=$plain_port broker_scheme=mqtt
    before=$(resident)
    begun=$(now_ms)
    start_nodes nodes --broker "mqtt://127.0.0.1:$mqtt_port" --observe-qos 1 --nodes "$nodes" \
        --rate 0.2 --qos 1 --downlink 0.02 --clean no --keep-alive 600 --retry-interval 5 \
        --retry-count 20 --seconds 45 --drain 60
    until_true 60 have_connected 1 sim- "$nodes" || true
    took=$(($(now_ms) - begun))
    require "all connected" "$(connects 1 sim-)" -eq "$nodes"
    row "$nodes nodes with own sessions connect, $1" \
        "$took ms; at most $(most_per_second 1 sim-) a second; $(cpu_ms) ms of CPU"
    sleep 5
    after=$(resident)
    row "memory per node with own session, all included" "$(((after - before) * 1024 / nodes)) octets"
    row "open files, threads" \
        "$(files_open), $(awk '/^Threads/ {print $2}' "/proc/$daemon_pid/status")"

    waiting=$(($(log_lines) + 1))
    kill_broker 3
    begun=$(now_ms)
    spent=$(cpu_ms)
    until_true 120 have_connected "$waiting" sim- "$nodes" || true
    restarted=$(($(now_ms) - begun))
    row "the broker is killed, and back after 3 s: all are back" "$restarted ms; at most \
$(most_per_second "$waiting" sim-) a second; $(($(cpu_ms) - spent)) ms of CPU"
    end_nodes nodes
    row "messages up and down, lost" \
        "$(total up arrived nodes), $(total down arrived nodes), \
$(($(total up lost nodes) + $(total down lost nodes)))"
    row "node's PUBLISH answered, p50 and p99 over all that" \
        "$(said publish_us p50 nodes) us, $(said publish_us p99 nodes) us"
    require "none connected twice" "$(connects "$waiting" sim-)" -le $((nodes + nodes / 100))
    require "nodes did not notice" "$(said counters disconnected_by_gateway nodes)" -eq 0

    some_queues
    some_wills
    end_all
}

# Retained messages, and those that the broker keeps for a session whose node has gone.
some_queues() {
    local i got=0 kept=0
    for i in $(seq 20); do
        "$bin/sennet-sub" -p "$udp_port" -i "keep-$i" -c -t "keep/$i" -q 1 -E
        mosquitto_pub -p "$mqtt_port" -t "held/$i" -m "$i" -r -q 1
        mosquitto_pub -p "$mqtt_port" -t "keep/$i" -m "$i" -q 1
    done
    for i in $(seq 20); do
        [ "$("$bin/sennet-sub" -p "$udp_port" -i "keep-$i" -c -t "keep/$i" -q 1 -C 1 -W 10)" != "$i" ] ||
            kept=$((kept + 1))
        [ "$("$bin/sennet-sub" -p "$udp_port" -i "held-$i" -t "held/$i" -q 1 -C 1 -W 10)" != "$i" ] ||
            got=$((got + 1))
    done
    row "20 queues of nodes that were away, 20 retained messages" "$kept and $got delivered"
    require "queues and retained messages" $((kept + got)) -eq 40
}

some_wills() {
    cat >"$work/wills.scn" <<SCENARIO
[run]
seconds = 15
drain = 45s
[group n]
nodes = $nodes
id-prefix = will
rate = 0.1
keep-alive = 5s
wills = yes
retry-interval = 2
retry-count = 10
[events]
at 10s group n vanish
SCENARIO
    start_nodes wills --broker "mqtt://127.0.0.1:$mqtt_port" --scenario "$work/wills.scn"
    end_nodes wills
    row "all of them die: wills due, published, nobody's" "$(said counters wills_expected wills), \
$(said counters wills_seen wills), $(said counters wills_unexpected wills)"
    require "as many wills as nodes" "$(said counters wills_expected wills)" -eq "$nodes"
    require "each will once" "$(said counters wills_unexpected wills)" -eq 0
}

# The nodes have gone over to a second gateway; the first hears nothing of them, and still has them.
part_takeover() {
    local first_port first_pid first_sim minute=${TAKEOVER_SECONDS:-60} n=$((nodes / 10)) at
    talking_broker
    own_gateway '' ''
    first_port=$udp_port first_pid=$daemon_pid
    start_nodes first --nodes "$n" --rate 0 --keep-alive 600 --seconds 1000
    first_sim=$sim_pid
    until_true 60 have_connected 1 sim- "$n" || true
    kill -STOP "$first_sim"
    sleep 6 # sessions that have lasted
    udp_port=$(free_port)
    sed "s,127.0.0.1:$first_port,127.0.0.1:$udp_port,; s,^name = .*,name = second,
        s,^state_dir = .*,state_dir = $work/second," "$work/gateway.conf" >"$work/second.conf"
    "$bin/sennetd" -c "$work/second.conf" 2>"$work/second.log" &
    daemon_pid=$!
    until_true 10 grep -aq broker.connected "$work/second.log"
    at=$(($(log_lines) + 1))
    start_nodes second --nodes "$n" --rate 0.5 --keep-alive 600 --seconds "$minute" \
        --broker "mqtt://127.0.0.1:$mqtt_port"
    end_nodes second
    row "$n nodes go over to another gateway: connects of their ids within $minute s" \
        "$(connects "$at" sim-)"
    require "no ping-pong" "$(connects "$at" sim-)" -le $((6 * n))
    require "the new gateway's nodes stay" "$(said counters disconnected_by_gateway second)" -eq 0
    kill -KILL "$first_sim"
    wait "$first_sim" 2>/dev/null || true
    kill "$daemon_pid"
    wait "$daemon_pid" || true
    daemon_pid=$first_pid udp_port=$first_port
    end_all
}

# ---- one that is slow or refused ------------------------------------------------------------------

part_slow() {
    local cable_pid hole bad_sim mute_sim
    echo "somebody:nothing" >"$work/passwords"
    chmod 644 "$work/passwords"
    mosquitto_passwd -U "$work/passwords"
    talking_broker "password_file $work/passwords"
    "$cable" "$mqtt_port" >"$work/hole" &
    cable_pid=$!
    until_true 10 test -s "$work/hole"
    hole=$(cat "$work/hole")
    kill -STOP "$cable_pid"
    echo wrong >"$work/password"
    own_gateway '' "[client bad*]
username = somebody
password_file = $work/password
[broker hole]
$pinned
address = mqtt://127.0.0.1:$hole
sessions = own
[route hole]
client = mute*
to = hole"
    start_nodes alone --broker "mqtt://127.0.0.1:$mqtt_port" --nodes "$nodes" --rate 0.5 \
        --seconds 15 --drain 20
    end_nodes alone
    start_nodes bad --id-prefix bad --nodes 1 --rate 1 --seconds 1000
    bad_sim=$sim_pid
    start_nodes mute --id-prefix mute --nodes 20 --rate 1 --seconds 1000
    mute_sim=$sim_pid
    start_nodes others --broker "mqtt://127.0.0.1:$mqtt_port" --nodes "$nodes" --rate 0.5 \
        --seconds 15 --drain 20
    end_nodes others
    kill -KILL "$bad_sim" "$mute_sim"
    wait "$bad_sim" "$mute_sim" 2>/dev/null || true
    row "$nodes own sessions: CONNACK, PUBACK p99" \
        "$(said connack_us p99 alone) us, $(said publish_us p99 alone) us"
    row "the same beside a session that is refused and 20 at a broker that never answers" \
        "$(said connack_us p99 others) us, $(said publish_us p99 others) us"
    require "p99 of the others, us" "$(said publish_us p99 others)" -lt \
        $((p99_ms * 1000 + 2 * $(said publish_us p99 alone)))
    end_all "$cable_pid"
}

# ---- a broker that flaps --------------------------------------------------------------------------

pull() { kill -USR1 "$1"; }
plug() { kill -USR2 "$1"; }
# A broker that ends saves its sessions. ($1: the cable, which it does not need.)
end_broker() {
    kill "$broker_pid"
    wait "$broker_pid" 2>/dev/null || true
}
begin_broker() { run_broker 2>>"$work/mosquitto/log"; }

# flap SECONDS CABLE AWAY BACK: one and the other of these functions every 3 to 20 s; BACK comes last.
flap() {
    local end=$(($(now_ms) + $1 * 1000)) away=no
    while [ "$(now_ms)" -lt "$end" ] || [ "$away" = yes ]; do
        sleep $((RANDOM % (flap_most - flap_least + 1) + flap_least))
        if [ "$away" = no ]; then away=yes; "$3" "$2"; else away=no; "$4" "$2"; fi
        flaps=$((flaps + 1))
    done
}

start_cable() { # PORT [MICROSECONDS]: sets cable_pid and cable_port
    rm -f "$work/cable"
    "$cable" "$@" >"$work/cable" &
    cable_pid=$!
    until_true 10 test -s "$work/cable"
    cable_port=$(cat "$work/cable")
}

flap_with() { # shared|own NODES RATE AWAY BACK
    local broker_port cable_pid='' cable_port files kib flaps=0 grown
    talking_broker
    broker_port=$mqtt_port
    if [ "$1" = shared ]; then # a cable has one connection
        start_cable "$broker_port"
        mqtt_port=$cable_port
    fi
    rm -rf "$work/state"
    broker_lines="sessions = $1
reconnect_max = 2s"
    start_gateway '' "${DURABILITY:+[store]
durability = $DURABILITY}"
    broker_lines=''
    start_nodes "flap-$1" --broker "mqtt://127.0.0.1:$broker_port" --observe-qos 1 --nodes "$2" \
        --rate "$3" --qos 1 --clean no --retry-interval 5 --retry-count 20 \
        --seconds $((flap_seconds + 300)) --drain 120
    sleep 5
    flap "${FLAP_WARM:-40}" "$cable_pid" "$4" "$5" # buffers have their size now
    sleep 5
    kib=$(resident) files=$(files_open) flaps=0
    flap "$flap_seconds" "$cable_pid" "$4" "$5"
    sleep 5
    grown=$(($(resident) - kib)) files=$(($(files_open) - files))
    kill -INT "$sim_pid"
    end_nodes "flap-$1"
    row "$flaps flaps in $flap_seconds s, $2 nodes, $1: memory, open files" \
        "$kib KiB and $grown, $files more"
    row "... messages acknowledged to nodes, arrived, lost; PUBLISH answered p99" \
        "$(total up acknowledged "flap-$1"), $(total up arrived "flap-$1"), $(total up lost "flap-$1"); \
$(said publish_us p99 "flap-$1") us"
    require "nothing is lost" "$(total up lost "flap-$1")" -eq 0
    require "growth in KiB" "$grown" -le "${FLAP_KIB:-5120}"
    require "more open files" "$files" -le 4
    require "nodes did not notice" "$(said counters disconnected_by_gateway "flap-$1")" -eq 0
    # shellcheck disable=SC2086 # or none
    end_all $cable_pid
}

part_flap_shared() { flap_with shared 100 "${FLAP_RATE:-2}" pull plug; }
part_flap_own() { flap_with own 100 "${FLAP_RATE:-2}" end_broker begin_broker; }
part_flap() {
    part_flap_shared
    part_flap_own
}

# ---- a name server that is silent, a window that is narrow --------------------------------------------

part_dns() {
    local status=0 seconds=${DNS_SECONDS:-30}
    P99_MS=$p99_ms scripts/outage-test.sh "$seconds" $((seconds * 1000)) dns >"$work/dns.out" || status=$?
    cat "$work/dns.out" >&2
    row "no name server answers for $seconds s, 100 nodes, 1000 messages a second: PUBACK p50, p99; repeated" \
        "$(grep -oE '[0-9]+ us \(p(50|99)\)' "$work/dns.out" | tr '\n' ' '); $(
            grep -oE 'repeated [0-9]+' "$work/dns.out"
        )"
    require "scripts/outage-test.sh $seconds dns" "$status" -eq 0
}

# A millisecond there and back; with a Receive Maximum of 1 there can't be more than a thousand a second.
part_window() {
    local maximum plain_port rate cable_pid cable_port
    for maximum in 1 10 20; do
        start_broker "max_inflight_messages $maximum
max_queued_messages 0
set_tcp_nodelay true"
        plain_port=$mqtt_port
        start_cable "$plain_port" 500
        mqtt_port=$cable_port
        rm -rf "$work/state" "$work/window.jsonl"
        start_gateway '' ''
        "$bin/sennet-bench" --gateway "127.0.0.1:$udp_port" --broker "127.0.0.1:$plain_port" \
            --pid "$daemon_pid" --no-limits --no-head --seconds 3 --warm 1 --repeat 1 \
            --json "$work/window.jsonl" up-1:100 >&2 || require "sennet-bench" 1 -eq 0
        rate=$(grep -oE '"rate": [0-9]+' "$work/window.jsonl" | tail -1 | grep -oE '[0-9]+')
        row "100 nodes, a broker that is 1 ms away, with a Receive Maximum of $maximum: messages a second" "$rate"
        require "messages a second with $maximum" "${rate:-0}" -ge "${WINDOW_LEAST:-500}"
        grep -aq "mqtt=5" "$work/log" || require "MQTT 5" 1 -eq 0
        end_all "$cable_pid"
    done
}

# ---- two brokers -----------------------------------------------------------------------------------

# Messages of a node that came behind a later one of it, and those that came, of what mosquitto_sub wrote.
in_order() {
    tr ' ' '\n' <"$1" | awk -F= '
        $1 == "m" { node = $2 }
        $1 == "s" { n++; if ($2 + 0 < last[node]) back++; last[node] = $2 + 0; if (!seen[node, $2]++) all++ }
        END { printf "%d %d\n", all, back }'
}

routes_with() { # WHAT COMMAND-TO-TAKE-AWAY COMMAND-TO-GIVE-BACK
    local cable_pid cable_port home_port home_pid cloud_pid sub_pid all back sent
    local seconds=${ROUTES_SECONDS:-20} rate=${ROUTES_RATE:-10}
    talking_broker
    cloud_pid=$broker_pid
    start_cable "$mqtt_port"
    stdbuf -oL mosquitto_sub -p "$mqtt_port" -t '#' -q 1 >"$work/cloud.txt" &
    sub_pid=$!
    mv "$work/mosquitto.conf" "$work/cloud.conf"
    start_broker "max_queued_messages 0
max_inflight_messages 0
set_tcp_nodelay true"
    home_port=$mqtt_port home_pid=$broker_pid
    rm -rf "$work/state"
    start_gateway '' "[broker cloud]
$pinned
address = mqtt://127.0.0.1:$cable_port
reconnect_max = 2s
[route both]
to = default, cloud"
    start_nodes both --broker "mqtt://127.0.0.1:$home_port" --nodes 100 --rate "$rate" \
        --qos 1 --id-prefix n --seconds $((seconds * 2 + 10)) --drain 60
    sleep 5
    "$2" "$cable_pid" "$seconds"
    "$3" "$cable_pid"
    end_nodes both
    sent=$(total up acknowledged both)
    caught_up() { read -r all back < <(in_order "$work/cloud.txt") && [ "$all" -ge "$sent" ]; }
    until_true 60 caught_up || true
    kill "$sub_pid"
    row "100 nodes, $((rate * 100)) messages a second to two brokers, the second $1: PUBACK p50, p99" \
        "$(said publish_us p50 both) us, $(said publish_us p99 both) us"
    row "... at the first; at the second; out of order there" \
        "$(total up arrived both) of $sent; $all; $back"
    [ "$2" != calm ] || calm_p99=$(said publish_us p99 both)
    require "p99 of nodes in us" "$(said publish_us p99 both)" -lt \
        $((calm_p99 * 2 > p99_ms * 1000 ? calm_p99 * 2 : p99_ms * 1000))
    require "all have arrived at the second" "$all" -ge "$sent"
    require "in order" "$back" -eq 0
    broker_pid=$home_pid
    end_all "$cloud_pid" "$cable_pid"
}

calm() { sleep "$2"; }
flapping() { local flaps=0; flap "$2" "$1" pull plug; }
stopped() { kill -STOP "$1"; sleep "$2"; }
pull_for() { pull "$1"; sleep "$2"; }
nothing() { :; }
going_on() { kill -CONT "$1"; }

part_routes() {
    local calm_p99=0 # a machine that is busy otherwise has its own
    routes_with 'is there' calm nothing
    routes_with 'flaps' flapping plug
    routes_with 'is there and silent' stopped going_on
    routes_with 'drops all connections' pull_for plug
}

# ---- what it costs ---------------------------------------------------------------------------------

cost_of() { # shared|own VERSION plain|tls
    local status=0
    rm -rf "$work/state"
    mqtt_port=$plain_port broker_scheme=mqtt
    broker_lines="sessions = $1
version = $2"
    if [ "$3" = tls ]; then
        mqtt_port=$tls_port broker_scheme=mqtts
        broker_lines+="
ca_file = $work/pki/ca.pem"
    fi
    start_gateway 'max_clients = 10000' ''
    "$bin/sennet-bench" --gateway "127.0.0.1:$udp_port" --broker "127.0.0.1:$plain_port" \
        --pid "$daemon_pid" --no-limits --no-head --seconds "${COST_SECONDS:-1}" --warm 0.3 \
        --label "$1 $2 $3" --json "$work/cost.jsonl" --repeat "${COST_REPEAT:-1}" "${figures[@]}" || status=$?
    require "sennet-bench with $1 $2 $3" "$status" -eq 0
    kill "$daemon_pid"
    wait "$daemon_pid" || true
}

part_cost() {
    local figures=() plain_port tls_port tls_listener f n what
    for f in up-1 up-0 down-1; do
        for n in 1 100 $nodes; do figures+=("$f:$n"); done
    done
    plain_port=$(free_port) tls_port=$(free_port)
    make_pki "$tls_port"
    start_broker "max_queued_messages 0
max_inflight_messages 0
set_tcp_nodelay true
$tls_listener" "$plain_port"
    : >"$work/cost.jsonl"
    for what in '3.1.1 plain' '3.1.1 tls' '5 plain' '5 tls'; do
        # shellcheck disable=SC2086 # two words
        for kind in shared own; do cost_of "$kind" $what >&2; done
    done
    kill "$broker_pid"
    wait "$broker_pid" || true
    broker_pid='' daemon_pid=''
    cost_rows >>"$table"
}

# Of each way to the broker and each figure: what it is shared, what own, and the ratio of the times.
cost_rows() {
    awk '
        function value(name) {
            match($0, "\"" name "\": [0-9.]+")
            return substr($0, RSTART + length(name) + 4, RLENGTH - length(name) - 4) + 0
        }
        function text(name) {
            match($0, "\"" name "\": \"[^\"]*\"")
            return substr($0, RSTART + length(name) + 5, RLENGTH - length(name) - 6)
        }
        {
            split(text("label"), l, " ")
            key = text("case") ", MQTT " l[2] ", " l[3]
            if (!(key in us)) keys[++n] = key
            us[key] = 1
            rate[l[1], key] = value("rate")
            cost[l[1], key] = value("cpu_us")
        }
        END {
            for (i = 1; i <= n; i++) {
                k = keys[i]
                printf "| %s: messages a second, us of processor each, shared and own | %d, %.1f; %d, %.1f: %.2f times |\n", k,
                    rate["shared", k], cost["shared", k], rate["own", k], cost["own", k],
                    cost["own", k] / cost["shared", k]
            }
        }' "$work/cost.jsonl"
}

# ---- a list of addresses ---------------------------------------------------------------------------

connected_to() { # COUNT PORT
    [ "$(grep -a broker.connected "$work/log" | grep -ac ":$2 \|:$2$")" -ge "$1" ]
}

part_failover() {
    local first_port second_port second_pid begun took round slowest=0
    start_broker ''
    second_port=$mqtt_port second_pid=$broker_pid
    mv "$work/mosquitto.conf" "$work/second.conf"
    start_broker ''
    first_port=$mqtt_port
    rm -rf "$work/state"
    broker_more_addresses=", mqtt://127.0.0.1:$second_port"
    broker_lines='primary_check = 1s'
    start_gateway '' ''
    broker_more_addresses='' broker_lines=''
    start_nodes failover --nodes 100 --rate 5 --qos 1 --retry-interval 2 --seconds 1000
    for round in 1 2 3; do
        sleep "${FAILOVER_SECONDS:-31}" # from 30 s on a connection is a good one: no long pause follows
        begun=$(now_ms)
        kill -KILL "$broker_pid"
        wait "$broker_pid" 2>/dev/null || true
        until_true 60 connected_to "$round" "$second_port" ||
            require "the second address, round $round" 1 -eq 0
        took=$(($(now_ms) - begun))
        [ "$took" -le "$slowest" ] || slowest=$took
        sleep 2
        run_broker
        until_true 60 connected_to $((round + 1)) "$first_port" ||
            require "back to the first, round $round" 1 -eq 0
    done
    kill -INT "$sim_pid"
    end_nodes failover
    row "the first of two addresses dies, three times: connected to the second after, at most" \
        "$slowest ms"
    row "... PUBLISH answered p50, p99; nodes thrown out" \
        "$(said publish_us p50 failover) us, $(said publish_us p99 failover) us; \
$(said counters disconnected_by_gateway failover)"
    require "nodes did not notice" "$(said counters disconnected_by_gateway failover)" -eq 0
    end_all "$second_pid"
}

# ---- another broker --------------------------------------------------------------------------------

start_rabbitmq() { # sets mqtt_port, epmd_port and broker_pid
    local dir=$work/rabbitmq
    mqtt_port=$(free_port) epmd_port=$(free_port)
    mkdir -p "$dir"
    echo '[rabbitmq_mqtt].' >"$dir/plugins"
    cat >"$dir/rabbitmq.conf" <<CONF
mqtt.listeners.tcp.1 = 127.0.0.1:$mqtt_port
mqtt.allow_anonymous = true
loopback_users = none
CONF
    env HOME="$dir" RABBITMQ_BASE="$dir" RABBITMQ_MNESIA_BASE="$dir" RABBITMQ_LOG_BASE="$dir" \
        RABBITMQ_PID_FILE="$dir/pid" RABBITMQ_NODENAME=sennet@localhost \
        RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_NODE_PORT="$(free_port)" \
        RABBITMQ_DIST_PORT="$(free_port)" ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT="$epmd_port" \
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1}' \
        RABBITMQ_ENABLED_PLUGINS_FILE="$dir/plugins" RABBITMQ_CONFIG_FILE="$dir/rabbitmq.conf" \
        /usr/lib/rabbitmq/bin/rabbitmq-server >"$dir/out" 2>&1 &
    broker_pid=$!
    until_true 90 grep -qs completed "$dir/out" || {
        tail -20 "$dir/out" >&2
        return 1
    }
}

# Refuses while it knows of a program that runs.
end_epmd() { epmd -port "$1" -kill | grep -qx Killed; }

# QoS 0, 1 and 2 of nodes, commands, wills; one session and own ones.
part_foreign() {
    local kind epmd_port seconds=${SECONDS_OF:-60}
    [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || {
        row "RabbitMQ" "is not installed"
        return
    }
    start_rabbitmq
    for kind in shared own; do
        rm -rf "$work/state"
        cat >"$work/foreign.scn" <<SCENARIO
[run]
seconds = $seconds
drain = 30s
[group any]
nodes = 30
rate = 2
qos = mix
clean = no
retry-interval = 2
[group commands]
nodes = 20
id-prefix = cmd
rate = 1
qos = 1
downlink = 1
clean = no
retry-interval = 2
[group mortal]
nodes = 20
id-prefix = mortal
rate = 1
qos = 1
wills = yes
keep-alive = 3s
retry-interval = 1
[events]
at 10s group mortal vanish
at 30s group mortal reconnect
SCENARIO
        broker_lines="sessions = $kind
max_qos = 1" # it answers QoS 2 with PUBACK
        start_gateway '' ''
        broker_lines=''
        start_nodes "foreign-$kind" --broker "mqtt://127.0.0.1:$mqtt_port" --observe-qos 1 \
            --scenario "$work/foreign.scn"
        end_nodes "foreign-$kind"
        row "RabbitMQ $(dpkg-query -W -f '${Version}' rabbitmq-server 2>/dev/null), MQTT $(
            grep -ao 'mqtt=[0-9.]*' "$work/log" | tail -1 | cut -d= -f2
        ), $kind, $seconds s: up, down, lost; wills due, published" \
            "$(total up arrived "foreign-$kind"), $(total down arrived "foreign-$kind"), \
$(($(total up lost "foreign-$kind") + $(total down lost "foreign-$kind"))); \
$(said counters wills_expected "foreign-$kind"), $(said counters wills_seen "foreign-$kind")"
        end_gateway || result=1
    done
    kill "$(cat "$work/rabbitmq/pid")"
    wait "$broker_pid" 2>/dev/null || true
    until_true 10 end_epmd "$epmd_port" || true # which it has started and left
    broker_pid=''
}

# ---- both versions of MQTT ---------------------------------------------------------------------------

part_versions() {
    local version log status build=${SENNET_BIN:-build/asan/bin}/..
    [ -n "${SENNET_BIN:-}" ] || cmake --build --preset asan >&2
    for version in 5 3.1.1; do
        status=0 log=$build/versions-$version.log
        SENNET_TEST_MQTT_VERSION=$version ctest --test-dir "$build" -L e2e -E '_with_v|e2e.broker_' \
            --parallel 2 --no-tests=error --output-on-failure >"$log" || status=$?
        row "end-to-end suites with MQTT $version" "$(grep -a 'tests passed' "$log"), $(
            grep -a 'Total Test time' "$log" | grep -oE '[0-9.]+ sec'
        )"
        [ "$status" -eq 0 ] || cat "$log" >&2
        require "end-to-end suites with MQTT $version" "$status" -eq 0
    done
}

for part; do
    echo "--- $part" >&2
    broker_lines='' broker_scheme='' broker_more_addresses=''
    "part_$part"
done
printf '\n| What | Figure |\n|---|---|\n'
cat "$table"
exit $result
