#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Proves that tests/layers.sh can fail: every rule is shown a tree or a library that breaks it, and
# one that does not. The compiler comes as $CC (default cc).
set -eu

layers=$(cd "$(dirname "$0")/.." && pwd)/layers.sh
cc=${CC:-cc}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
cases=0

# expect STATUS TEXT COMMAND...: exit status, and TEXT somewhere in the output ('' = no output).
expect() {
    wanted_status=$1
    wanted_text=$2
    shift 2
    cases=$((cases + 1))
    status=0
    "$@" >"$work/output" 2>&1 || status=$?
    if [ "$status" -ne "$wanted_status" ]; then
        echo "FAIL: $*: exit status $status, wanted $wanted_status; output:"
        cat "$work/output"
        failures=$((failures + 1))
    elif [ -z "$wanted_text" ] && [ -s "$work/output" ]; then
        echo "FAIL: $*: silence wanted; output:"
        cat "$work/output"
        failures=$((failures + 1))
    elif ! grep -qF -- "$wanted_text" "$work/output"; then
        if [ -n "$wanted_text" ]; then
            echo "FAIL: $*: '$wanted_text' not in the output:"
            cat "$work/output"
            failures=$((failures + 1))
        fi
    fi
}

# library NAME: an archive of the C text on standard input, as one object.
library() {
    "$cc" -std=gnu11 -O0 -x c -c -o "$work/$1.o" -
    rm -f "$work/lib$1.a"
    ar rc "$work/lib$1.a" "$work/$1.o"
}

# ---- symbols --------------------------------------------------------------------------------------

library base <<'END'
#include <stdlib.h>
#include <string.h>
void *base_copy(const void *p, size_t n) { void *q = malloc(n); if (q) memcpy(q, p, n); return q; }
END
library engine_good <<'END'
#include <assert.h>
#include <stdio.h>
void *base_copy(const void *p, unsigned long n);
int engine(char *out, unsigned long n, int x)
{ assert(x > 0); void *p = base_copy(out, n); return p != 0 ? snprintf(out, n, "%d", x) : 0; }
END
expect 0 '' "$layers" symbols "$work/libbase.a"
expect 0 '' "$layers" symbols "$work/libengine_good.a" "$work/libbase.a"
expect 1 'engine_good.o calls base_copy()' "$layers" symbols "$work/libengine_good.a"

# offender NAME CALL HEADER: a machine that calls what it must not.
offender() {
    library "bad_$1" <<END
#include <$3>
extern long sink;
long sink;
void step(void) { sink = (long)$2; }
END
    expect 1 "bad_$1.o calls $1()" "$layers" symbols "$work/libbad_$1.a"
}

offender time 'time(0)' time.h
offender clock_gettime 'clock_gettime(0, 0)' time.h
offender socket 'socket(2, 2, 0)' sys/socket.h
offender pthread_create 'pthread_create(0, 0, 0, 0)' pthread.h
offender rand 'rand()' stdlib.h
offender getenv 'getenv("TZ")' stdlib.h
offender printf 'printf("x%d", 1)' stdio.h
offender strcpy 'strcpy((char *)sink, (char *)sink)' string.h
offender atoi 'atoi((char *)sink)' stdlib.h

# A clock hidden behind a weak reference is a clock.
library weak <<'END'
#include <string.h>
extern long time(long *) __attribute__((weak));
long now(const char *s) { return time ? time(0) : (long)strlen(s); }
END
expect 1 'weak.o calls time()' "$layers" symbols "$work/libweak.a"

# Neither a missing library nor a silent nm passes.
expect 70 'no such library' "$layers" symbols "$work/libmissing.a"
: >"$work/empty.c"
library empty <"$work/empty.c"
expect 70 'is nm working' "$layers" symbols "$work/libempty.a"

# ---- includes, licence, size ----------------------------------------------------------------------

tree=$work/tree

