#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Installs the build into a scratch root and looks at what came: every program answers --version and
# has its manual page, the unit starts the program that was installed, nothing lies elsewhere.
#
#   install.sh BUILD_DIR FULL_SBINDIR FULL_BINDIR FULL_MANDIR FULL_UNITDIR PROGRAM...
# A manual page is wanted when FULL_MANDIR is not empty.
set -eu

build=$1
sbindir=$2
bindir=$3
mandir=$4
unitdir=$5
shift 5

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
DESTDIR=$root cmake --install "$build" >"$root/log" 2>&1 || {
    cat "$root/log"
    exit 1
}

bad=0
complain() {
    echo "install.sh: $1"
    bad=1
}

for program; do
    case $program in
    sennetd)
        where=$sbindir
        section=8
        ;;
    *)
        where=$bindir
        section=1
        ;;
    esac
    if ! [ -x "$root$where/$program" ]; then
        complain "$where/$program was not installed"
    elif ! "$root$where/$program" --version >"$root/version" 2>&1; then
        complain "$program --version failed: $(cat "$root/version")"
    elif ! grep -q '[0-9]\.[0-9]' "$root/version"; then
        complain "$program --version says no version: $(cat "$root/version")"
    fi
    page=$mandir/man$section/$program.$section
    if [ -n "$mandir" ] && ! [ -s "$root$page" ]; then
        complain "$page was not installed"
    fi
done
if [ -n "$mandir" ] && ! [ -s "$root$mandir/man5/gateway.conf.5" ]; then
    complain "$mandir/man5/gateway.conf.5 was not installed"
fi

unit=$root$unitdir/sennetd.service
if ! [ -f "$unit" ]; then
    complain "$unitdir/sennetd.service was not installed"
elif grep -n '@[A-Z_]*@' "$unit"; then
    complain "the unit has a variable that was not replaced"
elif ! grep -q "^ExecStart=$sbindir/sennetd " "$unit"; then
    complain "the unit does not start $sbindir/sennetd: $(grep ^ExecStart= "$unit")"
fi

rules=$(find "$root" -name 60-sennet.rules)
if [ -z "$rules" ]; then
    complain "the udev rules are missing"
elif sed '/^#/d; /^$/d' "$rules" | grep -vq '='; then
    complain "the udev rules have a line that is none"
fi
readme=$(find "$root" -name README.md | head -n 1)
if [ -z "$readme" ]; then
    complain "README.md is missing"
else # what it names of docs/ and beside itself; the sources are not installed
    grep -oE '\]\((docs/)?[A-Za-z0-9-]*\.md|\]\(docs/[a-z]+\)' "$readme" | sed 's/^](//; s/)$//' | sort -u >"$root/links"
    grep -q '^docs/radio.md$' "$root/links" || complain "README.md does not name docs/radio.md"
    while read -r link; do
        [ -e "$(dirname "$readme")/$link" ] || complain "README.md names $link, which is not installed"
    done <"$root/links"
fi
find "$root" -name gateway.conf.example | grep -q . || complain "gateway.conf.example is missing"
find "$root" -name gateway.conf | grep -q . &&
    complain "gateway.conf was installed: it would overwrite the one of the machine"
exit $bad
