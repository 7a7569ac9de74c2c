#!/usr/bin/env bash
# The release build in .build: the binary that is run and measured, never a test build.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/prerequisites.sh
unset SUANPAN_MUTATIONS
exec swift build --configuration release --product suanpan
