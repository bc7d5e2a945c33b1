//! The rules of the house style that a machine can check.
//!
//! Each rule is a function from text to complaints, so that a test beside it shows on a small bad
//! sample that it does complain; the rule's other test runs it over the tree. What only a reader
//! can judge is left to review.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "test: reads the sources, and fails where it cannot"
)]

mod formats;
mod imports;
mod layout;
mod lexer;
mod pages;
mod purity;
mod sizes;
mod tree;
mod words;

/// Fails with one complaint a line.
#[track_caller]
fn none(mut complaints: Vec<String>) {
    complaints.sort();
    let count = complaints.len();
    assert!(complaints.is_empty(), "{count} complaints:\n{}", complaints.join("\n"));
}
