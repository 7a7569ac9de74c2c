#!/usr/bin/env bash
# Removes what the build made; a cluster's directory (.suanpan) is not touched: `suanpan cluster purge` does that.
set -euo pipefail
cd "$(dirname "$0")/.."
rm -rf .build
