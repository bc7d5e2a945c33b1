//! Changes of single fields.

use crate::convert::value_of;
use crate::error::Error;
use rhizome_doc::FieldOp;
use rhizome_schema::{Code, FieldPath, Number, Value};
use serde::Serialize;

/// Changes of fields by dotted path, applied as operations: two devices that increment at once both
/// count. A mistake in one of them is told when the update is written.
#[derive(Debug, Default)]
#[must_use = "nothing changes until it is written"]
pub struct Update {
    ops: Vec<(FieldPath, FieldOp)>,
    wrong: Option<Error>,
}

impl Update {
    /// No change yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes a field.
    pub fn set(self, field: &str, value: impl Serialize) -> Self {
        self.with(field, || value_of(&value).map(FieldOp::Assign))
    }

    /// Removes a field.
    pub fn delete(self, field: &str) -> Self {
        self.with(field, || Ok(FieldOp::DeleteField))
    }

    /// Writes the time of this device.
    pub fn server_time(self, field: &str) -> Self {
        self.with(field, || Ok(FieldOp::ServerTime))
    }

    /// Adds a number; what is no number counts as zero.
    pub fn increment(self, field: &str, by: impl Serialize) -> Self {
        self.with(field, || number(&by).map(FieldOp::Increment))
    }

    /// Keeps the smaller number.
    pub fn minimum(self, field: &str, at_most: impl Serialize) -> Self {
        self.with(field, || number(&at_most).map(FieldOp::Minimum))
    }

    /// Keeps the greater number.
    pub fn maximum(self, field: &str, at_least: impl Serialize) -> Self {
        self.with(field, || number(&at_least).map(FieldOp::Maximum))
    }

    /// Appends the elements that are missing.
    pub fn array_union(self, field: &str, values: impl Serialize) -> Self {
        self.with(field, || elements(&values).map(FieldOp::ArrayUnion))
    }

    /// Removes all elements equal to one of these.
    pub fn array_remove(self, field: &str, values: impl Serialize) -> Self {
        self.with(field, || elements(&values).map(FieldOp::ArrayRemove))
    }

    fn with(mut self, field: &str, op: impl FnOnce() -> Result<FieldOp, Error>) -> Self {
        let change =
            FieldPath::parse(field).map_err(Error::from).and_then(|path| Ok((path, op()?)));
        match change {
            Ok(change) => self.ops.push(change),
            Err(error) => self.wrong = self.wrong.or(Some(error)),
        }
        self
    }

    pub(crate) fn into_ops(self) -> Result<Vec<(FieldPath, FieldOp)>, Error> {
        match self.wrong {
            Some(error) => Err(error),
            None => Ok(self.ops),
        }
    }
}

fn number(value: &impl Serialize) -> Result<Number, Error> {
    let wrong = || Error::new(Code::InvalidArgument, "operand is not a number");
    Number::try_from(value_of(value)?).map_err(|_| wrong())
}

fn elements(value: &impl Serialize) -> Result<Vec<Value>, Error> {
    match value_of(value)? {
        Value::Array(elements) => Ok(elements),
        _ => Err(Error::new(Code::InvalidArgument, "operand is not a list")),
    }
}
