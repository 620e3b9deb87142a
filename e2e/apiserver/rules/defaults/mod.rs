//! The defaults of the versioned types (`SetDefaults_*` in `pkg/apis/*/v1/defaults.go`).

mod access;
mod config;
mod pod;
mod policy;
mod service;
#[cfg(test)]
mod tests;
mod workload;

use serde_json::{Value, json};

use super::value::{at, ensure_object, items_mut, set_default, text};
use crate::apiserver::kind::Kind;

/// Fills what the user left out. Applied to an object that has its defaults, nothing changes.
pub fn defaults(kind: Kind, object: &mut Value) {
    match kind {
        Kind::Namespace => namespace(object),
        Kind::Node => node(object),
        Kind::Service => service::defaults(object),
        Kind::Pod => pod::defaults(object),
        Kind::Endpoints => {
            for subset in items_mut(object, &["subsets"]) {
                for port in items_mut(subset, &["ports"]) {
                    set_default(port, &["protocol"], "TCP");
                }
            }
        }
        Kind::Event => event(object),
        Kind::EndpointSlice => {
            for port in items_mut(object, &["ports"]) {
                set_default(port, &["name"], "");
                set_default(port, &["protocol"], "TCP");
            }
        }
        Kind::Lease => ensure_object(object, &["spec"]),
        Kind::Deployment => workload::deployment(object),
        Kind::ReplicaSet => workload::replica_set(object),
        Kind::StatefulSet => workload::stateful_set(object),
        Kind::DaemonSet => workload::daemon_set(object),
        Kind::Secret => config::secret(object),
        Kind::ClusterRoleBinding | Kind::RoleBinding => access::binding(object),
        Kind::HorizontalPodAutoscaler => policy::autoscaler(object),
        Kind::NetworkPolicy => policy::network_policy(object),
        Kind::PodDisruptionBudget => ensure_object(object, &["status"]),
        Kind::PriorityClass => set_default(object, &["preemptionPolicy"], "PreemptLowerPriority"),
        Kind::ServiceAccount | Kind::ConfigMap | Kind::ClusterRole | Kind::Role => {}
    }
}

fn namespace(object: &mut Value) {
    let name = text(object, &["metadata", "name"]).to_owned();
    if !name.is_empty() {
        set_default(object, &["metadata", "labels", "kubernetes.io/metadata.name"], name);
    }
    ensure_object(object, &["spec"]);
    set_default(object, &["status", "phase"], "Active");
}

fn node(object: &mut Value) {
    ensure_object(object, &["spec"]);
    ensure_object(object, &["status"]);
    if let Some(capacity) = at(object, &["status", "capacity"]).cloned() {
        set_default(object, &["status", "allocatable"], capacity);
    }
    set_default(object, &["status", "daemonEndpoints"], json!({ "kubeletEndpoint": { "Port": 0 } }));
}

fn event(object: &mut Value) {
    ensure_object(object, &["involvedObject"]);
    ensure_object(object, &["source"]);
    set_default(object, &["reportingComponent"], "");
    set_default(object, &["reportingInstance"], "");
}
