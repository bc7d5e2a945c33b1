//! Queries over one collection: what they mean, which index answers them, and the answer.
//!
//! Meaning follows Firestore: comparisons match within one type class, null and NaN satisfy no
//! inequality, a document must have every ordered field, results are ordered by the explicit
//! fields, then inequality fields not named there, then the name. Supported are `==`, `<`, `<=`,
//! `>`, `>=`, `in`, `array-contains`, order, cursors, limit; everything else is refused as
//! `unimplemented`. Answers come from one index range if there is a complete index that fits, and
//! from a scan of the collection otherwise; both give the same result.

use crate::change::Doc;
use crate::field_index::{Part, PartKind, field};
use rhizome_schema::{Code, CollectionPath, DocPath, FieldPath, Fields, Value, compare, equal};
use std::cmp::Ordering;

/// Most filters of a query, and most values of an `in` (Firestore: 100 and 30).
const FILTERS_MAX: usize = 100;
const IN_VALUES_MAX: usize = 30;

/// How a filter compares.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Operator {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `==`
    Equal,
    /// `>=`
    GreaterOrEqual,
    /// `>`
    Greater,
    /// `in`: equal to one of the elements of an array.
    In,
    /// `array-contains`
    ArrayContains,
}

impl Operator {
    /// The operator of this sign. `!=`, `not-in` and `array-contains-any` are not supported yet.
    pub fn parse(sign: &str) -> Result<Self, QueryError> {
        Ok(match sign {
            "<" => Self::Less,
            "<=" => Self::LessOrEqual,
            "==" => Self::Equal,
            ">=" => Self::GreaterOrEqual,
            ">" => Self::Greater,
            "in" => Self::In,
            "array-contains" => Self::ArrayContains,
            "!=" | "not-in" | "array-contains-any" => {
                return Err(QueryError::Unimplemented { what: sign.to_owned() });
            }
            sign => return Err(QueryError::Operator { sign: sign.to_owned() }),
        })
    }

    fn is_range(self) -> bool {
        matches!(self, Self::Less | Self::LessOrEqual | Self::GreaterOrEqual | Self::Greater)
    }
}

/// What a field must be.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    /// The field.
    pub field: FieldPath,
    /// How it compares.
    pub operator: Operator,
    /// With what.
    pub value: Value,
}

/// Which way an order goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// Smallest first.
    Ascending,
    /// Greatest first.
    Descending,
}

/// Where results begin or end: values of the ordered fields, in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct Cursor {
    /// The values; fewer than ordered fields are a prefix.
    pub values: Vec<Value>,
    /// Whether documents that equal them are in the result.
    pub inclusive: bool,
}

/// Documents of a collection that match filters, in an order, from a start to an end.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// The collection.
    pub collection: CollectionPath,
    /// All must hold.
    pub filters: Vec<Filter>,
    /// The order asked for.
    pub order: Vec<(FieldPath, Direction)>,
    /// Where to begin.
    pub start: Option<Cursor>,
    /// Where to end.
    pub end: Option<Cursor>,
    /// How many documents at most.
    pub limit: Option<usize>,
}

/// Why a query cannot be asked.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// No such operator.
    #[error("`{sign}` is not an operator; use < <= == >= > in or array-contains")]
    Operator {
        /// What was written.
        sign: String,
    },
    /// Firestore has it; it is not built yet.
    #[error("`{what}` is not supported yet")]
    Unimplemented {
        /// What.
        what: String,
    },
    /// A limit of zero.
    #[error("limit must be at least 1")]
    Limit,
    /// `in` needs values.
    #[error("`in` needs an array of 1 to {IN_VALUES_MAX} values")]
    In,
    /// Too many filters.
    #[error("more than {FILTERS_MAX} filters")]
    Filters,
    /// A field is ordered twice.
    #[error("field {field} is ordered twice")]
    OrderedTwice {
        /// The field.
        field: FieldPath,
    },
    /// A cursor has more values than the order has fields.
    #[error("cursor has {values} values, and only {fields} fields are ordered")]
    Cursor {
        /// How many values it has.
        values: usize,
        /// How many fields are ordered.
        fields: usize,
    },
}

