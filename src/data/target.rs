//! What a task predicts.

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

use crate::error::Problems;
use crate::loss::sigmoid;

/// The kind of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// Labels are 0 and 1 (the default). The answer is a probability.
    #[default]
    Binary,
    /// Labels are finite numbers. The answer is the expected number.
    Regression,
    /// Labels are numbers of at least 0, such as counts. The answer is the expected count.
    Count,
}

impl TaskKind {
    /// Whether the task is binary. It takes a reference because serde asks so.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature of skip_serializing_if")]
    pub(crate) fn is_binary(&self) -> bool {
        *self == Self::Binary
    }

    /// Whether a label that is not missing is valid.
    pub(crate) fn accepts(self, label: f32) -> bool {
        match self {
            Self::Binary => label == 0.0 || label == 1.0,
            Self::Regression => label.is_finite(),
            Self::Count => label.is_finite() && label >= 0.0,
        }
    }

    /// The labels that are valid, for an error text.
    pub(crate) fn labels(self) -> &'static str {
        match self {
            Self::Binary => "0, 1",
            Self::Regression => "a finite number",
            Self::Count => "a finite number of at least 0",
        }
    }
}

impl fmt::Display for TaskKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Binary => "binary",
            Self::Regression => "regression",
            Self::Count => "count",
        })
    }
}

/// A label column and the kind of its task. A column's name alone is a binary label.
///
/// In a file: `"click"`, or `{"name": "watch", "kind": "regression"}`. The keys of a regression are also `"loss"`, `"squared"` (the
/// default) or `"huber"`, and with `"huber"` its `"delta"`, by default 1.
///
/// ```
/// use starple::data::{Label, TaskKind};
///
/// let label: Label = serde_json::from_str(r#"{"name": "watch", "kind": "regression", "loss": "huber", "delta": 1.5}"#)?;
/// assert_eq!(label, Label::regression("watch").huber(1.5));
/// assert_eq!(serde_json::from_str::<Label>("\"click\"")?.kind(), TaskKind::Binary);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Label {
    name: String,
    kind: TaskKind,
    delta: Option<f64>,
}

impl Label {
    /// A label whose cells are 0 or 1.
    pub fn binary(name: impl Into<String>) -> Self {
        Self { name: name.into(), kind: TaskKind::Binary, delta: None }
    }

    /// A label whose cells are numbers. The loss is the squared error of the standardised number.
    pub fn regression(name: impl Into<String>) -> Self {
        Self { kind: TaskKind::Regression, ..Self::binary(name) }
    }

    /// A label whose cells are counts: numbers of at least 0. The loss is that of the Poisson distribution, whose rate is `e^z`.
    pub fn count(name: impl Into<String>) -> Self {
        Self { kind: TaskKind::Count, ..Self::binary(name) }
    }

    /// Uses Huber's loss in place of the squared error: beyond `delta` standard deviations of the target, the loss grows linearly.
    /// `delta` is finite and above 0. Only a regression may have it.
    pub fn huber(mut self, delta: f64) -> Self {
        self.delta = Some(delta);
        self
    }

    /// The name of the column, which is the name of the task.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The kind of the task.
    pub fn kind(&self) -> TaskKind {
        self.kind
    }

    /// The δ of Huber's loss; `None` for the squared error, and for other kinds than regression.
    pub fn delta(&self) -> Option<f64> {
        self.delta
    }

    /// Notes an invalid δ.
    pub(super) fn check(&self, problems: &mut Problems) {
        let Some(delta) = self.delta else { return };
        let name = &self.name;
        problems.require(self.kind == TaskKind::Regression, || {
            format!("label {name:?}: the huber loss is for regression tasks, found a {} task", self.kind)
        });
        problems.require(delta.is_finite() && delta > 0.0, || {
            format!("label {name:?}: delta: a finite number above 0, found {delta}")
        });
    }
}

impl From<&str> for Label {
    fn from(name: &str) -> Self {
        Self::binary(name)
    }
}

impl From<String> for Label {
    fn from(name: String) -> Self {
        Self::binary(name)
    }
}

impl From<&String> for Label {
    fn from(name: &String) -> Self {
        Self::binary(name)
    }
}

