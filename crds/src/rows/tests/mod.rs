//! Tests of the rows of a sweep.
#![expect(
    clippy::needless_pass_by_value,
    reason = "values are written where they are passed"
)]

mod files;
mod grids;
mod keys;
mod values;

use serde_json::{Value, json};

use super::{ResolvedRow, RowError, Rows};
use crate::SporeSweepSpec;

/// A spec as it comes from the API.
fn spec(spec: Value) -> SporeSweepSpec {
    serde_json::from_value(spec).unwrap()
}

fn rows(parts: Value) -> Result<Rows, RowError> {
    Rows::new(&spec(parts), None)
}

/// The only row of a sweep whose template says no more than the type.
fn row(row: Value) -> Result<ResolvedRow, RowError> {
    let rows = rows(json!({"template": {"instanceType": "m7i.large"}, "params": [row]}))?;
    let resolved = rows.resolve(0);
    let checked = rows.check().map_err(|errors| errors.errors);
    assert_eq!(
        resolved.is_ok(),
        checked.is_ok(),
        "{resolved:?} {checked:?}"
    );
    resolved
}

/// The spec of it, as the controller writes it.
fn spec_of(fields: Value) -> Value {
    let resolved = row(fields.clone()).unwrap_or_else(|error| panic!("{fields}: {error}"));
    serde_json::to_value(resolved.spec).unwrap()
}

/// What is said of it.
fn refusal(fields: Value) -> String {
    match row(fields.clone()) {
        Ok(resolved) => panic!("{fields} was taken: {resolved:?}"),
        Err(error) => error.to_string(),
    }
}
