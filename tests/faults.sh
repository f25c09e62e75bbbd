#!/usr/bin/env bash
# Plants one fault at a time in a copy of the sources and says which tests notice: a check of the tests themselves.
#
#   bash tests/faults.sh              all faults; about two hours
#   bash tests/faults.sh decay        those whose name has this in it
#   bash tests/faults.sh --sources    only checks that the sources still have the text that each fault replaces
#
# Exits with 1 if a fault goes unnoticed, with 2 if the sources have changed. Needs perl, which replaces the text.
set -euo pipefail
cd "$(dirname "$0")/.."

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
git ls-files -z | xargs -0 cp --parents -t "$copy"
export CARGO_TARGET_DIR=$PWD/target/faults
wanted=${1:-}
sources_only=
if [ "$wanted" = --sources ]; then wanted='' sources_only=yes; fi
unnoticed=0
changed=0

# fault NAME FILE FROM TO: replaces the one place that reads FROM.
fault() {
  local name=$1 file=$2
  case $name in *"$wanted"*) ;; *) return ;; esac
  if [ -n "$sources_only" ]; then
    if [ ! -f "$file" ] || ! FROM=$3 perl -0ne 'exit 1 unless /\Q$ENV{FROM}\E/' "$file"; then
      echo "$name: $file does not have this text: $3"
      changed=2
    fi
    return
  fi
  cp "$file" "$copy/$file"
  if ! FROM=$3 TO=$4 perl -0pi -e '$n = s/\Q$ENV{FROM}\E/$ENV{TO}/; END { exit 1 unless $n }' "$copy/$file"; then
    echo "$name: $file does not have this text: $3"
    exit 2
  fi
  local out
  out=$(cd "$copy" && cargo test --quiet --no-fail-fast -p starple -p starple-lab --lib --test golden --test identities --test contract --test metrics --test compare --test around_the_step --test row_source --test sizes --test tables 2>&1) && true
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

