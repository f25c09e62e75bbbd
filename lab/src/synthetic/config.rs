//! The settings of a generated log.

use serde::{Deserialize, Serialize};

use super::check;

/// The name of the column with a row's split, and the prefix of the columns with true probabilities.
pub(super) const SPLIT_COLUMN: &str = "split";
pub(super) const PROBABILITY_PREFIX: &str = "p_";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Task {
    pub(crate) name: String,
    pub(crate) rate: f64,
    #[serde(default)]
    pub(crate) given: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Categorical {
    pub(crate) name: String,
    pub(crate) values: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Numeric {
    pub(crate) name: String,
    pub(crate) mean: f64,
    pub(crate) std: f64,
    pub(crate) decimals: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bag {
    pub(crate) name: String,
    pub(crate) values: usize,
    pub(crate) longest: usize,
}

starple::settings! {
    /// A checked description of a synthetic log; see the [module](super) for what its settings mean.
    ///
    /// Needed are at least one [domain](SyntheticConfigBuilder::domains), one [task](SyntheticConfigBuilder::task) and one
    /// [categorical field](SyntheticConfigBuilder::categorical); the rest has defaults. In a file, `tasks`, `categorical`, `numeric` and
    /// `bags` are lists of tables with the names of the arguments of the builder's methods as keys; `unreported` is a list of pairs.
    SyntheticConfig, SyntheticConfigBuilder, in files {
        /// The number of rows, enough that every domain has one; default 10 000.
        rows: usize = 10_000;
        /// The seed; default 0. The same settings and seed give the same bytes.
        seed: u64 = 0;
        /// The name of the column that holds the domain; default `domain`.
        domain_column: String = "domain".into(), from impl Into<String>, as &str;
        /// The domains, from the largest to the smallest.
        domains: Vec<String> = Vec::new(), each String, as &[String];
        /// How fast domains shrink: the k-th has a share proportional to `k^−tail`; default 1, from 0 (equal sizes) to 100.
        domain_tail: f64 = 1.0;
        /// The exponent of the values' popularity; default 0.8, from 0 (all alike) to 5.
        popularity: f64 = 0.8;
        /// How much domains differ in what they show; default 0.5, from 0 (not at all) to 5.
        feature_shift: f64 = 0.5;
        /// How much domains differ in their base rates, in units of the logit; default 0.5, from 0 (not at all) to 5.
        rate_shift: f64 = 0.5;
        /// How much domains differ in which columns count: the standard deviation, over domains and columns, of the logarithm of a
        /// column's importance; default 0, from 0 (not at all) to 5.
        importance_shift: f64 = 0.0;
        /// The share of the logit's variance that is the domain's own; default 0.3, from 0 (one function for all) to 1.
        own: f64 = 0.3;
        /// The share of the logit's variance in products of fields; default 0.5, from 0 (a linear model is right) to 1.
        interaction: f64 = 0.5;
        /// The cosine between any two tasks' weights; default 0.5, from 0 to 1 (one ranking for all tasks).
        task_correlation: f64 = 0.5;
        /// The standard deviation of the logit around its base rate: the larger, the less is left to chance; default 2, from 0
        /// (labels are noise) to 100.
        signal: f64 = 2.0;
        /// Whether the split is by time, which is the order of the rows: the first 80 % are for training, then 10 % for validation, and
        /// the last 10 % are the test rows; default false, a random split.
        time_split: bool = false;
        /// The share of each field's values (of each bag's too) that are new: each first occurs at a time of its own, uniform over the
        /// log; default 0, from 0 to 0.9.
        fresh: f64 = 0.0;
        /// How fast base rates change: the standard deviation, over domains and tasks, of the change of the logit from the first row to
        /// the last; default 0, from 0 to 5.
        rate_drift: f64 = 0.0;
        /// The entries of a value's hidden vector, at least 1; default 4.
        latent: usize = 4;
        /// The share of numeric cells that are empty, from 0 to 1; default 0.
        missing: f64 = 0.0;
        tasks: Vec<Task> = Vec::new(), by hand;
        /// Pairs of a task and a domain that does not report its label.
        unreported: Vec<(String, String)> = Vec::new(), by hand;
        categorical: Vec<Categorical> = Vec::new(), by hand;
        numeric: Vec<Numeric> = Vec::new(), by hand;
        bags: Vec<Bag> = Vec::new(), by hand;
    }
    check(this, problems) {
        check::columns(this, problems);
        check::strengths(this, problems);
        check::sizes(this, problems);
    }
}

impl SyntheticConfig {
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

impl SyntheticConfigBuilder {
    /// This number of domains, named `d1`, `d2`, …
    pub fn domain_count(self, count: usize) -> Self {
        self.domains((1..=count).map(|number| format!("d{number}")))
    }

    /// Adds a task whose label is 1 in this share of the rows, before domains differ; `0 < rate < 1`.
    pub fn task(mut self, name: impl Into<String>, rate: f64) -> Self {
        self.tasks.push(Task { name: name.into(), rate, given: None });
        self
    }

    /// Adds a task whose label can be 1 only where that of an earlier task is, and is so in this share of those rows.
    pub fn task_given(mut self, name: impl Into<String>, given: impl Into<String>, rate: f64) -> Self {
        self.tasks.push(Task { name: name.into(), rate, given: Some(given.into()) });
        self
    }

    /// Leaves the label of a task missing in one domain.
    pub fn unreported(mut self, task: impl Into<String>, domain: impl Into<String>) -> Self {
        self.unreported.push((task.into(), domain.into()));
        self
    }

    /// Adds a field with this number of values (at least 2), written as the first letter of its name and a number: `u17`.
    pub fn categorical(mut self, name: impl Into<String>, values: usize) -> Self {
        self.categorical.push(Categorical { name: name.into(), values });
        self
    }

    /// Adds a numeric column, normal with this mean and standard deviation, rounded to this number of decimals (at most 9).
    pub fn numeric(mut self, name: impl Into<String>, mean: f64, std: f64, decimals: usize) -> Self {
        self.numeric.push(Numeric { name: name.into(), mean, std, decimals });
        self
    }

    /// Adds a column of up to `longest` values a row out of `values` (at least 2), written `t3|t7`, possibly none.
    pub fn bag(mut self, name: impl Into<String>, values: usize, longest: usize) -> Self {
        self.bags.push(Bag { name: name.into(), values, longest });
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
            unreported = [['cart', 'b']]
            tasks = [{ name = 'click', rate = 0.2 }, { name = 'cart', rate = 0.3, given = 'click' }]
            categorical = [{ name = 'user', values = 20 }, { name = 'item', values = 10 }, { name = 'hour', values = 24 }]
            bags = [{ name = 'tags', values = 9, longest = 3 }]
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
