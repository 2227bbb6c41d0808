#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Does docs/conformance.md keep its word? Every row that is not "n/a" names at least one test, and
# every test that is named exists. With the output of a ctest run (or its LastTest.log), each of
# them ran and passed, too. Prints the sums.
#
#   scripts/conformance.sh [-C TREE] [CTEST-LOG]
#
# Exit status: 0, or 1 with one line per offence, 64 for a wrong command line.
set -eu

usage() {
    sed -n '4,10s/^# \{0,1\}//p' "$0"
}

tree=$(cd "$(dirname "$0")/.." && pwd)
rows_least=150
while getopts C:h option; do
    case $option in
    C) tree=$OPTARG ;;
    h)
        usage
        exit 0
        ;;
    *)
        usage >&2
        exit 64
        ;;
    esac
done
shift $((OPTIND - 1))
if [ $# -gt 1 ]; then
    usage >&2
    exit 64
fi
log=${1:-}
if [ -n "$log" ] && ! [ -r "$log" ]; then
    echo "conformance.sh: can't read $log" >&2
    exit 64
fi
page=$tree/docs/conformance.md
notes=$tree/docs/spec-notes.md
for file in "$page" "$notes"; do
    if ! [ -r "$file" ]; then
        echo "conformance.sh: $file is missing" >&2
        exit 1
    fi
done
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# ---- what exists ----------------------------------------------------------------------------------

# "RING.SUITE FILE" for each source of each sennet_suite(SUITE RING SOURCES FILE... LINKS ...), and of each
# sennet_daemon_suite(SUITE SOURCES ...), whose ring is e2e.
suites() {
    for lists in "$tree"/tests/*/CMakeLists.txt; do
        sed 's/#.*//; s/sennet_daemon_suite(\([a-z0-9_]*\)/sennet_suite(\1 e2e/' "$lists" |
            tr '\n' ' ' | grep -o 'sennet_suite([^)]*)' |
            awk -v folder="$(dirname "$lists")" '{
                sub(/^sennet_suite\(/, "")
                sub(/\)$/, "")
                sources = 0
                for (i = 3; i <= NF; i++) {
                    if ($i == "SOURCES" || $i == "LINKS")
                        sources = $i == "SOURCES"
                    else if (sources && $i ~ /^[a-z0-9_]+\.c$/)
                        print $2 "." $1, folder "/" $i
                }
            }' || true
    done
}

# The functions of a file that are tests and are run: handed to tcase_add_test() or a macro for it.
functions() {
    sed -n 's/^START_TEST(\([a-z0-9_]*\)).*/\1/p' "$1" | sort -u >"$scratch/defined"
    tr '\n' ' ' <"$1" | grep -o ', *[a-z0-9_]*[,)]' |
        sed 's/^, *//; s/.$//' | sort -u >"$scratch/run" || true
    comm -12 "$scratch/defined" "$scratch/run"
}

existing() {
    for story in "$tree"/tests/sim/scenarios/*.sn; do
        [ ! -e "$story" ] || echo "sim.story.$(basename "$story" .sn)"
    done
    sed -n 's/^ *add_test(NAME \([a-z0-9_.-]*\) .*/\1/p' "$tree"/tests/*/CMakeLists.txt
    suites >"$scratch/suites"
    cut -d' ' -f1 "$scratch/suites" | sort -u
    while read -r suite file; do
        functions "$file" | sed "s/^/$suite:/"
    done <"$scratch/suites"
}
existing | sort -u >"$scratch/existing"

# Names of tests that passed: from what ctest prints, or from its LastTest.log.
: >"$scratch/passed"
if [ -n "$log" ]; then
    awk '/^ *[0-9]+\/[0-9]+ Test +#[0-9]+: / && / Passed / { sub(/^.*#[0-9]+: /, ""); print $1 }
         /^[0-9]+\/[0-9]+ Testing: / { name = $3 }
         /^Test Passed\./ { print name }' "$log" | sort -u >"$scratch/passed"
fi

# What GitHub makes of each heading of the notes.
sed -n 's/^#\{1,\} //p' "$notes" | tr '[:upper:]' '[:lower:]' |
    sed 's/[^a-z0-9_ -]//g; s/ /-/g' >"$scratch/anchors"

# ---- what is claimed ------------------------------------------------------------------------------

awk -F ' *[|] *' -v page="docs/conformance.md" -v have_log="${log:+yes}" -v rows_least="$rows_least" \
    -v existing="$scratch/existing" -v passed="$scratch/passed" -v anchors="$scratch/anchors" '
    function offend(text) {
        print page ":" FNR ": error: " text
        bad = 1
    }
    function load(file, into,    line) {
        while ((getline line < file) > 0)
            into[line] = 1
        close(file)
    }
    function check_proof(name,    test) {
        if (!(name in exists)) {
            offend("row " $2 " names " name ", which is not there")
            return
        }
        test = name
        sub(/:.*/, "", test)
        if (have_log && !(test in did_pass))
            offend("row " $2 " names " name ", which has not run and passed")
        if (!(name in used)) {
            used[name] = 1
            tests++
            if (name ~ /^sim\.story\./)
                stories++
        }
    }
    function check_anchors(text,    target) {
        while (match(text, /\]\(spec-notes\.md#[^)]*\)/)) {
            target = substr(text, RSTART + 16, RLENGTH - 17)
            text = substr(text, RSTART + RLENGTH)
            if (!(target in has_anchor))
                offend("row " $2 ": the notes have no heading " target)
        }
    }
    BEGIN {
        load(existing, exists)
        load(passed, did_pass)
        load(anchors, has_anchor)
    }
    /^\| *[0-9]/ {
        rows++
        if (NF != 7 || $1 != "" || $7 != "") {
            offend("a row has five columns")
            next
        }
        if ($2 in ids)
            offend("row " $2 " is there twice")
        ids[$2] = 1
        if (index($2, $3 "-") != 1 || $4 == "")
            offend("row " $2 " needs its clause and a statement")
        n = split($6, proofs, / *, */)
        for (i = 1; i <= n; i++) {
            if (proofs[i] ~ /^`[^`]+`$/)
                check_proof(substr(proofs[i], 2, length(proofs[i]) - 2))
            else
                offend("row " $2 ": a proof is the name of a test in backquotes")
        }
        check_anchors($5)
        if ($5 ~ /^\*\*n\/a\*\*: ./) {
            not_applicable++
            if (n > 0)
                offend("row " $2 " does not apply, and yet has a proof")
        } else if (n == 0) {
            offend("row " $2 " has no proof")
        } else if ($5 ~ /^\*\*Deviates\*\*: ./) {
            deviations++
        } else {
            proved++
        }
    }
    END {
        if (rows < rows_least)
            offend("only " rows + 0 " rows, and " rows_least " are the least")
        printf "%d rows: %d proved, %d deviations (tested as well), %d not applicable; " \
            "%d tests named, %d of them stories%s\n", rows, proved, deviations, not_applicable, tests,
            stories, have_log ? (bad ? "" : "; all of them ran and passed") : ""
        exit bad
    }' "$page"
