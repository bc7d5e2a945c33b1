//! What a query asks of one field.
//!
//! Comparisons match within one type class; null and NaN satisfy no inequality and no `in`; `!=`
//! and `not-in` pass over null, as they do over documents without the field.

use crate::query::QueryError;
use rhizome_schema::{FieldPath, Value, compare, equal, type_class};

/// How a filter compares.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Operator {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `>=`
    GreaterOrEqual,
    /// `>`
    Greater,
    /// `in`: equal to one of the elements of an array.
    In,
    /// `not-in`: equal to none of them.
    NotIn,
    /// `array-contains`
    ArrayContains,
    /// `array-contains-any`: contains one of the elements of an array.
    ArrayContainsAny,
}

impl Operator {
    /// The operator of this sign.
    pub fn parse(sign: &str) -> Result<Self, QueryError> {
        Ok(match sign {
            "<" => Self::Less,
            "<=" => Self::LessOrEqual,
            "==" => Self::Equal,
            "!=" => Self::NotEqual,
            ">=" => Self::GreaterOrEqual,
            ">" => Self::Greater,
            "in" => Self::In,
            "not-in" => Self::NotIn,
            "array-contains" => Self::ArrayContains,
            "array-contains-any" => Self::ArrayContainsAny,
            sign => return Err(QueryError::Operator { sign: sign.to_owned() }),
        })
    }

    /// Its sign.
    #[must_use]
    pub fn sign(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::GreaterOrEqual => ">=",
            Self::Greater => ">",
            Self::In => "in",
            Self::NotIn => "not-in",
            Self::ArrayContains => "array-contains",
            Self::ArrayContainsAny => "array-contains-any",
        }
    }

    /// Whether its field is ordered by, also where the query does not say so.
    pub(crate) fn is_inequality(self) -> bool {
        self.is_range() || matches!(self, Self::NotEqual | Self::NotIn)
    }

    pub(crate) fn is_range(self) -> bool {
        matches!(self, Self::Less | Self::LessOrEqual | Self::GreaterOrEqual | Self::Greater)
    }

    /// Whether it compares with the elements of an array.
    pub(crate) fn takes_list(self) -> bool {
        matches!(self, Self::In | Self::NotIn | Self::ArrayContainsAny)
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

impl Filter {
    /// The elements it compares with; none if it takes no list.
    pub(crate) fn list(&self) -> &[Value] {
        match &self.value {
            Value::Array(values) if self.operator.takes_list() => values,
            _ => &[],
        }
    }

    /// Whether a field with this value passes.
    pub(crate) fn holds(&self, value: &Value) -> bool {
        let wanted = &self.value;
        let any_of = |value: &Value| self.list().iter().any(|one| !odd(one) && equal(one, value));
        match self.operator {
            Operator::Less => comparable(value, wanted) && compare(value, wanted).is_lt(),
            Operator::LessOrEqual => comparable(value, wanted) && compare(value, wanted).is_le(),
            Operator::GreaterOrEqual => comparable(value, wanted) && compare(value, wanted).is_ge(),
            Operator::Greater => comparable(value, wanted) && compare(value, wanted).is_gt(),
            Operator::Equal => equal(value, wanted),
            Operator::NotEqual => *value != Value::Null && !equal(value, wanted),
            Operator::In => any_of(value),
            Operator::NotIn => {
                let excluded = |one: &Value| *one == Value::Null || equal(one, value);
                *value != Value::Null && !self.list().iter().any(excluded)
            }
            Operator::ArrayContains => elements(value).iter().any(|element| equal(element, wanted)),
            Operator::ArrayContainsAny => elements(value).iter().any(any_of),
        }
    }
}

fn elements(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        _ => &[],
    }
}

/// Null and NaN, which satisfy little.
pub(crate) fn odd(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Double(double) => double.is_nan(),
        _ => false,
    }
}

fn comparable(a: &Value, b: &Value) -> bool {
    type_class(a) == type_class(b) && !odd(a) && !odd(b)
}
