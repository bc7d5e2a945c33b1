//! Between types of applications and documents: serde on one side, `trunk/schema` on the other.
//!
//! What JSON has no word for travels as `trunk/schema` writes it (`{"$timestamp": …}` and so on).

use crate::error::Error;
use rhizome_schema::{Code, DocPath, Fields, Value, json};
use serde::Serialize;
use serde::de::DeserializeOwned;

fn tree<T: Serialize + ?Sized>(value: &T) -> Result<serde_json::Value, Error> {
    serde_json::to_value(value).map_err(|source| {
        Error::caused(Code::InvalidArgument, "value has no form that can be stored", source)
    })
}

/// A document's fields from an application's type.
pub(crate) fn fields_of<T: Serialize + ?Sized>(value: &T) -> Result<Fields, Error> {
    Ok(json::fields_from_tree(&tree(value)?)?)
}

/// One value from an application's type.
pub(crate) fn value_of<T: Serialize + ?Sized>(value: &T) -> Result<Value, Error> {
    Ok(json::from_tree(&tree(value)?)?)
}

/// An application's type from a document's fields.
pub(crate) fn typed<T: DeserializeOwned>(path: &DocPath, fields: &Fields) -> Result<T, Error> {
    serde_json::from_str(&json::fields_to_json(fields)).map_err(|source| {
        let message = format!("document `{path}` does not have the form of its type");
        Error::caused(Code::FailedPrecondition, message, source)
    })
}
