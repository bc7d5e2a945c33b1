//! Real pods on loopback, and the rules of the tree; all of it lies in `tests`.
//!
//! Here, the examples of the pages become documentation tests.

/// Makes the Rust examples of a page into tests.
macro_rules! page {
    ($name:ident, $path:literal) => {
        #[cfg(doctest)]
        #[doc = include_str!($path)]
        pub struct $name;
    };
}

page!(Readme, "../../../README.md");
page!(Architecture, "../../../docs/architecture.md");
page!(Development, "../../../docs/development.md");
