#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Proves that docs.sh can fail.
set -eu

docs=$(cd "$(dirname "$0")" && pwd)/docs.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/docs" "$work/scripts"
: >"$work/scripts/demo.sh"
: >"$work/docs/timeouts.md"

must() {
    wanted=$1
    text=$2
    status=0
    "$docs" "$work" >"$work/output" 2>&1 || status=$?
    if [ "$status" -ne "$wanted" ] ||
        { [ -n "$text" ] && ! grep -qF -- "$text" "$work/output"; }; then
        echo "FAIL: status $status (wanted $wanted), '$text' wanted in:"
        cat "$work/output"
        exit 1
    fi
}

# shellcheck disable=SC2016 # the backquotes are Markdown's
{
    echo 'See [timers](docs/timeouts.md#retry), `./scripts/demo.sh`, `docs/adr/NNNN-title.md`.' \
        >"$work/README.md"
    must 0 ''
    echo '[gone](docs/gone.md)' >"$work/README.md"
    must 1 'README.md:1: error: link to docs/gone.md'
    printf 'x\nrun `./scripts/gone.sh` now\n' >"$work/README.md"
    must 1 'README.md:2: error: names scripts/gone.sh'
    printf 'see `MISSING.md`.\n' >"$work/README.md"
    must 1 'README.md:1: error: names MISSING.md'
    printf '```ini\n# alone\na = b/#\n```\n```sh\nc # d\n```\n' >"$work/README.md"
    must 0 ''
    printf '1. x\n\n   ```ini\n   # alone\n   a = b\n   ```\n' >"$work/README.md"
    must 0 ''
    printf '   ```ini\n   a = b ; c\n   ```\n' >"$work/README.md"
    must 1 'README.md:2: error: a comment behind a value'
    printf '```ini\na = b # c\n```\n' >"$work/README.md"
    must 1 'README.md:2: error: a comment behind a value: a = b # c'
    : >"$work/README.md"
    echo '[up](../gone.md)' >"$work/docs/timeouts.md"
    must 1 'docs/timeouts.md:1: error: link to ../gone.md'
}
rm "$work/README.md" "$work/docs/timeouts.md"
must 70 'no Markdown files'
echo "docs.sh fails when it should"
