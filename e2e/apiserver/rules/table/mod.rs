//! Objects as the rows `kubectl get` shows.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::value::text;
use crate::apiserver::kind::Kind;

/// The `columnDefinitions` of a kind.
pub fn columns(_kind: Kind) -> Value {
    json!([{ "name": "Name", "type": "string", "format": "name", "description": "", "priority": 0 }])
}

/// The cells of one object's row, in the order of the columns.
pub fn cells(_kind: Kind, object: &Value, _now: Timestamp) -> Vec<Value> {
    vec![json!(text(object, &["metadata", "name"]))]
}
