//! The settings of a comparison.

use std::path::{Path, PathBuf};

use starple::train::TrainConfig;

use super::Contender;

/// How many runs may train at the same time: as many as a run may have threads.
const MOST_RUNS: usize = 1024;

/// The name of the contender that others are compared with unless another is chosen.
const BASELINE: &str = "single";

starple::settings! {
    /// The settings of [`compare`](super::compare()).
    CompareConfig, CompareConfigBuilder {
        /// The models that are compared, at least one; no two may have the same name. It has no default.
        contenders: Vec<Contender> = Vec::new(), each Contender, as &[Contender];
        /// The seeds, at least one and none twice; default 1, 2, 3, 4, 5. Each contender is trained once with each: it is
        /// the seed of starting values, batch order and dropout.
        seeds: Vec<u64> = vec![1, 2, 3, 4, 5], from impl Into<Vec<u64>>, as &[u64];
        /// The training settings of contenders that have none of their own; default [`TrainConfig`]'s. Their seed is that
        /// of each run.
        train: TrainConfig = TrainConfig::default(), as &TrainConfig;
        /// The contender that gains are measured from; default the one named `single` if there is one, else none.
        baseline: Option<String> = None, some impl Into<String>, as Option<&str>;
        /// The chance of a false flag for each contender, in (0, 1); default 0.05.
        level: f64 = 0.05;
        /// How many runs train at the same time, 1 to 1024; default 1. Each takes as many threads as its training settings
        /// say, and all share the machine when rows per second are measured. It changes no other figure.
        parallel_runs: usize = 1;
        /// The file in which every run is noted when it is done, and from which runs that are done are taken; default none. It is
        /// created if it does not exist, and lines are added to it.
        journal: Option<PathBuf> = None, some impl Into<PathBuf>, as Option<&Path>;
    }
    check(this, problems) {
        let names: Vec<&str> = this.contenders.iter().map(Contender::name).collect();
        problems.require(!names.is_empty(), || "contenders: at least one".into());
        problems.require(!names.contains(&""), || "contenders: every one needs a name".into());
        for (i, name) in names.iter().enumerate() {
            problems
                .require(!names[..i].contains(name), || format!("contenders: {name:?} is listed twice; rename one"));
        }
        problems.require(!this.seeds.is_empty(), || "seeds: at least one".into());
        for (i, seed) in this.seeds.iter().enumerate() {
            problems.require(!this.seeds[..i].contains(seed), || format!("seeds: {seed} is listed twice"));
        }
        if let Some(baseline) = this.baseline.as_deref() {
            problems.require(names.contains(&baseline), || {
                format!("baseline: expected one of the contenders {names:?}, found {baseline:?}")
            });
        } else if names.contains(&BASELINE) {
            this.baseline = Some(BASELINE.into());
        }
        let (level, runs) = (this.level, this.parallel_runs);
        problems.require(level > 0.0 && level < 1.0, || format!("level: 0 < level < 1, found {level}"));
        problems.require(runs >= 1, || "parallel_runs: at least 1, found 0".into());
        problems.require(runs <= MOST_RUNS, || format!("parallel_runs: at most {MOST_RUNS}, found {runs}"));
    }
}

impl CompareConfigBuilder {
    /// Adds a contender after those before it.
    pub fn contender(mut self, contender: Contender) -> Self {
        self.contenders.push(contender);
        self
    }
}
