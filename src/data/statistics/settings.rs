//! Which features have statistics of earlier labels, and how they are computed.

use serde::{Deserialize, Serialize};

/// Which features have [target statistics](TargetStatistics). The setting of a feature itself
/// ([`Categorical::statistics`](crate::data::Categorical::statistics)) overrides it. A [`Bag`](crate::data::Bag), which has several ids in a row,
/// never has statistics. There are statistics of binary tasks only. In a file: `"auto"`, `"all"` or `"none"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StatisticsFeatures {
    /// The default: all features with one id in each row of which at least 100 different ids occur in the rows on which the encoder is fitted. If
    /// there are fewer ids, a model learns their click rates well from embeddings alone.
    #[default]
    Auto,
    /// All features with one id in each row, including numbers in buckets ([`Transform::Buckets`](crate::data::Transform::Buckets)).
    All,
    /// No feature, except those whose own setting says so.
    None,
}

/// The order of the training rows for [target statistics](TargetStatistics): the statistics of a row count only the labels of rows before it in
/// this order. It does not change the order in which training reads the rows. In a file: `{ seed = 0 }` or `{ time = "day" }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StatisticsOrder {
    /// A random order, computed from this seed; any number. The default is the seed 0.
    Seed(u64),
    /// By time: in ascending order of the numbers in the column of this name. Rows with equal numbers do not count each other. Every training row
    /// must have a number in this column; otherwise [`Encoder::fit`](crate::data::Encoder::fit) returns an error.
    Time(String),
}

impl Default for StatisticsOrder {
    fn default() -> Self {
        Self::Seed(0)
    }
}

/// The range of a strength in rows, of one that is set or fitted.
pub(super) const STRENGTHS: (f64, f64) = (0.5, 1e5);

