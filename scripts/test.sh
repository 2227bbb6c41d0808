#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The one test command: installs what is missing, builds with AddressSanitizer and
# UndefinedBehaviorSanitizer, runs every test. Arguments go to ctest, e.g. `test.sh -L unit`.
# The summary of ctest comes last, and its exit status is ours. When everything was run, each test that
# docs/conformance.md names must have run and passed; only offences are printed.
set -eu
cd "$(dirname "$0")/.."

./scripts/deps.sh test
cmake --preset asan
cmake --build --preset asan --parallel "$(nproc)"
log=build/asan/ctest.log
status=0
# One more than there are processors in the smallest machine: end-to-end tests wait more than they work.
ctest --preset asan --no-tests=error --parallel 3 --output-log "$log" "$@" || status=$?
if [ $# -eq 0 ]; then
    ./scripts/conformance.sh "$log" >build/asan/conformance.txt || {
        cat build/asan/conformance.txt
        status=1
    }
fi
exit $status
