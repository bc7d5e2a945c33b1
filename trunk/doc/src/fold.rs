//! How a mutation changes a record: the rules of concurrent edits, and nothing else.
//!
//! - **The later edit wins**: an assignment carries its event's [`Stamp`]; whatever stamp is
//!   greater holds the field, in whichever order the two arrive.
//! - Set and delete assign every path below them; later children stay. Where later children need a
//!   map, an earlier scalar or removal at their parent yields.
//! - A value that loses to one its writer did not know, or that is overwritten by a writer who did
//!   not know it, becomes a [`Conflict`], unless both are the same. A writer who knew a conflict
//!   and assigns the field again has settled it.
//! - Increments, bounds and array operations **always apply** to the value that is there when they
//!   are folded, and leave the greater of the two stamps. So they count on top of any value folded
//!   before them; a later assignment folded after them replaces the sum. If something else than a
//!   number or a list is there, they are an assignment of their operand and follow the rule above.
//! - An update of a document whose removal its writer did not know revives it when later, and
//!   becomes a conflict when earlier. An update of one its writer knew to be gone is refused.
//!
//! Folding is a pure function of the record, the mutation and what its writer knew.

use crate::mutation::{Batch, FieldOp, Merge, Mutation, Op};
use crate::record::{CONFLICTS_MAX, Conflict, Record, Why};
use crate::stamp::{Stamp, StampTree, Writer};
use rhizome_block::planted::{Bug, planted};
use rhizome_schema::{
    Code, DOCUMENT_BYTES_MAX, DocPath, Fields, Number, Timestamp, Value, compare, union_equal,
};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Why a batch changes nothing.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The document does not exist.
    #[error("no document {path} to update; create it with set")]
    Missing {
        /// The document.
        path: DocPath,
    },
    /// The document exists.
    #[error("document {path} exists already")]
    Exists {
        /// The document.
        path: DocPath,
    },
    /// The document would become too large.
    #[error("document {path} would take {bytes} bytes, more than {DOCUMENT_BYTES_MAX}")]
    Large {
        /// The document.
        path: DocPath,
        /// How large it would become.
        bytes: usize,
    },
}

impl Refusal {
    /// The code an application is told.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Missing { .. } => Code::NotFound,
            Self::Exists { .. } => Code::AlreadyExists,
            Self::Large { .. } => Code::ResourceExhausted,
        }
    }
}

/// Records by document path.
pub(crate) type Records = BTreeMap<DocPath, Record>;

/// Applies `batch` to `records`, which hold every document it names: whole or not at all.
pub(crate) fn apply_batch(
    records: &mut Records,
    batch: &Batch,
    writer: Writer<'_>,
) -> Result<(), Refusal> {
    let mut backup: Vec<(&DocPath, Record)> = Vec::with_capacity(batch.ops.len());
    for mutation in &batch.ops {
        let record = records.get_mut(&mutation.path).expect("callers load what a batch names");
        if !backup.iter().rev().take(1).any(|(path, _)| **path == mutation.path) {
            backup.push((&mutation.path, record.clone()));
        }
        if let Err(refusal) = apply(record, mutation, writer) {
            for (path, before) in backup.into_iter().rev() {
                records.insert(path.clone(), before);
            }
            return Err(refusal);
        }
    }
    Ok(())
}

/// Applies one mutation. After a refusal the record may be half changed.
fn apply(record: &mut Record, mutation: &Mutation, writer: Writer<'_>) -> Result<(), Refusal> {
    let path = || mutation.path.clone();
    let existed = record.value.is_some();
    match mutation.exists {
        Some(true) if !existed => return Err(Refusal::Missing { path: path() }),
        Some(false) if existed => return Err(Refusal::Exists { path: path() }),
        _ => {}
    }
    if matches!(mutation.op, Op::Update(_)) && !existed {
        let gone_unseen = record.stamps.own.is_some_and(|stamp| !writer.knows(&stamp));
        if !gone_unseen {
            return Err(Refusal::Missing { path: path() });
        }
    }
    let mut fold = Fold { writer, at: Vec::new(), lost: Vec::new() };
    match &mutation.op {
        Op::Delete => fold.root(record, None),
        Op::Update(ops) => fold.fields(record, ops.iter().map(|(at, op)| (at.names(), op.into()))),
        Op::Set { value, merge: Merge::None, ops } => {
            fold.root(record, Some(value));
            fold.fields(record, ops.iter().map(|(at, op)| (at.names(), op.into())));
        }
        Op::Set { value, merge: Merge::All, ops } => {
            let mut leaves = Vec::new();
            each_leaf(value, &mut Vec::new(), &mut leaves);
            let leaves = leaves.iter().map(|(at, value)| (at.as_slice(), Leaf::Lay(Some(value))));
            let ops = ops.iter().map(|(at, op)| (at.names(), op.into()));
            fold.fields(record, leaves.chain(ops));
        }
        Op::Set { value, merge: Merge::Fields(mask), ops } => {
            let masked = mask.iter().map(|at| (at.names(), Leaf::Lay(find(value, at.names()))));
            let ops = ops.iter().map(|(at, op)| (at.names(), op.into()));
            fold.fields(record, masked.chain(ops));
        }
    }
    keep_conflicts(record, fold.lost);
    record.updated_ms = writer.hlc.ms();
    if !existed && record.value.is_some() {
        record.created_ms = record.updated_ms;
    }
    let bytes = record.value.as_deref().map_or(0, Value::fields_size) + stamps_size(&record.stamps);
    if bytes > DOCUMENT_BYTES_MAX { Err(Refusal::Large { path: path(), bytes }) } else { Ok(()) }
}

