#!/usr/bin/env bash
# Measures starple against PyTorch, in turn, on the same weights and rows; SPEED.md says what and how.
#
#   bash benches/peers/run.sh [--rounds 7] [--threads N] [--only star-mid,ple-mid] [--json FILE] …     (--help has them all)
#
# PYTHON                the interpreter that makes the virtual environment; default python3
# STARPLE_PEERS_VENV    the environment; default target/peers-venv. One that is there is used as it is: it needs numpy and torch.
set -euo pipefail
cd "$(dirname "$0")/../.."

venv=${STARPLE_PEERS_VENV:-target/peers-venv}
if [ ! -x "$venv/bin/python" ]; then
  "${PYTHON:-python3}" -m venv "$venv"
  # PyTorch's own index has wheels without CUDA, which are ten times smaller; where it cannot be reached, any will do.
  "$venv/bin/pip" install --retries 0 --index-url https://download.pytorch.org/whl/cpu -r benches/peers/requirements.txt ||
    "$venv/bin/pip" install -r benches/peers/requirements.txt || {
    rm -r "$venv"
    exit 1
  }
fi
exec cargo bench --bench peers -- --python "$(realpath "$venv/bin")/python" "$@"
