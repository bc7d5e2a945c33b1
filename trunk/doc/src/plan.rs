//! How a query is answered: which ranges of which indexes, and between which keys.

use crate::condition::{Branch, Demand, Edge};
use crate::field_index::{Part, PartKind, push_part};
use crate::query::{Cursor, Direction, Query};
use crate::scope::Scope;
use rhizome_log::prefix_end;
use rhizome_schema::{DocPath, Value, equal};

/// How a query will be answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Plan {
    /// By reading these, each in the order of the result.
    Read(Vec<Step>),
    /// By looking at every document, because an index is not built yet.
    Scan {
        /// The index that would answer it, or a part of it.
        wanted: Vec<Part>,
    },
}

/// What is read for one branch of a query's conditions.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// One document.
    Document(DocPath),
    /// The collection, in the order of names.
    Names,
    /// One range of an index.
    Range {
        /// Its number in the scope.
        number: u32,
        /// Its fields.
        parts: Vec<Part>,
    },
}

impl Plan {
    /// The plan in a line.
    #[must_use]
    pub fn explain(&self) -> String {
        let steps = match self {
            Self::Scan { wanted } => {
                let wanted = list(wanted);
                return format!("looks at every document; an index on {wanted} is not built yet");
            }
            Self::Read(steps) => steps,
        };
        let mut kinds: Vec<(String, usize)> = Vec::new();
        for step in steps {
            let what = step.what();
            match kinds.iter_mut().find(|(known, _)| *known == what) {
                Some((_, times)) => *times += 1,
                None => kinds.push((what, 1)),
            }
        }
        let kinds = kinds.into_iter().map(|(what, times)| match times {
            1 => what,
            times => format!("{times} times {what}"),
        });
        match kinds.collect::<Vec<_>>().join(", and ") {
            nothing if nothing.is_empty() => "reads nothing".to_owned(),
            what => format!("reads {what}"),
        }
    }

    /// Whether an index answers it.
    #[must_use]
    pub fn is_indexed(&self) -> bool {
        let ranged = |step: &Step| !matches!(step, Step::Names);
        matches!(self, Self::Read(steps) if steps.iter().all(ranged))
    }
}

impl Step {
    fn what(&self) -> String {
        match self {
            Self::Document(_) => "one document by its name".to_owned(),
            Self::Names => "the collection in the order of names".to_owned(),
            Self::Range { parts, .. } => format!("one range of the index on {}", list(parts)),
        }
    }
}

fn list(parts: &[Part]) -> String {
    let one = |part: &Part| match part.kind {
        PartKind::Ascending => part.field.to_string(),
        PartKind::Descending => format!("{} descending", part.field),
        PartKind::Contains => format!("elements of {}", part.field),
    };
    match parts {
        [] => "names".to_owned(),
        parts => parts.iter().map(one).collect::<Vec<_>>().join(", "),
    }
}

