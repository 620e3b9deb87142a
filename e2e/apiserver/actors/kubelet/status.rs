//! What a kubelet writes into a pod's status.

use serde_json::{Value, json};

use super::put_condition;
use crate::apiserver::rules::value::{at, items, items_mut, set, text};
use crate::apiserver::write::{now, set_condition};

/// Whether nobody has said yet how the pod is.
pub(super) fn is_untouched(pod: &Value) -> bool {
    matches!(text(pod, &["status", "phase"]), "" | "Pending") && text(pod, &["status", "podIP"]).is_empty()
}

/// Running, with its addresses.
pub(super) fn start(pod: &mut Value, host: &[String], own: &[String]) {
    let now = now();
    let ips = |addresses: &[String]| addresses.iter().map(|ip| json!({ "ip": ip })).collect::<Vec<_>>();
    set(pod, &["status", "phase"], "Running");
    set(pod, &["status", "startTime"], now.as_str());
    if let Some(first) = host.first() {
        set(pod, &["status", "hostIP"], first.as_str());
        set(pod, &["status", "hostIPs"], ips(host));
    }
    if let Some(first) = own.first() {
        set(pod, &["status", "podIP"], first.as_str());
        set(pod, &["status", "podIPs"], ips(own));
    }
    for kind in ["PodScheduled", "PodReadyToStartContainers", "Initialized"] {
        put_condition(pod, kind, true, &now);
    }
    let statuses: Vec<Value> = items(pod, &["spec", "containers"])
        .iter()
        .map(|container| {
            let image = text(container, &["image"]);
            let name = text(container, &["name"]);
            json!({
                "name": name,
                "image": image,
                "imageID": format!("sandbox://{image}"),
                "containerID": format!("sandbox://{name}"),
                "ready": false,
                "started": true,
                "restartCount": 0,
                "state": { "running": { "startedAt": now } },
                "lastState": {},
            })
        })
        .collect();
    set(pod, &["status", "containerStatuses"], statuses);
}

/// Ready, or not.
pub(super) fn set_ready(pod: &mut Value, ready: bool) {
    let now = now();
    for container in items_mut(pod, &["status", "containerStatuses"]) {
        set(container, &["ready"], ready);
    }
    put_condition(pod, "ContainersReady", ready, &now);
    put_condition(pod, "Ready", ready, &now);
}

/// No node will have it.
pub(super) fn set_unschedulable(pod: &mut Value, nodes: usize) {
    let message = format!("0/{nodes} nodes are available.");
    let condition = json!({
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": message,
        "lastProbeTime": null,
        "lastTransitionTime": now(),
    });
    let said =
        items(pod, &["status", "conditions"]).iter().any(|it| at(it, &["message"]) == Some(&json!(message)));
    if !said {
        set_condition(pod, condition);
    }
}
