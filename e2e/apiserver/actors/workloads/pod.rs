//! Pods from templates, and what a workload needs to know of them.

use serde_json::{Value, json};

use crate::apiserver::object::Object;
use crate::apiserver::rules::value::{at, items, text};

/// A pod of a workload's template, still without a name.
pub(super) fn from_template(owner: &Object) -> Value {
    let template = |path: &[&str]| at(&owner.value, &[&["spec", "template"], path].concat()).cloned();
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "namespace": &*owner.key.namespace,
            "labels": template(&["metadata", "labels"]).unwrap_or_else(|| json!({})),
            "annotations": template(&["metadata", "annotations"]).unwrap_or_else(|| json!({})),
            "ownerReferences": [owner_reference(owner)],
        },
        "spec": template(&["spec"]).unwrap_or_else(|| json!({})),
    })
}

/// The reference that makes a workload the controller of an object.
pub(super) fn owner_reference(owner: &Object) -> Value {
    json!({
        "apiVersion": owner.kind.api_version(),
        "kind": owner.kind.info().name,
        "name": &*owner.key.name,
        "uid": owner.uid(),
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// Whether a pod counts: it is neither over nor on its way out.
pub(super) fn is_active(pod: &Object) -> bool {
    !pod.is_terminating() && !is_finished(pod)
}

/// Whether a pod has ended.
pub(super) fn is_finished(pod: &Object) -> bool {
    matches!(text(&pod.value, &["status", "phase"]), "Succeeded" | "Failed")
}

/// Whether a pod is ready.
pub(super) fn is_ready(pod: &Object) -> bool {
    items(&pod.value, &["status", "conditions"])
        .iter()
        .any(|it| text(it, &["type"]) == "Ready" && text(it, &["status"]) == "True")
}

/// A label.
pub(super) fn label<'a>(object: &'a Object, name: &str) -> &'a str {
    text(&object.value, &["metadata", "labels", name])
}
