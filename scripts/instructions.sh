#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# How many instructions the engine and the shared session take for a conversation, compared with the
# figures in tests/sim/instructions.txt. Unlike time, that number is the same on a busy machine, so a
# test can hold it.
#
#   instructions.sh             exit status 1 when a conversation takes 10 % more than it says there
#   instructions.sh --renew     writes the file; say in the commit why it grew
#   instructions.sh --build DIR where to build (build/instructions)
#
# Counted by cachegrind, in a release build of its own, as the difference of two runs of which one plays
# more rounds: what it takes to start does not matter. Compilers differ more than the limit, so another
# one than that of the file is not compared. Exit status 77: skipped.
set -eu
cd "$(dirname "$0")/.."

figures=tests/sim/instructions.txt
build=build/instructions
renew=no
few=1000
many=5000
limit=10 # percent

while [ $# -gt 0 ]; do
    case $1 in
    --renew) renew=yes ;;
    --build)
        build=$2
        shift
        ;;
    *)
        sed -n 's/^# \{0,1\}//; 3,15p' "$0" >&2
        exit 64
        ;;
    esac
    shift
done

if ! command -v valgrind >/dev/null; then
    echo "instructions.sh: skipped: no valgrind (Debian: apt install valgrind)"
    exit 77
fi
if ! command -v gcc >/dev/null; then
    echo "instructions.sh: skipped: no gcc, and the figures are of its code"
    exit 77
fi
compiler="gcc $(gcc -dumpversion) $(uname -m)"
known=$(sed -n 's/^# compiler: //p' "$figures" 2>/dev/null || true)
if [ "$renew" = no ] && [ "$compiler" != "$known" ]; then
    echo "instructions.sh: skipped: the figures are of $known, this is $compiler"
    exit 77
fi

cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_C_COMPILER=gcc \
    -DSENNET_MAN=OFF >/dev/null
cmake --build "$build" --target hot_path >/dev/null
program=$build/bin/hot_path

# Instructions of a run. Address randomisation would change how many words a copy takes, a little.
count() { # KIND ROUNDS
    setarch -R valgrind --tool=cachegrind --cache-sim=no --cachegrind-out-file=/dev/null \
        "$program" "$1" "$2" 2>&1 | sed -n 's/.*I *refs: *//p' | tr -d ,
}

new=$(mktemp)
trap 'rm -f "$new"' EXIT
{
    echo "# Instructions per conversation of engine and shared session: tests/sim/hot_path.c."
    echo "# Renew with scripts/instructions.sh --renew, and say in the commit why a number grew."
    echo "# compiler: $compiler"
    for kind in $("$program"); do
        base=$(count "$kind" $few)
        more=$(count "$kind" $many)
        echo "$kind $(((more - base) / (many - few)))"
    done
} >"$new"

if [ "$renew" = yes ]; then
    cp "$new" "$figures"
    cat "$figures"
    exit 0
fi
awk -v limit=$limit '
    /^#/ { next }
    NR == FNR { stored[$1] = $2; next }
    !($1 in stored) { printf "%s: no figure is stored\n", $1; bad = 1; next }
    {
        change = 100 * ($2 - stored[$1]) / stored[$1]
        verdict = (change > limit) ? ": too many" : (change < -limit) ? ": renew the figures" : ""
        printf "%-12s %7d instructions, stored %7d, %+.1f %%%s\n", $1, $2, stored[$1], change, verdict
        bad = bad || change > limit
        seen++
    }
    END {
        if (!seen)
            print "nothing was counted"
        exit (bad || !seen)
    }' "$figures" "$new"