/// Stamps below the root count like fields, so that a document whose fields come and go stays
/// bounded; setting it whole clears them.
fn stamps_size(tree: &StampTree) -> usize {
    tree.below.iter().map(|(name, child)| name.len() + 8 + stamps_size(child)).sum()
}

fn keep_conflicts(record: &mut Record, lost: Vec<Conflict>) {
    for conflict in lost {
        let same =
            |other: &&mut Conflict| other.stamp == conflict.stamp && other.field == conflict.field;
        match record.conflicts.iter_mut().find(same) {
            Some(other) => *other = conflict,
            None => record.conflicts.push(conflict),
        }
    }
    record.conflicts.sort_by(|a, b| (a.stamp, &a.field).cmp(&(b.stamp, &b.field)));
    let surplus = record.conflicts.len().saturating_sub(CONFLICTS_MAX);
    record.conflicts.drain(..surplus);
}

/// The paths a merging set assigns: all that are not maps with something in them.
fn each_leaf<'v>(
    fields: &'v Fields,
    at: &mut Vec<String>,
    leaves: &mut Vec<(Vec<String>, &'v Value)>,
) {
    for (name, value) in fields {
        at.push(name.clone());
        match value {
            Value::Map(below) if !below.is_empty() && !below.contains_key("__blob__") => {
                each_leaf(below, at, leaves);
            }
            value => leaves.push((at.clone(), value)),
        }
        at.pop();
    }
}

fn find<'v>(fields: &'v Fields, names: &[String]) -> Option<&'v Value> {
    let (first, rest) = names.split_first()?;
    match (fields.get(first)?, rest) {
        (value, []) => Some(value),
        (Value::Map(below), rest) => find(below, rest),
        _ => None,
    }
}

/// What happens at the end of a path.
#[derive(Clone, Copy)]
enum Leaf<'v> {
    /// A value, or nothing, is assigned.
    Lay(Option<&'v Value>),
    /// An operation is applied.
    Apply(&'v FieldOp),
}

impl<'v> From<&'v FieldOp> for Leaf<'v> {
    fn from(op: &'v FieldOp) -> Self {
        match op {
            FieldOp::Assign(value) => Self::Lay(Some(value)),
            FieldOp::DeleteField => Self::Lay(None),
            op => Self::Apply(op),
        }
    }
}

/// One mutation under way: where it stands in the document, and what lost so far.
struct Fold<'a> {
    writer: Writer<'a>,
    at: Vec<String>,
    lost: Vec<Conflict>,
}

