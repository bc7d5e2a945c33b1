//! Queries: what they mean, in whatever way they are answered.
//!
//! Meaning follows Firestore: a document must have every ordered field; results are ordered by the
//! explicit fields, then the inequality fields that are not named there, then the name. What one
//! filter means is [`crate::filter`]'s, how an answer is found [`crate::plan`]'s.

use crate::change::Doc;
use crate::condition::{Branch, Condition, all};
use crate::field_index::field;
use crate::filter::{Filter, Operator};
use crate::scope::Scope;
use rhizome_schema::{Code, DocPath, FieldPath, Value, compare};
use std::borrow::Cow;
use std::cmp::Ordering;

/// Most filters of a query (Firestore: 100).
const FILTERS_MAX: usize = 100;

/// Most alternatives that `or`, `in` and `array-contains-any` come to (Firestore: 30).
const ALTERNATIVES_MAX: usize = 30;

/// Most values of a `not-in` (Firestore: 10).
const NOT_IN_VALUES_MAX: usize = 10;

/// Which way an order goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// Smallest first.
    Ascending,
    /// Greatest first.
    Descending,
}

impl Direction {
    fn reversed(self) -> Self {
        match self {
            Self::Ascending => Self::Descending,
            Self::Descending => Self::Ascending,
        }
    }
}

/// Where results begin or end: values of the ordered fields, in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct Cursor {
    /// The values; fewer than ordered fields are a prefix.
    pub values: Vec<Value>,
    /// Whether documents that equal them are in the result.
    pub inclusive: bool,
}

/// Documents of a scope that meet conditions, in an order, from a start to an end.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Where to look.
    pub scope: Scope,
    /// All must hold.
    pub conditions: Vec<Condition>,
    /// The order asked for; [`FieldPath::document_id`] stands for the name.
    pub order: Vec<(FieldPath, Direction)>,
    /// Where to begin.
    pub start: Option<Cursor>,
    /// Where to end.
    pub end: Option<Cursor>,
    /// How many documents at most.
    pub limit: Option<usize>,
    /// Whether the limit keeps the last documents instead of the first (`limitToLast`).
    pub last: bool,
}

/// Why a query cannot be asked.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// No such operator.
    #[error(
        "`{sign}` is not an operator; use < <= == != >= > in not-in array-contains or \
         array-contains-any"
    )]
    Operator {
        /// What was written.
        sign: String,
    },
    /// A limit of zero.
    #[error("limit must be at least 1")]
    Limit,
    /// The last ones of no order.
    #[error("limitToLast needs an order: add an orderBy")]
    LastOfNoOrder,
    /// An operator needs values.
    #[error("`{sign}` needs an array of 1 to {max} values")]
    List {
        /// The operator.
        sign: &'static str,
        /// How many it takes.
        max: usize,
    },
    /// Two operators that do not go together.
    #[error("`{one}` cannot be used with {other}")]
    Together {
        /// One.
        one: &'static str,
        /// The other.
        other: &'static str,
    },
    /// Too many alternatives.
    #[error("{alternatives} alternatives of or() and lists are more than {ALTERNATIVES_MAX}")]
    Alternatives {
        /// How many there are.
        alternatives: usize,
    },
    /// An `and` or `or` of nothing.
    #[error("and() and or() need a condition")]
    NoCondition,
    /// Too many filters.
    #[error("more than {FILTERS_MAX} filters")]
    Filters,
    /// A field is ordered twice.
    #[error("field {field} is ordered twice")]
    OrderedTwice {
        /// The field.
        field: FieldPath,
    },
    /// Names differ: nothing is left to order behind them.
    #[error("nothing can be ordered after the document's name")]
    AfterName,
    /// A name is compared with something else, or with a document elsewhere.
    #[error("the document's name must be compared with a document of the collection")]
    Name,
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
        Code::InvalidArgument
    }
}

impl Query {
    /// All documents of a collection or a group of them, by name.
    #[must_use]
    pub fn of(scope: impl Into<Scope>) -> Self {
        Self {
            scope: scope.into(),
            conditions: Vec::new(),
            order: Vec::new(),
            start: None,
            end: None,
            limit: None,
            last: false,
        }
    }

    /// The same with one more filter.
    #[must_use]
    pub fn filter(self, field: FieldPath, operator: Operator, value: Value) -> Self {
        self.and(Condition::Is(Filter { field, operator, value }))
    }

