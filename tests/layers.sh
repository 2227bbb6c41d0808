#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The layers of the tree as a test (docs/adr/0001): a clock in the engine is a red build, not an
# opinion.
#
#   layers.sh symbols LIBRARY [SISTER...]   what the library calls, beside itself and its sisters
#   layers.sh includes [TREE]               who includes whom
#   layers.sh spdx [TREE]                   every source and script says its licence
#   layers.sh size [TREE]                   no C file grows out of one story
#
# Prints one line per offence, each naming the file and the rule; exit status 1 if there was any.
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)

die() {
    echo "layers.sh: $1" >&2
    exit 70
}

# ---- symbols --------------------------------------------------------------------------------------

# Global symbols that the archives define, one per line.
defined_by() {
    nm -g --defined-only "$@" | awk 'NF == 3 { print $3 }' | sort -u
}

# "object symbol" for everything that the members of an archive leave undefined.
undefined_in() {
    nm -u "$1" | awk '/^[^ ].*:$/ { object = substr($0, 1, length($0) - 1) }
                      NF == 2 { print object, $2 }'
}

# Calls that a machine may make: memory, text, assertions. A machine has no clock, descriptor,
# thread, random source, locale or environment, so nothing else of libc is here.
allowed_symbol() {
    case $1 in
    # Unbounded copies and tokenising state are memory and text, but bad style all the same.
    strcpy | strcat | strncpy | strncat | strtok | strtok_r) return 1 ;;
    strftime* | strptime*) return 1 ;; # text of a clock
    __strcpy_chk | __strcat_chk | __strncpy_chk | __strncat_chk) return 1 ;;
    mem* | __mem*_chk | str* | __str*_chk) return 0 ;;
    malloc | calloc | realloc | reallocarray | posix_memalign | free) return 0 ;;
    snprintf | vsnprintf | __snprintf_chk | __vsnprintf_chk) return 0 ;;
    __assert_fail) return 0 ;;
    # What the compiler puts in: stack protector, position independence, sanitizers, coverage ...
    __stack_chk_fail | __stack_chk_guard | _GLOBAL_OFFSET_TABLE_) return 0 ;;
    __asan_* | __ubsan_* | __tsan_* | __sanitizer_* | __sancov_* | __lsan_*) return 0 ;;
    __gcov_* | __llvm_* | llvm_gcov_* | __start___sancov_* | __stop___sancov_*) return 0 ;;
    # ... and arithmetic or atomics that the processor lacks (32-bit and older 64-bit ARM).
    __aeabi_* | __aarch64_* | __atomic_* | __udivdi3 | __divdi3 | __umoddi3 | __moddi3) return 0 ;;
    esac
    return 1
}

check_symbols() {
    library=$1
    for archive; do
        [ -f "$archive" ] || die "no such library: $archive"
    done
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    defined_by "$@" >"$scratch/defined"
    [ -s "$scratch/defined" ] || die "nothing is defined in $*: is nm working?"
    undefined_in "$library" | sort -u >"$scratch/undefined"
    [ -s "$scratch/undefined" ] || die "$library calls nothing at all: is nm working?"

    # One line per call that no library of ours defines.
    awk 'NR == FNR { defined[$1] = 1; next } !($2 in defined)' \
        "$scratch/defined" "$scratch/undefined" >"$scratch/foreign"
    bad=0
    while read -r object symbol; do
        if ! allowed_symbol "$symbol"; then
            echo "$(basename "$library"): $object calls $symbol(): not allowed in a machine" \
                "(docs/adr/0001-machines-and-pump.md)"
            bad=1
        fi
    done <"$scratch/foreign"
    return $bad
}

# ---- includes -------------------------------------------------------------------------------------

# "file:line header" for every include directive; header keeps its quotes or brackets.
includes_of() {
    [ $# -gt 0 ] || return 0
    awk '/^[ \t]*#[ \t]*include/ {
             sub(/^[ \t]*#[ \t]*include[ \t]*/, "")
             print FILENAME ":" FNR, $1
         }' "$@"
}

# Headers of C11 that are values and text only. <time.h>, <signal.h>, <threads.h> are not.
machine_header() {
    case $1 in
    '<assert.h>' | '<errno.h>' | '<inttypes.h>' | '<limits.h>' | '<stdalign.h>' | '<stdarg.h>' | \
        '<stdatomic.h>' | '<stdbool.h>' | '<stddef.h>' | '<stdint.h>' | '<stdio.h>' | \
        '<stdlib.h>' | '<stdnoreturn.h>' | '<string.h>') return 0 ;;
    esac
    return 1
}

