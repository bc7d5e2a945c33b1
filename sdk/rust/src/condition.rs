//! Conditions of a query, put together by hand.

use crate::convert::value_of;
use crate::error::Error;
use rhizome_doc::{Condition, Filter, Operator, Scope};
use rhizome_schema::{DocPath, FieldPath, Value};
use serde::Serialize;

/// What Firestore calls the name of a document in queries.
const NAME: &str = "__name__";

/// A condition; a mistake in it is told when the query is asked.
#[must_use = "a condition does nothing before a query has it"]
pub struct Where(pub(crate) Result<Made, Error>);

/// A condition before it is known where the query looks.
pub(crate) enum Made {
    Is(Filter),
    All(Vec<Made>),
    Any(Vec<Made>),
}

/// A field that compares like this. The field `__name__` stands for the id of the document.
pub fn where_field(field: &str, operator: Operator, value: impl Serialize) -> Where {
    let made = field_of(field).and_then(|field| {
        let value = value_of(&value)?;
        Ok(Made::Is(Filter { field, operator, value }))
    });
    Where(made)
}

/// All of these hold.
pub fn all(conditions: impl IntoIterator<Item = Where>) -> Where {
    Where(conditions.into_iter().map(|one| one.0).collect::<Result<_, _>>().map(Made::All))
}

/// One of these holds.
pub fn any(conditions: impl IntoIterator<Item = Where>) -> Where {
    Where(conditions.into_iter().map(|one| one.0).collect::<Result<_, _>>().map(Made::Any))
}

impl Made {
    /// The condition of a query that looks there.
    pub(crate) fn on(self, scope: &Scope) -> Result<Condition, Error> {
        let each = |made: Vec<Self>| {
            made.into_iter().map(|one| one.on(scope)).collect::<Result<Vec<_>, Error>>()
        };
        Ok(match self {
            Self::Is(filter) => {
                let value = compared(scope, &filter.field, filter.value)?;
                Condition::Is(Filter { value, ..filter })
            }
            Self::All(made) => Condition::All(each(made)?),
            Self::Any(made) => Condition::Any(each(made)?),
        })
    }
}

/// A field, or the name of the document.
pub(crate) fn field_of(field: &str) -> Result<FieldPath, Error> {
    if field == NAME { Ok(FieldPath::document_id()) } else { Ok(FieldPath::parse(field)?) }
}

/// A value as it is; of a name, ids and paths become references.
pub(crate) fn compared(scope: &Scope, field: &FieldPath, value: Value) -> Result<Value, Error> {
    match value {
        Value::Text(text) if field.is_document_id() => {
            Ok(Value::Reference(match scope.collection() {
                Some(collection) if !text.contains('/') => collection.doc(&text)?,
                _ => DocPath::parse(&text)?,
            }))
        }
        Value::Array(values) if field.is_document_id() => {
            let values = values.into_iter().map(|one| compared(scope, field, one));
            Ok(Value::Array(values.collect::<Result<_, _>>()?))
        }
        value => Ok(value),
    }
}
