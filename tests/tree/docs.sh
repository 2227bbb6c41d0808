#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Documents must not point at nothing:
#   - every relative link of every Markdown file leads to a file;
#   - a configuration in a Markdown file (```ini) can be copied: no comment stands behind a value or a
#     header, where it would become part of it;
#   - every path of the tree that a Markdown file names in `code` exists. Names with a placeholder
#     or a wildcard are left alone, and so is what a build makes (build/...).
#
#   docs.sh [TREE]      exit status 1 and one line per offence
set -eu

tree=${1:-$(cd "$(dirname "$0")/../.." && pwd)}
cd "$tree"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

find . -name '*.md' ! -path './build/*' ! -path './.git/*' ! -path '*/corpus/*' | sort >"$scratch/files"
if ! [ -s "$scratch/files" ]; then
    echo "docs.sh: no Markdown files in $tree" >&2
    exit 70
fi

# "line target" for each [text](target) outside fenced blocks.
links_of() {
    awk '/^```/ { fenced = !fenced; next }
         fenced { next }
         {
             line = $0
             while (match(line, /\]\([^)]*\)/)) {
                 print FNR, substr(line, RSTART + 2, RLENGTH - 3)
                 line = substr(line, RSTART + RLENGTH)
             }
         }' "$1"
}

# "line path" for each `path` that begins with a folder or a well-known file of the tree.
paths_of() {
    awk '{
             line = $0
             while (match(line, /`[^` ]+`/)) {
                 token = substr(line, RSTART + 1, RLENGTH - 2)
                 line = substr(line, RSTART + RLENGTH)
                 sub(/^\.\//, "", token)
                 sub(/[:.,]$/, "", token)
                 if (token ~ /^(\.ci|\.github|cmake|docs|gateway|mqttsn|packaging|radio|scripts|tests|tools)\// &&
                     token !~ /[*<>{}|]|\.\.\.|NAME|NNNN/)
                     print FNR, token
                 else if (token ~ /^[A-Z][A-Za-z_]*\.(md|txt|json)$/)
                     print FNR, token
             }
         }' "$1"
}

# "line text" for each line of an ini block with a comment that does not stand alone.
comments_of() {
    awk '/^ *```/ { ini = /^ *```ini$/; next }
         ini && /^ *[^ #;].*[ \t][#;]/ { print FNR, $0 }' "$1"
}

bad=0
while read -r file; do
    folder=$(dirname "$file")
    links_of "$file" >"$scratch/links"
    while read -r line target; do
        case $target in
        http://* | https://* | mailto:* | '#'*) continue ;;
        esac
        if ! [ -e "$folder/${target%%#*}" ]; then
            echo "${file#./}:$line: error: link to $target, which is not there"
            bad=1
        fi
    done <"$scratch/links"
    comments_of "$file" >"$scratch/comments"
    while read -r line text; do
        echo "${file#./}:$line: error: a comment behind a value: $text"
        bad=1
    done <"$scratch/comments"
    paths_of "$file" >"$scratch/paths"
    while read -r line path; do
        if ! [ -e "$path" ] && ! [ -e "$folder/$path" ]; then
            echo "${file#./}:$line: error: names $path, which is not there"
            bad=1
        fi
    done <"$scratch/paths"
done <"$scratch/files"
exit $bad
