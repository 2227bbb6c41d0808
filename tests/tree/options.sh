#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The manual page and --help of a program name the same options, and the program takes each of them.
#
#   options.sh PROGRAM MAN_PAGE SOURCE...      exit status 1 and one line per offence
#
# The sources are those with the program's tables for getopt_long(): what stands there is documented.
# In --help an option stands at the beginning of a line, or behind a comma, in front of the
# description, which two blanks separate; in the page (scdoc) it begins a paragraph.
set -eu

program=$1
page=$2
shift 2
name=$(basename "$program")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# "-x" and "--xyz" from lines of the form "-x, --xyz ARGUMENT, --other".
options_of() {
    awk -F ', ' '{
        for (i = 1; i <= NF; i++)
            if (match($i, /^--?[A-Za-z0-9][A-Za-z0-9-]*/))
                print substr($i, RSTART, RLENGTH)
    }' | LC_ALL=C sort -u
}

"$program" --help >"$scratch/help" 2>&1 || {
    echo "options.sh: $name --help fails" >&2
    exit 70
}
sed -n 's/^ *\(-.*\)$/\1/p' "$scratch/help" | sed 's/  .*//' | options_of >"$scratch/help.options"
sed -n 's/^\(\*-.*\)$/\1/p' "$page" | tr -d '*' | options_of >"$scratch/page.options"
# A word in quotes before no_argument or required_argument.
grep -hoE '"[a-z0-9-]+", *(no|required)_argument' "$@" | sed 's/^"\([^"]*\)".*/--\1/' |
    LC_ALL=C sort -u >"$scratch/source.options"
for found in help page source; do
    if ! [ -s "$scratch/$found.options" ]; then
        echo "options.sh: no options in the $found of $name" >&2
        exit 70
    fi
done

bad=0
complain() {
    echo "$name: error: $1"
    bad=1
}

for option in $(LC_ALL=C comm -23 "$scratch/help.options" "$scratch/page.options"); do
    complain "$option is in --help and not in $(basename "$page")"
done
for option in $(LC_ALL=C comm -13 "$scratch/help.options" "$scratch/page.options"); do
    complain "$option is in $(basename "$page") and not in --help"
done
for option in $(LC_ALL=C comm -13 "$scratch/help.options" "$scratch/source.options"); do
    complain "$option is in $(basename "$1") and not in --help"
done

# Behind the option stands twice one that no program has: the first may be taken for an argument, the
# second is an error, so nothing is done. The complaint must not be about the option itself.
while read -r option; do
    "$program" "$option" --no-such-option --no-such-option >"$scratch/said" 2>&1 </dev/null || true
    if grep -qE "option.* '?-*${option#"${option%%[!-]*}"}'?\$" "$scratch/said"; then
        complain "$option is in the documents, and the program does not know it"
    fi
done <"$scratch/help.options"
exit $bad