/// What a task predicts, and how its answer follows from the logit z: a member of [`Layout::targets`](super::Layout::targets).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Target {
    /// A label of 0 or 1. The answer is the probability `σ(z)`; the loss is binary cross entropy.
    #[default]
    Binary,
    /// A number y. The answer is `mean + deviation·z`. The loss is `½ (z − y')²` with the standardised number
    /// `y' = (y − mean)/deviation`, or Huber's loss of `z − y'`.
    Regression {
        /// The δ of Huber's loss, in standard deviations: finite and above 0. `None` for the squared error.
        delta: Option<f64>,
        /// The mean of the labels that the encoder was fitted on, finite.
        mean: f64,
        /// Their standard deviation, finite and above 0.
        deviation: f64,
    },
    /// A count y, at least 0. The answer is the rate `e^z`. The loss is the negative log likelihood of a Poisson distribution with this
    /// rate, without the part that does not depend on z.
    Count,
}

impl Target {
    /// The target of a label whose fitting rows have these values, NaN where the label is missing. If all values are equal, or all are
    /// missing, the deviation is 1.
    pub(super) fn fit(label: &Label, values: impl Iterator<Item = f32> + Clone) -> Self {
        match label.kind {
            TaskKind::Binary => Self::Binary,
            TaskKind::Count => Self::Count,
            TaskKind::Regression => {
                let known = values.filter(|value| !value.is_nan()).map(f64::from);
                let count = known.clone().count().max(1) as f64;
                let mean = known.clone().sum::<f64>() / count;
                let deviation = (known.map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
                // The rounding errors of a mean of equal numbers are no deviation.
                let deviation = if deviation > 1e-12 * mean.abs() { deviation } else { 1.0 };
                Self::Regression { delta: label.delta, mean, deviation }
            }
        }
    }

    /// The kind of the task.
    pub fn kind(&self) -> TaskKind {
        match self {
            Self::Binary => TaskKind::Binary,
            Self::Regression { .. } => TaskKind::Regression,
            Self::Count => TaskKind::Count,
        }
    }

    /// The answer for a logit: `σ(z)`, `mean + deviation·z` or `e^z`.
    ///
    /// ```
    /// use starple::data::Target;
    ///
    /// assert_eq!(Target::Binary.answer(0.0), 0.5);
    /// assert_eq!(Target::Regression { delta: None, mean: 10.0, deviation: 4.0 }.answer(0.5), 12.0);
    /// assert_eq!(Target::Count.answer(0.0), 1.0);
    /// ```
    pub fn answer(&self, z: f64) -> f64 {
        match self {
            Self::Binary => sigmoid(z),
            Self::Regression { mean, deviation, .. } => mean + deviation * z,
            Self::Count => z.exp(),
        }
    }

    /// Whether an encoder that was fitted for this label can have this target.
    pub(super) fn is_of(&self, label: &Label) -> bool {
        self.kind() == label.kind
            && match self {
                Self::Regression { delta, .. } => *delta == label.delta,
                _ => true,
            }
    }

    /// Notes invalid numbers of the task with this name.
    pub(super) fn check(&self, name: &str, problems: &mut Problems) {
        if let Self::Regression { delta, mean, deviation } = self {
            let positive = |x: f64| x.is_finite() && x > 0.0;
            problems.require(mean.is_finite() && positive(*deviation) && delta.is_none_or(positive), || {
                format!(
                    "layout.tasks.{name}: a finite mean, and a deviation and a delta that are finite and above 0, found {self:?}"
                )
            });
        }
    }
}

/// A label, or a task of a layout, as files have it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    name: String,
    #[serde(default)]
    kind: TaskKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    loss: Option<Distance>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delta: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mean: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deviation: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Distance {
    Squared,
    Huber,
}

impl Form {
    fn new(name: &str, kind: TaskKind, delta: Option<f64>) -> Self {
        Self { name: name.to_owned(), kind, loss: delta.map(|_| Distance::Huber), delta, ..Self::default() }
    }

    /// The δ of the loss, or what is wrong.
    fn huber(&self) -> Result<Option<f64>, String> {
        match (self.kind, self.loss, self.delta) {
            (TaskKind::Regression, Some(Distance::Huber), delta) => Ok(Some(delta.unwrap_or(1.0))),
            (TaskKind::Regression, _, Some(_)) => Err("delta: only the loss \"huber\" has one".into()),
            (TaskKind::Regression, _, None) | (_, None, None) => Ok(None),
            (kind, ..) => Err(format!("loss and delta: only for regression tasks, found a {kind} task")),
        }
    }

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.kind.is_binary() { serializer.serialize_str(&self.name) } else { self.serialize(serializer) }
    }

