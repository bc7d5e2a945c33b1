//! Where snapshots and bundles are kept: pin targets and the plan that keeps each pin in place.
//!
//! A *pin* is a set of blocks with the manifest that lists them. A [`PinTarget`] is a place that
//! keeps blocks: here [`DirectoryTarget`], a folder of CAR files. [`plan()`] is pure and says what
//! is missing where and which holder is due to prove what it holds; [`reconcile()`] performs one
//! step at a time and looks again. Manifests are `root/replica`'s, cloud peers are served by the
//! sync session, and what the blocks mean is nobody's business here.
#![expect(clippy::disallowed_methods, reason = "IO shell: owns the files of a pin folder")]

mod directory;
mod plan;
mod reconcile;
mod target;

pub use directory::{DirectoryTarget, OpenError};
pub use plan::{AUDIT_BLOCKS, AUDIT_PAUSE_MS, Holding, PUT_BLOCKS_MAX, Pin, Present, Step, plan};
pub use reconcile::{ReconcileError, Record, reconcile};
pub use target::{Audit, PUT_BYTES_MAX, PinError, PinTarget};
