//! Finding documents of a collection.

use crate::condition::{Where, compared, field_of, where_field};
use crate::convert::value_of;
use crate::database::Database;
use crate::error::Error;
use crate::reference::Document;
use crate::watch::Watch;
use rhizome_doc::{Aggregate, Cursor, Direction, Operator, Scope, Target};
use rhizome_schema::Value;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use tokio::task::block_in_place;

/// Documents of a collection that match filters, in an order. A mistake in one of its parts is told
/// when it is asked.
#[must_use = "nothing is read until it is asked"]
pub struct Query<T> {
    db: Database,
    query: rhizome_doc::Query,
    wrong: Option<Error>,
    form: PhantomData<fn() -> T>,
}

impl<T> Query<T> {
    pub(crate) fn new(db: Database, scope: impl Into<Scope>) -> Self {
        let query = rhizome_doc::Query::of(scope);
        Self { db, query, wrong: None, form: PhantomData }
    }

    /// Keeps documents whose field compares like this. The field `__name__` stands for the id.
    pub fn filter(self, field: &str, operator: Operator, value: impl Serialize) -> Self {
        self.and(where_field(field, operator, value))
    }

    /// Keeps documents that meet a condition, as [`crate::any`], [`crate::all`] and
    /// [`crate::where_field`] make them.
    pub fn and(mut self, condition: Where) -> Self {
        match condition.0.and_then(|make| make.on(&self.query.scope)) {
            Ok(condition) => self.query = self.query.and(condition),
            Err(error) => self.wrong = self.wrong.or(Some(error)),
        }
        self
    }

    /// Orders by a field, after those named before; documents without it are not in the result.
    pub fn order_by(mut self, field: &str, direction: Direction) -> Self {
        match field_of(field) {
            Ok(field) => self.query = self.query.order_by(field, direction),
            Err(error) => self.wrong = self.wrong.or(Some(error)),
        }
        self
    }

    /// At most so many.
    pub fn limit(mut self, limit: usize) -> Self {
        self.query = self.query.limit(limit);
        self
    }

    /// At most so many, the last ones of the order.
    pub fn limit_to_last(mut self, limit: usize) -> Self {
        self.query = self.query.limit_to_last(limit);
        self
    }

    /// Begins at these values of the ordered fields.
    pub fn start_at(self, values: impl Serialize) -> Self {
        self.cursor(values, true, true)
    }

    /// Begins behind them.
    pub fn start_after(self, values: impl Serialize) -> Self {
        self.cursor(values, true, false)
    }

    /// Ends at them.
    pub fn end_at(self, values: impl Serialize) -> Self {
        self.cursor(values, false, true)
    }

    /// Ends before them.
    pub fn end_before(self, values: impl Serialize) -> Self {
        self.cursor(values, false, false)
    }

    /// One value, or a list or tuple of them.
    fn cursor(mut self, values: impl Serialize, start: bool, inclusive: bool) -> Self {
        let made = value_of(&values).and_then(|value| {
            let values = if let Value::Array(values) = value { values } else { vec![value] };
            let order = &self.query.order;
            let each = values.into_iter().enumerate().map(|(at, value)| match order.get(at) {
                Some((field, _)) => compared(&self.query.scope, field, value),
                None => Ok(value),
            });
            each.collect::<Result<Vec<Value>, Error>>()
        });
        match made {
            Ok(values) if start => self.query.start = Some(Cursor { values, inclusive }),
            Ok(values) => self.query.end = Some(Cursor { values, inclusive }),
            Err(error) => self.wrong = self.wrong.or(Some(error)),
        }
        self
    }

    /// How many documents there are.
    pub async fn count(self) -> Result<u64, Error> {
        let numbers = self.numbers(&[Aggregate::Count]).await?;
        let Some(Value::Int(count)) = numbers.first() else { return Ok(0) };
        Ok(u64::try_from(*count).unwrap_or_default())
    }

    /// The sum of a field's numbers, of the documents that have it.
    pub async fn sum(self, field: &str) -> Result<Value, Error> {
        let field = field_of(field)?;
        Ok(self.numbers(&[Aggregate::Sum(field)]).await?.remove(0))
    }

    /// Their average; null if there are none.
    pub async fn average(self, field: &str) -> Result<Value, Error> {
        let field = field_of(field)?;
        Ok(self.numbers(&[Aggregate::Average(field)]).await?.remove(0))
    }

    /// Several numbers at once, of the documents that have every field they name.
    pub async fn numbers(self, numbers: &[Aggregate]) -> Result<Vec<Value>, Error> {
        if let Some(error) = self.wrong {
            return Err(error);
        }
        let (documents, handle) = (self.db.documents(), self.db.handle());
        handle.plan(documents, &self.query)?;
        Ok(block_in_place(|| documents.aggregate(handle.index(), &self.query, numbers))?)
    }
}

impl<T: DeserializeOwned> Query<T> {
    /// The documents as this device sees them.
    pub async fn get(self) -> Result<Vec<Document<T>>, Error> {
        if let Some(error) = self.wrong {
            return Err(error);
        }
        let (documents, handle) = (self.db.documents(), self.db.handle());
        handle.plan(documents, &self.query)?;
        let index = handle.index();
        let found = block_in_place(|| documents.query(index, &self.query))?;
        found.iter().map(|doc| Document::of(doc)).collect()
    }

    /// Follows the result: as it is now, then whenever it changes.
    pub async fn watch(self) -> Result<Watch<T>, Error> {
        match self.wrong {
            Some(error) => Err(error),
            None => Watch::open(&self.db, Target::Query(self.query)),
        }
    }
}
