//! The defaults of the versioned types.

use serde_json::Value;

use crate::apiserver::kind::Kind;

/// Fills what the user left out.
pub fn defaults(_kind: Kind, _object: &mut Value) {}
