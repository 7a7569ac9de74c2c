#!/usr/bin/env bash
# The benchmark on the release build: the arguments go to `suanpan bench`. Ten minutes without any.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/build.sh
exec .build/release/suanpan bench --dir .build/bench "$@"
