//! Real pods on loopback: what `design.md` promises, shown from outside.
//!
//! One file per promise. Where a process must die, the pods are processes of the `rhizome` binary
//! (`cargo build -p rhizome-cli` first; `cargo verify it` does); elsewhere some run in here. With
//! `RHIZOME_LONG=1` the same tests do more of the same.
#![expect(clippy::disallowed_methods, reason = "tests own processes, files and the clock")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod adopt;
mod alone;
mod attack;
mod beside;
mod canary;
mod converge;
mod damage;
mod demo;
mod full;
mod index_lost;
mod keys;
mod kill9;
mod lan;
mod link_kill;
mod pinned;
mod recover;
mod reform;
mod sealed;
mod support;
mod voters;
