//! The three forms of patches that are not server-side apply.
//!
//! A patch makes an object of an object; types, defaults and validation come after it, as for a PUT.

mod order;
mod strategic;
#[cfg(test)]
mod tests;

use serde_json::Value;

use super::error::ApiError;
use super::schema::Type;
use crate::apiserver::kind::Kind;

/// The most operations of one JSON patch.
const MAX_OPERATIONS: usize = 10_000;

/// RFC 6902.
pub fn json_patch(_kind: Kind, current: &Value, patch: &Value) -> Result<Value, ApiError> {
    let operations: json_patch::Patch = serde_json::from_value(patch.clone())
        .map_err(|error| ApiError::bad_request(format!("error decoding patch: {error}")))?;
    if operations.0.len() > MAX_OPERATIONS {
        return Err(ApiError::too_large(format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
            operations.0.len()
        )));
    }
    let mut object = current.clone();
    json_patch::patch(&mut object, &operations.0).map_err(|error| unprocessable(&error.to_string()))?;
    if object.is_object() { Ok(object) } else { Err(unprocessable("the patch leaves no object")) }
}

/// RFC 7396.
pub fn merge_patch(_kind: Kind, current: &Value, patch: &Value) -> Result<Value, ApiError> {
    must_be_object(patch)?;
    let mut object = current.clone();
    json_patch::merge(&mut object, patch);
    Ok(object)
}

/// Kubernetes' strategic merge: a merge patch that knows which lists are maps.
pub fn strategic_merge(kind: Kind, current: &Value, patch: &Value) -> Result<Value, ApiError> {
    must_be_object(patch)?;
    strategic::merge(Type::Root(kind), current.clone(), patch)
}

fn must_be_object(patch: &Value) -> Result<(), ApiError> {
    if patch.is_object() { Ok(()) } else { Err(ApiError::bad_request("Invalid JSON Patch")) }
}

/// The answer to a patch that is well formed and does not fit; the real server keeps the reason to itself.
fn unprocessable(why: &str) -> ApiError {
    ApiError {
        code: 422,
        reason: "Invalid",
        message: format!("the server rejected our request due to an error in our request: {why}"),
        details: Some(serde_json::json!({})),
    }
}