impl QueryError {
    /// The code an application is told.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Unimplemented { .. } => Code::Unimplemented,
            _ => Code::InvalidArgument,
        }
    }
}

impl Query {
    /// All documents of a collection, by name.
    #[must_use]
    pub fn of(collection: CollectionPath) -> Self {
        let (filters, order) = (Vec::new(), Vec::new());
        Self { collection, filters, order, start: None, end: None, limit: None }
    }

    /// The same with one more filter.
    #[must_use]
    pub fn filter(mut self, field: FieldPath, operator: Operator, value: Value) -> Self {
        self.filters.push(Filter { field, operator, value });
        self
    }

    /// The same ordered by one more field.
    #[must_use]
    pub fn order_by(mut self, field: FieldPath, direction: Direction) -> Self {
        self.order.push((field, direction));
        self
    }

    /// The same with a limit.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Checks what the types leave open.
    pub fn validate(&self) -> Result<(), QueryError> {
        if self.limit == Some(0) {
            return Err(QueryError::Limit);
        }
        if self.filters.len() > FILTERS_MAX {
            return Err(QueryError::Filters);
        }
        for filter in self.filters.iter().filter(|filter| filter.operator == Operator::In) {
            match &filter.value {
                Value::Array(values) if (1..=IN_VALUES_MAX).contains(&values.len()) => {}
                _ => return Err(QueryError::In),
            }
        }
        for (i, (field, _)) in self.order.iter().enumerate() {
            if self.order[..i].iter().any(|(other, _)| other == field) {
                return Err(QueryError::OrderedTwice { field: field.clone() });
            }
        }
        for cursor in self.start.iter().chain(&self.end) {
            let (values, fields) = (cursor.values.len(), self.order.len());
            if values > fields {
                return Err(QueryError::Cursor { values, fields });
            }
        }
        Ok(())
    }

    /// The explicit order, then inequality fields it does not name, in field-path order and in the
    /// direction of the last explicit one. The name follows, in that direction too.
    #[must_use]
    pub fn full_order(&self) -> Vec<(FieldPath, Direction)> {
        let mut order = self.order.clone();
        let last = self.name_direction();
        let mut ranged: Vec<_> =
            self.filters.iter().filter(|f| f.operator.is_range()).map(|f| &f.field).collect();
        ranged.sort_unstable();
        ranged.dedup();
        for field in ranged {
            if !order.iter().any(|(other, _)| other == field) {
                order.push((field.clone(), last));
            }
        }
        order
    }

    pub(crate) fn name_direction(&self) -> Direction {
        self.order.last().map_or(Direction::Ascending, |(_, direction)| *direction)
    }

    /// Whether a document of the collection is in the result, limit aside.
    #[must_use]
    pub fn matches(&self, fields: &Fields) -> bool {
        let holds = |filter: &Filter| field(fields, &filter.field).is_some_and(|v| filter.holds(v));
        self.filters.iter().all(holds)
            && self.full_order().iter().all(|(path, _)| field(fields, path).is_some())
            && self.start.as_ref().is_none_or(|start| match self.against(fields, start) {
                Ordering::Equal => start.inclusive,
                order => order.is_gt(),
            })
            && self.end.as_ref().is_none_or(|end| match self.against(fields, end) {
                Ordering::Equal => end.inclusive,
                order => order.is_lt(),
            })
    }

    /// Where a document stands against a cursor.
    fn against(&self, fields: &Fields, cursor: &Cursor) -> Ordering {
        let each = self.order.iter().zip(&cursor.values).map(|((path, direction), value)| {
            let order = field(fields, path).map_or(Ordering::Less, |field| compare(field, value));
            directed(order, *direction)
        });
        each.fold(Ordering::Equal, Ordering::then)
    }

    /// The order of two documents in the result.
    #[must_use]
    pub fn compare(&self, a: &Doc, b: &Doc) -> Ordering {
        for (path, direction) in self.full_order() {
            let values = (field(&a.fields, &path), field(&b.fields, &path));
            let order = match values {
                (Some(a), Some(b)) => compare(a, b),
                (a, b) => a.is_some().cmp(&b.is_some()),
            };
            if order.is_ne() {
                return directed(order, direction);
            }
        }
        directed(a.path.cmp(&b.path), self.name_direction())
    }

