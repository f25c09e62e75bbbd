//! Sequences of events: bags whose values belong together, such as the items and the categories of one history.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::feature::Feature;
use super::names::{closest, listed};
use super::{Ids, Layout, Pooling};
use crate::error::{Error, ErrorKind, Problems, Result};
use crate::nn::TargetAttentionSettings;

/// At which end of its lists a [`Sequence`] has the most recent event. An encoder keeps the events at this end and drops older ones.
/// In a file: `"first"` or `"last"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recent {
    /// The first value of a list is the most recent event, and the last value is the oldest.
    First,
    /// The last value of a list is the most recent event, and the first value is the oldest.
    Last,
}

/// One list of a [`Sequence`], for example the items, or the categories, of the events. [`Sequence::column`] adds one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SequenceColumn {
    /// The name of the [`Bag`](super::Bag) feature (a feature with a list of values in each row) that has the values of the events.
    pub bag: String,
    /// The name of the feature with which attention compares the events, such as `item` for a list of items. It describes the row's *target*:
    /// the item that the model scores in this row. It has one value in each row and must read the same embedding table as `bag`.
    ///
    /// `None` if the target has no such feature. Then the sequence cannot have [attention](Sequence::attention).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// A sequence of events, such as the items that a user clicked: one or more [`Bag`](super::Bag) features whose values belong together. The
/// first values of all lists of a row describe one event, the second values the next one, and so on. So all lists of a row must have the same
/// length; otherwise encoding returns an error of [`ErrorKind::Data`](crate::ErrorKind::Data). A list may be empty.
///
/// An [`Encoder`](super::Encoder) keeps the `max_len` most recent events of a row. The model then *pools* the events: it makes one vector of
/// each bag.
///
/// * By default, it computes the mean or the sum of the embedding vectors of the kept events, as each bag's own pooling says.
/// * With [`attention`](Sequence::attention), it computes a weighted sum. The weight of an event depends on how it relates to the *target*,
///   the item that the model scores in this row. All bags of a sequence use the same weights.
///
/// In both cases each bag has one vector in the model's input. So every model can use sequences.
///
/// Add a sequence to a schema with [`SchemaBuilder::sequence`](super::SchemaBuilder::sequence). Invalid settings are errors of
/// [`SchemaBuilder::build`](super::SchemaBuilder::build): no list, a bag in two sequences, or a name that is empty, used twice or not that of a
/// fitting feature.
///
/// ```
/// use starple::data::{Bag, Encoder, Format, Recent, Schema, Sequence, Table};
/// use starple::nn::TargetAttentionSettings;
///
/// let schema = Schema::builder()
///     .categorical("item")
///     .feature(Bag::new("seen", "|").table("item"))
///     .sequence(Sequence::new("history", 2, Recent::Last).column("seen", "item").attention(TargetAttentionSettings::default()))
///     .label("click")
///     .build()?;
/// let log = "item,seen,click\nlamp,sofa|vase|lamp,1\nsofa,,0\nvase,lamp,0\n";
/// let table = Table::from_reader(log.as_bytes(), Format::Csv, "log.csv", &schema)?;
/// let encoder = Encoder::fit(&schema, &table, &table.all())?;
/// let rows = encoder.encode(&table, &table.all())?;
/// // The two most recent items of the first row: the vase and the lamp.
/// assert_eq!([rows.ids[1].row(0), rows.ids[1].row(1)], [&[3, 1][..], &[]]);
/// # Ok::<(), starple::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sequence {
    name: String,
    columns: Vec<SequenceColumn>,
    max_len: usize,
    recent: Recent,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attention: Option<TargetAttentionSettings>,
}

impl Sequence {
    /// Makes a sequence without lists. Add at least one with [`Sequence::column`].
    ///
    /// * `name` is not empty, and no other sequence of the schema has it.
    /// * `max_len` is the largest number of events that a row keeps, 1 to 4096. The encoder drops older events.
    /// * `recent` says at which end of a list the most recent event is.
    ///
    /// Values are checked by [`SchemaBuilder::build`](super::SchemaBuilder::build), which returns an error if one is invalid.
    pub fn new(name: impl Into<String>, max_len: usize, recent: Recent) -> Self {
        Self { name: name.into(), columns: Vec::new(), max_len, recent, attention: None }
    }

