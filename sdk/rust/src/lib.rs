//! What Rust applications hold: an embedded replica behind a document API.
//!
//! A write is durable on this device once its future resolves, with or without a network; then it
//! travels, and [`Written::committed`] waits for its place in the order all devices share. Types go
//! through serde; documents, queries and error codes are Firestore's. What a replica does is left
//! to `trunk/pod`, what documents mean to `trunk/doc`. A pod needs tokio's multi-threaded runtime.
//!
//! ```
//! use rhizome_sdk::{App, Direction, Operator, Rhizome, Update};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Todo {
//!     text: String,
//!     done: bool,
//!     rank: i64,
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), rhizome_sdk::Error> {
//! # let folder = tempfile::tempdir().expect("a folder for the example");
//! # let folder = folder.path();
//! let rhizome = Rhizome::open(folder).await?;
//! let db = rhizome.connect(App::new("org.example.todo").read_write("todos"))?;
//! let todos = db.collection::<Todo>("todos")?;
//!
//! let milk = todos.doc("milk")?;
//! milk.set(&Todo { text: "buy milk".into(), done: false, rank: 1 }).await?;
//! milk.update(Update::new().set("done", true).increment("rank", 2)).await?;
//!
//! let open = todos.query().filter("done", Operator::Equal, true);
//! let found = open.order_by("rank", Direction::Descending).limit(10).get().await?;
//! assert_eq!(found[0].data.rank, 3);
//! # rhizome.close().await;
//! # Ok(())
//! # }
//! ```

mod app;
mod batch;
mod collection;
mod condition;
mod convert;
mod database;
mod error;
mod query;
mod reference;
mod rhizome;
mod update;
mod watch;
mod written;

pub use app::App;
pub use batch::Batch;
pub use collection::Collection;
pub use condition::{Where, all, any, where_field};
pub use database::Database;
pub use error::Error;
pub use query::Query;
pub use reference::{Document, DocumentRef};
pub use rhizome::Rhizome;
pub use rhizome_doc::{Aggregate, Direction, Kind, Operator};
pub use rhizome_schema::{Code, FieldPath, Value};
pub use update::Update;
pub use watch::{Change, DocumentWatch, Snapshot, Watch};
pub use written::Written;

#[cfg(test)]
mod tests;
