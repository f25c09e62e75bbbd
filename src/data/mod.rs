//! From logs to batches: schema, encoder, readers and loader.
//!
//! A [`Schema`] says what each column of a log is. [`Table::read`] reads these columns from a CSV, TSV or Parquet file. [`Encoder::fit`] learns
//! vocabularies, scales and domains, from the training rows only. [`Encoder::encode_training`] turns the training rows into a [`DataSet`], which
//! is held in memory, and [`Encoder::encode`] the rows of other splits. A [`Loader`] splits a data set into the batches of an epoch. Training accepts any [`RowSource`]; [`Loader`] is one.
//!
//! ```
//! use starple::data::{Batch, Encoder, Format, Loader, LoaderConfig, Pass, RowSource, Schema, Table};
//!
//! let schema = Schema::builder()
//!     .categorical("user")
//!     .numeric("age")
//!     .bag("genres", "|")
//!     .domain("page")
//!     .label("click")
//!     .split("split")
//!     .build()?;
//! let log = "\
//! user,age,genres,page,click,split
//! ann,31,drama|crime,home,1,train
//! bob,,comedy,search,0,train
//! eve,44,drama,home,1,test
//! ";
//! let table = Table::from_reader(log.as_bytes(), Format::Csv, "log.csv", &schema)?;
//! let train = table.split("train")?;
//! let encoder = Encoder::fit(&schema, &table, &train)?;
//! let mut source = Loader::new(encoder.encode_training(&table, &train)?);
//! let mut batch = Batch::default();
//! for epoch in 0..3 {
//!     source.begin(Pass::Epoch(epoch), &LoaderConfig::default())?;
//!     while source.next_into(&mut batch)? {
//!         assert_eq!(batch.rows(), 2);
//!     }
//! }
//! let test = encoder.encode(&table, &table.split("test")?)?;
//! assert_eq!(test.ids[0].row(0), [0]); // no training row has the user eve, so her id is 0
//! # Ok::<(), starple::Error>(())
//! ```

mod batch;
mod batch_builder;
mod columns;
mod data_report;
mod data_set;
mod delimited;
mod domain;
mod encoder;
mod feature;
mod fitted;
mod growth;
mod gzip;
mod input_columns;
mod interner;
mod layout;
mod loader;
mod loader_config;
pub(crate) mod names;
mod negatives;
mod numbers;
mod own_history;
#[cfg(feature = "parquet")]
mod parquet;
mod raw_value;
mod read;
mod read_options;
mod row_plan;
mod schema;
mod sequence;
mod source;
mod spelling;
mod splits;
mod statistics;
mod table;
mod target;
mod vocabulary;

pub use batch::{Batch, Ids};
pub use batch_builder::BatchBuilder;
pub use data_report::{BySplit, DataReport, FeatureShare, LeftOut, Share};
pub use data_set::DataSet;
pub use domain::{DomainId, Domains};
pub use encoder::{Encoder, UnknownDomain};
pub use feature::{Bag, Categorical, Coding, Cross, Feature, Numeric, Transform};
pub use growth::Growth;
pub(crate) use input_columns::{FieldColumns, InputColumns, SequenceColumns};
pub use layout::{EmbeddingTable, Field, Layout, Pooling};
pub use loader::Loader;
pub use loader_config::{BatchOrder, LoaderConfig, LoaderConfigBuilder};
pub(crate) use names::listed;
pub use numbers::NumberReport;
pub use own_history::OwnHistory;
pub use raw_value::RawValue;
pub use read::Format;
pub use read_options::{ReadOptions, ReadOptionsBuilder};
pub(crate) use row_plan::{RowPlan, RowScratch};
pub use schema::{Schema, SchemaBuilder};
pub use sequence::{AttendedSequence, Recent, Sequence, SequenceColumn};
pub use source::{IntoSource, Pass, RowCounts, RowSource};
pub use spelling::id_spelling;
pub use splits::{SplitOptions, Splits, UnknownDomainRows, UnknownSplitRows};
pub use statistics::{
    StatisticsFeatures, StatisticsOrder, StatisticsStrengths, TargetStatistics, TargetStatisticsBuilder,
};
pub use table::Table;
pub use target::{Label, Target, TaskKind};
