#!/usr/bin/env bash
# All tests, in release and through public API only. Tests with real processes run serially, on the binary of the release build.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/build.sh
# The tests of the simulator break the system on purpose: their build, and no other, can.
test=(env SUANPAN_MUTATIONS=1 swift test --configuration release --disable-testable-imports --scratch-path .build/tests --disable-xctest)
"${test[@]}" --skip '^ClusterTests\.'
SUANPAN_BINARY="$PWD/.build/release/suanpan" "${test[@]}" --skip-build --no-parallel --filter '^ClusterTests\.'
