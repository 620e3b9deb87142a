//! What the registry's strategies do to an object before it is validated.

use serde_json::Value;

use crate::apiserver::kind::Kind;

/// Before a create.
pub fn prepare_create(_kind: Kind, _new: &mut Value) {}

/// Before an update of the main resource.
pub fn prepare_update(_kind: Kind, _new: &mut Value, _old: &Value) {}

/// Before an update of the status subresource.
pub fn prepare_status_update(_kind: Kind, _new: &mut Value, _old: &Value) {}
