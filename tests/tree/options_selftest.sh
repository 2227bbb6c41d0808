#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Proves that options.sh can fail.
set -eu

options=$(cd "$(dirname "$0")" && pwd)/options.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat >"$work/program" <<'END'
#!/bin/sh
case $1 in
--help)
    cat "$(dirname "$0")/help"
    ;;
-n | --name | --quiet | --seconds)
    [ $# -eq 3 ] || exit 1
    echo "program: unrecognized option '--no-such-option'" >&2
    exit 64
    ;;
-?)
    echo "program: invalid option -- '${1#-}'" >&2
    exit 64
    ;;
*)
    echo "program: unrecognized option '$1'" >&2
    exit 64
    ;;
esac
END
chmod +x "$work/program"

must() { # STATUS TEXT
    status=0
    "$options" "$work/program" "$work/page" "$work/source.c" >"$work/output" 2>&1 || status=$?
    if [ "$status" -ne "$1" ] || { [ -n "$2" ] && ! grep -qF -- "$2" "$work/output"; }; then
        echo "FAIL: status $status (wanted $1), '$2' wanted in:"
        cat "$work/output"
        exit 1
    fi
}

write() { # HELP PAGE SOURCE
    printf '%b' "$1" >"$work/help"
    printf '%b' "$2" >"$work/page"
    printf '%b' "$3" >"$work/source.c"
}

help='usage: program -x\n  -n, --name TEXT   of -z and --zz\n      --quiet, --seconds S   at -1\n'
page='*program* *-x*\n*-n*, *--name* _TEXT_\n\tSee *--zz*.\n*--quiet*\n*--seconds* _S_\n'
source='{"name", required_argument, NULL, 1}, {"quiet",   no_argument, NULL, 2}\n'
write "$help" "$page" "$source"
must 0 ''
write "$help  -o, --only  here\n" "$page" "$source"
must 1 'program: error: --only is in --help and not in page'
must 1 'program: error: -o is in the documents, and the program does not know it'
write "$help" "$page*--more*\n" "$source"
must 1 'program: error: --more is in page and not in --help'
write "$help" "$page" "$source{\"secret\", no_argument, NULL, 3}\n"
must 1 'program: error: --secret is in source.c and not in --help'
write "$help  --gone  away\n" "$page*--gone*\n" "$source"
must 1 'program: error: --gone is in the documents, and the program does not know it'
write "$help" '' "$source"
must 70 'no options in the page'
echo "options.sh fails when it should"
