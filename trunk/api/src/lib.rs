//! The contract of the pod's local API: methods, requests, answers, errors.
//!
//! A client sends `POST /v1/<method>` with the request as JSON over the pod's private Unix socket
//! and gets an [`Envelope`], or for a stream one [`StreamLine`] per line. This crate says what
//! those look like and nothing more: the pod answers, the command line asks, and
//! `docs/format/local-api.md` draws every shape. New fields may be added to any shape; readers skip
//! what they do not know.

pub mod cluster;
pub mod data;
pub mod device;
mod envelope;
mod error;
pub mod identity;
pub mod import;
pub mod log;
mod method;
mod methods;
pub mod peer;
pub mod pod;
mod problem;
pub mod recovery;
mod secret;
pub mod select;
#[cfg(test)]
mod shapes;
pub mod snapshot;
mod socket;
pub mod status;
mod stream;

pub use data::{Durability, ReadLevel};
pub use device::DeviceKind;
pub use envelope::{Envelope, EnvelopeError, SCHEMA_PREFIX, SCHEMA_VERSION, schema_name};
pub use error::{ApiError, Exit};
pub use method::{Empty, Method, NoEvent, PATH_PREFIX, Visitor, path_of};
pub use methods::*;
pub use problem::{PROBLEMS, Problem};
pub use rhizome_schema::Code as ErrorCode;
pub use secret::Secret;
pub use socket::{SOCKET_PATH_BYTES_MAX, socket_path};
pub use stream::{StreamLine, StreamLineError};
