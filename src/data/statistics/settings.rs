//! Which features have statistics of earlier labels, and how they are computed.

use serde::{Deserialize, Serialize};

/// Which features have statistics of earlier labels. A feature's own setting ([`Categorical::statistics`](crate::data::Categorical::statistics))
/// comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StatisticsFeatures {
    /// Fields with one id a row of which at least 100 different ones occur in the fitting rows; the default. A net learns the rates of fewer
    /// ids well from its embeddings alone.
    #[default]
    Auto,
    /// All fields with one id a row, buckets of numbers too.
    All,
    /// No field.
    None,
}

/// The order in which training rows follow each other: a row's statistics count only rows before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StatisticsOrder {
    /// A random order with this seed. The default is the seed 0.
    Seed(u64),
    /// By the numbers of this column, which no row may lack, smallest first. Rows with equal numbers do not count each other.
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
    /// How an encoder computes the target statistics of its fields: for each field that has them, inputs with the log-odds of each binary task among
    /// earlier training rows with the same value, and one with the logarithm of their number. In a schema file it is `target_statistics`, in
    /// a run file `[features.target_statistics]`.
    ///
    /// For a value v, a task and a domain d, let `n_dv` be the number of labelled rows and `c_dv` of those with label 1, both in units of the
    /// mean weight if rows have weights. The domain has the rate `r_d = (c_d + s·r)/(n_d + s)`, with the rate of all rows
    /// `r = (c + ½)/(n + 1)` and `s = 1/(r(1 − r))`, as if the log-odds of domains had the standard deviation 1. All domains together expect
    /// `E_v = Σ_d n_dv r_d` labels of 1. With two prior strengths a and b, in rows:
    ///
    /// ```text
    /// R_v  = E_v/n_v                                       what the domains of the value's rows expect
    /// δ_v  = logit((c_v + b·R_v)/(n_v + b)) − logit(R_v)   the value over all domains, shrunk to its domains' rates
    /// q_dv = σ(logit(r_d) + δ_v)                           what the value's other rows expect of this domain
    /// x_dv = logit((c_dv + a·q_dv)/(n_dv + a)) − logit(r_d) the value in this domain, shrunk to what all domains say
    /// ```
    ///
    /// The input `item~click` (of the field `item` and the task `click`) is `x_dv`. It is 0 for a value without rows; where the value has no
    /// rows in the domain, and for rows of no known domain, it is `δ_v`. It is not standardised: strong shrinkage means small inputs. The
    /// input `item#` is the logarithm of 1 + the number of labelled rows of the value in all domains, standardised.
    ///
    /// For training rows ([`Encoder::encode_training`](crate::data::Encoder::encode_training)) all counts are of rows earlier in an order, so
    /// that no row sees its own label: ordered target statistics (Prokhorenkova et al., NeurIPS 2018, section
    /// 3.2). There `E_v` adds the rate that each row's domain had before that row. Other rows use the counts of all training rows.
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
        /// Which features have statistics; default [`StatisticsFeatures::Auto`].
        features: StatisticsFeatures = StatisticsFeatures::default();
        /// The order of the training rows; default a random one, with seed 0.
        order: StatisticsOrder = StatisticsOrder::default(), as &StatisticsOrder;
        /// The strength b of the prior of a value, in rows: `0.5 ..= 1e5`. The default, `None`, fits it to the rows for each field and task, by
        /// the maximum likelihood of beta-binomial counts.
        value_strength: Option<f64> = None, some f64;
        /// The strength a of the prior of a value in one domain, in rows: `0.5 ..= 1e5`. The default, `None`, fits it to the rows as that of
        /// a value, where a value has rows of several domains; if there is none, `x_dv` is `δ_v`.
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
