//! Values as JSON for people and exports, without loss.
//!
//! Null, booleans, whole numbers, finite doubles, text, arrays and maps are plain JSON; a double
//! always shows a point or an exponent. The rest is an object with one key that starts with `$`:
//! `$timestamp`, `$bytes` (base64), `$reference`, `$geo` (latitude, longitude), `$vector`,
//! `$double` (`NaN`, `Infinity`, `-Infinity`, `-0`). A map whose only key starts with `$` is
//! wrapped in `$map`. Keys are sorted, so that equal values give equal text.

use crate::path::{DocPath, PathError};
use crate::time::TimestampError;
use crate::value::{DEPTH_MAX, Fields, Timestamp, Value};
use data_encoding::BASE64;
use serde_json::Value as Json;

/// Why some JSON is not a value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// The text is not JSON.
    #[error("text is not JSON")]
    Syntax(#[source] serde_json::Error),
    /// A number that fits neither 64 bits nor a double.
    #[error("number {number} does not fit 64 bits; write it with a point to make it a double")]
    Number {
        /// The number.
        number: String,
    },
    /// An object with one key that starts with `$`, which is not ours or holds the wrong thing.
    #[error("`{tag}` is unknown or holds the wrong thing; wrap a plain map in {{\"$map\": …}}")]
    Tag {
        /// The key.
        tag: String,
    },
    /// A timestamp that cannot be read.
    #[error("`$timestamp` cannot be read")]
    Timestamp(#[source] TimestampError),
    /// A reference that cannot be read.
    #[error("`$reference` cannot be read")]
    Reference(#[source] PathError),
    /// Too deep.
    #[error("value nests deeper than {DEPTH_MAX} levels")]
    Deep,
    /// Fields were expected, and the JSON is not an object.
    #[error("a document is a JSON object")]
    NotAnObject,
}

/// The canonical JSON text of a value.
#[must_use]
pub fn to_json(value: &Value) -> String {
    let mut out = String::new();
    write(&mut out, value);
    out
}

/// The canonical JSON text of a document's fields.
#[must_use]
pub fn fields_to_json(fields: &Fields) -> String {
    let mut out = String::new();
    write_fields(&mut out, fields);
    out
}

/// Reads JSON text.
pub fn from_json(text: &str) -> Result<Value, JsonError> {
    from_tree(&serde_json::from_str(text).map_err(JsonError::Syntax)?)
}

/// Reads the JSON text of a document's fields. Unlike a value, a document is never a tag.
pub fn fields_from_json(text: &str) -> Result<Fields, JsonError> {
    fields_from_tree(&serde_json::from_str(text).map_err(JsonError::Syntax)?)
}

/// Reads JSON that is parsed already.
pub fn from_tree(json: &Json) -> Result<Value, JsonError> {
    read(json, 0)
}

/// Reads the fields of a document from JSON that is parsed already.
pub fn fields_from_tree(json: &Json) -> Result<Fields, JsonError> {
    read_fields(json.as_object().ok_or(JsonError::NotAnObject)?, 0)
}

/// Appends `text` as a JSON string.
pub fn write_text(out: &mut String, text: &str) {
    out.push_str(&serde_json::to_string(text).expect("text always has a JSON form"));
}

fn write_tagged(out: &mut String, tag: &str, value: &str) {
    out.push_str("{\"");
    out.push_str(tag);
    out.push_str("\":");
    write_text(out, value);
    out.push('}');
}

fn special_double(double: f64) -> Option<&'static str> {
    match double {
        double if double.is_nan() => Some("NaN"),
        f64::INFINITY => Some("Infinity"),
        f64::NEG_INFINITY => Some("-Infinity"),
        double if double == 0.0 && double.is_sign_negative() => Some("-0"),
        _ => None,
    }
}

fn write_double(out: &mut String, double: f64) {
    match special_double(double) {
        Some(name) => write_tagged(out, "$double", name),
        None => {
            let number = serde_json::Number::from_f64(double).expect("it is finite");
            out.push_str(&number.to_string());
        }
    }
}

fn write_list<T>(out: &mut String, items: &[T], mut write_one: impl FnMut(&mut String, &T)) {
    out.push('[');
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        write_one(out, item);
    }
    out.push(']');
}

fn write_fields(out: &mut String, fields: &Fields) {
    out.push('{');
    for (i, (name, value)) in fields.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        write_text(out, name);
        out.push(':');
        write(out, value);
    }
    out.push('}');
}