    /// Adds a list to the sequence: `bag` is the name of the [`Bag`](super::Bag) feature with the values of the events, and `target` the name of
    /// the feature with the same kind of value for the row's target (the item that the model scores), for example `"seen"` and `"item"`.
    ///
    /// The target is a [`Categorical`](super::Categorical) or [`Cross`](super::Cross) feature, which has one value in each row. Both features must
    /// read the same embedding table ([`Bag::table`](super::Bag::table)). The pooling of the bag is mean (the default) or sum; with
    /// [attention](Sequence::attention), it is mean. If something of this is not true, or if a name is unknown,
    /// [`SchemaBuilder::build`](super::SchemaBuilder::build) returns an error.
    pub fn column(mut self, bag: impl Into<String>, target: impl Into<String>) -> Self {
        self.columns.push(SequenceColumn { bag: bag.into(), target: Some(target.into()) });
        self
    }

    /// Adds a list for which the row's target has no feature, such as the times of the events. `bag` is the name of the [`Bag`](super::Bag)
    /// feature with the values of the events.
    ///
    /// A sequence with such a list cannot have [attention](Sequence::attention): then [`SchemaBuilder::build`](super::SchemaBuilder::build)
    /// returns an error.
    pub fn column_without_target(mut self, bag: impl Into<String>) -> Self {
        self.columns.push(SequenceColumn { bag: bag.into(), target: None });
        self
    }

    /// Pools the events by attention: the vector of a bag is a weighted sum of the vectors of its events, and a small net computes the weight of
    /// an event from the event and the row's target ([`TargetAttention`](crate::nn::TargetAttention)). `attention` has the settings of that net.
    ///
    /// Default: no attention; each bag has its own pooling, the mean or the sum of its events.
    pub fn attention(mut self, attention: TargetAttentionSettings) -> Self {
        self.attention = Some(attention);
        self
    }

    /// Returns the name of the sequence, as [`Sequence::new`] got it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the lists of the sequence, in the order in which they were added.
    pub fn columns(&self) -> &[SequenceColumn] {
        &self.columns
    }

    /// Returns the largest number of events that a row keeps. An encoder drops older events.
    pub fn max_len(&self) -> usize {
        self.max_len
    }

    /// Returns at which end of a list the most recent event is.
    pub fn recent(&self) -> Recent {
        self.recent
    }

    /// Returns the settings of the [attention](Sequence::attention) that pools the events, or `None` if each bag has its own pooling.
    pub fn attention_settings(&self) -> Option<&TargetAttentionSettings> {
        self.attention.as_ref()
    }

    /// Notes what is wrong with the sequences of a schema with these features.
    pub(super) fn check_all(sequences: &[Self], features: &[Feature], problems: &mut Problems) {
        let by_name: HashMap<&str, &Feature> = features.iter().map(|feature| (feature.name(), feature)).collect();
        let (mut names, mut bags) = (Vec::new(), HashMap::new());
        for sequence in sequences {
            let name = &*sequence.name;
            problems.require(!name.is_empty(), || "sequence \"\": a name that is not empty".into());
            problems.require(!names.contains(&name), || format!("sequence {name:?}: named twice"));
            names.push(name);
            for SequenceColumn { bag, .. } in &sequence.columns {
                if let Some(other) = bags.insert(&**bag, name) {
                    problems.require(false, || format!("sequence {name:?}: {bag:?} is in sequence {other:?} too"));
                }
            }
            sequence.check(&by_name, problems);
        }
    }

