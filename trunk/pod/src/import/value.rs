//! What importers produce, as values of documents.

use rhizome_import::{AttachmentId, Field};
use rhizome_schema::{BlobRef, Timestamp, Value};
use std::collections::BTreeMap;

/// Why a field has no value.
#[derive(Debug, thiserror::Error)]
#[error("attachment {id} was not stored")]
pub struct MissingAttachment {
    id: AttachmentId,
}

/// The value of a field. A list inside a list, which documents do not have, becomes a map with the
/// one field `items`.
pub fn value(
    field: &Field,
    blobs: &BTreeMap<AttachmentId, BlobRef>,
) -> Result<Value, MissingAttachment> {
    Ok(match field {
        Field::Null => Value::Null,
        Field::Bool(bool) => Value::Bool(*bool),
        Field::Int(int) => Value::Int(*int),
        Field::Double(double) => Value::Double(*double),
        Field::TimestampMicros(micros) => Value::Timestamp(Timestamp { micros: *micros }),
        Field::Text(text) => Value::Text(text.clone()),
        Field::List(items) => {
            let item = |item: &Field| {
                let inner = value(item, blobs)?;
                Ok(match inner {
                    Value::Array(_) => Value::Map([("items".to_owned(), inner)].into()),
                    inner => inner,
                })
            };
            Value::Array(items.iter().map(item).collect::<Result<_, _>>()?)
        }
        Field::Map(fields) => Value::Map(
            fields
                .iter()
                .map(|(name, field)| Ok((name.clone(), value(field, blobs)?)))
                .collect::<Result<_, _>>()?,
        ),
        Field::Attachment(id) => match blobs.get(id) {
            Some(blob) => blob.to_value(),
            None => return Err(MissingAttachment { id: id.clone() }),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_in_a_list_becomes_a_map() {
        let inner = Field::List(vec![Field::Int(1)]);
        let list = Field::List(vec![inner, Field::text("a")]);
        let json = rhizome_schema::json::to_json(&value(&list, &BTreeMap::new()).unwrap());
        assert_eq!(json, r#"[{"items":[1]},"a"]"#);
    }
}
