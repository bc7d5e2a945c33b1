//! Numbers about a result: how many documents, the sum and the average of a field.

use crate::answer::AnswerError;
use crate::engine::Documents;
use crate::field_index::field;
use crate::query::Query;
use rhizome_log::Index;
use rhizome_schema::{FieldPath, Number, Value};

/// What to know about a result.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Aggregate {
    /// How many documents there are.
    Count,
    /// The sum of a field's numbers: whole as long as they are and 64 bits hold it.
    Sum(FieldPath),
    /// Their average; null if there are none.
    Average(FieldPath),
}

impl Aggregate {
    fn field(&self) -> Option<&FieldPath> {
        match self {
            Self::Count => None,
            Self::Sum(field) | Self::Average(field) => Some(field),
        }
    }
}

impl Documents {
    /// The numbers asked for, over the documents of the result that have every field they name.
    /// What is no number is passed over by sums and averages.
    pub fn aggregate(
        &self,
        index: &dyn Index,
        query: &Query,
        asked: &[Aggregate],
    ) -> Result<Vec<Value>, AnswerError> {
        let mut sums: Vec<Sum> = asked.iter().map(|_| Sum::default()).collect();
        let mut count: i64 = 0;
        for doc in self.query(index, query)? {
            let fields = &doc.fields;
            let values: Option<Vec<Option<&Value>>> = asked
                .iter()
                .map(|one| one.field().map_or(Some(None), |path| field(fields, path).map(Some)))
                .collect();
            let Some(values) = values else { continue };
            count += 1;
            for (sum, value) in sums.iter_mut().zip(values) {
                sum.add(value);
            }
        }
        let number = |(one, sum): (&Aggregate, Sum)| match one {
            Aggregate::Count => Value::Int(count),
            Aggregate::Sum(_) => sum.total(),
            Aggregate::Average(_) => sum.average(),
        };
        Ok(asked.iter().zip(sums).map(number).collect())
    }
}

/// The numbers of a field so far.
#[derive(Default)]
struct Sum {
    count: u32,
    /// Of whole numbers; more of them than a result can hold do not overflow it.
    whole: i128,
    /// Of the others, if there are any.
    rest: Option<f64>,
}

impl Sum {
    fn add(&mut self, value: Option<&Value>) {
        match value.cloned().map(Number::try_from) {
            Some(Ok(Number::Int(int))) => self.whole += i128::from(int),
            Some(Ok(Number::Double(double))) => {
                self.rest = Some(self.rest.unwrap_or_default() + double);
            }
            _ => return,
        }
        self.count += 1;
    }

    fn total(&self) -> Value {
        match (self.rest, i64::try_from(self.whole)) {
            (None, Ok(whole)) => Value::Int(whole),
            (rest, _) => Value::Double(self.whole as f64 + rest.unwrap_or_default()),
        }
    }

    fn average(&self) -> Value {
        if self.count == 0 {
            return Value::Null;
        }
        let total = self.whole as f64 + self.rest.unwrap_or_default();
        Value::Double(total / f64::from(self.count))
    }
}
