//! Validation, with the API's own words.

use serde_json::Value;

use super::error::FieldError;
use crate::apiserver::kind::Kind;

/// What is wrong with a new object.
pub fn create(_kind: Kind, _new: &Value) -> Vec<FieldError> {
    Vec::new()
}

/// What is wrong with an update of the main resource.
pub fn update(_kind: Kind, _new: &Value, _old: &Value) -> Vec<FieldError> {
    Vec::new()
}

/// What is wrong with an update of the status subresource.
pub fn status_update(_kind: Kind, _new: &Value, _old: &Value) -> Vec<FieldError> {
    Vec::new()
}
