//! The settings of a comparison.

use std::path::PathBuf;

use starple::Problems;
use starple::Result;
use starple::train::TrainConfig;

use super::Contender;

/// How many runs may train at the same time: as many as a run may have threads.
const MOST_RUNS: usize = 1024;

/// The name of the contender that others are compared with unless another is chosen.
const BASELINE: &str = "single";

/// The settings of [`compare`](super::compare()). Every value of this type is valid.
#[derive(Debug, Clone)]
pub struct CompareConfig(pub(super) CompareConfigBuilder);

/// Sets up a [`CompareConfig`].
#[derive(Debug, Clone)]
pub struct CompareConfigBuilder {
    pub(super) contenders: Vec<Contender>,
    pub(super) seeds: Vec<u64>,
    pub(super) train: Option<TrainConfig>,
    pub(super) baseline: Option<String>,
    pub(super) level: f64,
    pub(super) parallel_runs: usize,
    pub(super) journal: Option<PathBuf>,
}

impl CompareConfig {
    /// Starts from the defaults, without contenders.
    pub fn builder() -> CompareConfigBuilder {
        CompareConfigBuilder {
            contenders: Vec::new(),
            seeds: vec![1, 2, 3, 4, 5],
            train: None,
            baseline: None,
            level: 0.05,
            parallel_runs: 1,
            journal: None,
        }
    }
}

impl CompareConfigBuilder {
    /// Adds a contender behind those before it. At least one is needed, and no two may have the same name.
    pub fn contender(mut self, contender: Contender) -> Self {
        self.contenders.push(contender);
        self
    }

    /// Adds many.
    pub fn contenders(mut self, contenders: impl IntoIterator<Item = Contender>) -> Self {
        self.contenders.extend(contenders);
        self
    }

    /// The seeds, at least one and none twice; default 1, 2, 3, 4, 5. Each contender is trained once with each: it is
    /// the seed of starting values, batch order and dropout.
    pub fn seeds(mut self, seeds: impl Into<Vec<u64>>) -> Self {
        self.seeds = seeds.into();
        self
    }

    /// The training settings of contenders that have none of their own; default [`TrainConfig`]'s. Their seed is that
    /// of each run.
    pub fn train(mut self, settings: TrainConfig) -> Self {
        self.train = Some(settings);
        self
    }

    /// The contender that gains are measured from; default the one named `single` if there is one, else none.
    pub fn baseline(mut self, name: impl Into<String>) -> Self {
        self.baseline = Some(name.into());
        self
    }

    /// The chance of a false flag for each contender, in (0, 1); default 0.05.
    pub fn level(mut self, level: f64) -> Self {
        self.level = level;
        self
    }

    /// How many runs train at the same time, 1 to 1024; default 1. Each takes as many threads as its training settings
    /// say, and all share the machine when rows per second are measured. It changes no other figure.
    pub fn parallel_runs(mut self, runs: usize) -> Self {
        self.parallel_runs = runs;
        self
    }

    /// The file in which every run is noted when it is done, and from which runs that are done are taken; default none. It is made if it
    /// is not there, and lines are added to it.
    pub fn journal(mut self, path: impl Into<PathBuf>) -> Self {
        self.journal = Some(path.into());
        self
    }

    /// Checks all settings.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](starple::ErrorKind::Config) that names every setting that cannot be.
    pub fn build(mut self) -> Result<CompareConfig> {
        let mut problems = Problems::default();
        let names: Vec<&str> = self.contenders.iter().map(Contender::name).collect();
        problems.require(!names.is_empty(), || "contenders: at least one".into());
        problems.require(!names.contains(&""), || "contenders: every one needs a name".into());
        for (i, name) in names.iter().enumerate() {
            problems
                .require(!names[..i].contains(name), || format!("contenders: {name:?} is listed twice; name one anew"));
        }
        problems.require(!self.seeds.is_empty(), || "seeds: at least one".into());
        for (i, seed) in self.seeds.iter().enumerate() {
            problems.require(!self.seeds[..i].contains(seed), || format!("seeds: {seed} is listed twice"));
        }
        if let Some(baseline) = self.baseline.as_deref() {
            problems.require(names.contains(&baseline), || {
                format!("baseline: expected one of the contenders {names:?}, found {baseline:?}")
            });
        }
        let level = self.level;
        problems.require(level > 0.0 && level < 1.0, || format!("level: 0 < level < 1, found {level}"));
        problems.require(self.parallel_runs >= 1, || "parallel_runs: at least 1, found 0".into());
        let runs = self.parallel_runs;
        problems.require(runs <= MOST_RUNS, || format!("parallel_runs: at most {MOST_RUNS}, found {runs}"));
        problems.into_result("CompareConfig")?;
        if self.baseline.is_none() && names.contains(&BASELINE) {
            self.baseline = Some(BASELINE.into());
        }
        Ok(CompareConfig(self))
    }
}