# May the file include the header? Paths are relative to the tree.
allowed_include() {
    file=$1
    header=$2
    case $file in
    gateway/mqtt.h) ;; # the adapter's contract does not show Paho
    gateway/mqtt*.[ch] | gateway/paho*.[ch]) return 0 ;;
    esac
    case $header in
    '<MQTT'*.h'>' | '"MQTT'*.h'"') return 1 ;;
    esac
    case $file in
    gateway/store.h) ;; # nor does the store's show SQLite
    gateway/store*.[ch]) return 0 ;;
    esac
    case $header in
    '<sqlite3'*.h'>') return 1 ;;
    esac
    case $file in
    gateway/base/*)
        case $header in '"base/'*) return 0 ;; esac
        machine_header "$header"
        ;;
    mqttsn/*)
        case $header in '"base/'* | '"mqttsn/'*) return 0 ;; esac
        machine_header "$header"
        ;;
    gateway/broker/*)
        case $header in '"base/'* | '"mqttsn/'* | '"broker/'*) return 0 ;; esac
        machine_header "$header"
        ;;
    radio/stick/*) # machines
        case $header in '"base/'* | '"radio/stick/'*) return 0 ;; esac
        machine_header "$header"
        ;;
    tools/emu/*) # machines, too
        case $header in '"base/'* | '"tools/emu/'*) return 0 ;; esac
        machine_header "$header"
        ;;
    radio/udp*.c | radio/port_*.[ch] | radio/stick_link*.[ch])
        case $header in '"base/'* | '"radio/'* | '<'*) return 0 ;; esac
        return 1
        ;;
    radio/*)
        case $header in
        '<uv.h>' | '<uv/'* | '<libserialport.h>') return 1 ;;
        '"base/'* | '"radio/'* | '<'*) return 0 ;;
        esac
        return 1
        ;;
    tools/client*.[ch] | tools/registrations.[ch] | tools/fifo.[ch]) # the client machine
        case $header in '"base/'* | '"mqttsn/'* | '"tools/'*) return 0 ;; esac
        machine_header "$header"
        ;;
    *) return 0 ;;
    esac
}

check_includes() {
    cd "$1"
    find gateway mqttsn radio tools -name '*.[ch]' | sort >"$2/files"
    [ -s "$2/files" ] || die "no C files in $1"
    # shellcheck disable=SC2046 # our file names have no blanks; a test of ours would say so
    includes_of $(cat "$2/files") >"$2/includes"
    bad=0
    while read -r where header; do
        if ! allowed_include "${where%:*}" "$header"; then
            echo "$where: error: #include $header crosses the layers" \
                "(docs/adr/0001-machines-and-pump.md)"
            bad=1
        fi
    done <"$2/includes"
    return $bad
}

# ---- licence and size -----------------------------------------------------------------------------

# Sources and scripts of the tree, build directories left out.
sources_and_scripts() {
    find .ci cmake docs gateway mqttsn packaging radio scripts tests tools CMakeLists.txt -type f \
        \( -name '*.[ch]' -o -name '*.sh' -o -name '*.cmake' -o -name CMakeLists.txt \
        -o -name '*.py' -o -name '*.lua' -o -path '.ci/*' -o -name '*.service.in' \) \
        ! -path '*/corpus/*' 2>/dev/null | sort
}

check_spdx() {
    cd "$1"
    sources_and_scripts >"$2/files"
    [ -s "$2/files" ] || die "no sources in $1"
    bad=0
    while read -r file; do
        if ! head -n 3 "$file" | grep -q 'SPDX-License-Identifier: Apache-2.0'; then
            echo "$file:1: error: no 'SPDX-License-Identifier: Apache-2.0' in the first three lines"
            bad=1
        fi
    done <"$2/files"
    return $bad
}

lines_max=600
lines_warn=550

# Files with a reason to be longer stand in tests/layers.allow: "path<blank>reason".
allowed_length() {
    [ -f tests/layers.allow ] || return 1
    reason=$(awk -v file="$1" '$1 == file { $1 = ""; print; exit }' tests/layers.allow)
    [ -n "${reason# }" ]
}

check_size() {
    cd "$1"
    find gateway mqttsn radio tools tests -name '*.[ch]' | sort >"$2/files"
    [ -s "$2/files" ] || die "no C files in $1"
    bad=0
    while read -r file; do
        lines=$(wc -l <"$file")
        if [ "$lines" -gt "$lines_max" ]; then
            if ! allowed_length "$file"; then
                echo "$file: error: $lines lines, more than $lines_max: it tells two stories." \
                    "Split it, or give the reason in tests/layers.allow"
                bad=1
            fi
        elif [ "$lines" -gt "$lines_warn" ]; then
            echo "$file: warning: $lines lines; $lines_max is the limit"
        fi
    done <"$2/files"
    if [ -f tests/layers.allow ]; then
        grep -v '^#' tests/layers.allow | awk 'NF { print $1 }' >"$2/allowed"
        while read -r file; do
            if ! [ -f "$file" ] || [ "$(wc -l <"$file")" -le "$lines_max" ]; then
                echo "tests/layers.allow: error: $file needs no exception (any more); remove it"
                bad=1
            fi
        done <"$2/allowed"
    fi
    return $bad
}

# ---- which ----------------------------------------------------------------------------------------

in_tree() {
    check=$1
    tree=${2:-$here}
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    "$check" "$tree" "$scratch"
}

rule=${1:-}
[ $# -eq 0 ] || shift
case $rule in
symbols)
    [ $# -gt 0 ] || die "symbols: which library?"
    check_symbols "$@"
    ;;
includes) in_tree check_includes "$@" ;;
spdx) in_tree check_spdx "$@" ;;
size) in_tree check_size "$@" ;;
*)
    echo "usage: layers.sh symbols LIBRARY [SISTER...] | includes | spdx | size [TREE]" >&2
    exit 64
    ;;
esac
