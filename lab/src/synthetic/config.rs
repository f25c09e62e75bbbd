//! What to generate.

use serde::{Deserialize, Serialize};
use starple::Result;

/// The names of the columns that say which split a row is in, and a task's true probability.
pub(super) const SPLIT_COLUMN: &str = "split";
pub(super) const PROBABILITY_PREFIX: &str = "p_";

/// A checked description of a synthetic log; see the [module](super) for what its settings mean.
///
/// Made by [`SyntheticConfig::builder`] or read from a file with the setters' names as keys; both go through the same
/// check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "SyntheticConfigBuilder", into = "SyntheticConfigBuilder")]
pub struct SyntheticConfig(pub(super) SyntheticConfigBuilder);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Task {
    pub(super) name: String,
    pub(super) rate: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) given: Option<String>,
    /// The domains that do not report this label.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) unreported_in: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Categorical {
    pub(super) name: String,
    pub(super) values: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Numeric {
    pub(super) name: String,
    pub(super) mean: f64,
    pub(super) std: f64,
    pub(super) decimals: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bag {
    pub(super) name: String,
    pub(super) values: usize,
    pub(super) longest: usize,
}

/// Sets up a [`SyntheticConfig`].
///
/// Needed are at least one [domain](SyntheticConfigBuilder::domains), one [task](SyntheticConfigBuilder::task) and one
/// [categorical field](SyntheticConfigBuilder::categorical); the rest has defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[must_use = "a builder does nothing until `build`"]
pub struct SyntheticConfigBuilder {
    pub(super) rows: usize,
    pub(super) seed: u64,
    pub(super) domain_column: String,
    pub(super) domains: Vec<String>,
    pub(super) domain_tail: f64,
    pub(super) popularity: f64,
    pub(super) feature_shift: f64,
    pub(super) rate_shift: f64,
    pub(super) importance_shift: f64,
    pub(super) own: f64,
    pub(super) interaction: f64,
    pub(super) task_correlation: f64,
    pub(super) signal: f64,
    pub(super) latent: usize,
    pub(super) missing: f64,
    #[serde(rename = "task")]
    pub(super) tasks: Vec<Task>,
    pub(super) categorical: Vec<Categorical>,
    pub(super) numeric: Vec<Numeric>,
    #[serde(rename = "bag")]
    pub(super) bags: Vec<Bag>,
    /// Task and domain of each [`SyntheticConfigBuilder::unreported`] until `build` finds the task, which may come later.
    #[serde(skip)]
    pub(super) unreported: Vec<(String, String)>,
}

impl Default for SyntheticConfigBuilder {
    fn default() -> Self {
        Self {
            rows: 10_000,
            seed: 0,
            domain_column: "domain".into(),
            domains: Vec::new(),
            domain_tail: 1.0,
            popularity: 0.8,
            feature_shift: 0.5,
            rate_shift: 0.5,
            importance_shift: 0.0,
            own: 0.3,
            interaction: 0.5,
            task_correlation: 0.5,
            signal: 2.0,
            latent: 4,
            missing: 0.0,
            tasks: Vec::new(),
            categorical: Vec::new(),
            numeric: Vec::new(),
            bags: Vec::new(),
            unreported: Vec::new(),
        }
    }
}

impl SyntheticConfig {
    /// Starts from the defaults.
    pub fn builder() -> SyntheticConfigBuilder {
        SyntheticConfigBuilder::default()
    }

    /// The toy log of the examples, `examples/data/toy.csv`: about 1 MB.
    ///
    /// Five domains, the largest with 72 % of the rows and the smallest with 2 %; clicks, and carts that need a click and
    /// that the domain `partner` does not report.
    #[expect(clippy::missing_panics_doc, reason = "it cannot: the configuration is a constant, and a test builds it")]
    pub fn toy() -> Self {
        Self::builder()
            .rows(18_000)
            .seed(7)
            .domain_column("scene")
            .domains(["search", "feed", "checkout", "partner", "email"])
            .domain_tail(2.2)
            .task("click", 0.25)
            .task_given("cart", "click", 0.3)
            .unreported("cart", "partner")
            .categorical("user", 150)
            .categorical("item", 100)
            .categorical("query", 40)
            .categorical("hour", 24)
            .numeric("price", 60.0, 12.0, 2)
            .numeric("age", 45.0, 8.0, 0)
            .bag("tags", 20, 4)
            .missing(0.05)
            .own(0.5)
            .latent(3)
            .signal(2.5)
            .build()
            .expect("a sound configuration")
    }

    pub(super) fn settings(&self) -> &SyntheticConfigBuilder {
        &self.0
    }
}

impl From<SyntheticConfig> for SyntheticConfigBuilder {
    fn from(config: SyntheticConfig) -> Self {
        config.0
    }
}

impl TryFrom<SyntheticConfigBuilder> for SyntheticConfig {
    type Error = starple::Error;

    fn try_from(builder: SyntheticConfigBuilder) -> Result<Self> {
        builder.build()
    }
}

impl SyntheticConfigBuilder {
    /// The number of rows; default 10 000, at least so many that every domain has one.
    pub fn rows(mut self, rows: usize) -> Self {
        self.rows = rows;
        self
    }

    /// The seed; default 0. The same settings and seed give the same bytes.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The name of the column that holds the domain; default `domain`.
    pub fn domain_column(mut self, name: impl Into<String>) -> Self {
        self.domain_column = name.into();
        self
    }

    /// The domains, from the largest to the smallest.
    pub fn domains<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.domains = names.into_iter().map(Into::into).collect();
        self
    }

    /// So many domains, named `d1`, `d2`, …
    pub fn domain_count(self, count: usize) -> Self {
        self.domains((1..=count).map(|number| format!("d{number}")))
    }

    /// How fast domains shrink: the k-th has a share proportional to `k^−tail`. Default 1, at least 0 (equal sizes).
    pub fn domain_tail(mut self, tail: f64) -> Self {
        self.domain_tail = tail;
        self
    }

    /// Adds a task whose label is 1 in this share of the rows, before domains differ; `0 < rate < 1`.
    pub fn task(mut self, name: impl Into<String>, rate: f64) -> Self {
        self.tasks.push(Task { name: name.into(), rate, given: None, unreported_in: Vec::new() });
        self
    }

    /// Adds a task whose label can be 1 only where that of an earlier task is, and is so in this share of those rows.
    pub fn task_given(mut self, name: impl Into<String>, given: impl Into<String>, rate: f64) -> Self {
        self.tasks.push(Task { name: name.into(), rate, given: Some(given.into()), unreported_in: Vec::new() });
        self
    }

    /// Leaves the label of a task missing in one domain.
    pub fn unreported(mut self, task: impl Into<String>, domain: impl Into<String>) -> Self {
        self.unreported.push((task.into(), domain.into()));
        self
    }

    /// Adds a field with so many values (at least 2), written as the first letter of its name and a number: `u17`.
    pub fn categorical(mut self, name: impl Into<String>, values: usize) -> Self {
        self.categorical.push(Categorical { name: name.into(), values });
        self
    }

    /// Adds a numeric column, normal with this mean and standard deviation, rounded to so many decimals (at most 9).
    pub fn numeric(mut self, name: impl Into<String>, mean: f64, std: f64, decimals: usize) -> Self {
        self.numeric.push(Numeric { name: name.into(), mean, std, decimals });
        self
    }

    /// Adds a column of up to `longest` values a row out of so many (at least 2), written `t3|t7`, possibly none.
    pub fn bag(mut self, name: impl Into<String>, values: usize, longest: usize) -> Self {
        self.bags.push(Bag { name: name.into(), values, longest });
        self
    }

    /// The share of numeric cells that are empty; default 0, `0 <= share <= 1`.
    pub fn missing(mut self, share: f64) -> Self {
        self.missing = share;
        self
    }

    /// The exponent of the values' popularity; default 0.8, from 0 (all alike) to 5.
    pub fn popularity(mut self, exponent: f64) -> Self {
        self.popularity = exponent;
        self
    }

    /// How much domains differ in what they show; default 0.5, from 0 (not at all) to 5.
    pub fn feature_shift(mut self, strength: f64) -> Self {
        self.feature_shift = strength;
        self
    }

    /// How much domains differ in their base rates, in units of the logit; default 0.5, from 0 (not at all) to 5.
    pub fn rate_shift(mut self, strength: f64) -> Self {
        self.rate_shift = strength;
        self
    }

    /// How much domains differ in which columns count: the standard deviation, over domains and columns, of the logarithm of a
    /// column's importance. Default 0 (not at all), to 5.
    pub fn importance_shift(mut self, strength: f64) -> Self {
        self.importance_shift = strength;
        self
    }

    /// The share of the logit's variance that is the domain's own; default 0.3, from 0 (one function for all) to 1.
    pub fn own(mut self, share: f64) -> Self {
        self.own = share;
        self
    }

    /// The share of the logit's variance in products of fields; default 0.5, from 0 (a linear model is right) to 1.
    pub fn interaction(mut self, share: f64) -> Self {
        self.interaction = share;
        self
    }

    /// The cosine between any two tasks' weights; default 0.5, from 0 to 1 (one ranking for all tasks).
    pub fn task_correlation(mut self, cosine: f64) -> Self {
        self.task_correlation = cosine;
        self
    }

    /// The standard deviation of the logit around its base rate: the larger, the less is left to chance. Default 2, from 0
    /// (labels are noise) to 100.
    pub fn signal(mut self, std: f64) -> Self {
        self.signal = std;
        self
    }

    /// The entries of a value's hidden vector; default 4, at least 1.
    pub fn latent(mut self, entries: usize) -> Self {
        self.latent = entries;
        self
    }

    /// The length of the two blocks of features, linear and interaction.
    pub(super) fn blocks(&self) -> [usize; 2] {
        let fields = self.categorical.len();
        [
            self.latent * (fields + self.bags.len()) + self.numeric.len(),
            self.latent * (fields * fields.saturating_sub(1) / 2),
        ]
    }

    /// The columns that each feature of the two blocks is made of, by their place among fields, bags and numeric columns: one in the
    /// linear block, two in the interaction block.
    pub(super) fn columns_of_features(&self) -> [Vec<Vec<usize>>; 2] {
        let (fields, tables) = (self.categorical.len(), self.categorical.len() + self.bags.len());
        let vectors = (0..tables).flat_map(|column| std::iter::repeat_n(vec![column], self.latent));
        let numbers = (tables..tables + self.numeric.len()).map(|column| vec![column]);
        let pairs = (0..fields).flat_map(|f| (f + 1..fields).map(move |g| vec![f, g]));
        let pairs = pairs.flat_map(|pair| std::iter::repeat_n(pair, self.latent));
        [vectors.chain(numbers).collect(), pairs.collect()]
    }

    /// The tables of hidden vectors by their size: those of the fields, then those of the bags.
    pub(super) fn tables(&self) -> impl Iterator<Item = usize> {
        self.categorical.iter().map(|field| field.values).chain(self.bags.iter().map(|bag| bag.values))
    }

    /// Where each domain's rows end, of all in domain order.
    pub(super) fn domain_ends(&self) -> Vec<usize> {
        let size = |domain: usize| ((domain + 1) as f64).powf(-self.domain_tail);
        let total: f64 = (0..self.domains.len()).map(size).sum();
        let mut sum = 0.0;
        let end = |domain| {
            sum += size(domain);
            (sum / total * self.rows as f64).round() as usize
        };
        (0..self.domains.len()).map(end).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_go_through_the_same_check() {
        let text = "
            rows = 500
            domains = ['a', 'b']
            own = 0.25
            task = [{ name = 'click', rate = 0.2 }, { name = 'cart', rate = 0.3, given = 'click', unreported_in = ['b'] }]
            categorical = [{ name = 'user', values = 20 }, { name = 'item', values = 10 }, { name = 'hour', values = 24 }]
            bag = [{ name = 'tags', values = 9, longest = 3 }]
        ";
        let config: SyntheticConfig = toml::from_str(text).unwrap();
        let built = SyntheticConfig::builder()
            .rows(500)
            .domains(["a", "b"])
            .own(0.25)
            .unreported("cart", "b")
            .task("click", 0.2)
            .task_given("cart", "click", 0.3)
            .categorical("user", 20)
            .categorical("item", 10)
            .categorical("hour", 24)
            .bag("tags", 9, 3)
            .build()
            .unwrap();
        assert_eq!(config, built);
        assert_eq!(toml::from_str::<SyntheticConfig>(&toml::to_string(&built).unwrap()).unwrap(), built);

        let bad = toml::from_str::<SyntheticConfig>(&text.replace("0.25", "2")).unwrap_err();
        assert!(bad.to_string().contains("own: expected 0 to 1, found 2"), "{bad}");
        let unknown = toml::from_str::<SyntheticConfig>("owns = 1").unwrap_err();
        assert!(unknown.to_string().contains("unknown field `owns`"), "{unknown}");
    }

    #[test]
    fn domains_have_the_shares_of_their_tail() {
        let builder = SyntheticConfig::builder().rows(1000).domain_count(4);
        // 1, 1/2, 1/3, 1/4 of 25/12: 480, 240, 160, 120.
        assert_eq!(builder.clone().domain_tail(1.0).domain_ends(), [480, 720, 880, 1000]);
        assert_eq!(builder.domain_tail(0.0).domain_ends(), [250, 500, 750, 1000]);
    }

    #[test]
    fn the_toy_configuration_is_sound() {
        assert_eq!(SyntheticConfig::toy().settings().domains.len(), 5);
    }
}
