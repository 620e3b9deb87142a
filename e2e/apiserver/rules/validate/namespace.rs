//! Namespaces.

use serde_json::Value;

use super::meta;
use crate::apiserver::rules::error::FieldError;
use crate::apiserver::rules::value::{at, strings, text};

pub(super) fn create(namespace: &Value) -> Vec<FieldError> {
    strings(namespace, &["spec", "finalizers"])
        .into_iter()
        .flat_map(|name| meta::finalizer(name, "spec.finalizers"))
        .collect()
}

pub(super) fn status_update(namespace: &Value) -> Vec<FieldError> {
    let deleted = at(namespace, &["metadata", "deletionTimestamp"]).is_some();
    let phase = text(namespace, &["status", "phase"]);
    let (only, when) = if deleted { ("Terminating", "not empty") } else { ("Active", "empty") };
    if phase == only {
        return Vec::new();
    }
    let detail = format!("may only be '{only}' if `deletionTimestamp` is {when}");
    vec![FieldError::invalid("status.Phase", phase, detail)]
}
