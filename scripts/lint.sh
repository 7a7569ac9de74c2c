#!/usr/bin/env bash
# Formatting, without writing anything. Without --strict findings would exit 0.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/prerequisites.sh
exec swift format lint --strict --parallel --recursive Sources Tests Package.swift
