//! Progress on a terminal, with the time still needed; silent elsewhere.

use crate::context::Context;
use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// How often a spinner turns. Slow enough for a slow line.
const TICK: Duration = Duration::from_millis(120);

/// A bar, or nothing where nobody would see it move.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar for `what`, which is of unknown length at first.
    pub(crate) fn new(context: &Context, what: &'static str) -> Self {
        let bar = ProgressBar::new_spinner();
        if context.may_animate() {
            bar.set_draw_target(ProgressDrawTarget::stderr());
            bar.enable_steady_tick(TICK);
        } else {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        bar.set_style(style("{spinner} {prefix} {pos}  {msg}"));
        bar.set_prefix(what);
        Self { bar }
    }

    /// How far it is.
    pub(crate) fn set(&self, done: u64, total: Option<u64>, bytes: u64) {
        if let Some(total) = total
            && self.bar.length() != Some(total)
        {
            self.bar.set_length(total);
            self.bar.set_style(style("{prefix} {wide_bar} {pos}/{len}  {msg}  {eta} left"));
        }
        self.bar.set_position(done);
        self.bar.set_message(HumanBytes(bytes).to_string());
    }

    /// Writes something above the bar.
    pub(crate) fn aside(&self, write: impl FnOnce()) {
        self.bar.suspend(write);
    }

    /// Takes the bar off the screen.
    pub(crate) fn finish(self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("templates are fixed and valid")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_templates_are_valid() {
        let bar = Progress { bar: ProgressBar::hidden() };
        bar.bar.set_style(style("{spinner} {prefix} {pos}  {msg}"));
        bar.set(3, Some(10), 2_048);
        assert_eq!((bar.bar.position(), bar.bar.length()), (3, Some(10)));
        bar.finish();
    }
}