    fn check(&self, features: &HashMap<&str, &Feature>, problems: &mut Problems) {
        let Self { name, columns, max_len, attention, .. } = self;
        let most = Pooling::MOST;
        problems.require((1..=most).contains(max_len), || {
            format!("sequence {name:?}: 1 <= max_len <= {most}, found {max_len}")
        });
        problems.require(!columns.is_empty(), || format!("sequence {name:?}: columns: at least one bag"));
        let known: Vec<&str> = features.keys().copied().collect();
        let meant = |unknown: &str| {
            closest(unknown, &known).map(|name| format!("; did you mean {name:?}?")).unwrap_or_default()
        };
        for SequenceColumn { bag, target } in columns {
            let pooled = match features.get(&**bag) {
                Some(Feature::Bag(feature)) => feature.pooled(),
                found => {
                    let what =
                        if found.is_some() { "is no bag".into() } else { format!("is no feature{}", meant(bag)) };
                    problems.require(false, || format!("sequence {name:?}: {bag:?} {what}"));
                    continue;
                }
            };
            match pooled {
                Pooling::Keep(_) => problems.require(false, || {
                    format!(
                        "sequence {name:?}: the pooling of {bag:?} is mean or sum, found keep, which cuts a list itself"
                    )
                }),
                Pooling::Sum => problems.require(attention.is_none(), || {
                    format!("sequence {name:?}: attention weighs the values of {bag:?}; leave its pooling out")
                }),
                // That a bag interpolates is reported with the features.
                Pooling::Mean | Pooling::Interpolate => {}
            }
            let Some(target) = target else {
                problems.require(attention.is_none(), || {
                    format!("sequence {name:?}: attention needs the target of {bag:?}")
                });
                continue;
            };
            let (table, found) = (features[&**bag].table(), features.get(&**target));
            match found {
                Some(Feature::Bag(_) | Feature::Numeric(_)) => problems.require(false, || {
                    format!("sequence {name:?}: the target of {bag:?} has one value a row, {target:?} has not")
                }),
                None => problems
                    .require(false, || format!("sequence {name:?}: {target:?} is no feature{}", meant(target))),
                Some(found) => problems.require(found.table() == table, || {
                    let own = found.table().unwrap_or_default();
                    format!("sequence {name:?}: {bag:?} and its target {target:?} need the same table; give {bag:?} the table {own:?}")
                }),
            }
        }
    }

    /// The fields of its lists, by their positions in the layout.
    pub(super) fn fields<'a>(&'a self, layout: &'a Layout) -> impl Iterator<Item = usize> + 'a {
        let position = |bag: &str| layout.fields.iter().position(|field| field.name == bag);
        self.columns.iter().map(move |column| position(&column.bag).expect("a bag of a sequence is a field"))
    }

    /// Checks that the lists of each row from `first` on have the same length, and keeps the most recent events. An error comes with its
    /// row, counted from 0, and the name of the bag.
    pub(super) fn cut(&self, layout: &Layout, first: usize, ids: &mut [Ids]) -> Result<(), (Error, usize)> {
        let mut fields = self.fields(layout);
        let Some(main) = fields.next() else { return Ok(()) };
        for (other, column) in fields.zip(&self.columns[1..]) {
            let (Ids::Bag { offsets: main, .. }, Ids::Bag { offsets, .. }) = (&ids[main], &ids[other]) else {
                unreachable!("the fields of a sequence are bags")
            };
            let lengths = main[first..].windows(2).zip(offsets[first..].windows(2));
            for (row, (main, own)) in (first..).zip(lengths) {
                let (expected, found) = (main[1] - main[0], own[1] - own[0]);
                if expected != found {
                    let (name, bag) = (&self.name, &self.columns[0].bag);
                    let text = format!("sequence {name:?}: expected {expected} values, as in {bag:?}, found {found}");
                    let error = Error::new(ErrorKind::Data, text).in_column(&column.bag).with_help(
                        "an event has a value in each list; empty values between separators do not count, so write a name for them",
                    );
                    return Err((error, row));
                }
            }
        }
        for field in self.fields(layout) {
            cut(&mut ids[field], first, self.max_len, self.recent);
        }
        Ok(())
    }
}