fn write(out: &mut String, value: &Value) {
    let doubles = |out: &mut String, tag: &str, numbers: &[f64]| {
        out.push_str("{\"");
        out.push_str(tag);
        out.push_str("\":");
        write_list(out, numbers, |out, number| write_double(out, *number));
        out.push('}');
    };
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(bool) => out.push_str(if *bool { "true" } else { "false" }),
        Value::Int(int) => out.push_str(&int.to_string()),
        Value::Double(double) => write_double(out, *double),
        Value::Timestamp(at) => write_tagged(out, "$timestamp", &at.to_string()),
        Value::Text(text) => write_text(out, text),
        Value::Bytes(bytes) => write_tagged(out, "$bytes", &BASE64.encode(bytes)),
        Value::Reference(path) => write_tagged(out, "$reference", path.as_str()),
        Value::GeoPoint { latitude, longitude } => {
            doubles(out, "$geo", &[*latitude, *longitude]);
        }
        Value::Array(items) => write_list(out, items, write),
        Value::Vector(items) => doubles(out, "$vector", items),
        Value::Map(fields) if looks_tagged(fields.keys()) => {
            out.push_str("{\"$map\":");
            write_fields(out, fields);
            out.push('}');
        }
        Value::Map(fields) => write_fields(out, fields),
    }
}

fn looks_tagged<'a>(mut keys: impl ExactSizeIterator<Item = &'a String>) -> bool {
    keys.len() == 1 && keys.next().is_some_and(|key| key.starts_with('$'))
}

fn read_fields(object: &serde_json::Map<String, Json>, depth: usize) -> Result<Fields, JsonError> {
    if depth > DEPTH_MAX {
        return Err(JsonError::Deep);
    }
    object.iter().map(|(name, json)| Ok((name.clone(), read(json, depth + 1)?))).collect()
}

fn read(json: &Json, depth: usize) -> Result<Value, JsonError> {
    Ok(match json {
        Json::Null => Value::Null,
        Json::Bool(bool) => Value::Bool(*bool),
        Json::String(text) => Value::Text(text.clone()),
        Json::Number(number) => match number.as_i64() {
            Some(int) => Value::Int(int),
            None if number.is_f64() => {
                Value::Double(number.as_f64().expect("the line above says it is one"))
            }
            None => return Err(JsonError::Number { number: number.to_string() }),
        },
        Json::Array(items) => {
            if depth > DEPTH_MAX {
                return Err(JsonError::Deep);
            }
            let items = items.iter().map(|item| read(item, depth + 1));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        Json::Object(object) if looks_tagged(object.keys()) => {
            let (tag, json) = object.iter().next().expect("it has one key");
            read_tagged(tag, json, depth)?
        }
        Json::Object(object) => Value::Map(read_fields(object, depth)?),
    })
}

fn read_tagged(tag: &str, json: &Json, depth: usize) -> Result<Value, JsonError> {
    let wrong = || JsonError::Tag { tag: tag.to_owned() };
    let text = || json.as_str().ok_or_else(wrong);
    Ok(match tag {
        "$timestamp" => {
            Value::Timestamp(text()?.parse::<Timestamp>().map_err(JsonError::Timestamp)?)
        }
        "$bytes" => Value::Bytes(BASE64.decode(text()?.as_bytes()).map_err(|_| wrong())?),
        "$reference" => Value::Reference(DocPath::parse(text()?).map_err(JsonError::Reference)?),
        "$geo" => match read_doubles(json).as_deref() {
            Some([latitude, longitude]) => {
                Value::GeoPoint { latitude: *latitude, longitude: *longitude }
            }
            _ => return Err(wrong()),
        },
        "$vector" => Value::Vector(read_doubles(json).ok_or_else(wrong)?),
        "$double" => Value::Double(read_double(text()?).ok_or_else(wrong)?),
        "$map" => Value::Map(read_fields(json.as_object().ok_or_else(wrong)?, depth)?),
        _ => return Err(wrong()),
    })
}

fn read_double(name: &str) -> Option<f64> {
    [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0]
        .into_iter()
        .find(|double| special_double(*double) == Some(name))
}

fn read_doubles(json: &Json) -> Option<Vec<f64>> {
    let one = |json: &Json| match json {
        Json::Object(object) if object.len() == 1 => read_double(object.get("$double")?.as_str()?),
        json => json.as_f64(),
    };
    json.as_array()?.iter().map(one).collect()
}

#[cfg(test)]
mod tests;
