//! The YAML between two lines of dashes at the top of a note.
//!
//! YAML from anywhere may nest forever, or refer to itself until a few lines stand for gigabytes; a
//! budget of values, bytes and depth ends that. What does not parse stays in the text.

use std::cell::Cell;
use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor};

use crate::field::{FIELD_DEPTH_MAX, Field, Fields};
use crate::item::LossKind;
use crate::names::{cut, field_name};

/// Longest front matter: a hundred times what people write. The parser's time can grow with its
/// square: this much takes it a quarter of a second at worst.
const FRONT_MATTER_BYTES_MAX: usize = 32 * 1024;

/// How many values the YAML may stand for once its aliases are followed.
const VALUES_MAX: u64 = 10_000;

/// How many bytes of text the YAML may stand for once its aliases are followed.
const TEXT_BYTES_MAX: u64 = 4 * FRONT_MATTER_BYTES_MAX as u64;

/// Longest message of the parser in a report.
const REASON_BYTES_MAX: usize = 200;

/// A note, cut in two: `front` and `body` together are the note.
pub(super) struct Split<'a> {
    /// The front matter with its lines of dashes; empty when there is none.
    pub(super) front: &'a str,
    /// What it says.
    pub(super) properties: Fields,
    /// The rest.
    pub(super) body: &'a str,
    /// Why front matter was left in the body.
    pub(super) loss: Option<LossKind>,
}

/// Cuts a note in two.
pub(super) fn split(text: &str) -> Split<'_> {
    let whole = |loss| Split { front: "", properties: Fields::new(), body: text, loss };
    let Some((yaml_start, yaml_end, body_start)) = fences(text) else { return whole(None) };
    let yaml = text.get(yaml_start..yaml_end).unwrap_or_default();
    if yaml.len() > FRONT_MATTER_BYTES_MAX {
        let reason = format!("larger than {FRONT_MATTER_BYTES_MAX} bytes");
        return whole(Some(LossKind::FrontMatter { reason }));
    }
    let (front, body) = text.split_at(body_start);
    match parse(yaml) {
        Ok(Field::Map(properties)) => Split { front, properties, body, loss: None },
        Ok(Field::Null) => Split { front, properties: Fields::new(), body, loss: None },
        // Text between two rules is Markdown, not front matter.
        Ok(_) => whole(None),
        Err(error) => {
            let reason = cut(&error.to_string(), REASON_BYTES_MAX).to_owned();
            whole(Some(LossKind::FrontMatter { reason }))
        }
    }
}

/// Where the YAML starts and ends, and where the body starts.
fn fences(text: &str) -> Option<(usize, usize, usize)> {
    let mut lines = text.split_inclusive('\n');
    let first = lines.next().filter(|line| line.trim_end() == "---" && line.ends_with('\n'))?;
    let mut at = first.len();
    for line in lines {
        if matches!(line.trim_end(), "---" | "...") {
            return Some((first.len(), at, at + line.len()));
        }
        at += line.len();
    }
    None
}

fn parse(yaml: &str) -> Result<Field, serde_yaml_ng::Error> {
    let budget = Budget { values: Cell::new(VALUES_MAX), bytes: Cell::new(TEXT_BYTES_MAX) };
    let seed = Seed { budget: &budget, depth: FIELD_DEPTH_MAX };
    seed.deserialize(serde_yaml_ng::Deserializer::from_str(yaml))
}

struct Budget {
    values: Cell<u64>,
    bytes: Cell<u64>,
}

impl Budget {
    fn spend<E: Error>(&self, bytes: usize) -> Result<(), E> {
        let values = self.values.get().checked_sub(1);
        let left = self.bytes.get().checked_sub(bytes as u64);
        let (Some(values), Some(left)) = (values, left) else {
            return Err(E::custom("stands for too much data"));
        };
        self.values.set(values);
        self.bytes.set(left);
        Ok(())
    }
}

/// Reads one value within a budget.
#[derive(Clone, Copy)]
struct Seed<'a> {
    budget: &'a Budget,
    depth: usize,
}

