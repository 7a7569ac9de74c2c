#!/usr/bin/env bash
# Formats the sources in place.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/prerequisites.sh
exec swift format --in-place --parallel --recursive Sources Tests Package.swift
