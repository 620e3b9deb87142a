//! Nodes.

use serde_json::{Value, json};

use super::{NONE, or_none};
use crate::apiserver::rules::value::{entries, flag, items, text};

pub(super) fn cells(node: &Value, name: Value, age: Value) -> Vec<Value> {
    let address = |kind: &str| {
        let addresses = items(node, &["status", "addresses"]);
        let found = addresses.iter().find(|address| text(address, &["type"]) == kind);
        json!(or_none(found.map(|address| text(address, &["address"])).unwrap_or_default()))
    };
    let info = |key: &str| match text(node, &["status", "nodeInfo", key]) {
        "" => json!("<unknown>"),
        value => json!(value),
    };
    vec![
        name,
        json!(status(node)),
        json!(roles(node)),
        age,
        json!(text(node, &["status", "nodeInfo", "kubeletVersion"])),
        address("InternalIP"),
        address("ExternalIP"),
        info("osImage"),
        info("kernelVersion"),
        info("containerRuntimeVersion"),
    ]
}

fn status(node: &Value) -> String {
    let ready =
        items(node, &["status", "conditions"]).iter().find(|condition| text(condition, &["type"]) == "Ready");
    let status = match ready.map(|condition| text(condition, &["status"])) {
        None => "Unknown",
        Some("True") => "Ready",
        Some(_) => "NotReady",
    };
    if flag(node, &["spec", "unschedulable"]) {
        format!("{status},SchedulingDisabled")
    } else {
        status.to_owned()
    }
}

fn roles(node: &Value) -> String {
    let mut roles: Vec<&str> = entries(node, &["metadata", "labels"])
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role),
            None if key == "kubernetes.io/role" => value.as_str(),
            None => None,
        })
        .filter(|role| !role.is_empty())
        .collect();
    roles.sort_unstable();
    roles.dedup();
    if roles.is_empty() { NONE.to_owned() } else { roles.join(",") }
}