fault "a regression that learns in the label's unit" src/loss/task_loss.rs \
  'let d = z - (y - mean) / deviation;
                (0.5' 'let d = z - y;
                (0.5'
fault "a count's loss with the slope of a squared error" src/loss/task_loss.rs \
  '(value, rate - y)' '(value, z - y)'
fault "an XAUC that counts ties as lost" src/metrics/regression.rs \
  'won += 0.5 * weight' 'won += 0.0 * weight'
fault "an answer in standard deviations" src/data/target.rs \
  'mean + deviation * z,' 'mean + z,'
fault "a weight of positives without its shift of the logit" src/loss/task_loss.rs \
  'shift: pos_weight.ln() - negatives.ln()' 'shift: -negatives.ln()'
fault "a sample of negatives without its shift of the logit" src/loss/task_loss.rs \
  'shift: pos_weight.ln() - negatives.ln()' 'shift: pos_weight.ln()'
fault "negative labels that an epoch leaves out but does not mask" src/data/negatives.rs \
  '*label = f32::NAN;' '*label += 0.0;'
fault "normalisation's backward without the x̂ term" src/nn/norm/columns.rs \
  'a * r * (g - mean_g - (z - mean) * r * mean_gx)' 'a * r * (g - mean_g)'
fault "moving variance takes the biased estimate" src/nn/norm/columns.rs \
  'squares / freedom' 'squares / rows as f64'
fault "batch statistics at inference" src/nn/norm/partitioned.rs \
  'mode.batch_statistics() && segment.len() >= self.settings.min_rows' 'segment.len() >= self.settings.min_rows'
fault "averages without their bias removed" src/nn/moving_average.rs \
  '/ (1.0 - keep.powi(steps))' ''
fault "a gate with a bias" src/nn/gate.rs \
  'matmul(x, &self.weight, &mut cache.weights);' \
  'matmul(x, &self.weight, &mut cache.weights); cache.weights.column_mut(0).mapv_inplace(|z| z + 0.1);'
fault "softmax's backward without its sum" src/nn/softmax.rs \
  '*dw = w * (*dw - mean)' '*dw = w * *dw'
fault "a dropout's scale forgotten behind a rectifier" src/nn/post_affine.rs \
  'rectifies.then(|| self.dropout.scale())' 'rectifies.then(|| 1.0)'
fault "weight decay pulls domain factors to 0" src/nn/star_linear/product.rs \
  'Decay::Towards(1.0)' 'Decay::Towards(0.0)'
fault "domain factors that never learn" src/nn/star_linear/product.rs \
  'dw_d[j] += sums[j] * w[j];' 'dw_d[j] += 0.0 * w[j];'
fault "an activation after the last layer" src/net/forward.rs \
  'linear.forward(&reads.value(*input), segments, &mut cache_of!(cache, Star).linear, out);' \
  'linear.forward(&reads.value(*input), segments, &mut cache_of!(cache, Star).linear, out); out.mapv_inplace(|z| z.max(0.0));'
fault "an auxiliary network without the domain" src/nn/domain_mlp.rs \
  'Some(own) => to.assign(&own.embedding),' 'Some(_) => to.fill(0.0),'
fault "a domain's embedding without its gradient" src/nn/joined.rs \
  '*de = dot_f32::<16>(values(&row), values(dbias));' '*de = 0.0;'
fault "a second reader's gradient in place of the first one's" src/net/backward/step.rs \
  'return true;' 'return false;'
fault "an expert's first gate taken to read all rows" src/net/backward/mixtures.rs \
  '(block < read.start || read.end < end)' '(false && read.end < end)'
fault "an expert learns from one gate alone" src/net/backward/mixtures.rs \
  'in readers().enumerate()' 'in readers().take(1).enumerate()'
fault "a branch without labels takes part" src/net/backward.rs \
  'answer.by_labels && given.iter()' 'false && given.iter()'
fault "a stopped gradient goes on" src/net/program.rs \
  'Self { stopped: true, ..self }' 'Self { stopped: false, ..self }'
fault "attention to vectors that a row does not have" src/nn/attention/attend.rs \
  'm < count || count == 0' 'true'
fault "a product's second factor without its gradient" src/nn/product.rs \
  '*db = dy * a' '*db = 0.0 * dy * a'
fault "only one field of a shared table learns" src/model/embeddings/lookup.rs \
  '&columns.readers[table]' 'columns.readers[table].iter().take(1)'
fault "kept values without their number" src/model/embeddings/lookup.rs \
  '*filled = kept.len() as f32 / n as f32;' '*filled = 1.0;'
fault "a scale's gate without its slope" src/nn/scale.rs \
  'dy * x * delta * (1.0 - delta / factor)' 'dy * x * delta'
fault "a grown net draws anew what it had" src/net/net.rs \
  '*new = layer;' 'let _ = layer;'
fault "absent owners move" src/model/mod.rs \
  'Pair::Tensor(values, grad, decay) if path.present()' 'Pair::Tensor(values, grad, decay)'
fault "experts that start alike" src/nn/init.rs \
  'Purpose::Init, self.next - 1, self.of' 'Purpose::Init, 0, 0'
fault "a missing label counts in the mean" src/loss/evaluate.rs \
  'if !label.is_nan() {' 'if true {'
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
fault "the spread over seeds divided by n" lab/src/compare/statistics.rs \
  '/ (n - 1.0)).sqrt()' '/ n).sqrt()'
fault "Holm's correction without the rank" lab/src/compare/statistics.rs \
  '(p.len() - rank) as f64' '(p.len() - 0 * rank) as f64'
fault "flipped signs that only reach the sum found do not count" lab/src/compare/statistics.rs \
  '>= observed - tolerance' '> observed + tolerance'
fault "a resumed run forgets how far a plateau has come" src/train/checkpoint.rs \
  'run.state = state;' 'run.state = state; run.state.plateau = crate::optim::PlateauState::default();'
fault "a resumed run forgets how good the best was" src/train/checkpoint.rs \
  'run.state = state;' 'run.state = state; run.state.goodness = None;'
fault "a resumed run starts its epoch anew" src/train/run.rs \
  'rows.skip(self.state.batch)?;' ''
fault "a source's rows are not counted" src/train/run.rs \
  'if found == expected || (self.samples && found <= expected) {' 'if found <= expected {'
fault "batches of a source that are not checked" src/data/source.rs \
  'batch.check(self.0.layout()).map_err(of_batch)?;' ''
fault "the learning rate of the next step" src/train/run.rs \
  'config.schedule.factor(clock, &state.plateau)' \
  'config.schedule.factor(Clock { step: clock.step + 1, ..clock }, &state.plateau)'
fault "decays that never begin" src/train/run.rs \
  'epoch: state.epoch as u64, step: state.report.steps' 'epoch: 0, step: state.report.steps'
fault "any change is an improvement" src/train/run_state.rs \
  'goodness > best + config.early_stop.min_delta()' 'goodness > best'
fault "a plateau that waits for the metric to fall" src/train/run_state.rs \
  'observe(&mut self.plateau, goodness, true)' 'observe(&mut self.plateau, goodness, false)'
fault "patience that lasts an epoch longer" src/train/run.rs \
  'waited >= self.config.early_stop.patience' 'waited > self.config.early_stop.patience'
fault "the last weights kept in place of the best" src/train/run.rs \
  'if stop.diverged() || ((val.is_some() || average) && report.best_epoch.is_some()) {' 'if stop.diverged() {'
fault "averages of table rows that skip the steps that do not read them" src/train/average.rs \
  'decay.powi(i32::try_from(lag).unwrap_or(i32::MAX))' 'decay.powi(1)'
fault "replaced ids with one draw for all steps" src/train/unknown.rs \
  'Purpose::Unknown, step.step, field as u64' 'Purpose::Unknown, 0, field as u64'
fault "every epoch called the best" src/train/run.rs \
  'if done.best || done.val.is_none() {' 'if done.best || done.epoch < usize::MAX {'
fault "dropout with one mask for all steps" src/nn/dropout.rs \
  'Purpose::Dropout, step.step, self.site' 'Purpose::Dropout, 0, self.site'
fault "dropout with one mask for all places" src/nn/dropout.rs \
  'Purpose::Dropout, step.step, self.site' 'Purpose::Dropout, step.step, 0'
fault "dropout with one mask for all seeds" src/nn/dropout.rs \
  'keyed(step.seed, Purpose::Dropout' 'keyed(0, Purpose::Dropout'
fault "one order for all epochs" src/data/loader.rs \
  'Purpose::Shuffle, epoch, 0' 'Purpose::Shuffle, 0 * epoch, 0'
fault "an epoch's loss by batches and not by rows" src/train/run.rs \
  'state.loss += loss * batch.rows() as f64;' 'state.loss += loss * config.batch_rows() as f64;'
fault "gradients that are not clipped" src/train/run.rs \
  'clip.clip(&mut grad.net, &mut grad.tables);' 'let _ = clip;'
fault "tables that keep their rate whatever the schedule" src/optim/split.rs \
  'self.tables.set_lr(lr * self.ratio);' ''
fault "nothing frozen" src/train/trainer.rs \
  '.freeze(model, &config.freeze)?' '.freeze(model, &[""; 0])?'
fault "a callback after one that breaks is not told" src/train/run.rs \
  'breaks |= tell(&mut **callback).is_break();' 'breaks = breaks || tell(&mut **callback).is_break();'
fault "an AUC that weighs positives alone" src/metrics/auc.rs \
  '+= f64::from(row.weight);' '+= if row.positive { f64::from(row.weight) } else { 1.0 };'
fault "a log loss without weights" src/metrics/logloss.rs \
  '(f64::from(row.logit), f64::from(row.weight))' '(f64::from(row.logit), 1.0)'
fault "groups that weigh as many as their rows" src/metrics/gauc.rs \
  'group.iter().map(|row| f64::from(row.weight)).sum::<f64>()' 'group.len() as f64'
fault "rows of weight 0 counted" src/metrics/evaluator.rs \
  'if weight == 0.0 {' 'if weight < 0.0 {'
fault "runs of other rows taken from a journal" lab/src/compare/journal.rs \
  'Self { layout: crc32fast::hash(&layout), train, val, test }' \
  'Self { layout: crc32fast::hash(&layout), train: 0 * train, val: 0 * val, test: 0 * test }'
fault "damaged lines of a journal believed" lab/src/compare/journal.rs \
  '(sum == crc32fast::hash(rest.as_bytes()))' '(sum > 0 || rest.is_empty())'
fault "models of any size" src/model/fits.rs \
  '(bytes > total || bytes.is_nan())' '(bytes > 1e300 * total || bytes.is_nan())'
fault "tensors that take nothing for themselves" src/nn/size.rs \
  '+ TENSOR * self.tensors' '+ 0.0 * TENSOR * self.tensors'
fault "batches that take nothing for the net" src/train/memory.rs \
  'batch: 4.0 * batch * (slack * row + data),' 'batch: 4.0 * batch * (0.0 * slack * row + data),'
fault "one task and several domains by tasks" src/model/branches.rs \
  'layout.domains.len() > 1 && layout.tasks.len() == 1' 'layout.domains.len() > 1 && layout.tasks.is_empty()'
if [ $changed -ne 0 ]; then exit $changed; fi
exit $unnoticed
