//! Every state of small worlds: what holds whatever is heard, lost or late, with the real code.
//!
//! Each module is a model for stateright: its transitions call the control log of `root/identity`
//! and the certificates and chains of `root/cluster`, and nothing here repeats a rule of theirs.
//! What a world may do is bounded ([`control::World`], [`order::World`]), and a switch of each
//! takes out the rule that its properties hang on, so that the tests see them fail. Long runs,
//! disks and documents are left to `tests/sim`.

pub mod control;
pub mod order;

#[cfg(test)]
mod tests;
