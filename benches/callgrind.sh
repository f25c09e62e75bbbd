#!/usr/bin/env bash
# Counts the instructions and the cache misses of one benchmark, by function, with valgrind's callgrind.
#
#   bash benches/callgrind.sh star 'train_step/rows=2048,domains=10'
#
# The first argument is a benchmark of Criterion's, the second which of its measurements. What is counted is what is measured, on one
# thread, without what comes before. Valgrind knows no AVX-512, so it is the copy for AVX2 that runs.
set -euo pipefail
cd "$(dirname "$0")/.."
bench=$1 filter=$2

# Names that tell one copy of a generic function from another, and no lines, by which callgrind would part what was inlined.
export RUSTFLAGS="-C symbol-mangling-version=v0" CARGO_PROFILE_BENCH_DEBUG=false CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/callgrind
program=$(cargo bench --bench "$bench" --no-run 2>&1 | sed -n 's/.*Executable.*(\(.*\))$/\1/p')
out=$(mktemp)
trap 'rm -f "$out"' EXIT
STARPLE_THREADS=1 valgrind --quiet --tool=callgrind --cache-sim=yes --callgrind-out-file="$out" \
  --toggle-collect='*Bencher*::iter*' "$program" --bench --profile-time 10 "$filter" >/dev/null 2>&1
# Instructions, and misses of the first-level cache in reading and in writing.
callgrind_annotate --show=Ir,D1mr,D1mw --threshold=95 "$out" | grep '%)' | sed -E 's/ *\[[^]]*\]$//; s/[^ ]*:([<a-z_]*starple)/\1/; s/starple:://g' |
  cut -c1-"${COLUMNS:-200}"
