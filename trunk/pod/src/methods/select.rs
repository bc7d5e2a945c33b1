//! Queries as requests have them.

use crate::methods::failure;
use crate::writes;
use rhizome_api::data::{Direction as ApiDirection, Filter as ApiFilter};
use rhizome_api::select::{Condition as ApiCondition, Cursor as ApiCursor, Selection};
use rhizome_api::{ApiError, Problem};
use rhizome_doc::{Condition, Cursor, Direction, Filter, Operator, Query, QueryError, Scope};
use rhizome_schema::{DocPath, FieldPath, Value};
use serde_json::Value as Json;

/// What stands for the name of a document.
const NAME: &str = "__name__";

/// How deep conditions may lie in one another.
const DEPTH_MAX: usize = 16;

/// The query that a request means.
pub fn query_of(collection: &str, selection: &Selection) -> Result<Query, ApiError> {
    let scope = scope_of(collection, selection.group)?;
    let mut query = Query::of(scope.clone());
    for condition in &selection.conditions {
        query = query.and(condition_of(&scope, condition, 1)?);
    }
    for order in &selection.order {
        let direction = match order.dir {
            ApiDirection::Ascending => Direction::Ascending,
            ApiDirection::Descending => Direction::Descending,
        };
        query = query.order_by(field_of(&order.field)?, direction);
    }
    let cursor = |cursor: &Option<ApiCursor>| {
        cursor.as_ref().map(|cursor| cursor_of(&query, cursor)).transpose()
    };
    (query.start, query.end) = (cursor(&selection.start)?, cursor(&selection.end)?);
    query.limit = selection.limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    query.last = selection.last;
    query.validate().map_err(refused)?;
    Ok(query)
}

fn scope_of(collection: &str, group: bool) -> Result<Scope, ApiError> {
    let path = writes::collection(collection)?;
    if !group {
        return Ok(Scope::Collection(path));
    }
    if path.parent().is_some() {
        let message = format!("a group of collections has a name, and `{collection}` is a path");
        return Err(ApiError::new(Problem::INVALID, message));
    }
    Ok(Scope::Group(path.id().to_owned()))
}

fn refused(error: QueryError) -> ApiError {
    failure::query(&error.into())
}

/// A field, or the name of the document.
pub fn field_of(field: &str) -> Result<FieldPath, ApiError> {
    if field == NAME { Ok(FieldPath::document_id()) } else { writes::field(field) }
}

fn condition_of(
    scope: &Scope,
    condition: &ApiCondition,
    depth: usize,
) -> Result<Condition, ApiError> {
    if depth > DEPTH_MAX {
        let message = format!("conditions lie deeper in one another than {DEPTH_MAX}");
        return Err(ApiError::new(Problem::INVALID, message));
    }
    let inner = |inner: &[ApiCondition]| {
        inner.iter().map(|one| condition_of(scope, one, depth + 1)).collect::<Result<_, _>>()
    };
    Ok(match condition {
        ApiCondition::Is(filter) => Condition::Is(filter_of(scope, filter)?),
        ApiCondition::All { all } => Condition::All(inner(all)?),
        ApiCondition::Any { any } => Condition::Any(inner(any)?),
    })
}

fn filter_of(scope: &Scope, filter: &ApiFilter) -> Result<Filter, ApiError> {
    let sign = serde_json::to_value(filter.op).expect("operators have a JSON form");
    let operator = Operator::parse(sign.as_str().unwrap_or_default()).map_err(refused)?;
    let field = field_of(&filter.field)?;
    let value = compared(scope, &field, &filter.value)?;
    Ok(Filter { field, operator, value })
}

fn cursor_of(query: &Query, cursor: &ApiCursor) -> Result<Cursor, ApiError> {
    let (values, fields) = (cursor.values.len(), query.order.len());
    if values > fields {
        return Err(refused(QueryError::Cursor { values, fields }));
    }
    let pairs = query.order.iter().zip(&cursor.values);
    let values = pairs.map(|((field, _), value)| compared(&query.scope, field, value));
    Ok(Cursor { values: values.collect::<Result<_, _>>()?, inclusive: cursor.inclusive })
}

/// A value as it is; of a name, ids and paths become references.
fn compared(scope: &Scope, field: &FieldPath, value: &Json) -> Result<Value, ApiError> {
    match value {
        Json::String(text) if field.is_document_id() => Ok(Value::Reference(named(scope, text)?)),
        Json::Array(all) if field.is_document_id() => {
            let all = all.iter().map(|one| compared(scope, field, one));
            Ok(Value::Array(all.collect::<Result<_, _>>()?))
        }
        value => writes::value(value),
    }
}

fn named(scope: &Scope, text: &str) -> Result<DocPath, ApiError> {
    let path = match scope.collection() {
        Some(collection) if !text.contains('/') => collection.doc(text),
        _ => DocPath::parse(text),
    };
    path.map_err(|error| failure::invalid(&error))
}