    /// Reads a name alone, or a map.
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Form;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a label column, or a map with its name and kind")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Form, E> {
                Ok(Form { name: name.to_owned(), ..Form::default() })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Form, A::Error> {
                Form::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl Serialize for Label {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Form::new(&self.name, self.kind, self.delta).write(serializer)
    }
}

impl<'de> Deserialize<'de> for Label {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form = Form::read(deserializer)?;
        let wrong = |what: &str| serde::de::Error::custom(format!("label {:?}: {what}", form.name));
        let delta = form.huber().map_err(|what| wrong(&what))?;
        if form.mean.is_some() || form.deviation.is_some() {
            return Err(wrong("mean and deviation are fitted on the training rows"));
        }
        Ok(Self { name: form.name, kind: form.kind, delta })
    }
}

/// A task of a layout, as files have it.
pub(super) struct Task {
    pub(super) name: String,
    pub(super) target: Target,
}

impl Serialize for Task {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { name, target } = self;
        match *target {
            Target::Regression { delta, mean, deviation } => {
                let form = Form::new(name, TaskKind::Regression, delta);
                Form { mean: Some(mean), deviation: Some(deviation), ..form }.write(serializer)
            }
            _ => Form::new(name, target.kind(), None).write(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Task {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form = Form::read(deserializer)?;
        let wrong = |what: &str| serde::de::Error::custom(format!("task {:?}: {what}", form.name));
        let delta = form.huber().map_err(|what| wrong(&what))?;
        let target = match (form.kind, form.mean, form.deviation) {
            (TaskKind::Binary, None, None) => Target::Binary,
            (TaskKind::Count, None, None) => Target::Count,
            (TaskKind::Regression, Some(mean), Some(deviation)) => Target::Regression { delta, mean, deviation },
            (TaskKind::Regression, ..) => return Err(wrong("a regression has a mean and a deviation")),
            _ => return Err(wrong("only a regression has a mean and a deviation")),
        };
        Ok(Self { name: form.name, target })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_go_through_files_and_wrong_ones_are_refused() {
        for (label, text) in [
            (Label::binary("click"), "\"click\""),
            (Label::regression("watch"), r#"{"name":"watch","kind":"regression"}"#),
            (
                Label::regression("watch").huber(2.0),
                r#"{"name":"watch","kind":"regression","loss":"huber","delta":2.0}"#,
            ),
            (Label::count("orders"), r#"{"name":"orders","kind":"count"}"#),
        ] {
            assert_eq!(serde_json::to_string(&label).unwrap(), text);
            assert_eq!(serde_json::from_str::<Label>(text).unwrap(), label);
        }
        let default: Label = serde_json::from_str(r#"{"name":"w","kind":"regression","loss":"huber"}"#).unwrap();
        assert_eq!(default, Label::regression("w").huber(1.0));
        for (text, part) in [
            (r#"{"name":"w","kind":"numbers"}"#, "numbers"),
            (r#"{"name":"w","kinds":"count"}"#, "kinds"),
            (r#"{"kind":"count"}"#, "name"),
            (r#"{"name":"w","kind":"count","loss":"huber"}"#, "only for regression tasks, found a count task"),
            (r#"{"name":"w","kind":"regression","delta":1}"#, "only the loss \"huber\" has one"),
            (r#"{"name":"w","kind":"regression","mean":1,"deviation":1}"#, "fitted on the training rows"),
            ("3", "the name of a label column, or a map"),
        ] {
            let error = serde_json::from_str::<Label>(text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_regression_learns_mean_and_deviation_of_the_labels_that_are_there() {
        let fit = |values: &[f32]| Target::fit(&Label::regression("w"), values.iter().copied());
        assert_eq!(
            fit(&[1.0, f32::NAN, 5.0, 3.0, 3.0]),
            Target::Regression { delta: None, mean: 3.0, deviation: 2.0_f64.sqrt() }
        );
        assert_eq!(fit(&[0.1; 7]), Target::Regression { delta: None, mean: f64::from(0.1_f32), deviation: 1.0 });
        assert_eq!(fit(&[f32::NAN]), Target::Regression { delta: None, mean: 0.0, deviation: 1.0 });
    }
}
