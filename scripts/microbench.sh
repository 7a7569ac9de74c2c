#!/usr/bin/env bash
# Instructions per payment of single mechanisms, counted by callgrind, against scripts/microbench.txt. They repeat to within a
# per cent or two on one compiler and C library, where times do not.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/prerequisites.sh valgrind:valgrind strip:binutils
swift build --configuration release --product microbench
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Valgrind does not read the debug information of this compiler.
strip --strip-debug -o "$work/microbench" .build/release/microbench
failed=0
printf '%-14s %12s %8s\n' benchmark instructions limit
while read -r name limit; do
    case $name in '' | '#'*) continue ;; esac
    valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect='$s10microbench8measuredyyyyXEF' \
        "$work/microbench" "$name" >"$work/out" 2>&1 || { cat "$work/out" >&2; exit 1; }
    payments=$(awk '/ payments / { print $2 }' "$work/out")
    counted=$(awk '/Collected :/ { print $4 }' "$work/out")
    [ "${counted:-0}" -gt 0 ] || { echo "microbench: callgrind counted nothing for $name" >&2; exit 1; }
    each=$((counted / payments))
    printf '%-14s %12d %8d' "$name" "$each" "$limit"
    if [ "$each" -gt "$limit" ]; then
        printf '  over\n'
        failed=1
    else
        printf '\n'
    fi
done <scripts/microbench.txt
[ $failed -eq 0 ] || { echo "microbench: more instructions than scripts/microbench.txt allows" >&2; exit 1; }
