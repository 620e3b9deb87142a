//! ConfigMaps and Secrets.

use serde_json::Value;

use crate::apiserver::rules::value::entries;

/// The number of keys.
pub(super) fn size(object: &Value) -> usize {
    entries(object, &["data"]).count() + entries(object, &["binaryData"]).count()
}