    /// The index that answers the query with one range: equalities first, then the order. `None` if
    /// the collection itself does: no equality, nothing ordered. An `in` is checked document by
    /// document in either.
    #[must_use]
    pub fn index_parts(&self) -> Option<Vec<Part>> {
        let mut parts: Vec<Part> = Vec::new();
        for filter in &self.filters {
            let kind = match filter.operator {
                Operator::Equal => PartKind::Ascending,
                Operator::ArrayContains
                    if parts.iter().all(|part| part.kind != PartKind::Contains) =>
                {
                    PartKind::Contains
                }
                _ => continue,
            };
            let part = Part { field: filter.field.clone(), kind };
            if !parts.contains(&part) {
                parts.push(part);
            }
        }
        parts.sort();
        let flipped = self.name_direction() == Direction::Descending;
        for (field, direction) in self.full_order() {
            let descending = (direction == Direction::Descending) != flipped;
            let kind = if descending { PartKind::Descending } else { PartKind::Ascending };
            if !parts.iter().any(|part| part.field == field && part.kind != PartKind::Contains) {
                parts.push(Part { field, kind });
            }
        }
        (!parts.is_empty()).then_some(parts)
    }
}

fn directed(order: Ordering, direction: Direction) -> Ordering {
    match direction {
        Direction::Ascending => order,
        Direction::Descending => order.reverse(),
    }
}

impl Filter {
    fn holds(&self, value: &Value) -> bool {
        let nan = |value: &Value| matches!(value, Value::Double(double) if double.is_nan());
        let odd = |value: &Value| *value == Value::Null || nan(value);
        let within = |accepts: fn(Ordering) -> bool| {
            same_class(value, &self.value)
                && !odd(value)
                && !odd(&self.value)
                && accepts(compare(value, &self.value))
        };
        match self.operator {
            Operator::Less => within(Ordering::is_lt),
            Operator::LessOrEqual => within(Ordering::is_le),
            Operator::Equal => equal(value, &self.value),
            Operator::GreaterOrEqual => within(Ordering::is_ge),
            Operator::Greater => within(Ordering::is_gt),
            Operator::In => match &self.value {
                Value::Array(values) => !odd(value) && values.iter().any(|one| equal(one, value)),
                _ => false,
            },
            Operator::ArrayContains => match value {
                Value::Array(items) => items.iter().any(|item| equal(item, &self.value)),
                _ => false,
            },
        }
    }
}

fn same_class(a: &Value, b: &Value) -> bool {
    let number = |value: &Value| matches!(value, Value::Int(_) | Value::Double(_));
    number(a) && number(b) || std::mem::discriminant(a) == std::mem::discriminant(b)
}

/// How a query will be answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Plan {
    /// By reading one range of an index.
    Range {
        /// Its number in the collection.
        number: u32,
        /// Its fields.
        parts: Vec<Part>,
    },
    /// By reading the collection from its first name on (its last, if `reverse`).
    Names {
        /// Whether from the last.
        reverse: bool,
    },
    /// By looking at every document, because the index is not built yet.
    Scan {
        /// The index that would answer it.
        wanted: Vec<Part>,
    },
}

impl Plan {
    /// The plan in a line.
    #[must_use]
    pub fn explain(&self) -> String {
        let list = |parts: &[Part]| {
            let one = |part: &Part| match part.kind {
                PartKind::Ascending => part.field.to_string(),
                PartKind::Descending => format!("{} descending", part.field),
                PartKind::Contains => format!("elements of {}", part.field),
            };
            parts.iter().map(one).collect::<Vec<_>>().join(", ")
        };
        match self {
            Self::Range { parts, .. } => format!("reads one range of the index on {}", list(parts)),
            Self::Names { .. } => "reads the collection in the order of names".to_owned(),
            Self::Scan { wanted } => {
                format!("looks at every document; an index on {} is not built yet", list(wanted))
            }
        }
    }
}

/// Whether a document lies in the query's collection.
pub(crate) fn is_of(query: &Query, path: &DocPath) -> bool {
    path.collection() == query.collection
}
