#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Proves that scripts/conformance.sh can fail, on a tree of its own.
set -eu

script=$(cd "$(dirname "$0")/../.." && pwd)/scripts/conformance.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/docs" "$work/tests/sim/scenarios" "$work/tests/unit"
mkdir -p "$work/tests/e2e"
page=$work/docs/conformance.md
echo '## Keep alive (6.11, 7.2)' >"$work/docs/spec-notes.md"
: >"$work/tests/sim/scenarios/sleep.sn"
echo 'add_test(NAME sim.chaos COMMAND chaos)' >"$work/tests/sim/CMakeLists.txt"
printf '%s\n' 'sennet_suite(test_codec unit SOURCES test_codec.c' '    LINKS sennet)' \
    '# sennet_suite(test_gone unit SOURCES test_codec.c LINKS sennet)' >"$work/tests/unit/CMakeLists.txt"
printf '%s\n' 'START_TEST(reads)' 'START_TEST(idle)' 'START_TEST(loops)' \
    '    tcase_add_test(tc, reads);' '    tcase_add_loop_test(tc,' '        loops, 0, 3);' \
    >"$work/tests/unit/test_codec.c"

echo 'sennet_daemon_suite(test_run SOURCES test_run.c PROGRAMS other)' >"$work/tests/e2e/CMakeLists.txt"
printf '%s\n' 'START_TEST(runs)' '    ADD(s, runs);' >"$work/tests/e2e/test_run.c"

# 150 good rows, and those given: a page that is good, but for what the test wants.
page_with() {
    {
        i=0
        while [ $i -lt "$fillers" ]; do
            i=$((i + 1))
            # shellcheck disable=SC2016 # the backquotes are Markdown's
            echo "| 1-$i | 1 | statement |  | "'`sim.story.sleep` |'
        done
        printf '%s\n' "$@"
    } >"$page"
}

must() {
    wanted=$1
    text=$2
    log=${3:-}
    status=0
    "$script" -C "$work" ${log:+"$log"} >"$work/output" 2>&1 || status=$?
    if [ "$status" -ne "$wanted" ] ||
        { [ -n "$text" ] && ! grep -qF -- "$text" "$work/output"; }; then
        echo "FAIL: status $status (wanted $wanted), '$text' wanted in:"
        cat "$work/output"
        exit 1
    fi
}

# shellcheck disable=SC2016 # the backquotes are Markdown's
{
    fillers=150
    page_with '| 2-1 | 2 | one |  | `unit.test_codec:reads`, `unit.test_codec:loops`, `e2e.test_run:runs` |' \
        '| 2-2 | 2 | two | **Deviates**: a bit. [notes](spec-notes.md#keep-alive-611-72) | `sim.chaos` |' \
        '| 2-3 | 2 | three | **n/a**: a duty of clients. |  |'
    must 0 '153 rows: 151 proved, 1 deviations (tested as well), 1 not applicable; 5 tests named, 1 of them'
    # ctest prints, and keeps
    {
        echo ' 1/4 Test  #1: sim.story.sleep ........   Passed    0.01 sec'
        echo ' 2/4 Test  #2: unit.test_codec .......   Passed    0.01 sec'
        echo ' 3/4 Test  #3: sim.chaos .............   Passed    0.01 sec'
        echo ' 4/4 Test  #4: e2e.test_run ..........   Passed    0.01 sec'
    } >"$work/log"
    must 0 'all of them ran and passed' "$work/log"
    sed 's/sim.chaos ..*/sim.chaos .............***Failed    0.01 sec/' "$work/log" >"$work/failed"
    must 1 'row 2-2 names sim.chaos, which has not run and passed' "$work/failed"
    sed 2d "$work/log" >"$work/partial"
    must 1 'row 2-1 names unit.test_codec:reads, which has not run and passed' "$work/partial"
    printf '%s\n' '1/3 Testing: sim.story.sleep' 'Test Passed.' '2/3 Testing: sim.chaos' \
        'Test Failed.' '3/3 Testing: unit.test_codec' 'Test Passed.' >"$work/last"
    must 1 'row 2-2 names sim.chaos, which has not run and passed' "$work/last"
    must 64 "can't read" "$work/none"

    page_with '| 2-1 | 2 | one |  | `sim.story.gone` |'
    must 1 'docs/conformance.md:151: error: row 2-1 names sim.story.gone, which is not there'
    page_with '| 2-1 | 2 | one |  | `unit.test_codec:gone` |'
    must 1 'names unit.test_codec:gone'
    page_with '| 2-1 | 2 | one |  | `unit.test_codec:idle` |' # defined, never run
    must 1 'names unit.test_codec:idle'
    page_with '| 2-1 | 2 | one |  | `unit.test_gone:reads` |'
    must 1 'names unit.test_gone:reads'
    page_with '| 2-1 | 2 | one |  | sim.story.sleep |'
    must 1 'row 2-1: a proof is the name of a test'
    page_with '| 2-1 | 2 | one |  |  |'
    must 1 'row 2-1 has no proof'
    page_with '| 2-1 | 2 | one | **Deviates**: a bit. |  |'
    must 1 'row 2-1 has no proof'
    page_with '| 2-1 | 2 | one | **n/a**: |  |'
    must 1 'row 2-1 has no proof'
    page_with '| 2-1 | 2 | one | **n/a**: no. | `sim.chaos` |'
    must 1 'row 2-1 does not apply'
    page_with '| 1-7 | 1 | one |  | `sim.chaos` |'
    must 1 'row 1-7 is there twice'
    page_with '| 2-1 | 3 | one |  | `sim.chaos` |'
    must 1 'row 2-1 needs its clause'
    page_with '| 2-1 | 2 | one | `sim.chaos` |'
    must 1 'a row has five columns'
    page_with '| 2-1 | 2 | one | [n](spec-notes.md#nowhere) | `sim.chaos` |'
    must 1 'row 2-1: the notes have no heading nowhere'
    fillers=149
    page_with ''
    must 1 'only 149 rows'
}
rm "$page"
must 1 'conformance.md is missing'
echo "conformance.sh fails when it should"
