//! Events. Those without `eventTime` are of the old form, where next to nothing is checked.

use serde_json::Value;

use crate::apiserver::rules::error::FieldError;
use crate::apiserver::rules::value::{at, text};

pub(super) fn create(event: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let namespace = text(event, &["metadata", "namespace"]);
    let about = text(event, &["involvedObject", "namespace"]);
    // Events about cluster-scoped objects live in `default`.
    let matches = about == namespace || (about.is_empty() && matches!(namespace, "default" | "kube-system"));
    if !matches {
        errors.push(FieldError::invalid("involvedObject.namespace", about, "does not match event.namespace"));
    }
    if at(event, &["eventTime"]).is_some() {
        for (key, field) in [
            ("reportingComponent", "reportingController"),
            ("reportingInstance", "reportingInstance"),
            ("action", "action"),
            ("reason", "reason"),
        ] {
            if text(event, &[key]).is_empty() {
                errors.push(FieldError::required(field, ""));
            }
        }
        let kind = text(event, &["type"]);
        if !matches!(kind, "Normal" | "Warning") {
            errors.push(FieldError::invalid("type", kind, ""));
        }
    }
    errors
}
