#!/usr/bin/env bash
# The simulator on the release build; the arguments go to `suanpan sim`. Without any: the sweep of `make verify`.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/build.sh
if [ $# -eq 0 ]; then set -- --count 200; fi
exec .build/release/suanpan sim --workers "$(nproc)" "$@"