/// Keeps the `most` most recent values of each row from `first` on.
fn cut(ids: &mut Ids, first: usize, most: usize, recent: Recent) {
    let Ids::Bag { offsets, ids } = ids else { unreachable!("the fields of a sequence are bags") };
    if offsets[first..].windows(2).all(|ends| (ends[1] - ends[0]) as usize <= most) {
        return;
    }
    let (mut start, mut end) = (offsets[first] as usize, offsets[first] as usize);
    for next in &mut offsets[first + 1..] {
        let own = std::mem::replace(&mut start, *next as usize)..*next as usize;
        let kept = own.len().min(most);
        let from = if recent == Recent::Last { own.end - kept } else { own.start };
        ids.copy_within(from..from + kept, end);
        end += kept;
        *next = end as u32;
    }
    ids.truncate(end);
}

/// A [`Sequence`] whose events are pooled by attention, in the form in which a model's [`Layout`] has it: with the names of fields instead of
/// features. An [`Encoder`](super::Encoder) makes it from the schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttendedSequence {
    /// The name of the sequence. The names of the parameters of its attention start with `net.sequences.NAME`, where NAME is this name.
    pub name: String,
    /// The names of the fields of its lists, at least one. Each field is a bag (several ids in each row) with mean or sum pooling. The values at
    /// one position of all these lists describe one event of the row.
    pub fields: Vec<String>,
    /// For each field in `fields`, in the same order, the name of the field with which attention compares its events: the same kind of value for
    /// the row's target, the item that the model scores. This field has one id in each row, and reads the same embedding table.
    pub targets: Vec<String>,
    /// The largest number of events in a row, 1 to 4096.
    pub max_len: usize,
    /// The settings of the net that computes the attention weights of the events.
    pub attention: TargetAttentionSettings,
}

impl AttendedSequence {
    /// The sequence of a schema, if it has attention.
    pub(super) fn of(sequence: &Sequence) -> Option<Self> {
        let attention = sequence.attention.clone()?;
        let columns = sequence.columns.iter();
        Some(Self {
            name: sequence.name.clone(),
            fields: columns.clone().map(|column| column.bag.clone()).collect(),
            targets: columns.filter_map(|column| column.target.clone()).collect(),
            max_len: sequence.max_len,
            attention,
        })
    }

    /// Notes what does not fit the layout.
    pub(super) fn check_all(layout: &Layout, problems: &mut Problems) {
        let field = |name: &str| layout.fields.iter().find(|field| field.name == name);
        let mut read: Vec<&str> = Vec::new();
        for Self { name, fields, targets, max_len, .. } in &layout.sequences {
            let what = || format!("layout.sequences.{name}");
            let most = Pooling::MOST;
            problems.require((1..=most).contains(max_len), || {
                format!("{}: 1 <= max_len <= {most}, found {max_len}", what())
            });
            problems.require(!fields.is_empty(), || format!("{}: at least one field", what()));
            problems.require(fields.len() == targets.len(), || {
                format!("{}: {} targets, one for each field, found {}", what(), fields.len(), targets.len())
            });
            for (bag, target) in fields.iter().zip(targets) {
                problems.require(!read.contains(&&**bag), || format!("{}: field {bag:?} is in two places", what()));
                read.push(bag);
                let (own, other) = (field(bag), field(target));
                let is_bag = own.is_some_and(|own| matches!(own.bag, Some(Pooling::Mean | Pooling::Sum)));
                problems.require(is_bag, || format!("{}: expected a bag that is pooled, found {bag:?}", what()));
                let is_one = other.is_some_and(|other| other.bag.is_none());
                problems.require(is_one, || {
                    let ones: Vec<&str> = layout.fields.iter().filter(|f| f.bag.is_none()).map(|f| &*f.name).collect();
                    format!("{}: expected a target with one id a row ({}), found {target:?}", what(), listed(&ones))
                });
                let one_table = own.zip(other).is_none_or(|(own, other)| own.table == other.table);
                problems.require(one_table, || {
                    format!("{}: field {bag:?} and its target {target:?} need the same table", what())
                });
            }
        }
    }
}
