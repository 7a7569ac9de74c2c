#!/usr/bin/env bash
# Checks what the build needs, and what the arguments (COMMAND:PACKAGE) add to that, and installs what is missing: as root with apt-get, otherwise by saying which command to run.
set -euo pipefail

say() { printf 'suanpan: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

[ "$(uname -s)" = Linux ] || fail "Suanpan runs on Linux; this is $(uname -s)."

# Debian packages by what tells that they are there, so that an OpenSSL from elsewhere counts as well.
missing=()
command -v git >/dev/null 2>&1 || missing+=(git ca-certificates)
command -v pkg-config >/dev/null 2>&1 || missing+=(pkg-config)
if ! { command -v pkg-config && pkg-config --atleast-version=3.0 openssl; } >/dev/null 2>&1; then
    missing+=(libssl-dev)
fi
[ -e /usr/include/stdio.h ] || missing+=(libc6-dev)
compgen -G '/usr/lib/gcc/*/*/libstdc++.so' >/dev/null || missing+=(libstdc++-12-dev)
for extra in "$@"; do
    command -v "${extra%%:*}" >/dev/null 2>&1 || missing+=("${extra##*:}")
done

if [ ${#missing[@]} -gt 0 ]; then
    command -v apt-get >/dev/null 2>&1 \
        || fail "missing: ${missing[*]} (names of Debian packages). Install them with this system's package manager."
    if [ "$(id -u)" -ne 0 ]; then
        say "missing: ${missing[*]}. Run this, then try again:"
        printf '    sudo apt-get update && sudo apt-get install -y %s\n' "${missing[*]}" >&2
        exit 1
    fi
    say "installing ${missing[*]} with apt-get"
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"; } \
        >"$log" 2>&1 || { tail -n 20 "$log" >&2; fail "apt-get could not install ${missing[*]}; its last lines are above."; }
fi

command -v swift >/dev/null 2>&1 \
    || fail "no 'swift' on the PATH. Suanpan needs Swift 6.2 or newer: https://www.swift.org/install/linux/"
# No pipe into head here: swift would die of SIGPIPE.
version=$(swift --version 2>/dev/null || true)
if [[ $version =~ Swift\ version\ ([0-9]+)\.([0-9]+) ]]; then
    major=${BASH_REMATCH[1]} minor=${BASH_REMATCH[2]}
    if ((major < 6 || (major == 6 && minor < 2))); then
        fail "Swift $major.$minor is too old. Suanpan needs 6.2 or newer: https://www.swift.org/install/linux/"
    fi
else
    fail "'swift --version' does not say a version: ${version:-nothing}. Is $(command -v swift) a whole toolchain?"
fi
