//! The process: drives replicas, serves the local API, hosts cloud peers.
//!
//! A pod owns one folder. Each identity in it is an [`actor`] that drives one replica over its
//! store and hands what took effect to the documents; links to other devices, linking, recovery and
//! hosting feed the actors; the local API asks them. Decisions are `root/replica`'s, documents
//! `trunk/doc`'s: this crate performs effects.
#![expect(clippy::disallowed_methods, reason = "IO shell: owns the runtime, clock, files, sockets")]

mod actor;
mod adopt;
mod clock;
mod conversation;
mod dial;
mod exporter;
#[cfg(test)]
mod fixture;
mod handle;
mod home;
mod host;
mod identity;
mod import;
mod indexing;
mod journal;
mod kind;
mod lan;
mod lasting;
mod link;
mod methods;
mod order;
mod peers;
mod platform;
mod pod;
mod recovery;
mod serve;
mod snapshot;
mod streams;
mod wait;
mod writes;

pub use handle::{AskError, EditError, Handle, WriteDone};
pub use home::{Home, HomeError, IdentityHome, IdentityMeta, KeyFile, is_host};
pub use pod::{Pod, PodError, PodOptions, run};

/// The app whose documents the command line shows unless told otherwise.
pub const DEFAULT_APP: &str = "org.rhizome.pod";
