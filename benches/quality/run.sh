#!/usr/bin/env bash
# Compares the models with boosted trees on the logs of the files here, and writes a table and a report for each.
#
#     benches/quality/run.sh OUT NAME=LOG...
#
# NAME is toy, census, ml1m or ml1m-year; LOG is its CSV file. Needs Python with requirements.txt (PYTHON, by default python3).
# With SEEDS=1,2 there are fewer seeds. A data set takes from two minutes (toy) to hours (the trees on the others).
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ $# -lt 2 ]; then sed -n '2,7s/^# \?//p' "$0" >&2; exit 2; fi
out=$1
shift
seeds=${SEEDS:-1,2,3,4,5}
mkdir -p "$out"
cargo build --locked --release --example compare
compare=${CARGO_TARGET_DIR:-target}/release/examples/compare
for pair in "$@"; do
  name=${pair%%=*} log=${pair#*=} file=benches/quality/${pair%%=*}.toml
  if [ ! -f "$file" ] || [ ! -f "$log" ]; then echo "error: $pair: expected NAME=LOG, with $file and the log" >&2; exit 2; fi
  "${PYTHON:-python3}" benches/quality/trees.py "$file" --data "$log" --seeds "$seeds" --out "$out/$name-trees.json"
  "$compare" "$file" --set data.path="$log" --set "seeds=[$seeds]" --others "$out/$name-trees.json" \
    --report "$out/$name.json" | tee "$out/$name.txt.part"
  mv "$out/$name.txt.part" "$out/$name.txt"
done