crate::settings! {
    /// How an encoder computes *target statistics*: numeric inputs that say how often the label was 1 in other rows with the same value, for
    /// example how often an item was clicked so far. Every model can use them.
    ///
    /// Suppose that the feature `item` has statistics, and `click` is a binary task. Then the model gets these inputs:
    ///
    /// * `item~click`, one for each binary task: how far the log-odds of a click for this item are above the log-odds of the row's domain. 0 means
    ///   that the item is like the domain, or that it has no rows yet.
    /// * `item#`: `ln(1 + m)`, scaled to mean 0 and standard deviation 1, where m is the number of rows of this item, in all domains, that have a
    ///   label of a binary task.
    ///
    /// A training row must not see its own label. So for training rows ([`Encoder::encode_training`](crate::data::Encoder::encode_training)), all
    /// counts are of the rows before it in an order ([`StatisticsOrder`]): *ordered* target statistics (Prokhorenkova et al., NeurIPS 2018,
    /// section 3.2). All other rows use the counts of all training rows.
    ///
    /// In a schema file these settings are `target_statistics`, in a run file `[features.target_statistics]`.
    ///
    /// # Equations
    ///
    /// The equations are for one task. n is a number of labelled rows, and c the number of those with label 1. The index says of which rows: v of
    /// one value, d of one domain, dv of one value in one domain, no index of all rows. If rows have weights, n and c are sums of weights, divided
    /// by the mean weight. s, b and a are the strengths of priors, in rows: an expected rate of strength b counts as much as b rows. The settings
    /// `value_strength` and `domain_strength` are b and a. An effect is a difference of log-odds.
    ///
    /// ```text
    /// r    = (c + ½)/(n + 1)                                rate of all rows
    /// r_d  = (c_d + s·r)/(n_d + s),  s = 1/(r·(1 − r))      rate of the domain, shrunk towards r
    /// R_v  = Σ_d n_dv·r_d / n_v                             mean rate of the domains in which the value has rows
    /// δ_v  = logit((c_v + b·R_v)/(n_v + b)) − logit(R_v)    effect of the value over all domains
    /// q_dv = σ(logit(r_d) + δ_v)                            rate of the value in this domain if its effect were δ_v
    /// x_dv = logit((c_dv + a·q_dv)/(n_dv + a)) − logit(r_d) effect of the value in this domain: the input
    /// ```
    ///
    /// Here `logit(p) = ln(p/(1 − p))`, and σ is its inverse. The input is `δ_v` if the value has no labelled rows in the domain, if the row has no
    /// known domain, or if a is not set and could not be fitted. It is 0 if the value has no labelled rows at all. It is not standardised. For a
    /// training row, `R_v` is the mean over the value's earlier rows of the rate that the domain of each of them had just before that row.
    ///
    /// ```
    /// use starple::data::{Categorical, Encoder, Format, Schema, StatisticsOrder, Table, TargetStatistics};
    ///
    /// let statistics = TargetStatistics::builder().order(StatisticsOrder::Time("day".into())).value_strength(2.0).build()?;
    /// let schema = Schema::builder()
    ///     .feature(Categorical::new("item").statistics(true))
    ///     .label("click")
    ///     .target_statistics(statistics)
    ///     .build()?;
    /// let log = "item,day,click\nlamp,1,1\nsofa,1,0\nlamp,2,1\nlamp,3,1\n";
    /// let table = Table::from_reader(log.as_bytes(), Format::Csv, "log.csv", &schema)?;
    /// let encoder = Encoder::fit(&schema, &table, &table.all())?;
    /// assert_eq!(encoder.layout().numeric, ["item~click", "item#"]);
    /// let train = encoder.encode_training(&table, &table.all())?;
    /// // Lamps have no rows before day 1, one click before day 2, and two before day 3.
    /// let x = train.numeric.column(0);
    /// assert!(x[0] == 0.0 && x[2] > 0.0 && x[3] > x[2]);
    /// # Ok::<(), starple::Error>(())
    /// ```
    #[derive(Default)]
    TargetStatistics, TargetStatisticsBuilder, in files {
        /// Which features have target statistics. Default [`StatisticsFeatures::Auto`]: those with at least 100 different ids.
        features: StatisticsFeatures = StatisticsFeatures::default();
        /// The order of the training rows: the statistics of a training row count only rows before it. Default: a random order with the seed 0.
        /// With [`StatisticsOrder::Time`], the name of the column must not be empty, otherwise `build` returns an error. The order must not be set
        /// if no feature can have statistics: then [`SchemaBuilder::build`](crate::data::SchemaBuilder::build) returns an error.
        order: StatisticsOrder = StatisticsOrder::default(), as &StatisticsOrder;
        /// The strength b of the prior for a value over all domains, in rows, 0.5 to 1e5. The larger it is, the more rows a value needs before
        /// its statistic differs clearly from 0. A value outside the range is an error of `build`. It must not be set if no feature can have
        /// statistics: then [`SchemaBuilder::build`](crate::data::SchemaBuilder::build) returns an error.
        ///
        /// Default `None`: the encoder fits it on the training rows for each feature and task, by maximum likelihood of a beta-binomial
        /// distribution. If no value has more than one labelled row, it is 2.
        value_strength: Option<f64> = None, some f64;
        /// The strength a of the prior for a value in one domain, in rows, 0.5 to 1e5. The larger it is, the more rows a value needs in one
        /// domain before its statistic there differs clearly from that over all domains. A value outside the range is an error of `build`. It must
        /// not be set if no feature can have statistics, or if the schema has no domain column: then
        /// [`SchemaBuilder::build`](crate::data::SchemaBuilder::build) returns an error.
        ///
        /// Default `None`: the encoder fits it as `value_strength`, on the values that have rows in several domains. If there are none, the
        /// statistic of a value is the same in all domains (`δ_v` in the equations of [`TargetStatistics`]).
        domain_strength: Option<f64> = None, some f64;
    }
    check(this, problems) {
        let (least, most) = STRENGTHS;
        for (name, strength) in [("value_strength", this.value_strength), ("domain_strength", this.domain_strength)] {
            let strength = strength.unwrap_or(least);
            problems.require((least..=most).contains(&strength), || {
                format!("target_statistics: {least} <= {name} <= {most}, found {strength}")
            });
        }
        let empty = matches!(&this.order, StatisticsOrder::Time(column) if column.is_empty());
        problems.require(!empty, || "target_statistics: the name of a column in order.time that is not empty".into());
    }
}

impl TargetStatistics {
    /// The column of the time, if rows are ordered by time.
    pub(in crate::data) fn time(&self) -> Option<&str> {
        if let StatisticsOrder::Time(column) = self.order() { Some(column) } else { None }
    }

    /// The settings that matter only if some feature has statistics, of those that are not the defaults.
    pub(in crate::data) fn details(&self) -> Option<&'static str> {
        match self {
            _ if self.order() != &StatisticsOrder::default() => Some("order"),
            _ if self.value_strength().is_some() => Some("value_strength"),
            _ if self.domain_strength().is_some() => Some("domain_strength"),
            _ => None,
        }
    }
}