    /// The same with one more condition.
    #[must_use]
    pub fn and(mut self, condition: Condition) -> Self {
        self.conditions.push(condition);
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
        (self.limit, self.last) = (Some(limit), false);
        self
    }

    /// The same with a limit that keeps the last documents.
    #[must_use]
    pub fn limit_to_last(mut self, limit: usize) -> Self {
        (self.limit, self.last) = (Some(limit), true);
        self
    }

    /// Checks what the types leave open.
    pub fn validate(&self) -> Result<(), QueryError> {
        if self.limit == Some(0) {
            return Err(QueryError::Limit);
        }
        if self.last && self.order.is_empty() {
            return Err(QueryError::LastOfNoOrder);
        }
        let filters = self.filters();
        if filters.len() > FILTERS_MAX {
            return Err(QueryError::Filters);
        }
        filters.iter().try_for_each(|filter| self.check_filter(filter))?;
        self.check_together(&filters)?;
        self.check_alternatives()?;
        self.check_order()
    }

    fn check_filter(&self, filter: &Filter) -> Result<(), QueryError> {
        let sign = filter.operator.sign();
        let max = match filter.operator {
            Operator::NotIn => NOT_IN_VALUES_MAX,
            _ => ALTERNATIVES_MAX,
        };
        if filter.operator.takes_list() && !(1..=max).contains(&filter.list().len()) {
            return Err(QueryError::List { sign, max });
        }
        if !filter.field.is_document_id() {
            return Ok(());
        }
        let is_name =
            |value: &Value| matches!(value, Value::Reference(path) if self.scope.holds(path));
        let names = match filter.operator {
            Operator::ArrayContains | Operator::ArrayContainsAny => false,
            Operator::In | Operator::NotIn => filter.list().iter().all(is_name),
            _ => is_name(&filter.value),
        };
        if names { Ok(()) } else { Err(QueryError::Name) }
    }

    fn check_together(&self, filters: &[&Filter]) -> Result<(), QueryError> {
        let count = |operator| filters.iter().filter(|one| one.operator == operator).count();
        let (unequal, none_of) = (count(Operator::NotEqual), count(Operator::NotIn));
        let together = |one, other| Err(QueryError::Together { one, other });
        if unequal > 1 {
            return together("!=", "another `!=`");
        }
        if none_of > 1 {
            return together("not-in", "another `not-in`");
        }
        if unequal > 0 && none_of > 0 {
            return together("not-in", "`!=`");
        }
        for (other, words) in
            [(Operator::In, "`in`"), (Operator::ArrayContainsAny, "`array-contains-any`")]
        {
            if none_of > 0 && count(other) > 0 {
                return together("not-in", words);
            }
        }
        if none_of > 0 && self.conditions.iter().any(Condition::has_any) {
            return together("not-in", "or()");
        }
        Ok(())
    }

    fn check_alternatives(&self) -> Result<(), QueryError> {
        let alternatives =
            self.conditions.iter().map(Condition::alternatives).fold(1, usize::saturating_mul);
        match alternatives {
            0 => Err(QueryError::NoCondition),
            1..=ALTERNATIVES_MAX => Ok(()),
            _ => Err(QueryError::Alternatives { alternatives }),
        }
    }

    fn check_order(&self) -> Result<(), QueryError> {
        for (i, (field, _)) in self.order.iter().enumerate() {
            let before = &self.order[..i];
            if before.iter().any(|(other, _)| other == field) {
                return Err(QueryError::OrderedTwice { field: field.clone() });
            }
            if before.iter().any(|(other, _)| other.is_document_id()) {
                return Err(QueryError::AfterName);
            }
        }
        for cursor in self.start.iter().chain(&self.end) {
            let (values, fields) = (cursor.values.len(), self.order.len());
            if values > fields {
                return Err(QueryError::Cursor { values, fields });
            }
            let is_name =
                |value: &Value| matches!(value, Value::Reference(path) if self.scope.holds(path));
            let mut pairs = self.order.iter().zip(&cursor.values);
            if pairs.any(|((field, _), value)| field.is_document_id() && !is_name(value)) {
                return Err(QueryError::Name);
            }
        }
        Ok(())
    }

    pub(crate) fn filters(&self) -> Vec<&Filter> {
        self.conditions.iter().flat_map(Condition::filters).collect()
    }

    /// The alternatives of its conditions. Any document of the result meets one of them.
    pub(crate) fn branches(&self) -> Vec<Branch> {
        let order = self.full_order();
        let first = order.first().map(|(field, _)| field);
        all(&self.conditions, first.filter(|field| !field.is_document_id()))
    }

