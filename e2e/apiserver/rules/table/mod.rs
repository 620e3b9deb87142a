//! Objects as the rows `kubectl get` shows: the server prints, kubectl only aligns
//! (`pkg/printers/internalversion/printers.go`).
//!
//! Columns of priority 1 are shown with `-o wide`.

mod access;
pub mod age;
mod columns;
mod config;
mod event;
mod node;
mod pod;
mod policy;
mod service;
#[cfg(test)]
mod tests;
mod workload;

use jiff::Timestamp;
use serde_json::{Value, json};

pub use self::columns::columns;
use super::value::{at, entries, items, strings, text};
use crate::apiserver::kind::Kind;

/// What stands for a value that is not there.
const NONE: &str = "<none>";

/// The cells of one object's row, in the order of the columns.
pub fn cells(kind: Kind, object: &Value, now: Timestamp) -> Vec<Value> {
    let name = json!(text(object, &["metadata", "name"]));
    let age = json!(age::since(text(object, &["metadata", "creationTimestamp"]), now));
    match kind {
        Kind::Namespace => vec![name, json!(text(object, &["status", "phase"])), age],
        Kind::Node => node::cells(object, name, age),
        Kind::Service => service::cells(object, name, age),
        Kind::Pod => pod::cells(object, name, age, now),
        Kind::Endpoints => vec![name, json!(service::endpoints(object)), age],
        Kind::Event => event::cells(object, name, now),
        Kind::EndpointSlice => {
            let kind = json!(text(object, &["addressType"]));
            vec![
                name,
                kind,
                json!(service::slice_ports(object)),
                json!(service::slice_endpoints(object)),
                age,
            ]
        }
        Kind::Lease => vec![name, json!(text(object, &["spec", "holderIdentity"])), age],
        Kind::Deployment => workload::deployment(object, name, age),
        Kind::ReplicaSet => workload::replica_set(object, name, age),
        Kind::StatefulSet => workload::stateful_set(object, name, age),
        Kind::DaemonSet => workload::daemon_set(object, name, age),
        Kind::ServiceAccount => vec![name, json!(items(object, &["secrets"]).len()), age],
        Kind::ConfigMap => vec![name, json!(config::size(object)), age],
        Kind::Secret => vec![name, json!(text(object, &["type"])), json!(config::size(object)), age],
        Kind::ClusterRole | Kind::Role => vec![name, json!(text(object, &["metadata", "creationTimestamp"]))],
        Kind::ClusterRoleBinding | Kind::RoleBinding => access::binding(object, name, age),
        Kind::PodDisruptionBudget => policy::budget(object, name, age),
        Kind::HorizontalPodAutoscaler => policy::autoscaler(object, name, age),
        Kind::NetworkPolicy => vec![name, json!(selector(object, &["spec", "podSelector"])), age],
        Kind::PriorityClass => policy::priority_class(object, name, age),
    }
}

/// The value, or what stands for none.
fn or_none(value: &str) -> &str {
    if value.is_empty() { NONE } else { value }
}

/// `a=b,c=d`
fn labels(object: &Value, path: &[&str]) -> String {
    let pairs: Vec<String> = entries(object, path)
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    or_none(&pairs.join(",")).to_owned()
}

/// A `LabelSelector` as text: `app=web,tier in (a,b)`.
fn selector(object: &Value, path: &[&str]) -> String {
    let null = Value::Null;
    let selector = at(object, path).unwrap_or(&null);
    let mut terms: Vec<String> = entries(selector, &["matchLabels"])
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    for expression in items(selector, &["matchExpressions"]) {
        let key = text(expression, &["key"]);
        let values = strings(expression, &["values"]).join(",");
        terms.push(match text(expression, &["operator"]) {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    or_none(&terms.join(",")).to_owned()
}

/// The first three, and how many more.
fn some_of(all: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<&str> = all.iter().take(SHOWN).map(String::as_str).collect();
    let shown = shown.join(",");
    match all.len().checked_sub(SHOWN) {
        None | Some(0) => shown,
        Some(more) => format!("{shown} + {more} more..."),
    }
}

/// The names of an object's containers, or their images.
fn containers(spec: &Value, key: &str) -> String {
    let all: Vec<&str> =
        items(spec, &["containers"]).iter().map(|container| text(container, &[key])).collect();
    all.join(",")
}
