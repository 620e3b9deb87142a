//! The three forms of patches that are not server-side apply.

use serde_json::Value;

use super::error::ApiError;
use crate::apiserver::kind::Kind;

/// RFC 6902.
pub fn json_patch(_kind: Kind, current: &Value, _patch: &Value) -> Result<Value, ApiError> {
    Ok(current.clone())
}

/// RFC 7396.
pub fn merge_patch(_kind: Kind, current: &Value, _patch: &Value) -> Result<Value, ApiError> {
    Ok(current.clone())
}

/// Kubernetes' strategic merge.
pub fn strategic_merge(_kind: Kind, current: &Value, _patch: &Value) -> Result<Value, ApiError> {
    Ok(current.clone())
}
