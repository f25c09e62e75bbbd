#!/usr/bin/env bash
# Plants one fault at a time in a copy of the sources and says which tests notice: a check of the tests themselves.
#
#   bash tests/faults.sh          all faults; about an hour
#   bash tests/faults.sh decay    those whose name has this in it
#
# Exits with 1 if a fault goes unnoticed. Needs perl, which replaces the text.
set -euo pipefail
cd "$(dirname "$0")/.."

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
git ls-files -z | xargs -0 cp --parents -t "$copy"
export CARGO_TARGET_DIR=$PWD/target/faults
wanted=${1:-}
unnoticed=0

# fault NAME FILE FROM TO: replaces the one place that reads FROM.
fault() {
  local name=$1 file=$2
  case $name in *"$wanted"*) ;; *) return ;; esac
  cp "$file" "$copy/$file"
  if ! FROM=$3 TO=$4 perl -0pi -e '$n = s/\Q$ENV{FROM}\E/$ENV{TO}/; END { exit 1 unless $n }' "$copy/$file"; then
    echo "$name: $file does not read so any more: $3"
    exit 2
  fi
  local out
  out=$(cd "$copy" && cargo test --quiet --no-fail-fast --lib --test golden --test identities --test contract --test metrics --test compare 2>&1) && true
  if grep -q '^error\(\[\|: could not compile\)' <<<"$out"; then
    echo "$name: does not compile"
    grep -m3 '^error' <<<"$out"
    exit 2
  fi
  local noticed
  noticed=$(grep -oE '^    [a-z_:0-9]+$' <<<"$out" | sort -u | tr -d ' ' || true)
  printf '%s\n' "$name"
  if [ -z "$noticed" ]; then
    echo "    UNNOTICED"
    unnoticed=1
  else
    sed 's/^/    /' <<<"$noticed" | head -n 4
    [ "$(wc -l <<<"$noticed")" -le 4 ] || echo "    … $(wc -l <<<"$noticed") in all"
  fi
  cp "$file" "$copy/$file"
}

fault "normalisation's backward without the x̂ term" src/nn/norm/columns.rs \
  'a * r * (g - mean_g - (z - mean) * r * mean_gx)' 'a * r * (g - mean_g)'
fault "moving variance takes the biased estimate" src/nn/norm/columns.rs \
  'squares / (n - 1.0)' 'squares / n'
fault "batch statistics at inference" src/nn/norm/partitioned.rs \
  'mode.training().is_some() && segment.len()' 'segment.len()'
fault "averages without their bias removed" src/nn/moving.rs \
  '/ (1.0 - keep.powi(steps))' ''
fault "a gate with a bias" src/nn/gate.rs \
  'matmul(x, &self.weight, &mut cache.weights);' \
  'matmul(x, &self.weight, &mut cache.weights); cache.weights.column_mut(0).mapv_inplace(|z| z + 0.1);'
fault "softmax's backward without its sum" src/nn/softmax.rs \
  '*dw = w * (*dw - mean)' '*dw = w * *dw'
fault "a dropout's scale forgotten behind a rectifier" src/nn/hidden.rs \
  'rectifies.then(|| self.dropout.scale())' 'rectifies.then(|| 1.0)'
fault "weight decay pulls domain factors to 0" src/nn/star_linear/product.rs \
  'Decay::To(1.0)' 'Decay::To(0.0)'
fault "domain factors that never learn" src/nn/star_linear/product.rs \
  'dw_d[j] += sums[j] * w[j];' 'dw_d[j] += 0.0 * w[j];'
fault "an activation after the last layer" src/model/star.rs \
  'layer.forward(h, segments, linear, logits);' \
  'layer.forward(h, segments, linear, logits); logits.mapv_inplace(|z| z.max(0.0));'
fault "an auxiliary network without the domain" src/model/pooled.rs \
  'Some(d) => to.assign(&self.domain[d].embedding),' 'Some(_) => to.fill(0.0),'
fault "a domain's embedding without its gradient" src/nn/joined.rs \
  '*de = row.dot(&*dbias);' '*de = 0.0;'
fault "the star topology's gradient in place of the auxiliary network's" src/model/star.rs \
  'cache, grad, dx, add)' 'cache, grad, dx, false)'
fault "an expert's first gate taken to read all rows" src/model/extraction/level.rs \
  'start < first.rows.start || first.rows.end < end' 'false && first.rows.end < end'
fault "own experts do not learn from the shared gate" src/model/extraction/level.rs \
  '(route.branch < self.gated).then(' '(route.branch > self.gated).then('
fault "absent owners move" src/model/mod.rs \
  'Pair::Tensor(values, grad, decay) if path.present()' 'Pair::Tensor(values, grad, decay)'
fault "experts that start alike" src/nn/init.rs \
  'self.next - 1' '0'
fault "a missing label counts in the mean" src/loss/evaluate.rs \
  'if has_label {' 'if true {'
fault "given weights ignored" src/loss/objective.rs \
  'fn weight(&self, unit: usize, clock: Clock) -> f64 {' \
  'fn weight(&self, unit: usize, clock: Clock) -> f64 { if unit < usize::MAX { return 1.0; }'
fault "a sum of gradients forgets who took part" src/nn/per.rs \
  '*own |= present;' ''
fault "conflicting gradients are projected too far" src/loss/weighting/pcgrad.rs \
  'product / row[j]' '2.0 * product / row[j]'
fault "GradNorm counts given weights twice" src/train/step.rs \
  '.sqrt() / weights.fixed(unit)' '.sqrt()'
fault "the uncertainty of a unit without labels moves" src/loss/weighting/uncertainty.rs \
  'if let Some(loss) = loss {' 'if let Some(loss) = loss.as_ref().or(Some(&0.0)) {'
fault "tied scores in the order they come" src/metrics/auc.rs \
  'twice_won += tied_positives * (2 * negatives + tied_negatives);' 'twice_won += tied_positives * 2 * negatives;'
fault "the spread over seeds divided by n" src/compare/statistics.rs \
  '/ (n - 1.0)).sqrt()' '/ n).sqrt()'
fault "Holm's correction without the rank" src/compare/statistics.rs \
  '(p.len() - rank) as f64' '(p.len() - 0 * rank) as f64'
fault "flipped signs that only reach the sum found do not count" src/compare/statistics.rs \
  '>= observed - tolerance' '> observed + tolerance'
exit $unnoticed
