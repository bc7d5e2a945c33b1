//! The one shape of every answer that is not a stream, on the socket and behind `--json`.

use crate::error::ApiError;
use crate::method::Method;
use serde::{Deserialize, Serialize};

/// What the schema name of an answer starts with.
pub const SCHEMA_PREFIX: &str = "rhizome.";

/// The version in the schema name. Fields may be added to an answer without a new one.
pub const SCHEMA_VERSION: u32 = 1;

/// The schema name of a method's answer: `rhizome.data.get/1`.
#[must_use]
pub fn schema_name(method: &str) -> String {
    format!("{SCHEMA_PREFIX}{method}/{SCHEMA_VERSION}")
}

/// An answer, or why there is none.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Envelope<A> {
    /// What `data` is: the method and its version.
    pub schema: String,
    /// Whether `data` is there; otherwise `error` is.
    pub ok: bool,
    /// The answer.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub data: Option<A>,
    /// Why there is no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ApiError>,
    /// What the person should know although it worked.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// Why an envelope could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// The answer is an error.
    #[error(transparent)]
    Refused(#[from] ApiError),
    /// The answer is to something else.
    #[error("answer is `{found}`, not `{expected}`")]
    Schema {
        /// What was asked for.
        expected: String,
        /// What came.
        found: String,
    },
    /// `ok` does not fit what is there.
    #[error("answer has neither data nor error")]
    Hollow,
}

impl<A> Envelope<A> {
    /// The answer of `M`.
    #[must_use]
    pub fn answer<M: Method<Answer = A>>(data: A, warnings: Vec<String>) -> Self {
        Self { schema: schema_name(M::NAME), ok: true, data: Some(data), error: None, warnings }
    }

    /// The refusal of the method called `method`, which may be one nobody knows.
    #[must_use]
    pub fn refusal(method: &str, error: ApiError) -> Self {
        let schema = schema_name(method);
        Self { schema, ok: false, data: None, error: Some(error), warnings: Vec::new() }
    }

    /// Takes out the answer of `M` with its warnings.
    pub fn open<M: Method<Answer = A>>(self) -> Result<(A, Vec<String>), EnvelopeError> {
        if let Some(error) = self.error {
            return Err(EnvelopeError::Refused(error));
        }
        let expected = schema_name(M::NAME);
        if self.schema != expected {
            return Err(EnvelopeError::Schema { expected, found: self.schema });
        }
        match self.data {
            Some(data) if self.ok => Ok((data, self.warnings)),
            _ => Err(EnvelopeError::Hollow),
        }
    }
}

/// Serde asks for a default of `Option<A>` without asking for one of `A`.
fn none<A>() -> Option<A> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Empty, PodPing, PodStop, Problem, pod::PingAnswer};

    #[test]
    fn an_answer_names_its_schema_and_opens_again() {
        let answer = PingAnswer { version: "0.1.0".into(), pid: 7, ..PingAnswer::default() };
        let envelope = Envelope::answer::<PodPing>(answer.clone(), vec!["old".into()]);
        let text = serde_json::to_string(&envelope).unwrap();
        assert!(text.starts_with(r#"{"schema":"rhizome.pod.ping/1","ok":true,"data":{"#), "{text}");
        let read: Envelope<PingAnswer> = serde_json::from_str(&text).unwrap();
        assert_eq!(read.open::<PodPing>().unwrap(), (answer, vec!["old".to_owned()]));
    }

    #[test]
    fn a_refusal_opens_as_its_error() {
        let error = ApiError::new(Problem::NOT_FOUND, "no document `notes/1`");
        let text =
            serde_json::to_string(&Envelope::<Empty>::refusal("pod.stop", error.clone())).unwrap();
        let read: Envelope<Empty> = serde_json::from_str(&text).unwrap();
        match read.open::<PodStop>() {
            Err(EnvelopeError::Refused(found)) => assert_eq!(found, error),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_answer_to_something_else_is_not_taken() {
        let text = r#"{"schema":"rhizome.pod.ping/1","ok":true,"data":{}}"#;
        let read: Envelope<Empty> = serde_json::from_str(text).unwrap();
        assert!(matches!(read.open::<PodStop>(), Err(EnvelopeError::Schema { .. })));
        let hollow = r#"{"schema":"rhizome.pod.stop/1","ok":true}"#;
        let read: Envelope<Empty> = serde_json::from_str(hollow).unwrap();
        assert!(matches!(read.open::<PodStop>(), Err(EnvelopeError::Hollow)));
    }
}
