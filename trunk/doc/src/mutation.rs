//! What an app writes: a batch of mutations, the plaintext body of one event.
//!
//! A batch is checked when it is made and again, just as strictly, when it arrives: bytes of
//! another device are foreign. What a mutation does to a document is in [`crate::fold`]'s care.

use rhizome_block::{CborError, Version, kind};
use rhizome_schema::{
    Code, DocPath, FIELD_DEPTH_MAX, FieldPath, Fields, Number, PathError, Reserved, Value,
    ValueError,
};
use serde::{Deserialize, Serialize};

kind!(
    /// `k` of a batch.
    pub BatchKind = "batch"
);

/// Most bytes of a batch: an event has 256 KiB at most, header, padding and tag included.
pub const BATCH_BYTES_MAX: usize = 248 << 10;

/// Most field operations of one mutation: each walks the document once.
pub const FIELD_OPS_MAX: usize = 2_000;

/// The version of batches we write and read.
const VERSION: u8 = 1;

/// Mutations that apply together or not at all: the body of one event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    k: BatchKind,
    v: Version<VERSION>,
    /// What to do, in this order.
    pub ops: Vec<Mutation>,
}

/// What to do to one document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutation {
    /// The document.
    #[serde(rename = "p")]
    pub path: DocPath,
    /// Apply the batch only if the document exists, or only if it does not.
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    pub exists: Option<bool>,
    /// The change.
    #[serde(rename = "o")]
    pub op: Op,
}

/// A change of a document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Op {
    /// Writes fields, and creates the document if need be.
    Set {
        /// The fields.
        value: Fields,
        /// What happens to fields that are not named.
        merge: Merge,
        /// Operations on fields, applied after the fields are written.
        ops: Vec<(FieldPath, FieldOp)>,
    },
    /// Changes fields of a document that exists.
    Update(Vec<(FieldPath, FieldOp)>),
    /// Removes the document.
    Delete,
}

/// What [`Op::Set`] does to fields it does not name.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Merge {
    /// They go: the document becomes the value.
    None,
    /// They stay; maps merge deeply, arrays are replaced.
    All,
    /// Only these paths are written; those the value does not have are removed.
    Fields(Vec<FieldPath>),
}

/// What to do to one field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldOp {
    /// Writes a value.
    Assign(Value),
    /// Removes the field.
    DeleteField,
    /// Writes the writer's time.
    ServerTime,
    /// Adds a number; what is no number counts as zero.
    Increment(Number),
    /// Keeps the smaller number.
    Minimum(Number),
    /// Keeps the greater number.
    Maximum(Number),
    /// Appends the elements that are missing.
    ArrayUnion(Vec<Value>),
    /// Removes all elements equal to one of these.
    ArrayRemove(Vec<Value>),
}

/// Why a batch cannot be written or applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// The bytes are not a batch.
    #[error("bytes are not a batch of mutations")]
    Form(#[source] CborError),
    /// The version is not one we read.
    #[error("batch has version {version}, this program reads {VERSION}")]
    Version {
        /// Its version.
        version: u64,
    },
    /// Too large for one event.
    #[error("batch of {bytes} bytes is larger than {BATCH_BYTES_MAX}")]
    Large {
        /// How large it is.
        bytes: usize,
    },
    /// There is nothing to do.
    #[error("batch is empty")]
    Empty,
    /// Too many operations on one document.
    #[error("{ops} operations on the fields of {path} are more than {FIELD_OPS_MAX}")]
    Long {
        /// The document.
        path: DocPath,
        /// How many there are.
        ops: usize,
    },
    /// Two operations touch one field, or one holds the other.
    #[error("{path}: field {field} is written twice")]
    Twice {
        /// The document.
        path: DocPath,
        /// The field.
        field: FieldPath,
    },
    /// Removing a field makes sense only beside fields that stay.
    #[error("{path}: deleteField() in a set needs merge")]
    DeleteInSet {
        /// The document.
        path: DocPath,
    },
    /// A value breaks a rule.
    #[error("{path}: value cannot be stored")]
    Value {
        /// The document.
        path: DocPath,
        /// Which rule.
        source: ValueError,
    },
    /// A field path is too deep for its value.
    #[error("{path}: field path cannot be used")]
    Field {
        /// The document.
        path: DocPath,
        /// Why.
        source: PathError,
    },
}

impl BatchError {
    /// The code an application is told.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Large { .. } => Code::ResourceExhausted,
            _ => Code::InvalidArgument,
        }
    }
}

impl Batch {
    /// A batch of these mutations.
    #[must_use]
    pub fn new(ops: Vec<Mutation>) -> Self {
        Self { k: BatchKind, v: Version, ops }
    }

    /// Checks what people and apps may write (no reserved names).
    pub fn validate(&self) -> Result<(), BatchError> {
        self.check(Reserved::Refused)
    }

