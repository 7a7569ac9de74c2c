#!/usr/bin/env bash
# All tests, in release and through public API only. Tests with real processes run serially, on the binary of the release build.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/build.sh
test=(swift test --configuration release --disable-testable-imports --scratch-path .build/tests --disable-xctest)
"${test[@]}" --skip '^ClusterTests\.'
SUANPAN_BINARY="$PWD/.build/release/suanpan" "${test[@]}" --skip-build --no-parallel --filter '^ClusterTests\.'
