//! What the verbs of `rhizome data` take.

use crate::{format, parse};
use clap::{Args, Subcommand, ValueEnum};
use rhizome_api::data::{Filter, OrderBy};
use rhizome_api::select::{Condition, Selection};
use rhizome_api::{
    DataDelete, DataExport, DataGet, DataHash, DataHistory, DataLs, DataQuery, DataSet, DataSettle,
    DataUpdate, DataWatch, Durability, Method,
};
use std::path::PathBuf;
use std::time::Duration;

/// Shown before the verbs.
pub(crate) const EXAMPLES: &str = "Examples:
  rhizome data set todos/1 text=\"oat milk\" done=false
  rhizome data update todos/1 done=true --increment edits=1
  rhizome data query todos --where 'done == false' --order text
  rhizome data export | sha256sum
";

/// The verbs of `data`.
#[derive(Debug, Subcommand)]
pub(crate) enum DataCommand {
    /// List collections, or the documents of one.
    Ls(LsArgs),
    /// Print a document.
    Get(GetArgs),
    /// Write a document whole, or merge into it.
    Set(SetArgs),
    /// Change fields of a document that exists.
    Update(UpdateArgs),
    /// Delete a document; its history stays.
    Delete(DeleteArgs),
    /// Find documents of a collection.
    Query(QueryArgs),
    /// Print a document or a query, and every change from then on.
    Watch(WatchArgs),
    /// Say who changed a document, when, and where.
    History(HistoryArgs),
    /// Print all documents, one per line, in canonical order.
    Export(ExportArgs),
    /// Wait until everything written here has travelled far enough.
    Settle(SettleArgs),
    /// Print hashes, to compare this device with another.
    Hash,
}

impl DataCommand {
    /// The method it asks for.
    pub(crate) const fn method(&self) -> &'static str {
        match self {
            Self::Ls(_) => DataLs::NAME,
            Self::Get(_) => DataGet::NAME,
            Self::Set(_) => DataSet::NAME,
            Self::Update(_) => DataUpdate::NAME,
            Self::Delete(_) => DataDelete::NAME,
            Self::Query(_) => DataQuery::NAME,
            Self::Watch(_) => DataWatch::NAME,
            Self::History(_) => DataHistory::NAME,
            Self::Export(_) => DataExport::NAME,
            Self::Settle(_) => DataSettle::NAME,
            Self::Hash => DataHash::NAME,
        }
    }
}

/// Whose documents.
#[derive(Args, Debug)]
pub(crate) struct AppFlag {
    /// The app whose documents they are [default: the pod's own].
    #[arg(long, value_name = "APP")]
    pub(crate) app: Option<String>,
}

/// How far a write waits.
#[derive(Args, Debug)]
pub(crate) struct WriteFlags {
    /// Wait until it is there, too; without, it is durable on this device.
    #[arg(long, value_enum, value_name = "LEVEL")]
    pub(crate) wait: Option<LevelArg>,
    /// How long to wait, such as 500ms, 30s or 2m [default: 10s].
    #[arg(long, value_parser = format::read_span, requires = "wait", value_name = "TIME")]
    pub(crate) timeout: Option<Duration>,
}

/// How far something has travelled, as it is typed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum LevelArg {
    /// On this device's disk.
    Local,
    /// On another device or peer, too.
    Copied,
    /// At its place in the order, certified.
    #[value(alias = "committed")]
    Confirmed,
    /// In a checkpoint that somebody keeps.
    Pinned,
}

impl From<LevelArg> for Durability {
    fn from(level: LevelArg) -> Self {
        match level {
            LevelArg::Local => Self::Local,
            LevelArg::Copied => Self::Copied,
            LevelArg::Confirmed => Self::Committed,
            LevelArg::Pinned => Self::Pinned,
        }
    }
}

/// Flags of `data ls`.
#[derive(Args, Debug)]
pub(crate) struct LsArgs {
    /// The collection; lists the collections if not given.
    pub(crate) collection: Option<String>,
    /// How many at most.
    #[arg(long, value_name = "COUNT")]
    pub(crate) limit: Option<u64>,
    /// The path after which to begin.
    #[arg(long, value_name = "PATH")]
    pub(crate) after: Option<String>,
    #[command(flatten)]
    pub(crate) app: AppFlag,
}

/// Flags of `data get`.
#[derive(Args, Debug)]
pub(crate) struct GetArgs {
    /// The path of the document, such as todos/1.
    pub(crate) path: String,
    /// Only what is confirmed.
    #[arg(long, alias = "committed")]
    pub(crate) confirmed: bool,
    #[command(flatten)]
    pub(crate) app: AppFlag,
}

/// Flags of `data set`.
#[derive(Args, Debug)]
#[command(before_help = "Examples:
  rhizome data set todos/1 text=milk done=false
  rhizome data set todos/1 '{\"text\":\"milk\",\"tags\":[\"shop\"]}'
  rhizome data set todos/1 --from todo.json --merge --wait confirmed
")]
pub(crate) struct SetArgs {
    /// The path of the document.
    pub(crate) path: String,
    /// FIELD=VALUE, or one JSON object. A value is JSON if it can be read as such, otherwise text.
    #[arg(value_name = "FIELD=VALUE")]
    pub(crate) fields: Vec<String>,
    /// A file with a JSON object, or - for standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "fields")]
    pub(crate) from: Option<PathBuf>,
    /// Keep fields that are not named.
    #[arg(long)]
    pub(crate) merge: bool,
    #[command(flatten)]
    pub(crate) write: WriteFlags,
    #[command(flatten)]
    pub(crate) app: AppFlag,
}