    /// The body of the event that carries it. Blob references may be in it by now.
    pub fn to_body(&self) -> Result<Vec<u8>, BatchError> {
        self.check(Reserved::Blobs)?;
        let body = rhizome_block::encode(self).map_err(BatchError::Form)?;
        body_allowed(&body)?;
        Ok(body)
    }

    /// Reads and checks the body of an event.
    pub fn from_body(body: &[u8]) -> Result<Self, BatchError> {
        body_allowed(body)?;
        let batch: Self = rhizome_block::decode(body).map_err(|source| match source {
            CborError::Version { version } => BatchError::Version { version },
            source => BatchError::Form(source),
        })?;
        batch.check(Reserved::Blobs)?;
        Ok(batch)
    }

    fn check(&self, reserved: Reserved) -> Result<(), BatchError> {
        if self.ops.is_empty() {
            return Err(BatchError::Empty);
        }
        self.ops.iter().try_for_each(|mutation| mutation.check(reserved))
    }
}

fn body_allowed(body: &[u8]) -> Result<(), BatchError> {
    let bytes = body.len();
    if bytes > BATCH_BYTES_MAX { Err(BatchError::Large { bytes }) } else { Ok(()) }
}

impl Mutation {
    /// A mutation without precondition.
    #[must_use]
    pub fn new(path: DocPath, op: Op) -> Self {
        Self { path, exists: None, op }
    }

    /// Replaces the document.
    #[must_use]
    pub fn set(path: DocPath, value: Fields) -> Self {
        Self::new(path, Op::Set { value, merge: Merge::None, ops: Vec::new() })
    }

    /// Merges fields into the document.
    #[must_use]
    pub fn merge(path: DocPath, value: Fields) -> Self {
        Self::new(path, Op::Set { value, merge: Merge::All, ops: Vec::new() })
    }

    /// Changes fields of a document that exists.
    #[must_use]
    pub fn update(path: DocPath, ops: Vec<(FieldPath, FieldOp)>) -> Self {
        Self::new(path, Op::Update(ops))
    }

    /// Removes the document.
    #[must_use]
    pub fn delete(path: DocPath) -> Self {
        Self::new(path, Op::Delete)
    }

    /// The same with a precondition.
    #[must_use]
    pub fn if_exists(self, exists: bool) -> Self {
        Self { exists: Some(exists), ..self }
    }

    fn check(&self, reserved: Reserved) -> Result<(), BatchError> {
        let path = || self.path.clone();
        let value_error = |source| BatchError::Value { path: path(), source };
        let ops = match &self.op {
            Op::Delete => return Ok(()),
            Op::Update(ops) => ops,
            Op::Set { value, merge, ops } => {
                Value::validate_fields(value, reserved).map_err(value_error)?;
                if let Merge::Fields(mask) = merge {
                    self.check_mask(mask)?;
                } else if *merge == Merge::None
                    && ops.iter().any(|(_, op)| *op == FieldOp::DeleteField)
                {
                    return Err(BatchError::DeleteInSet { path: path() });
                }
                ops
            }
        };
        if ops.len() > FIELD_OPS_MAX {
            return Err(BatchError::Long { path: path(), ops: ops.len() });
        }
        self.check_distinct(ops.iter().map(|(field, _)| field))?;
        for (field, op) in ops {
            let values = match op {
                FieldOp::Assign(value) => std::slice::from_ref(value),
                FieldOp::ArrayUnion(values) | FieldOp::ArrayRemove(values) => values,
                _ => &[],
            };
            let nested = !matches!(op, FieldOp::Assign(_));
            for value in values {
                value.validate(reserved).map_err(value_error)?;
                if nested && matches!(value, Value::Array(_)) {
                    return Err(value_error(ValueError::NestedArray));
                }
            }
            if field.names().len() + values.iter().map(depth).max().unwrap_or(0) > FIELD_DEPTH_MAX {
                return Err(value_error(ValueError::Deep));
            }
        }
        Ok(())
    }

    fn check_mask(&self, mask: &[FieldPath]) -> Result<(), BatchError> {
        if mask.len() > FIELD_OPS_MAX {
            return Err(BatchError::Long { path: self.path.clone(), ops: mask.len() });
        }
        self.check_distinct(mask.iter())
    }

    /// No field may be written twice, nor one inside another.
    fn check_distinct<'a>(
        &self,
        fields: impl Iterator<Item = &'a FieldPath>,
    ) -> Result<(), BatchError> {
        let mut fields: Vec<_> = fields.collect();
        fields.sort_unstable();
        match fields.windows(2).find(|pair| pair[0].overlaps(pair[1])) {
            Some(pair) => {
                Err(BatchError::Twice { path: self.path.clone(), field: pair[1].clone() })
            }
            None => Ok(()),
        }
    }
}

/// How many levels of maps and arrays a value has.
fn depth(value: &Value) -> usize {
    match value {
        Value::Map(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
