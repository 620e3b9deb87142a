//! Validation, with the API's own words.
//!
//! Everything wrong is found at once, as the real server does, so that a user mends a manifest in one go. The order of
//! the errors is upstream's: metadata first, then the fields in the order of `pkg/apis/*/validation`.

mod access;
mod address;
mod autoscaler;
mod budget;
mod config;
mod container;
mod endpoints;
mod event;
mod lease;
mod meta;
pub mod names;
mod namespace;
mod network_policy;
mod node;
mod pod;
mod service;
mod slice;
#[cfg(test)]
mod tests;
mod workload;

use serde_json::Value;

pub use self::service::cluster_ip_fields;
use super::error::FieldError;
use crate::apiserver::kind::Kind;

/// What is wrong with a new object.
pub fn create(kind: Kind, new: &Value) -> Vec<FieldError> {
    let mut errors = meta::create(kind, new);
    errors.extend(match kind {
        Kind::Namespace => namespace::create(new),
        Kind::Node => node::create(new),
        Kind::Service => service::create(new),
        Kind::Pod => pod::create(new),
        Kind::Endpoints => endpoints::check(new),
        Kind::Event => event::create(new),
        Kind::EndpointSlice => slice::create(new),
        Kind::Lease => lease::check(new),
        Kind::Deployment => workload::deployment(new),
        Kind::ReplicaSet => workload::replica_set(new),
        Kind::StatefulSet => workload::stateful_set(new),
        Kind::DaemonSet => workload::daemon_set(new),
        Kind::ServiceAccount | Kind::PriorityClass => Vec::new(),
        Kind::ConfigMap | Kind::Secret => config::check(new),
        Kind::ClusterRole | Kind::Role => access::role(kind, new),
        Kind::ClusterRoleBinding | Kind::RoleBinding => access::binding(kind, new),
        Kind::PodDisruptionBudget => budget::check(new),
        Kind::HorizontalPodAutoscaler => autoscaler::check(new),
        Kind::NetworkPolicy => network_policy::check(new),
    });
    errors
}

/// What is wrong with an update of the main resource.
pub fn update(kind: Kind, new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = meta::update(new, old);
    errors.extend(match kind {
        Kind::Namespace => Vec::new(),
        Kind::Event => event::update(new, old),
        Kind::Node => node::update(new, old),
        Kind::Service => service::update(new, old),
        Kind::Pod => pod::update(new, old),
        Kind::Endpoints => endpoints::check(new),
        Kind::EndpointSlice => slice::update(new, old),
        Kind::Lease => lease::check(new),
        Kind::Deployment => workload::with_selector_update(workload::deployment(new), new, old),
        Kind::ReplicaSet => workload::with_selector_update(workload::replica_set(new), new, old),
        Kind::StatefulSet => workload::stateful_set_update(new, old),
        Kind::DaemonSet => workload::with_selector_update(workload::daemon_set(new), new, old),
        Kind::ServiceAccount => Vec::new(),
        Kind::ConfigMap | Kind::Secret => config::update(new, old),
        Kind::ClusterRole | Kind::Role => access::role(kind, new),
        Kind::ClusterRoleBinding | Kind::RoleBinding => access::binding_update(kind, new, old),
        Kind::PodDisruptionBudget => budget::check(new),
        Kind::HorizontalPodAutoscaler => autoscaler::check(new),
        Kind::NetworkPolicy => network_policy::check(new),
        Kind::PriorityClass => priority_class(new, old),
    });
    errors
}

/// What is wrong with an update of the status subresource.
pub fn status_update(kind: Kind, new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = meta::update(new, old);
    errors.extend(match kind {
        Kind::Namespace => namespace::status_update(new),
        Kind::Node => node::update(new, old),
        Kind::Service => service::status_update(new),
        Kind::Pod => pod::status_update(new, old),
        Kind::Deployment | Kind::ReplicaSet | Kind::StatefulSet => workload::status_update(kind, new),
        _ => Vec::new(),
    });
    errors
}

/// The value of a class stays what it was.
fn priority_class(new: &Value, old: &Value) -> Vec<FieldError> {
    let changed = new.get("value") != old.get("value");
    let detail = "may not be changed in an update.";
    changed.then(|| FieldError::forbidden("value", detail)).into_iter().collect()
}

/// A number that may not be negative.
fn non_negative(value: Option<i64>, field: &str) -> Option<FieldError> {
    value
        .filter(|value| *value < 0)
        .map(|value| FieldError::invalid(field, value, "must be greater than or equal to 0"))
}

/// A protocol of a port.
fn protocol(value: &str, field: String) -> Option<FieldError> {
    match value {
        "" => Some(FieldError::required(field, "")),
        "TCP" | "UDP" | "SCTP" => None,
        other => Some(FieldError::not_supported(field, other, &["SCTP", "TCP", "UDP"])),
    }
}

/// One error for each text that a check of [`names`] returned.
fn each(field: &str, value: &str, wrong: Vec<String>) -> Vec<FieldError> {
    wrong.into_iter().map(|detail| FieldError::invalid(field, value, detail)).collect()
}