impl Seed<'_> {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| E::custom("nests too deeply"))?;
        Ok(Seed { depth, ..self })
    }

    fn scalar<E: Error>(self, field: Field) -> Result<Field, E> {
        self.budget.spend(field.as_text().map_or(0, str::len))?;
        Ok(field)
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Field;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Field, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Field;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("front matter")
    }

    fn visit_unit<E: Error>(self) -> Result<Field, E> {
        self.scalar(Field::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Field, E> {
        self.scalar(Field::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Field, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Field, E> {
        self.scalar(Field::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Field, E> {
        self.scalar(Field::Int(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Field, E> {
        let whole = i64::try_from(value).map(Field::Int);
        self.scalar(whole.unwrap_or_else(|_| Field::text(value.to_string())))
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Field, E> {
        self.scalar(Field::text(value.to_string()))
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<Field, E> {
        self.scalar(Field::text(value.to_string()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Field, E> {
        let finite = value.is_finite();
        self.scalar(if finite { Field::Double(value) } else { Field::text(value.to_string()) })
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Field, E> {
        self.scalar(Field::text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Field, A::Error> {
        self.budget.spend(0)?;
        let deeper = self.deeper()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(deeper)? {
            list.push(item);
        }
        Ok(Field::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Field, A::Error> {
        self.budget.spend(0)?;
        let deeper = self.deeper()?;
        let mut fields = Fields::new();
        while let Some(key) = entries.next_key_seed(deeper)? {
            let name = match key {
                Field::Text(text) => field_name(&text),
                other => field_name(&other.to_json().to_string()),
            };
            let value = entries.next_value_seed(deeper)?;
            if fields.contains_key(&name) {
                return Err(A::Error::custom(format_args!("{name:?} occurs twice")));
            }
            fields.insert(name, value);
        }
        Ok(Field::Map(fields))
    }

    /// A value with a YAML tag, `!date 2024`: the value counts, the tag stays in `frontMatter`.
    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Field, A::Error> {
        let (_, value) = tagged.variant::<String>()?;
        value.newtype_variant_seed(self.deeper()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn loss(text: &str) -> String {
        let split = split(text);
        assert_eq!(split.body, text, "what does not parse stays in the text");
        split.loss.map(|loss| loss.to_string()).unwrap_or_default()
    }

    #[test]
    fn front_matter_is_read_and_the_note_stays_whole() {
        let text = "---\ntitle: A\ncount: 2\nnested: {a: [1, x]}\n2: two\nwhen: !date 2024\n---\nB";
        let split = split(text);
        assert_eq!(split.body, "B");
        assert_eq!(format!("{}{}", split.front, split.body), text);
        let json = Field::Map(split.properties).to_json().to_string();
        let expected = r#"{"2":"two","count":2,"nested":{"a":[1,"x"]},"title":"A","when":2024}"#;
        assert_eq!(json, expected);
    }

    #[test]
    fn text_between_rules_is_no_front_matter() {
        for text in ["---\nhello\n---\nB", "---\nno end", "--- \n", "--\na: 1\n--\n", ""] {
            assert_eq!(loss(text), "", "{text:?}");
        }
    }

    #[test]
    fn broken_front_matter_is_left_in_the_text() {
        for text in ["---\na: [1\n---\nB", "---\na: 1\na: 2\n---\nB", "---\n\tb: {\n---\nB"] {
            assert!(loss(text).starts_with("front matter is left in the text"), "{text:?}");
        }
    }

    #[test]
    fn a_few_lines_that_stand_for_gigabytes_are_left_in_the_text() {
        let mut laughs = "---\na0: &a0 [~,~,~,~,~,~,~,~,~]\n".to_owned();
        for level in 1..12 {
            let below = vec![format!("*a{}", level - 1); 9].join(",");
            laughs.push_str(&format!("a{level}: &a{level} [{below}]\n"));
        }
        assert!(loss(&format!("{laughs}---\n")).contains("too much data"));
        let long = "x".repeat(20_000);
        let copies = "*a,".repeat(2_000);
        let amplified = format!("---\na: &a {long}\nb: [{copies}]\n---\n");
        assert!(loss(&amplified).contains("too much data"));
    }

    #[test]
    fn endless_nesting_and_size_are_left_in_the_text() {
        for opening in ["[", "{a: ", "- ", "? "] {
            let deep = format!("---\n{}\n---\n", opening.repeat(30_000 / opening.len()));
            assert!(!loss(&deep).is_empty(), "{opening:?}");
        }
        let depth =
            |depth: usize| format!("---\na: {}{}\n---\n", "[".repeat(depth), "]".repeat(depth));
        assert!(split(&depth(FIELD_DEPTH_MAX - 1)).loss.is_none());
        assert!(loss(&depth(FIELD_DEPTH_MAX)).contains("nests too deeply"));
        let large = format!("---\na: {}\n---\n", "x".repeat(33_000));
        assert!(loss(&large).contains("larger than"));
    }

    proptest! {
        #[test]
        fn any_text_is_cut_in_two_and_nothing_is_lost(
            text in "(---\n)?[-a:\\[\\]{}&*!|>'\" \n#%?,]{0,60}(\n---\n)?.{0,9}",
        ) {
            let split = split(&text);
            prop_assert_eq!(format!("{}{}", split.front, split.body), text);
        }
    }
}
