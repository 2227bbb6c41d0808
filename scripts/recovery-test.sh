#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# How long a gateway with much in its store takes to begin: from the start of the process to the first
# answer to a node, and how much memory it has then. A state of SESSIONS sleeping nodes, each with a
# topic, a subscription and a will, and of MESSAGES that wait for the broker is imported; then the
# gateway is started without and with a broker, and killed. A release build on loopback. Fails when the
# answer takes longer than LIMIT_MS, or when it does not have all of them.
#
#   scripts/recovery-test.sh [SESSIONS [MESSAGES [LIMIT_MS]]]       (default 100000, 1000000, 10000)
set -eu
cd "$(dirname "$0")/.."
sessions=${1:-100000}
messages=${2:-1000000}
limit_ms=${3:-10000}

. scripts/private.sh
build_programs release sennetd

# The lines of docs/state.md.
state() {
    awk -v sessions="$sessions" -v messages="$messages" 'BEGIN {
        first = 16777216
        print "{\"row\":\"state\",\"version\":2,\"written\":\"2026-01-01T00:00:00Z\"," \
            "\"seed\":\"00112233445566778899aabbccddeeff\",\"clock_ms\":1000000}"
        for (i = 1; i <= sessions; i++) {
            key = "\"client\":" first + i
            id = sprintf("n%07d", i)
            printf "{\"row\":\"session\",%s,\"client_id\":\"%s\",\"state\":\"asleep\",", key, id
            printf "\"clean\":false,\"keep_alive_s\":60,\"sleep_s\":36000,\"next_msg_id\":3,"
            printf "\"connection\":1,\"will_topic\":\"w/%s\",\"will_body\":\"lost\",", id
            print "\"will_qos\":1,\"will_retain\":true}"
            printf "{\"row\":\"topic\",%s,\"topic_id\":1,\"name\":\"up/%s\",\"alias\":0,", key, id
            print "\"kind\":0,\"given\":true,\"known_in\":1,\"refused_in\":0}"
            printf "{\"row\":\"subscription\",%s,\"filter\":\"down/%s\",\"qos\":1}\n", key, id
        }
        for (i = 1; i <= messages; i++) {
            node = (i - 1) % sessions + 1
            printf "{\"row\":\"spool\",\"number\":%d,\"client\":%d,", i, first + node
            printf "\"topic\":\"up/n%07d\",\"body\":\"%d of a meter that counts\",\"qos\":1,", node, i
            print "\"retain\":false,\"will\":false,\"clock_ms\":500000}"
        }
        printf "{\"row\":\"end\",\"session\":%d,\"topic\":%d,\"exchange\":0,", sessions, sessions
        printf "\"subscription\":%d,\"message\":0,\"delivery\":0,\"spool\":%d}\n", sessions, messages
    }'
}

now_ms() { date +%s%3N; }

# Wakes up as that node, again and again, until it is answered; prints the answer.
wake_until_answered() {
    local answer=''
    exec 4<>"/dev/udp/127.0.0.1/$udp_port"
    while [ -z "$answer" ]; do
        # PINGREQ, with the length in three octets: a newline would be sent alone.
        printf '\x01\x00\x0c\x16%s' "$1" >&4 2>/dev/null || sleep 0.01 # nobody listens there yet
        answer=$(timeout 0.05 head -c 2 <&4 2>/dev/null | od -An -tx1 | tr -d ' ') || true
    done
    exec 4>&-
    echo "$answer"
}

# One start: sets answered_ms, and judges.
result=0
measure() {
    local begun answer
    begun=$(now_ms)
    run_gateway
    answer=$(wake_until_answered n0000001)
    answered_ms=$(($(now_ms) - begun))
    kill -USR1 "$daemon_pid"
    sleep 1
    if [ "$answer" != 0217 ]; then
        echo "$1: not PINGRESP but $answer: a sleeper that is not known" >&2
        result=1
    fi
    if [ "$answered_ms" -gt "$limit_ms" ]; then
        echo "$1: that took longer than $limit_ms ms" >&2
        result=1
    fi
    echo "$1: answered a node $answered_ms ms after its start, resident then $(resident) KiB," \
        "at most $(awk '/VmHWM/ {print $2}' "/proc/$daemon_pid/status") KiB;" \
        "$(counter stats.spool messages) messages wait for the broker"
}

crash() {
    kill -KILL "$daemon_pid"
    wait "$daemon_pid" 2>/dev/null || true
}

mqtt_port=$(free_port)
configure_gateway '' '[store]
max_size = 8GiB
spool_bytes = 1GiB'
begun=$(now_ms)
state | "$bin/sennetd" -c "$work/gateway.conf" --import-state -
echo "imported $sessions sessions and $messages messages in $(($(now_ms) - begun)) ms," \
    "$(du -k "$work/state/sennet.db" | cut -f1) KiB"
measure 'without the broker'
[ "$(counter store.restored clients)" -eq "$sessions" ] || result=1
crash
measure 'again'
crash
start_broker 'max_queued_messages 0
set_tcp_nodelay true' "$mqtt_port"
begun=$(now_ms)
measure 'with the broker'
until [ "$(counter stats.spool messages)" -eq 0 ]; do
    kill -USR1 "$daemon_pid"
    sleep 0.5
done
echo "all sent $(($(now_ms) - begun)) ms after the start, resident $(resident) KiB"
end_gateway || result=1
exit "$result"
