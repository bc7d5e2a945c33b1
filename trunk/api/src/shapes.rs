//! The shapes of version 1 as they are drawn and kept: `docs/format/local-api.md` is written from
//! the list of methods, the fixtures and the comments in this crate, and must not differ from them.

use crate::{METHOD_NAMES, Method, PROBLEMS, StreamLine, Visitor, visit_methods};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Requests, answers and events of version 1, by method. Written by hand once; never regenerated.
const FIXTURE: &str = include_str!("../fixtures/v1.json");

/// The page.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/format/local-api.md");

/// The modules whose types travel, in the order of the page.
const SOURCES: [(&str, &str); 16] = [
    ("", include_str!("method.rs")),
    ("", include_str!("envelope.rs")),
    ("", include_str!("error.rs")),
    ("status", include_str!("status.rs")),
    ("pod", include_str!("pod.rs")),
    ("identity", include_str!("identity.rs")),
    ("device", include_str!("device.rs")),
    ("cluster", include_str!("cluster.rs")),
    ("peer", include_str!("peer.rs")),
    ("data", include_str!("data.rs")),
    ("select", include_str!("select.rs")),
    ("log", include_str!("log.rs")),
    ("snapshot", include_str!("snapshot.rs")),
    ("recovery", include_str!("recovery.rs")),
    ("import", include_str!("import.rs")),
    ("", include_str!("secret.rs")),
];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shape {
    request: Value,
    answer: Value,
    #[serde(default)]
    events: Vec<Value>,
}

fn fixture() -> BTreeMap<String, Shape> {
    serde_json::from_str(FIXTURE).unwrap()
}

/// Reads `value` as `T` and writes it again.
#[track_caller]
fn assert_same<T: DeserializeOwned + serde::Serialize>(what: &str, value: &Value) {
    let read: T = serde_json::from_value(value.clone()).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(serde_json::to_value(&read).unwrap(), *value, "{what}");
}

struct ReadBack {
    fixture: BTreeMap<String, Shape>,
}

impl Visitor for ReadBack {
    fn visit<M: Method>(&mut self) {
        let shape =
            self.fixture.remove(M::NAME).unwrap_or_else(|| panic!("{} is missing", M::NAME));
        assert_same::<M::Request>(M::NAME, &shape.request);
        assert_same::<M::Answer>(M::NAME, &shape.answer);
        assert_eq!(M::STREAMS, !shape.events.is_empty(), "{}", M::NAME);
        for event in &shape.events {
            assert_same::<M::Event>(M::NAME, event);
            let line = StreamLine::<M>::from_text(&event.to_string()).unwrap();
            assert!(matches!(line, Some(StreamLine::Event(_))), "{}", M::NAME);
        }
    }
}

#[test]
fn everything_of_version_1_is_read_and_written_as_it_was() {
    let mut read = ReadBack { fixture: fixture() };
    visit_methods(&mut read);
    assert!(read.fixture.is_empty(), "a fixture has no method: {:?}", read.fixture.keys());
}

#[test]
fn fields_of_a_later_version_are_skipped() {
    struct Skip(BTreeMap<String, Shape>);
    impl Visitor for Skip {
        fn visit<M: Method>(&mut self) {
            let mut answer = self.0.remove(M::NAME).unwrap().answer;
            answer.as_object_mut().unwrap().insert("of_later".to_owned(), Value::Bool(true));
            assert!(serde_json::from_value::<M::Answer>(answer).is_ok(), "{}", M::NAME);
        }
    }
    visit_methods(&mut Skip(fixture()));
}

#[test]
fn names_are_words_with_dots_and_unique() {
    let mut names = METHOD_NAMES.to_vec();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), METHOD_NAMES.len());
    let plain = |name: &str| name.chars().all(|c| c.is_ascii_lowercase() || c == '.');
    assert!(METHOD_NAMES.iter().all(|name| plain(name)));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "test: reads, and on request writes, a page")]
fn the_page_says_what_the_code_says() {
    let page = page();
    if std::env::var("UPDATE_EXPECT").is_ok() {
        std::fs::write(PAGE, &page).unwrap();
    }
    let written = std::fs::read_to_string(PAGE).unwrap_or_default();
    assert!(written == page, "run with UPDATE_EXPECT=1 to write {PAGE} again");
}

const INTRODUCTION: &str = "\
# The local API, version 1

The command line, and everything else on the same computer that its owner runs, speaks to the pod
over a Unix socket that only its owner can open: `<folder>/run/rhizome.sock`, or, where that is
longer than 100 bytes, `/tmp/rhizome-<16 hex digits of SHA-256 of the folder>/rhizome.sock` in a
folder with mode 0700. It is HTTP/1.1: `POST /v1/<method>` with a JSON object as body.

The answer is an envelope (`application/json`):

```json
{\"schema\":\"rhizome.data.get/1\",\"ok\":true,\"data\":{},\"warnings\":[]}
{\"schema\":\"rhizome.data.get/1\",\"ok\":false,\"error\":{},\"warnings\":[]}
```

or, for methods that stream, one JSON object per line (`application/x-ndjson`), closed by `done` or
`error`. A stream that ends without either was cut off. Closing the connection ends the stream; what
it did so far stays.

