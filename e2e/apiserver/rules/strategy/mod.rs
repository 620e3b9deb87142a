//! What the registry's strategies do to an object before it is validated: which half of it a request may write, and
//! when its generation moves on (`pkg/registry/*/*/strategy.go`, `PrepareForCreate` and `PrepareForUpdate`).

mod pod;
pub(super) mod service;
#[cfg(test)]
mod tests;

use serde_json::{Value, json};

use super::value::{copy, items, number, remove, set, set_default};
use crate::apiserver::kind::Kind;

/// Before a create: the status is the server's, not the client's, and generations start at 1.
pub fn prepare_create(kind: Kind, new: &mut Value) {
    for key in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"] {
        remove(new, &["metadata", key]);
    }
    if has_generation(kind) {
        set(new, &["metadata", "generation"], 1);
    }
    match kind {
        Kind::Namespace => {
            set(new, &["status"], json!({ "phase": "Active" }));
            let mut finalizers = items(new, &["spec", "finalizers"]).to_vec();
            if !finalizers.contains(&json!("kubernetes")) {
                finalizers.push(json!("kubernetes"));
            }
            set(new, &["spec", "finalizers"], finalizers);
        }
        Kind::Service => service::prepare_create(new),
        Kind::Pod => pod::prepare_create(new),
        Kind::Deployment => set(new, &["status"], json!({})),
        Kind::ReplicaSet => set(new, &["status"], json!({ "replicas": 0 })),
        Kind::StatefulSet => set(new, &["status"], json!({ "replicas": 0, "availableReplicas": 0 })),
        // Kubelets register their node with its status.
        Kind::DaemonSet => {
            let none = json!({ "currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0 });
            set(new, &["status"], none);
        }
        Kind::PodDisruptionBudget => {
            let none = json!({ "currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0 });
            set(new, &["status"], none);
        }
        Kind::HorizontalPodAutoscaler => {
            set(new, &["status"], json!({ "currentMetrics": null, "desiredReplicas": 0 }));
        }
        Kind::Node | Kind::Endpoints | Kind::Event | Kind::EndpointSlice | Kind::Lease => {}
        Kind::ServiceAccount | Kind::ConfigMap | Kind::Secret | Kind::NetworkPolicy | Kind::PriorityClass => {
        }
        Kind::ClusterRole | Kind::ClusterRoleBinding | Kind::Role | Kind::RoleBinding => {}
    }
}

/// Before an update of the main resource: the status stays as it was.
pub fn prepare_update(kind: Kind, new: &mut Value, old: &Value) {
    keep_system_metadata(new, old);
    if kind.info().status {
        copy(new, old, &["status"]);
    }
    match kind {
        Kind::Namespace => copy(new, old, &["spec", "finalizers"]),
        Kind::Service => service::prepare_update(new, old),
        _ => {}
    }
    let moved = match kind {
        Kind::Pod
        | Kind::ReplicaSet
        | Kind::StatefulSet
        | Kind::DaemonSet
        | Kind::PodDisruptionBudget
        | Kind::NetworkPolicy => new.get("spec") != old.get("spec"),
        Kind::Deployment => {
            new.get("spec") != old.get("spec") || meta(new, "annotations") != meta(old, "annotations")
        }
        Kind::EndpointSlice => {
            meta(new, "labels") != meta(old, "labels")
                || ["addressType", "endpoints", "ports"].iter().any(|key| new.get(key) != old.get(key))
        }
        _ => false,
    };
    if moved {
        let generation = number(old, &["metadata", "generation"]).unwrap_or_default();
        set(new, &["metadata", "generation"], generation + 1);
    }
}

/// Before an update of the status subresource: everything but the status (and labels and annotations, where the real
/// server lets them pass) stays as it was.
pub fn prepare_status_update(kind: Kind, new: &mut Value, old: &Value) {
    keep_system_metadata(new, old);
    copy(new, old, &["spec"]);
    match kind {
        Kind::Pod => {
            copy(new, old, &["metadata", "ownerReferences"]);
            if let Some(class) = old.get("status").and_then(|status| status.get("qosClass")) {
                set_default(new, &["status", "qosClass"], class.clone());
            }
        }
        Kind::Deployment => copy(new, old, &["metadata", "labels"]),
        _ => {}
    }
}

/// What no update changes: identity and the marks of deletion. A missing value means the old one.
fn keep_system_metadata(new: &mut Value, old: &Value) {
    copy(new, old, &["metadata", "generation"]);
    for key in ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        if let Some(value) = meta(old, key) {
            set_default(new, &["metadata", key], value.clone());
        }
    }
    remove(new, &["metadata", "selfLink"]);
}

fn has_generation(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Pod
            | Kind::Deployment
            | Kind::ReplicaSet
            | Kind::StatefulSet
            | Kind::EndpointSlice
            | Kind::DaemonSet
            | Kind::PodDisruptionBudget
            | Kind::NetworkPolicy
    )
}

fn meta<'a>(object: &'a Value, key: &str) -> Option<&'a Value> {
    object.get("metadata").and_then(|metadata| metadata.get(key))
}