# A small legal tree, made anew for each case.
fresh_tree() {
    rm -rf "$tree"
    mkdir -p "$tree/gateway/base" "$tree/gateway/broker" "$tree/mqttsn" "$tree/radio" \
        "$tree/tools" "$tree/tests" "$tree/scripts"
    write gateway/base/bytes.h '#include <stdint.h>'
    write mqttsn/engine.c '#include <string.h>' '#include "base/bytes.h"' '#include "mqttsn/x.h"'
    write gateway/broker/shared.c '#include "mqttsn/port.h"' '#include "broker/shared.h"'
    write radio/udp.c '#include <uv.h>' '#include <sys/socket.h>' '#include "radio/link.h"'
    write gateway/mqtt.c '#include <MQTTAsync.h>'
    write gateway/app.c '#include <uv.h>' '#include "mqttsn/engine.h"' '#include "radio/link.h"'
    write tools/client.c '#include "mqttsn/packet.h"' '#include "tools/client.h"'
    printf '#!/bin/sh\n# SPDX-License-Identifier: Apache-2.0\n' >"$tree/scripts/demo.sh"
}

# write FILE LINE...
write() {
    file=$1
    shift
    {
        echo '/* SPDX-License-Identifier: Apache-2.0 */'
        printf '%s\n' "$@"
    } >"$tree/$file"
}

fresh_tree
expect 0 '' "$layers" includes "$tree"
expect 0 '' "$layers" spdx "$tree"
expect 0 '' "$layers" size "$tree"

# crossing FILE HEADER: this include must be refused, with file, line and header.
crossing() {
    fresh_tree
    write "$1" '#include <stdint.h>' "#  include $2"
    expect 1 "$1:3: error: #include $2" "$layers" includes "$tree"
}

crossing gateway/base/bytes.h '"mqttsn/packet.h"'
crossing gateway/base/clock.c '<time.h>'
crossing gateway/base/clock.c '<uv.h>'
crossing mqttsn/engine.c '"radio/link.h"'
crossing mqttsn/engine.c '"broker/shared.h"'
crossing mqttsn/engine.c '<unistd.h>'
crossing mqttsn/engine.c '"../gateway/config.h"'
crossing gateway/broker/shared.c '"mqtt.h"'
crossing gateway/broker/shared.c '<pthread.h>'
crossing radio/udp.c '"mqttsn/packet.h"'
crossing radio/xbee.c '<uv.h>'
crossing radio/xbee.c '<libserialport.h>'
crossing radio/link.h '"mqttsn/engine.h"'
crossing tools/client.c '<sys/socket.h>'
crossing gateway/app.c '<MQTTAsync.h>'
crossing gateway/mqtt.h '<MQTTAsync.h>'
crossing tools/pub.c '"MQTTClient.h"'
crossing radio/udp.c '<MQTTAsync.h>'
crossing gateway/app.c '<sqlite3.h>'
crossing gateway/store.h '<sqlite3.h>'

fresh_tree
echo 'int x;' >"$tree/radio/bare.c"
expect 1 'radio/bare.c:1: error: no' "$layers" spdx "$tree"
fresh_tree
echo '#!/bin/sh' >"$tree/scripts/demo.sh"
expect 1 'scripts/demo.sh:1: error: no' "$layers" spdx "$tree"

# lines N FILE: a file of N lines.
lines() {
    awk -v n="$1" 'BEGIN { for (i = 0; i < n; i++) print "/* line */" }' >"$tree/$2"
}

fresh_tree
lines 601 mqttsn/long.c
expect 1 'mqttsn/long.c: error: 601 lines' "$layers" size "$tree"
echo 'mqttsn/long.c' >"$tree/tests/layers.allow"
expect 1 'mqttsn/long.c: error: 601 lines' "$layers" size "$tree"
echo 'mqttsn/long.c one table, better in one piece' >"$tree/tests/layers.allow"
expect 0 '' "$layers" size "$tree"
lines 600 mqttsn/long.c
expect 1 'mqttsn/long.c needs no exception' "$layers" size "$tree"
rm "$tree/tests/layers.allow"
expect 0 'mqttsn/long.c: warning: 600 lines' "$layers" size "$tree"

# A tree without anything to check is a mistake of the caller, not a pass.
rm -rf "$tree"
mkdir "$tree"
expect 70 'no C files' "$layers" includes "$tree"
expect 70 'no sources' "$layers" spdx "$tree"

echo "$cases cases, $failures failures"
[ "$failures" -eq 0 ]
