# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Sourced by the long tests: a private mosquitto and a gateway of the build in $bin, on free loopback
# ports. All that the script has started is stopped when it ends. What is theirs lies in $work.

work=$(mktemp -d)
chmod 755 "$work" # mosquitto gives up root
broker_pid='' daemon_pid=''
broker_host=127.0.0.1 # as the gateway knows it
gateway_env=()        # NAME=VALUE for the gateway alone
# Of each [broker] of a run that is pinned to MQTT 5 or 3.1.1, as in tests/e2e/pinned.h.
pinned=${SENNET_TEST_MQTT_VERSION:+version = $SENNET_TEST_MQTT_VERSION}

# shellcheck disable=SC2317 # called by the trap
stop_all() {
    local pid
    for pid in $(jobs -pr; jobs -ps); do
        kill "$pid" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap stop_all EXIT

# build_programs PRESET TARGET...: sets bin. With SENNET_BIN set, they are there already.
build_programs() {
    if [ -n "${SENNET_BIN:-}" ]; then
        bin=$SENNET_BIN
        return
    fi
    scripts/deps.sh test
    cmake --preset "$1" >/dev/null
    cmake --build --preset "$1" --target "${@:2}"
    bin=build/$1/bin
}

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

# start_broker MORE_LINES [PORT]: sets mqtt_port
start_broker() {
    mqtt_port=${2:-$(free_port)}
    printf 'listener %s 127.0.0.1\nallow_anonymous true\npersistence false\nlog_type error\n%s\n' \
        "$mqtt_port" "$1" >"$work/mosquitto.conf"
    run_broker
}

# Starts mosquitto with that configuration, again; returns when it listens.
run_broker() {
    local port tries=0
    port=$(awk '$1 == "listener" { print $2; exit }' "$work/mosquitto.conf")
    "$(command -v mosquitto || echo /usr/sbin/mosquitto)" -c "$work/mosquitto.conf" &
    # shellcheck disable=SC2034 # for the caller
    broker_pid=$!
    until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
        tries=$((tries + 1))
        if [ "$tries" -ge 1000 ] || ! kill -0 "$broker_pid" 2>/dev/null; then
            echo "mosquitto does not listen on port $port" >&2
            return 1
        fi
        sleep 0.02
    done
}

# start_gateway GATEWAY_LINES MORE_LINES: sets udp_port; returns when the broker is reached, because
# nodes are refused before. $log_level may say more than notice, $broker_lines more of [broker], and
# $broker_scheme that its address is one of mqtts://, $broker_more_addresses (", ...") follow it.
start_gateway() {
    configure_gateway "$1" "$2"
    run_gateway
    local tries=0
    until grep -aq broker.connected "$work/log"; do
        tries=$((tries + 1))
        if [ "$tries" -ge 100 ]; then
            cat "$work/log" >&2
            exit 1
        fi
        sleep 0.1
    done
}

# The same without the start.
configure_gateway() {
    udp_port=$(free_port)
    cat >"$work/gateway.conf" <<CONF
[gateway]
name = private
state_dir = $work/state
log_level = ${log_level:-notice}
$1
[broker]
address = ${broker_scheme:-mqtt}://$broker_host:$mqtt_port${broker_more_addresses:-}
$pinned
${broker_lines:-}
[link udp]
driver = udp
listen = 127.0.0.1:$udp_port
$2
CONF
    : >"$work/log"
}

# Starts the gateway with that configuration, again; does not wait.
run_gateway() {
    env "${gateway_env[@]}" "$bin/sennetd" -c "$work/gateway.conf" 2>>"$work/log" &
    daemon_pid=$!
}

# KiB of the gateway.
resident() {
    awk '/VmRSS/ {print $2}' "/proc/$daemon_pid/status"
}

# The gateway's counter NAME of EVENT, as it last said it.
counter() {
    grep -aE "$1( |.* )$2=" "$work/log" | tail -1 | grep -aoE " $2=[0-9]+" | cut -d= -f2
}

# Dumps the gateway's counters into its log, ends it and returns its exit status.
end_gateway() {
    local status=0
    kill -USR1 "$daemon_pid"
    sleep 1
    kill -TERM "$daemon_pid"
    wait "$daemon_pid" || status=$?
    daemon_pid=''
    return "$status"
}