/// The index that answers a branch with one range: equalities first, then the order. `None` if the
/// collection itself does: no equality, nothing ordered but names.
pub(crate) fn index_parts(query: &Query, branch: &Branch) -> Option<Vec<Part>> {
    let mut parts: Vec<Part> = Vec::new();
    let demanded = branch.demands.iter().filter_map(|demand| match demand {
        Demand::Equal(field, _) if !field.is_document_id() => Some(field),
        _ => None,
    });
    for field in demanded {
        let part = Part { field: field.clone(), kind: PartKind::Ascending };
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    if let Some((field, _)) = branch.contains() {
        parts.push(Part { field: field.clone(), kind: PartKind::Contains });
    }
    parts.sort();
    let flipped = query.name_direction() == Direction::Descending;
    for (field, direction) in query.full_order() {
        let descending = (direction == Direction::Descending) != flipped;
        let kind = if descending { PartKind::Descending } else { PartKind::Ascending };
        let known = |part: &Part| part.field == field && part.kind != PartKind::Contains;
        if !field.is_document_id() && !parts.iter().any(known) {
            parts.push(Part { field, kind });
        }
    }
    let needed = !parts.is_empty() || matches!(query.scope, Scope::Group(_));
    needed.then_some(parts)
}

/// Keys from the first (included) to the second (excluded; to the end if none).
pub(crate) struct Keys {
    pub from: Vec<u8>,
    pub to: Option<Vec<u8>>,
}

impl Keys {
    fn raise(&mut self, from: Option<Vec<u8>>) {
        // No key lies behind a prefix of nothing but the greatest bytes.
        let Some(from) = from else { return self.to = Some(Vec::new()) };
        self.from = std::mem::take(&mut self.from).max(from);
    }

    fn lower(&mut self, to: Option<Vec<u8>>) {
        self.to = match (self.to.take(), to) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }

    /// Begins (or, from behind, ends) at a key and what goes on from it.
    fn begin(&mut self, key: Vec<u8>, inclusive: bool) {
        self.raise(if inclusive { Some(key) } else { prefix_end(&key) });
    }

    fn end(&mut self, key: Vec<u8>, inclusive: bool) {
        self.lower(if inclusive { prefix_end(&key) } else { Some(key) });
    }
}

/// The keys behind `prefix` that hold every match of a branch: the values of the equalities, then
/// the range of the first ordered field, then what the cursors leave.
pub(crate) fn bounds(query: &Query, branch: &Branch, parts: &[Part], mut prefix: Vec<u8>) -> Keys {
    let mut fixed = 0;
    for part in parts {
        let value = match part.kind {
            PartKind::Contains => branch.contains().map(|(_, value)| value),
            _ => branch.equal(&part.field),
        };
        let Some(value) = value else { break };
        push_part(&mut prefix, part.kind, value);
        fixed += 1;
    }
    let mut keys = Keys { from: prefix.clone(), to: prefix_end(&prefix) };
    for demand in &branch.demands {
        narrow(&mut keys, query, demand, parts.get(fixed), &prefix);
    }
    let reverse = query.name_direction() == Direction::Descending;
    for (cursor, starts) in [(&query.start, true), (&query.end, false)] {
        let Some(cursor) = cursor else { continue };
        let (key, whole) = cursor_key(query, branch, &parts[fixed..], &prefix, cursor);
        let inclusive = cursor.inclusive || !whole;
        if starts == reverse { keys.end(key, inclusive) } else { keys.begin(key, inclusive) }
    }
    keys
}

/// Narrows the keys by a demand on what follows the prefix: the first ordered field, or the name.
fn narrow(keys: &mut Keys, query: &Query, demand: &Demand, part: Option<&Part>, prefix: &[u8]) {
    let Demand::Between { field, low, high, class } = demand else { return };
    let (kind, class) = match part {
        Some(part) if part.field == *field => (part.kind, *class),
        None if field.is_document_id() => (PartKind::Ascending, None),
        _ => return,
    };
    let key = |edge: &Edge| {
        let mut key = prefix.to_vec();
        push_value(&mut key, query, part, kind, &edge.value);
        key
    };
    let (first, last) = if kind == PartKind::Descending { (high, low) } else { (low, high) };
    if let Some(edge) = first {
        keys.begin(key(edge), edge.inclusive);
    }
    if let Some(edge) = last {
        keys.end(key(edge), edge.inclusive);
    }
    if let Some(class) = class {
        let class = if kind == PartKind::Descending { !class } else { class };
        let key = [prefix, &[class]].concat();
        keys.begin(key.clone(), true);
        keys.end(key, true);
    }
}

fn push_value(
    key: &mut Vec<u8>,
    query: &Query,
    part: Option<&Part>,
    kind: PartKind,
    value: &Value,
) {
    match (part, value) {
        (Some(_), value) => push_part(key, kind, value),
        (None, Value::Reference(path)) => key.extend(query.scope.tail(path)),
        (None, _) => {}
    }
}

/// The key a cursor stands at, and whether all of its values are in it.
fn cursor_key(
    query: &Query,
    branch: &Branch,
    mut parts: &[Part],
    prefix: &[u8],
    cursor: &Cursor,
) -> (Vec<u8>, bool) {
    let mut key = prefix.to_vec();
    for ((field, _), value) in query.order.iter().zip(&cursor.values) {
        match parts.split_first() {
            Some((part, rest)) if part.field == *field => {
                push_part(&mut key, part.kind, value);
                parts = rest;
            }
            // What is the same for all of the range moves nobody, if the cursor is there, too.
            _ if branch.equal(field).is_some_and(|fixed| equal(fixed, value)) => {}
            None if field.is_document_id() => {
                push_value(&mut key, query, None, PartKind::Ascending, value);
            }
            _ => return (key, false),
        }
    }
    (key, true)
}
