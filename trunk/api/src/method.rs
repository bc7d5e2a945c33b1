//! What a method is: a name, and the types of what is asked, answered and streamed.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What the path of every method starts with. A change that is not additive gets a new number.
pub const PATH_PREFIX: &str = "/v1/";

/// One method of the local API.
pub trait Method {
    /// Its name with dots, as it stands in the path: `data.get`.
    const NAME: &'static str;
    /// What it is for, in a sentence.
    const PURPOSE: &'static str;
    /// Whether it answers with a stream of lines instead of one envelope.
    const STREAMS: bool;
    /// The names of the types of request, answer and event, for the documentation.
    const TYPES: (&'static str, &'static str, &'static str);
    /// What is asked.
    type Request: Serialize + DeserializeOwned;
    /// What is answered, or what closes the stream.
    type Answer: Serialize + DeserializeOwned;
    /// What a stream tells on the way; [`NoEvent`] for the others.
    type Event: Serialize + DeserializeOwned;
}

/// Sees every method once; see [`crate::visit_methods`].
pub trait Visitor {
    /// Takes the next method.
    fn visit<M: Method>(&mut self);
}

/// The path of a method.
#[must_use]
pub fn path_of<M: Method>() -> String {
    format!("{PATH_PREFIX}{}", M::NAME)
}

/// A request or an answer without content: `{}`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Empty {}

/// The event of a method that does not stream: there is none.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "event")]
pub enum NoEvent {}