    /// The explicit order, then inequality fields it does not name, in field-path order and in the
    /// direction of the last explicit one. The name follows, in that direction too.
    #[must_use]
    pub fn full_order(&self) -> Vec<(FieldPath, Direction)> {
        let mut order = self.order.clone();
        let last = self.name_direction();
        if order.last().is_some_and(|(field, _)| field.is_document_id()) {
            return order;
        }
        let filters = self.filters().into_iter().filter(|one| one.operator.is_inequality());
        let mut ranged: Vec<_> = filters.map(|filter| &filter.field).collect();
        ranged.sort_unstable();
        ranged.dedup();
        for field in ranged.into_iter().filter(|field| !field.is_document_id()) {
            if !order.iter().any(|(other, _)| other == field) {
                order.push((field.clone(), last));
            }
        }
        order
    }

    pub(crate) fn name_direction(&self) -> Direction {
        self.order.last().map_or(Direction::Ascending, |(_, direction)| *direction)
    }

    /// The same documents in the opposite order; a limit then keeps the other end.
    pub(crate) fn reversed(&self) -> Self {
        let turn =
            |(field, direction): &(FieldPath, Direction)| (field.clone(), direction.reversed());
        Self {
            order: self.order.iter().map(turn).collect(),
            start: self.end.clone(),
            end: self.start.clone(),
            last: !self.last,
            ..self.clone()
        }
    }

    /// Whether a document is in the result, limit aside.
    #[must_use]
    pub fn matches(&self, doc: &Doc) -> bool {
        let holds = |filter: &Filter| of(doc, &filter.field).is_some_and(|v| filter.holds(&v));
        self.scope.holds(&doc.path)
            && self.conditions.iter().all(|condition| condition.holds(&holds))
            && self.full_order().iter().all(|(path, _)| of(doc, path).is_some())
            && self.start.as_ref().is_none_or(|start| match self.against(doc, start) {
                Ordering::Equal => start.inclusive,
                order => order.is_gt(),
            })
            && self.end.as_ref().is_none_or(|end| match self.against(doc, end) {
                Ordering::Equal => end.inclusive,
                order => order.is_lt(),
            })
    }

    /// Where a document stands against a cursor.
    fn against(&self, doc: &Doc, cursor: &Cursor) -> Ordering {
        let each = self.order.iter().zip(&cursor.values).map(|((path, direction), value)| {
            let order = of(doc, path).map_or(Ordering::Less, |field| compare(&field, value));
            directed(order, *direction)
        });
        each.fold(Ordering::Equal, Ordering::then)
    }

    /// The order of two documents in the result.
    #[must_use]
    pub fn compare(&self, a: &Doc, b: &Doc) -> Ordering {
        for (path, direction) in self.full_order() {
            let order = match (of(a, &path), of(b, &path)) {
                (Some(a), Some(b)) => compare(&a, &b),
                (a, b) => a.is_some().cmp(&b.is_some()),
            };
            if order.is_ne() {
                return directed(order, direction);
            }
        }
        directed(a.path.cmp(&b.path), self.name_direction())
    }

    /// The cursor at a document: the values of the ordered fields, then the name, which is added to
    /// the order. `None`: the document lacks an ordered field.
    #[must_use]
    pub fn cursor_at(&mut self, doc: &Doc, inclusive: bool) -> Option<Cursor> {
        let mut order = self.full_order();
        if !order.last().is_some_and(|(field, _)| field.is_document_id()) {
            order.push((FieldPath::document_id(), self.name_direction()));
        }
        let values: Option<Vec<Value>> =
            order.iter().map(|(path, _)| of(doc, path).map(Cow::into_owned)).collect();
        let values = values?;
        self.order = order;
        Some(Cursor { values, inclusive })
    }
}

/// The value of a field of a document, the name included.
fn of<'d>(doc: &'d Doc, path: &FieldPath) -> Option<Cow<'d, Value>> {
    if path.is_document_id() {
        let path: DocPath = doc.path.clone();
        return Some(Cow::Owned(Value::Reference(path)));
    }
    field(&doc.fields, path).map(Cow::Borrowed)
}

fn directed(order: Ordering, direction: Direction) -> Ordering {
    match direction {
        Direction::Ascending => order,
        Direction::Descending => order.reverse(),
    }
}
