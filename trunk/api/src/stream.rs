//! The lines of an answer that takes its time: events, then `done` or `error`.

use crate::error::ApiError;
use crate::method::Method;
use serde::Serialize;
use serde_json::Value;

/// One line of the stream of `M`. After `Done` or `Failed` nothing follows; a stream that ends
/// without either was cut off.
#[derive(Clone, Debug)]
pub enum StreamLine<M: Method> {
    /// Something happened: `{"event":"<name>",…}`.
    Event(M::Event),
    /// It is finished: `{"event":"done","data":…}`.
    Done(M::Answer),
    /// It failed: `{"event":"error","error":…}`.
    Failed(ApiError),
}

/// Why a line is not one of the stream.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamLineError {
    /// Not JSON, or not of the shape its event has.
    #[error("line is not an event of the stream")]
    Shape(#[from] serde_json::Error),
    /// JSON without an event.
    #[error("line names no event")]
    Nameless,
}

#[derive(Serialize)]
struct Done<'a, A> {
    event: &'static str,
    data: &'a A,
}

#[derive(Serialize)]
struct Failed<'a> {
    event: &'static str,
    error: &'a ApiError,
}

impl<M: Method> StreamLine<M> {
    /// The line as JSON text, without the line break.
    pub fn to_text(&self) -> Result<String, StreamLineError> {
        let text = match self {
            Self::Event(event) => serde_json::to_string(event),
            Self::Done(data) => serde_json::to_string(&Done { event: "done", data }),
            Self::Failed(error) => serde_json::to_string(&Failed { event: "error", error }),
        };
        Ok(text?)
    }

    /// Reads a line. An event of a later version is `None`, to be skipped.
    pub fn from_text(line: &str) -> Result<Option<Self>, StreamLineError> {
        let mut value: Value = serde_json::from_str(line)?;
        let name = value.get("event").and_then(Value::as_str).ok_or(StreamLineError::Nameless)?;
        match name {
            "done" => {
                let data = value.get_mut("data").map_or(Value::Null, Value::take);
                Ok(Some(Self::Done(serde_json::from_value(data)?)))
            }
            "error" => {
                let error = value.get_mut("error").map_or(Value::Null, Value::take);
                Ok(Some(Self::Failed(serde_json::from_value(error)?)))
            }
            name => {
                let name = name.to_owned();
                match serde_json::from_value(value) {
                    Ok(event) => Ok(Some(Self::Event(event))),
                    Err(error) if is_unknown_event(&error, &name) => Ok(None),
                    Err(error) => Err(StreamLineError::Shape(error)),
                }
            }
        }
    }
}

/// Whether `error` says that the tag itself is none of the enum's.
fn is_unknown_event(error: &serde_json::Error, name: &str) -> bool {
    error.to_string().starts_with(&format!("unknown variant `{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::{ApplyAnswer, ApplyEvent};
    use crate::{ImportApply, Problem};

    type Line = StreamLine<ImportApply>;

    #[test]
    fn a_stream_is_events_then_its_end() {
        let event = ApplyEvent::Progress { done: 3, total: 10, bytes: 40, eta_ms: Some(700) };
        let line = Line::Event(event.clone()).to_text().unwrap();
        assert_eq!(line, r#"{"event":"progress","done":3,"total":10,"bytes":40,"eta_ms":700}"#);
        assert!(matches!(Line::from_text(&line), Ok(Some(Line::Event(read))) if read == event));

        let done = Line::Done(ApplyAnswer::default()).to_text().unwrap();
        assert!(matches!(Line::from_text(&done), Ok(Some(Line::Done(_)))));

        let failed = Line::Failed(ApiError::new(Problem::DISK, "disk full")).to_text().unwrap();
        assert!(matches!(Line::from_text(&failed), Ok(Some(Line::Failed(_)))));
    }

    #[test]
    fn an_event_of_a_later_version_is_skipped_and_a_broken_one_is_not() {
        assert!(matches!(Line::from_text(r#"{"event":"weather","sun":1}"#), Ok(None)));
        assert!(matches!(
            Line::from_text(r#"{"event":"progress","done":"three"}"#),
            Err(StreamLineError::Shape(_))
        ));
        assert!(matches!(Line::from_text("{}"), Err(StreamLineError::Nameless)));
        assert!(matches!(Line::from_text("not json"), Err(StreamLineError::Shape(_))));
    }
}
