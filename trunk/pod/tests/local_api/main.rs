//! The local API of a running pod, through its real socket.
#![cfg(unix)]
#![expect(clippy::disallowed_methods, reason = "tests use files, sockets and the clock")]

mod client;
mod data;
mod imports;
mod process;
