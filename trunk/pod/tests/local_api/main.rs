//! The local API of a running pod, through its real socket.
#![cfg(unix)]
#![expect(clippy::disallowed_methods, reason = "tests use files, sockets and the clock")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod client;
mod data;
mod household;
mod imports;
mod naming;
mod places;
mod process;
mod removal;
