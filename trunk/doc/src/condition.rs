//! Conditions of a query, and the branches they come to: any of a few sets of simple demands, each
//! of which one range of an index can answer.

use crate::filter::{Filter, Operator, odd};
use rhizome_schema::{DocPath, FieldPath, Value};

/// What a document must meet.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// One field compares like this.
    Is(Filter),
    /// All of these hold.
    All(Vec<Condition>),
    /// One of these holds.
    Any(Vec<Condition>),
}

impl Condition {
    /// Every filter in it.
    pub(crate) fn filters(&self) -> Vec<&Filter> {
        match self {
            Self::Is(filter) => vec![filter],
            Self::All(inner) | Self::Any(inner) => inner.iter().flat_map(Self::filters).collect(),
        }
    }

    /// Whether a document meets it, of which `holds` says what its filters say.
    pub(crate) fn holds(&self, holds: &impl Fn(&Filter) -> bool) -> bool {
        match self {
            Self::Is(filter) => holds(filter),
            Self::All(inner) => inner.iter().all(|one| one.holds(holds)),
            Self::Any(inner) => inner.iter().any(|one| one.holds(holds)),
        }
    }

    /// How many alternatives it comes to, as Firestore counts them.
    pub(crate) fn alternatives(&self) -> usize {
        match self {
            Self::Is(filter) => match filter.operator {
                Operator::In | Operator::ArrayContainsAny => filter.list().len().max(1),
                _ => 1,
            },
            Self::All(inner) => inner.iter().map(Self::alternatives).fold(1, usize::saturating_mul),
            Self::Any(inner) => inner.iter().map(Self::alternatives).fold(0, usize::saturating_add),
        }
    }

    /// Whether an `or` with more than one side is in it.
    pub(crate) fn has_any(&self) -> bool {
        match self {
            Self::Is(_) => false,
            Self::All(inner) => inner.iter().any(Self::has_any),
            Self::Any(inner) => inner.len() > 1 || inner.iter().any(Self::has_any),
        }
    }

    /// Its branches, where `!=` and `not-in` on `ranged` become the ranges between the values.
    fn branches(&self, ranged: Option<&FieldPath>) -> Vec<Branch> {
        match self {
            Self::Is(filter) => demands(filter, ranged)
                .into_iter()
                .map(|demand| Branch { demands: demand.into_iter().collect() })
                .collect(),
            Self::All(inner) => all(inner, ranged),
            Self::Any(inner) => inner.iter().flat_map(|one| one.branches(ranged)).collect(),
        }
    }
}

/// The branches of conditions that all hold.
pub(crate) fn all(conditions: &[Condition], ranged: Option<&FieldPath>) -> Vec<Branch> {
    let mut branches = vec![Branch::default()];
    for condition in conditions {
        let more = condition.branches(ranged);
        let joined = |branch: &Branch| more.iter().map(|one| branch.and(one)).collect::<Vec<_>>();
        branches = branches.iter().flat_map(joined).collect();
    }
    branches
}

/// One end of a range.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Edge {
    pub value: Value,
    pub inclusive: bool,
}

/// A demand on one field that a range of an index can meet. It may let more through than its
/// condition does; what it lets through is checked again.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Demand {
    /// The field equals the value.
    Equal(FieldPath, Value),
    /// The field is an array that contains the value.
    Contains(FieldPath, Value),
    /// The field lies between two edges, and if one type class is given, in that.
    Between { field: FieldPath, low: Option<Edge>, high: Option<Edge>, class: Option<u8> },
}

/// Demands that all hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Branch {
    pub demands: Vec<Demand>,
}

impl Branch {
    fn and(&self, other: &Self) -> Self {
        Self { demands: self.demands.iter().chain(&other.demands).cloned().collect() }
    }

    /// The document it names, if it names one.
    pub(crate) fn name(&self) -> Option<&DocPath> {
        self.demands.iter().find_map(|demand| match demand {
            Demand::Equal(field, Value::Reference(path)) if field.is_document_id() => Some(path),
            _ => None,
        })
    }

    /// The value a field must equal.
    pub(crate) fn equal(&self, field: &FieldPath) -> Option<&Value> {
        self.demands.iter().find_map(|demand| match demand {
            Demand::Equal(other, value) if other == field => Some(value),
            _ => None,
        })
    }

    /// The first element that is asked for.
    pub(crate) fn contains(&self) -> Option<(&FieldPath, &Value)> {
        self.demands.iter().find_map(|demand| match demand {
            Demand::Contains(field, value) => Some((field, value)),
            _ => None,
        })
    }
}

/// The alternatives of a filter; `None` demands nothing that a range could meet.
fn demands(filter: &Filter, ranged: Option<&FieldPath>) -> Vec<Option<Demand>> {
    let field = || filter.field.clone();
    let value = || filter.value.clone();
    let each = |demand: fn(FieldPath, Value) -> Demand| {
        let usable = filter.list().iter().filter(|one| !odd(one));
        usable.map(|one| Some(demand(field(), one.clone()))).collect()
    };
    match filter.operator {
        Operator::Equal => vec![Some(Demand::Equal(field(), value()))],
        Operator::In => each(Demand::Equal),
        Operator::ArrayContains => vec![Some(Demand::Contains(field(), value()))],
        Operator::ArrayContainsAny => each(Demand::Contains),
        Operator::NotEqual | Operator::NotIn if ranged != Some(&filter.field) => vec![None],
        Operator::NotEqual => between(&filter.field, std::slice::from_ref(&filter.value)),
        Operator::NotIn => between(&filter.field, filter.list()),
        _ => vec![Some(range(filter))],
    }
}

fn range(filter: &Filter) -> Demand {
    let (field, value) = (filter.field.clone(), filter.value.clone());
    let class = Some(rhizome_schema::type_class(&value));
    let inclusive = matches!(filter.operator, Operator::LessOrEqual | Operator::GreaterOrEqual);
    let edge = Some(Edge { value, inclusive });
    match filter.operator {
        Operator::Less | Operator::LessOrEqual => {
            Demand::Between { field, low: None, high: edge, class }
        }
        _ => Demand::Between { field, low: edge, high: None, class },
    }
}

/// The ranges above null that lie between values.
fn between(field: &FieldPath, values: &[Value]) -> Vec<Option<Demand>> {
    let mut edges = vec![Value::Null];
    edges.extend(values.iter().cloned());
    edges.sort_by(rhizome_schema::compare);
    edges.dedup_by(|a, b| rhizome_schema::equal(a, b));
    let edge = |value: &Value| Edge { value: value.clone(), inclusive: false };
    let one = |(at, low): (usize, &Value)| {
        let high = edges.get(at + 1).map(edge);
        Some(Demand::Between { field: field.clone(), low: Some(edge(low)), high, class: None })
    };
    edges.iter().enumerate().map(one).collect()
}
