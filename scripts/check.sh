#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# What a reviewer runs before reading. Every step is run, then the ones that failed are named.
#
#   check.sh [--build DIR] [STEP...]
#
#   format     the C files are as .clang-format wants them
#   tidy       clang-tidy has no finding (.clang-tidy says which it looks for, and why not others)
#   cppcheck   neither has cppcheck
#   shell      nor shellcheck on the scripts
#   spelling   nor codespell on everything that people read
#   layers     nor tests/layers.sh on the tree
#   reformat   (only when named) runs clang-format on the C files
#
# DIR is a configured build directory, for its compile_commands.json; without it the preset dev is
# configured. Tools that are missing: scripts/deps.sh check.
set -eu
cd "$(dirname "$0")/.."

usage() {
    sed -n '4,17s/^# \{0,1\}//p' "$0"
}

# Version 14 is what Debian 12 has, and other versions format differently.
clang_format=${CLANG_FORMAT:-clang-format-14}
clang_tidy=${CLANG_TIDY:-clang-tidy-14}

c_files() {
    find gateway mqttsn radio tools tests docs -name '*.[ch]' ! -path '*/corpus/*' | sort
}

scripts() {
    find scripts tests packaging tools .ci -type f ! -path '*/corpus/*' \
        \( -name '*.sh' -o -path '.ci/*' \) | sort
}

need() {
    command -v "$1" >/dev/null && return
    echo "check.sh: $1 is missing; scripts/deps.sh check installs it" >&2
    return 1
}

step_format() {
    need "$clang_format" && c_files | xargs "$clang_format" --dry-run --Werror
}

step_reformat() {
    need "$clang_format" && c_files | xargs "$clang_format" -i
}

# The C files that the build directory compiles.
compiled_files() {
    sed -n 's/^ *"file": "\(.*\)",\{0,1\}$/\1/p' "$build/compile_commands.json" | sort -u
}

configure_if_needed() {
    [ -z "$build" ] || return 0
    build=build/dev
    cmake --preset dev >/dev/null
}

step_tidy() {
    need "$clang_tidy" && configure_if_needed || return 1
    # The flags are gcc's: clang must not object to the warnings that only gcc has.
    compiled_files | xargs -P "$(nproc)" -n 1 "$clang_tidy" --quiet -p "$build" \
        --extra-arg=-Wno-unknown-warning-option --extra-arg=-Wno-ignored-optimization-argument \
        2>"$scratch/tidy"
    status=$?
    grep -v -e 'warnings generated' -e 'warning generated' -e '^Suppressed' -e '^Use -header-filter' \
        "$scratch/tidy" >&2
    return $status
}

step_cppcheck() {
    need cppcheck && configure_if_needed || return 1
    cppcheck --project="$build/compile_commands.json" --quiet --error-exitcode=1 -j "$(nproc)" \
        --enable=warning,performance,portability --inline-suppr --library=posix \
        --suppressions-list=.cppcheck-suppressions -i "$build"
}

step_shell() {
    need shellcheck && scripts | xargs shellcheck
}

step_spelling() {
    need codespell || return 1
    codespell --ignore-words=.codespell-ignore --skip='./build,./.git,*/corpus/*,*/golden/*,./LICENSE'
}

step_layers() {
    status=0
    for rule in includes spdx size; do
        tests/layers.sh "$rule" || status=1
    done
    return $status
}

build=
steps=
while [ $# -gt 0 ]; do
    case $1 in
    --build)
        build=${2:?"--build needs a directory"}
        shift
        ;;
    --help | -h)
        usage
        exit 0
        ;;
    format | reformat | tidy | cppcheck | shell | spelling | layers) steps="$steps $1" ;;
    *)
        usage >&2
        exit 64
        ;;
    esac
    shift
done

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=
for step in ${steps:-format tidy cppcheck shell spelling layers}; do
    echo "== $step"
    "step_$step" || failed="$failed $step"
done
if [ -n "$failed" ]; then
    echo "check.sh: failed:$failed" >&2
    exit 1
fi
echo "check.sh: all is well"