impl Fold<'_> {
    /// Set without merge, or delete.
    fn root(&mut self, record: &mut Record, new: Option<&Fields>) {
        self.settle(record, &[]);
        let tree = &mut record.stamps;
        let plain = tree.below.is_empty()
            && tree.own.is_none_or(|own| own <= self.writer.stamp && self.writer.knows(&own));
        if plain {
            let forgets = new.is_none() && planted(Bug::TombstoneForgotten);
            tree.own = Some(self.writer.stamp).filter(|_| !forgets);
            record.value = new.cloned().map(Arc::new);
            return;
        }
        let current = take_value(record);
        let new = new.cloned().map(Value::Map);
        let result = self.lay(&mut record.stamps, None, current, new, true);
        put_value(record, result);
    }

    /// Everything that assigns single fields.
    fn fields<'v>(
        &mut self,
        record: &mut Record,
        leaves: impl Iterator<Item = (&'v [String], Leaf<'v>)>,
    ) {
        let mut current = take_value(record);
        if current.is_none() && record.stamps.own.is_none_or(|own| own <= self.writer.stamp) {
            let born = Value::Map(Fields::new());
            if let Some(own) = record.stamps.own.filter(|own| !self.writer.knows(own)) {
                self.lose(None, Some(&born), own, Why::Overwritten, true);
            }
            current = Some(born);
        }
        for (path, leaf) in leaves {
            if let Leaf::Lay(_) = leaf {
                self.settle(record, path);
            }
            current = self.assign(&mut record.stamps, None, current, path, leaf);
        }
        put_value(record, current);
    }

    /// Forgets the conflicts at `path` and below that the writer had seen.
    fn settle(&self, record: &mut Record, path: &[String]) {
        record.conflicts.retain(|conflict| {
            let seen = conflict.stamp != self.writer.stamp && self.writer.knows(&conflict.stamp);
            !(seen && conflict.field.starts_with(path))
        });
    }

    fn unknown(&self, stamp: Option<Stamp>) -> Option<Stamp> {
        stamp.filter(|stamp| !self.writer.knows(stamp))
    }

    /// Walks down to the end of `path` and does `leaf` there. `current` is the value at this node,
    /// `cover` the stamp that holds it unless the node has its own. Returns the new value.
    fn assign(
        &mut self,
        node: &mut StampTree,
        cover: Option<Stamp>,
        current: Option<Value>,
        path: &[String],
        leaf: Leaf<'_>,
    ) -> Option<Value> {
        let Some((name, rest)) = path.split_first() else {
            return match leaf {
                Leaf::Lay(new) => self.lay(node, cover, current, new.cloned(), true),
                Leaf::Apply(op) => self.transform(node, cover, current, op),
            };
        };
        let covered = node.own.or(cover);
        let below = self.at.len();
        let mut map = match current {
            Some(Value::Map(map)) => map,
            // The way down is no map: a later one stays, an earlier one gives way to a map, and
            // removing a field below it removes nothing.
            other => {
                let later = covered.is_some_and(|covered| covered > self.writer.stamp);
                let removes = matches!(leaf, Leaf::Lay(None));
                if later || removes {
                    if later && !removes {
                        self.at.extend_from_slice(path);
                        self.lose(
                            operand(leaf, &self.writer).as_ref(),
                            None,
                            self.writer.stamp,
                            Why::Yielded,
                            true,
                        );
                        self.at.truncate(below);
                    }
                    return other;
                }
                if let Some(stamp) = self.unknown(covered) {
                    let map = Value::Map(Fields::new());
                    self.lose(other.as_ref(), Some(&map), stamp, Why::Overwritten, false);
                }
                Fields::new()
            }
        };
        let child = node.below.entry(name.clone()).or_default();
        self.at.push(name.clone());
        let result = self.assign(child, covered, map.remove(name), rest, leaf);
        self.at.truncate(below);
        if child.own == covered {
            child.own = None;
        }
        if child.is_empty() {
            node.below.remove(name);
        }
        if let Some(value) = result {
            map.insert(name.clone(), value);
        }
        Some(Value::Map(map))
    }

    /// Assigns `new` to the whole subtree; later children stay. `explicit` says that `None` is a
    /// removal somebody asked for, and not merely absent from a value assigned further up.
    fn lay(
        &mut self,
        node: &mut StampTree,
        cover: Option<Stamp>,
        current: Option<Value>,
        new: Option<Value>,
        explicit: bool,
    ) -> Option<Value> {
        let mine = self.writer.stamp;
        let covered = node.own.or(cover);
        if covered.is_some_and(|covered| covered > mine) {
            self.lose(new.as_ref(), current.as_ref(), mine, Why::Yielded, explicit);
            return current;
        }
        let removal = node.own.is_some();
        let children = std::mem::take(&mut node.below);
        node.own = Some(mine);
        if children.is_empty() {
            if let Some(stamp) = self.unknown(covered) {
                self.lose(current.as_ref(), new.as_ref(), stamp, Why::Overwritten, removal);
            }
            return new;
        }
        let (mut old_map, old_scalar) = split(current);
        let (mut new_map, new_scalar) = split(new);
        let mut stay = Fields::new();
        for (name, mut child) in children {
            let (old, new) = (
                old_map.as_mut().and_then(|map| map.remove(&name)),
                new_map.as_mut().and_then(|map| map.remove(&name)),
            );
            self.at.push(name.clone());
            let result = self.lay(&mut child, covered, old, new, false);
            self.at.pop();
            if child.own == Some(mine) {
                child.own = None;
            }
            if let Some(value) = result {
                stay.insert(name.clone(), value);
            }
            if !child.is_empty() {
                node.below.insert(name, child);
            }
        }
        let old = old_map.map(Value::Map).or(old_scalar);
        let new = new_map.map(Value::Map).or(new_scalar);
        if let Some(stamp) = self.unknown(covered) {
            self.lose(old.as_ref(), new.as_ref(), stamp, Why::Overwritten, removal);
        }
        match new {
            Some(Value::Map(mut map)) => {
                map.extend(stay);
                Some(Value::Map(map))
            }
            new if stay.is_empty() => new,
            new => {
                let stay = Value::Map(stay);
                self.lose(new.as_ref(), Some(&stay), mine, Why::Yielded, explicit);
                Some(stay)
            }
        }
    }

    fn transform(
        &mut self,
        node: &mut StampTree,
        cover: Option<Stamp>,
        current: Option<Value>,
        op: &FieldOp,
    ) -> Option<Value> {
        let fits = match (op, &current) {
            (FieldOp::ServerTime, _) => false,
            (_, None) => true,
            (FieldOp::ArrayUnion(_) | FieldOp::ArrayRemove(_), value) => {
                matches!(value, Some(Value::Array(_)))
            }
            (_, value) => matches!(value, Some(Value::Int(_) | Value::Double(_))),
        };
        if !fits {
            let new = operand(Leaf::Apply(op), &self.writer);
            return self.lay(node, cover, current, new, true);
        }
        if node.own.or(cover).is_none_or(|covered| covered < self.writer.stamp) {
            node.own = Some(self.writer.stamp);
            prune(node, self.writer.stamp);
        }
        evaluate(op, current, &self.writer)
    }

    /// Notes that `loser`, written under `stamp`, is not what the document holds here, as far as
    /// the two differ.
    fn lose(
        &mut self,
        loser: Option<&Value>,
        winner: Option<&Value>,
        stamp: Stamp,
        why: Why,
        explicit: bool,
    ) {
        match (loser, winner) {
            (None, Some(_)) if explicit => {}
            (None, _) => return,
            (Some(a), Some(b)) if a == b => return,
            (Some(Value::Map(a)), Some(Value::Map(b))) => {
                for (name, value) in a {
                    self.at.push(name.clone());
                    self.lose(Some(value), b.get(name), stamp, why, false);
                    self.at.pop();
                }
                return;
            }
            _ => {}
        }
        self.lost.push(Conflict { field: self.at.clone(), lost: loser.cloned(), stamp, why });
    }
}