```json
{\"event\":\"progress\",\"done\":3,\"total\":10}
{\"event\":\"done\",\"data\":{}}
{\"event\":\"error\",\"error\":{}}
```

Fields and events are added without a new version; readers skip what they do not know. A field
marked with `?` may be left out or null. Times end in `_ms` and count from 1970, unless they are
durations. Field values of documents are JSON in the loss-free form that `trunk/schema` defines. A
change that is not an addition gets a new number in the path and in `schema`.

This page is written by a test of `trunk/api` from the code, and compared with it.
";

const METHODS_HEAD: &str = "
## Methods

For each: its request, then the events of a stream, then its answer.
";

const PROBLEMS_HEAD: &str = "
## Problems

The `id`, `code` and `exit` of an error. An id keeps its meaning for ever.
";

struct Methods<'a> {
    fixture: BTreeMap<String, Shape>,
    out: &'a mut String,
}

impl Visitor for Methods<'_> {
    fn visit<M: Method>(&mut self) {
        let shape = self.fixture.remove(M::NAME).unwrap();
        let (request, answer, event) = M::TYPES;
        let event = if M::STREAMS { format!(" · events `{event}`") } else { String::new() };
        let purpose = M::PURPOSE.trim();
        let types = format!("Request `{request}` · answer `{answer}`{event}");
        writeln!(self.out, "\n### {}\n\n{purpose}\n\n{types}\n\n```json", M::NAME).unwrap();
        let mut line = |text: String| writeln!(self.out, "{text}").unwrap();
        // Through the types, so that keys stand in the order in which they are written.
        line(rewritten::<M::Request>(shape.request));
        shape.events.into_iter().for_each(|event| line(rewritten::<M::Event>(event)));
        let answer: M::Answer = serde_json::from_value(shape.answer).unwrap();
        line(match M::STREAMS {
            true => StreamLine::<M>::Done(answer).to_text().unwrap(),
            false => serde_json::to_string(&answer).unwrap(),
        });
        self.out.push_str("```\n");
    }
}

fn rewritten<T: DeserializeOwned + serde::Serialize>(value: Value) -> String {
    serde_json::to_string(&serde_json::from_value::<T>(value).unwrap()).unwrap()
}

fn page() -> String {
    let mut out = format!("{INTRODUCTION}{METHODS_HEAD}");
    visit_methods(&mut Methods { fixture: fixture(), out: &mut out });
    out.push_str("\n## Types\n");
    for (module, source) in SOURCES {
        types(module, source, &mut out);
    }
    out.push_str(PROBLEMS_HEAD);
    for problem in PROBLEMS {
        let (code, exit) = (problem.code, problem.exit.number());
        writeln!(out, "\n### {}\n\n{} `{code}`, exit {exit}.", problem.id, problem.meaning)
            .unwrap();
    }
    out
}

/// Draws every public struct and enum of a module from its comments and fields.
fn types(module: &str, source: &str, out: &mut String) {
    let source = source.split("#[cfg(test)]").next().unwrap_or_default();
    let mut comment = String::new();
    let mut open = false;
    let mut may_lack = false;
    let mut renamed = None;
    for line in source.lines() {
        let text = line.trim();
        if let Some(words) = text.strip_prefix("///") {
            comment += words;
        } else if text.starts_with("#[") {
            may_lack |= text.starts_with("#[serde(default");
            renamed = renamed.or_else(|| text.split("rename = \"").nth(1)?.split('"').next());
        } else if let Some(name) = opened(line) {
            let path =
                if module.is_empty() { name.to_owned() } else { format!("{module}::{name}") };
            let travels = !["Exit", "EnvelopeError", "NoEvent"].contains(&name);
            if travels {
                writeln!(out, "\n### `{path}`\n\n{}\n", comment.trim()).unwrap();
            }
            open = travels && !text.ends_with('}') && !text.ends_with(';');
            (comment, may_lack, renamed) = (String::new(), false, None);
        } else if line == "}" {
            open = false;
        } else {
            if open && !comment.is_empty() {
                let depth = line.len() - line.trim_start().len();
                let indent = " ".repeat(depth.saturating_sub(4) / 2);
                let (name, kind) = member(text);
                let name = renamed.unwrap_or(&name);
                let mark = if may_lack { "?" } else { "" };
                writeln!(out, "{indent}- `{name}`{mark}{kind}: {}", comment.trim()).unwrap();
            }
            (comment, may_lack, renamed) = (String::new(), false, None);
        }
    }
}

/// The name of the struct or enum that begins on this line.
fn opened(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("pub struct ").or_else(|| line.strip_prefix("pub enum "))?;
    rest.split(|character: char| !character.is_alphanumeric()).next()
}

/// A field with its type, or a variant as its word in JSON.
fn member(text: &str) -> (String, String) {
    let text = text.trim_start_matches("pub ").trim_end_matches([',', '{', ' ']);
    match text.split_once(": ") {
        Some((name, kind)) => (name.to_owned(), format!(" {kind}")),
        None => {
            let word = text.split('(').next().unwrap_or(text);
            let mut kebab = String::new();
            for character in word.chars() {
                if character.is_uppercase() && !kebab.is_empty() {
                    kebab.push('-');
                }
                kebab.extend(character.to_lowercase());
            }
            (kebab, String::new())
        }
    }
}
