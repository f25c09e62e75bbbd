#!/usr/bin/env bash
# Exports models of every kind, lets ONNX's checker and ONNX Runtime judge the graphs, and prints a table; fails where they differ.
#
#   bash tests/onnx/check.sh
#
# ONNX_VENV is a Python environment with what requirements.txt lists; by default target/onnx/venv, made if it is not there.
set -euo pipefail
cd "$(dirname "$0")/../.."

out=${CARGO_TARGET_DIR:-target}/onnx
venv=${ONNX_VENV:-$out/venv}
if [ ! -x "$venv/bin/python" ]; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet -r tests/onnx/requirements.txt
fi
rm -rf "$out/cases"
cargo run --quiet --features onnx --example onnx_cases -- "$out/cases"
"$venv/bin/python" tests/onnx/check.py "$out/cases"