fn take_value(record: &mut Record) -> Option<Value> {
    record.value.take().map(|fields| Value::Map(Arc::unwrap_or_clone(fields)))
}

fn put_value(record: &mut Record, value: Option<Value>) {
    record.value = match value {
        Some(Value::Map(fields)) => Some(Arc::new(fields)),
        Some(_) => unreachable!("the root is assigned maps only"),
        None => None,
    };
}

fn split(value: Option<Value>) -> (Option<Fields>, Option<Value>) {
    match value {
        Some(Value::Map(map)) => (Some(map), None),
        other => (None, other),
    }
}

/// Drops stamps that are not later than `stamp`.
fn prune(node: &mut StampTree, stamp: Stamp) {
    node.below.retain(|_, child| {
        child.own = child.own.filter(|own| *own > stamp);
        prune(child, stamp);
        !child.is_empty()
    });
}

/// What a leaf makes where nothing is.
fn operand(leaf: Leaf<'_>, writer: &Writer<'_>) -> Option<Value> {
    match leaf {
        Leaf::Lay(value) => value.cloned(),
        Leaf::Apply(op) => evaluate(op, None, writer),
    }
}

/// What an operation makes of a value it fits.
fn evaluate(op: &FieldOp, current: Option<Value>, writer: &Writer<'_>) -> Option<Value> {
    Some(match op {
        FieldOp::Assign(value) => value.clone(),
        FieldOp::DeleteField => return None,
        FieldOp::ServerTime => Value::Timestamp(Timestamp::at_ms(writer.hlc.ms())),
        FieldOp::Increment(by) => match current.and_then(|value| Number::try_from(value).ok()) {
            Some(number) => number.plus(*by).into(),
            None => (*by).into(),
        },
        FieldOp::Minimum(bound) => bounded(current, *bound, Ordering::is_le),
        FieldOp::Maximum(bound) => bounded(current, *bound, Ordering::is_ge),
        FieldOp::ArrayUnion(elements) => {
            let mut items = array(current);
            for element in elements {
                if !items.iter().any(|item| union_equal(item, element)) {
                    items.push(element.clone());
                }
            }
            Value::Array(items)
        }
        FieldOp::ArrayRemove(elements) => {
            let mut items = array(current);
            items.retain(|item| !elements.iter().any(|element| union_equal(item, element)));
            Value::Array(items)
        }
    })
}

fn array(current: Option<Value>) -> Vec<Value> {
    match current {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

/// The current number if `keeps` says so of its order to the bound; with NaN, NaN.
fn bounded(current: Option<Value>, bound: Number, keeps: fn(Ordering) -> bool) -> Value {
    let bound = Value::from(bound);
    let nan = |value: &Value| matches!(value, Value::Double(double) if double.is_nan());
    match current {
        Some(value) if nan(&value) => value,
        Some(value) if !nan(&bound) && keeps(compare(&value, &bound)) => value,
        _ => bound,
    }
}

#[cfg(test)]
mod tests;
