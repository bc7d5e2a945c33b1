//! What people type for values, fields, conditions and orders.

use rhizome_api::data::{CompareOp, Direction, Filter, OrderBy};
use serde_json::{Map, Value};

/// A value: JSON if it is JSON, text otherwise. `"5"` in quotes is text, 5 is a number.
pub(crate) fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

/// `FIELD=VALUE`.
fn assignment(text: &str) -> Result<(String, Value), String> {
    match text.split_once('=') {
        Some((field, typed)) if !field.is_empty() => Ok((field.to_owned(), value(typed))),
        _ => Err(format!("`{text}` is not FIELD=VALUE")),
    }
}

/// `FIELD=VALUE` any number of times.
pub(crate) fn assignments(words: &[String]) -> Result<Vec<(String, Value)>, String> {
    words.iter().map(|word| assignment(word)).collect()
}

/// Fields of a document: one JSON object, or `FIELD=VALUE` any number of times.
pub(crate) fn fields(words: &[String]) -> Result<Value, String> {
    if let [only] = words
        && only.trim_start().starts_with('{')
    {
        return object(only);
    }
    let mut out = Map::new();
    for (field, value) in assignments(words)? {
        if out.insert(field.clone(), value).is_some() {
            return Err(format!("field `{field}` is given twice"));
        }
    }
    Ok(Value::Object(out))
}

/// A JSON object.
pub(crate) fn object(text: &str) -> Result<Value, String> {
    match serde_json::from_str(text) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err("a document is a JSON object".to_owned()),
        Err(error) => Err(format!("document is not JSON: {error}")),
    }
}

/// The words for comparing; longer ones before those they begin with.
const OPS: [(&str, CompareOp); 10] = [
    ("array-contains-any", CompareOp::ArrayContainsAny),
    ("array-contains", CompareOp::ArrayContains),
    ("not-in", CompareOp::NotIn),
    ("in", CompareOp::In),
    ("==", CompareOp::Equal),
    ("!=", CompareOp::NotEqual),
    ("<=", CompareOp::LessOrEqual),
    (">=", CompareOp::GreaterOrEqual),
    ("<", CompareOp::Less),
    (">", CompareOp::Greater),
];

/// `FIELD OP VALUE`; spaces may be left out around signs.
pub(crate) fn filter(text: &str) -> Result<Filter, String> {
    let wrong = || {
        let ops: Vec<&str> = OPS.iter().map(|(word, _)| *word).collect();
        format!("`{text}` is not FIELD OP VALUE; OP is one of {}", ops.join(", "))
    };
    let text = text.trim();
    let field_end = text
        .find(|character: char| character.is_whitespace() || "=!<>".contains(character))
        .ok_or_else(wrong)?;
    let (field, rest) = text.split_at(field_end);
    let rest = rest.trim_start();
    let found = OPS.iter().find_map(|(word, op)| {
        let after = rest.strip_prefix(word)?;
        let sign = !word.starts_with(|character: char| character.is_ascii_alphabetic());
        (sign || after.starts_with(char::is_whitespace)).then_some((*op, after.trim()))
    });
    match found {
        Some((op, typed)) if !field.is_empty() && !typed.is_empty() => {
            Ok(Filter { field: field.to_owned(), op, value: value(typed) })
        }
        _ => Err(wrong()),
    }
}

/// `FIELD`, `FIELD:asc` or `FIELD:desc`.
pub(crate) fn order(text: &str) -> Result<OrderBy, String> {
    let (field, dir) = match text.rsplit_once(':') {
        Some((field, "desc")) => (field, Direction::Descending),
        Some((field, "asc")) => (field, Direction::Ascending),
        Some((_, other)) => return Err(format!("`{other}` is neither asc nor desc")),
        None => (text, Direction::Ascending),
    };
    if field.is_empty() {
        return Err("order needs a field".to_owned());
    }
    Ok(OrderBy { field: field.to_owned(), dir })
}

/// `POSITION WORD` per line, as the recovery kit is confirmed from a file.
pub(crate) fn kit_words(text: &str) -> Result<Vec<(u64, String)>, String> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| {
            let mut parts = line.split_whitespace();
            let position = parts.next().and_then(|number| number.parse().ok());
            match (position, parts.next(), parts.next()) {
                (Some(position), Some(word), None) => Ok((position, word.to_owned())),
                _ => Err("each line is the number of a word and the word".to_owned()),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_value_is_json_or_text() {
        assert_eq!(value("5"), json!(5));
        assert_eq!(value("5.0").to_string(), "5.0");
        assert_eq!(value("\"5\""), json!("5"));
        assert_eq!(value("true"), json!(true));
        assert_eq!(value("oat milk"), json!("oat milk"));
        assert_eq!(value("[1,"), json!("[1,"));
        assert_eq!(value(""), json!(""));
    }

    #[test]
    fn fields_are_an_object_or_assignments() {
        let words =
            |words: &[&str]| fields(&words.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(words(&["title=a=b", "done=true"]).unwrap(), json!({"title":"a=b","done":true}));
        assert_eq!(words(&[r#"{"n":1}"#]).unwrap(), json!({"n":1}));
        assert_eq!(words(&[]).unwrap(), json!({}));
        assert!(words(&["title"]).is_err());
        assert!(words(&["=x"]).is_err());
        assert!(words(&["a=1", "a=2"]).unwrap_err().contains("twice"));
        assert!(words(&["{broken"]).is_err());
    }

    #[test]
    fn conditions_are_read_with_and_without_spaces() {
        let read = |text: &str| {
            let filter = filter(text).unwrap();
            format!("{} {:?} {}", filter.field, filter.op, filter.value)
        };
        assert_eq!(read("done == false"), "done Equal false");
        assert_eq!(read("n>=3"), "n GreaterOrEqual 3");
        assert_eq!(read("n<3"), "n Less 3");
        assert_eq!(read("tags array-contains-any [\"a\"]"), "tags ArrayContainsAny [\"a\"]");
        assert_eq!(read("tags array-contains a b"), "tags ArrayContains \"a b\"");
        assert_eq!(read("kind in [1,2]"), "kind In [1,2]");
        assert_eq!(read("kind not-in [1]"), "kind NotIn [1]");
        assert_eq!(read("a.b != \"x y\""), "a.b NotEqual \"x y\"");
        for wrong in ["", "n", "n ~ 3", "== 3", "n ==", "n inside 3", "n = 3"] {
            assert!(filter(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn orders_run_upwards_unless_said() {
        assert_eq!(order("n").unwrap().dir, Direction::Ascending);
        assert_eq!(order("a.b:desc").unwrap().dir, Direction::Descending);
        assert!(order("n:down").is_err());
        assert!(order(":desc").is_err());
    }

    #[test]
    fn kit_answers_are_numbered_words() {
        assert_eq!(
            kit_words("3 able\n\n 11  zoo\n").unwrap(),
            [(3, "able".into()), (11, "zoo".into())]
        );
        assert!(kit_words("able 3").is_err());
        assert!(kit_words("3 able zoo").is_err());
    }
}
