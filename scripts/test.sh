#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The one test command: installs what is missing, builds with AddressSanitizer and
# UndefinedBehaviorSanitizer, runs every test. Arguments go to ctest, e.g. `test.sh -L unit`.
# The summary of ctest comes last, and its exit status is ours.
set -eu
cd "$(dirname "$0")/.."

./scripts/deps.sh test
cmake --preset asan
cmake --build --preset asan --parallel "$(nproc)"
exec ctest --preset asan --no-tests=error --parallel 2 "$@"
