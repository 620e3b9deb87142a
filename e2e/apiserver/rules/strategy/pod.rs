//! New pods: pending, with a quality-of-service class, and with what the default admission plugins add.

use serde_json::{Value, json};

use crate::apiserver::rules::value::{at, entries, items, set, set_default, text};

pub(super) fn prepare_create(pod: &mut Value) {
    let class = qos_class(pod);
    set(pod, &["status"], json!({ "phase": "Pending", "qosClass": class }));
    // Admission: ServiceAccount, Priority, DefaultTolerationSeconds.
    set_default(pod, &["spec", "serviceAccountName"], "default");
    let account = text(pod, &["spec", "serviceAccountName"]).to_owned();
    set(pod, &["spec", "serviceAccount"], account);
    set_default(pod, &["spec", "priority"], 0);
    set_default(pod, &["spec", "preemptionPolicy"], "PreemptLowerPriority");
    let mut tolerations = items(pod, &["spec", "tolerations"]).to_vec();
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let tolerated = tolerations.iter().any(|toleration| {
            matches!(
                text(toleration, &["key"]),
                "" | "node.kubernetes.io/not-ready" | "node.kubernetes.io/unreachable"
            ) && (text(toleration, &["key"]).is_empty() || text(toleration, &["key"]) == key)
                && matches!(text(toleration, &["effect"]), "" | "NoExecute")
        });
        if !tolerated {
            tolerations.push(json!({
                "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300
            }));
        }
    }
    set(pod, &["spec", "tolerations"], tolerations);
}

/// `Guaranteed` when every container limits cpu and memory to what it requests, `BestEffort` when none asks for
/// anything, else `Burstable` (`pkg/apis/core/v1/helper/qos`).
fn qos_class(pod: &Value) -> &'static str {
    let containers =
        items(pod, &["spec", "containers"]).iter().chain(items(pod, &["spec", "initContainers"]));
    let (mut asks, mut guaranteed, mut any) = (false, true, false);
    for container in containers {
        any = true;
        for resource in ["cpu", "memory"] {
            let limit = at(container, &["resources", "limits", resource]);
            let request = at(container, &["resources", "requests", resource]);
            guaranteed &= limit.is_some() && (request.is_none() || request == limit);
        }
        asks |= entries(container, &["resources", "limits"])
            .chain(entries(container, &["resources", "requests"]))
            .any(|(name, amount)| matches!(name.as_str(), "cpu" | "memory") && amount != "0");
    }
    match (asks, guaranteed && any) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}
