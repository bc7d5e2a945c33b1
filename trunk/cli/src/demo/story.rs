//! How the demo tells what it finds: chapters, one line per finding, its time at the right.
//!
//! These are messages, so they go to standard error; what was measured goes to standard output.

use crate::context::Context;
use crate::format;
use crate::look::{Look, Tone, clean_line};
use std::time::Duration;

/// How wide a finding is before its time; longer ones push the time to the right.
const TEXT_WIDTH: usize = 64;

/// How wide a time is.
const TIME_WIDTH: usize = 8;

/// Tells the story.
pub(super) struct Story<'a> {
    context: &'a Context,
    chapter: u32,
}

impl<'a> Story<'a> {
    /// A story that has not begun.
    pub(super) const fn new(context: &'a Context) -> Self {
        Self { context, chapter: 0 }
    }

    fn look(&self) -> &Look {
        &self.context.errors
    }

    /// What it is about.
    pub(super) fn title(&self, text: &str) {
        self.context.say(&self.look().paint(Tone::Strong, clean_line(text)));
    }

    /// What comes next.
    pub(super) fn chapter(&mut self, title: &str) {
        self.chapter += 1;
        let number = self.look().paint(Tone::Faint, self.chapter);
        self.context.say(&format!("\n{number}  {}", self.look().paint(Tone::Strong, title)));
    }

    /// Something that was found to be so, and how long it took.
    pub(super) fn found(&self, text: &str, took: Duration) {
        self.context.say(&finding(text, Some(took), self.look()));
    }

    /// Something that was found to be so.
    pub(super) fn fact(&self, text: &str) {
        self.context.say(&finding(text, None, self.look()));
    }

    /// Something to know about it.
    pub(super) fn note(&self, text: &str) {
        self.context.say(&self.look().paint(Tone::Faint, format!("     {}", clean_line(text))));
    }
}

fn finding(text: &str, took: Option<Duration>, look: &Look) -> String {
    let text = clean_line(text);
    let mark = look.paint(Tone::Good, "✔");
    match took {
        None => format!("   {mark} {text}"),
        Some(took) => {
            let took = look.paint(Tone::Faint, format!("{:>TIME_WIDTH$}", short(took)));
            format!("   {mark} {text:<TEXT_WIDTH$} {took}")
        }
    }
}

/// A time in the unit that fits, down to microseconds, because a write takes less than a
/// millisecond, and in seconds up to the minutes that the whole may take.
pub(super) fn short(took: Duration) -> String {
    let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..10_000 => format!("{}.{} ms", us / 1_000, us % 1_000 / 100),
        60_000_000..600_000_000 => format!("{} s", us / 1_000_000),
        _ => format::span(us / 1_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn times_stand_below_each_other() {
        let look = Look::bare();
        let ms = Duration::from_millis;
        let lines = [
            "2  Link".to_owned(),
            finding("phone linked", Some(ms(340)), &look),
            finding("Zoë's note arrived", Some(Duration::from_micros(420)), &look),
            finding("all the same", None, &look),
        ];
        expect![[r#"
            2  Link
               ✔ phone linked                                                       340 ms
               ✔ Zoë's note arrived                                                 420 µs
               ✔ all the same"#]]
        .assert_eq(&lines.join("\n"));
    }

    #[test]
    fn times_are_short() {
        let us = [7, 999, 1_000, 9_990, 10_000, 2_140_000, 61_000_000, 600_000_000];
        let shown = us.map(Duration::from_micros).map(short);
        let expected = ["7 µs", "999 µs", "1.0 ms", "9.9 ms", "10 ms", "2.1 s", "61 s", "10 min"];
        assert_eq!(shown, expected);
    }

    #[test]
    fn chapters_count_and_go_to_standard_error() {
        let context = Context::for_tests();
        let mut story = Story::new(&context);
        story.chapter("Start");
        story.chapter("Link");
        story.note("a note\u{1b}[2J");
        expect![[r#"
            2> 
            1  Start
            2> 
            2  Link
            2>      a note\u{1b}[2J
        "#]]
        .assert_eq(&context.written());
    }
}