/// Flags of `data update`.
#[derive(Args, Debug)]
#[command(before_help = "Examples:
  rhizome data update todos/1 done=true
  rhizome data update todos/1 --increment edits=1 --union tags=shop --server-time seen
")]
pub(crate) struct UpdateArgs {
    /// The path of the document.
    pub(crate) path: String,
    /// FIELD=VALUE; FIELD may be a path such as address.city.
    #[arg(value_name = "FIELD=VALUE")]
    pub(crate) fields: Vec<String>,
    /// Add a number to a field.
    #[arg(long, value_name = "FIELD=NUMBER")]
    pub(crate) increment: Vec<String>,
    /// Add to a list what it does not hold.
    #[arg(long, value_name = "FIELD=VALUE")]
    pub(crate) union: Vec<String>,
    /// Take out of a list.
    #[arg(long, value_name = "FIELD=VALUE")]
    pub(crate) remove: Vec<String>,
    /// Delete a field.
    #[arg(long, value_name = "FIELD")]
    pub(crate) delete: Vec<String>,
    /// Set a field to the time of writing.
    #[arg(long, value_name = "FIELD")]
    pub(crate) server_time: Vec<String>,
    #[command(flatten)]
    pub(crate) write: WriteFlags,
    #[command(flatten)]
    pub(crate) app: AppFlag,
}

/// Flags of `data delete`.
#[derive(Args, Debug)]
pub(crate) struct DeleteArgs {
    /// The path of the document.
    pub(crate) path: String,
    #[command(flatten)]
    pub(crate) write: WriteFlags,
    #[command(flatten)]
    pub(crate) app: AppFlag,
}

/// Which documents of a collection.
#[derive(Args, Debug)]
pub(crate) struct SelectArgs {
    /// A condition, FIELD OP VALUE; all of them hold.
    #[arg(long = "where", value_name = "CONDITION", value_parser = parse::filter)]
    filters: Vec<Filter>,
    /// A condition of which one is enough, where several are given.
    #[arg(long = "any", value_name = "CONDITION", value_parser = parse::filter)]
    any: Vec<Filter>,
    /// An order, FIELD or FIELD:desc; the first counts most.
    #[arg(long, value_name = "FIELD", value_parser = parse::order)]
    order: Vec<OrderBy>,
    /// How many at most.
    #[arg(long, value_name = "COUNT")]
    limit: Option<u64>,
    /// Keep the last ones, not the first.
    #[arg(long, requires = "limit", requires = "order")]
    last: bool,
    /// Look in every collection of that name, wherever it lies.
    #[arg(long)]
    group: bool,
}

impl SelectArgs {
    /// What the pod is asked for.
    pub(crate) fn into_selection(self) -> Selection {
        let mut conditions: Vec<Condition> = self.filters.into_iter().map(Condition::Is).collect();
        if !self.any.is_empty() {
            conditions
                .push(Condition::Any { any: self.any.into_iter().map(Condition::Is).collect() });
        }
        Selection {
            group: self.group,
            conditions,
            order: self.order,
            limit: self.limit,
            last: self.last,
            ..Selection::default()
        }
    }
}

/// Flags of `data query`.
#[derive(Args, Debug)]
#[command(before_help = "Examples:
  rhizome data query todos --where 'done == false' --order due:desc --limit 10
  rhizome data query todos --where 'tags array-contains shop' --explain
  rhizome data query todos --any 'done == true' --any 'priority >= 3' --count
  rhizome data query items --group --sum price
")]
pub(crate) struct QueryArgs {
    /// The collection.
    pub(crate) collection: String,
    #[command(flatten)]
    pub(crate) select: SelectArgs,
    /// Say how they were found.
    #[arg(long)]
    pub(crate) explain: bool,
    /// Say how many there are, and do not show them.
    #[arg(long, conflicts_with = "explain")]
    pub(crate) count: bool,
    /// Say the sum of a field's numbers, of the documents that have it.
    #[arg(long, value_name = "FIELD", conflicts_with = "explain")]
    pub(crate) sum: Vec<String>,
    /// Say their average.
    #[arg(long, value_name = "FIELD", conflicts_with = "explain")]
    pub(crate) average: Vec<String>,
    #[command(flatten)]
    pub(crate) app: AppFlag,
}

/// Flags of `data watch`.
#[derive(Args, Debug)]
pub(crate) struct WatchArgs {
    /// The collection, or the path of a document.
    pub(crate) path: String,
    #[command(flatten)]
    pub(crate) select: SelectArgs,
    /// Also tell when only the way it has travelled changed.
    #[arg(long)]
    pub(crate) durability: bool,
    #[command(flatten)]
    pub(crate) app: AppFlag,
}

/// Flags of `data history`.
#[derive(Args, Debug)]
pub(crate) struct HistoryArgs {
    /// The path of the document.
    pub(crate) path: String,
    /// How many at most.
    #[arg(long, value_name = "COUNT")]
    pub(crate) limit: Option<u64>,
    #[command(flatten)]
    pub(crate) app: AppFlag,
}

/// Flags of `data export`.
#[derive(Args, Debug)]
pub(crate) struct ExportArgs {
    /// The collection [default: all of them].
    pub(crate) collection: Option<String>,
    /// The app whose documents they are [default: all apps].
    #[command(flatten)]
    pub(crate) app: AppFlag,
}

/// Flags of `data settle`.
#[derive(Args, Debug)]
pub(crate) struct SettleArgs {
    /// How far.
    #[arg(long, value_enum, default_value = "confirmed")]
    pub(crate) level: LevelArg,
    /// How long to wait, such as 500ms, 30s or 2m [default: without end].
    #[arg(long, value_parser = format::read_span, value_name = "TIME")]
    pub(crate) timeout: Option<Duration>,
}
