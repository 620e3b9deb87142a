//! The nodes of the sandbox.

use serde_json::{Value, json};

use crate::apiserver::kind::Kind;
use crate::apiserver::object::Key;
use crate::apiserver::rules::ApiError;
use crate::apiserver::rules::value::{entries, flag, items, set, text};
use crate::apiserver::store::Store;
use crate::apiserver::write::{Part, WriteOptions, now};

/// Makes a node that is ready.
pub(crate) fn make(store: &Store, index: usize, name: &str, zone: &str) -> Result<(), ApiError> {
    let node = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "topology.kubernetes.io/zone": zone,
            },
        },
        "spec": { "podCIDR": format!("10.244.{index}.0/24") },
    });
    store.create(Kind::Node, "", node, &WriteOptions::by("kubelet"))?;
    let now = now();
    store.modify(Kind::Node, &Key::new("", name), Part::Status, "kubelet", |node| {
        let resources = json!({ "cpu": "8", "memory": "16Gi", "pods": "110" });
        let condition = json!({
            "type": "Ready",
            "status": "True",
            "reason": "KubeletReady",
            "message": "the fake kubelet is posting ready status",
            "lastHeartbeatTime": now,
            "lastTransitionTime": now,
        });
        let status = json!({
            "addresses": [
                { "type": "InternalIP", "address": format!("172.18.0.{}", index + 3) },
                { "type": "Hostname", "address": name },
            ],
            "allocatable": resources,
            "capacity": resources,
            "conditions": [condition],
            "nodeInfo": {
                "architecture": architecture(),
                "bootID": "", "containerRuntimeVersion": "none://0", "kernelVersion": "", "kubeProxyVersion": "",
                "kubeletVersion": "v1.36.0+callsign-sandbox", "machineID": "", "operatingSystem": "linux",
                "osImage": "Callsign sandbox", "systemUUID": "",
            },
        });
        set(node, &["status"], status);
    })?;
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": { "name": name },
        "spec": { "holderIdentity": name, "leaseDurationSeconds": 40 },
    });
    store.create(Kind::Lease, "kube-node-lease", lease, &WriteOptions::by("kubelet"))?;
    Ok(())
}

/// This machine's processor, by the name that Go and the kubelet have for it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Whether pods may be put on a node.
pub(super) fn takes_pods(node: &Value) -> bool {
    let ready = items(node, &["status", "conditions"])
        .iter()
        .any(|condition| text(condition, &["type"]) == "Ready" && text(condition, &["status"]) == "True");
    ready
        && !flag(node, &["spec", "unschedulable"])
        && text(node, &["metadata", "deletionTimestamp"]).is_empty()
}

/// Whether a node has the labels a pod selects nodes by, and no taint it does not tolerate.
pub(super) fn suits(node: &Value, pod: &Value) -> bool {
    let keeps_out = |taint: &&Value| matches!(text(taint, &["effect"]), "NoSchedule" | "NoExecute");
    let tolerated = |taint: &Value| {
        items(pod, &["spec", "tolerations"]).iter().any(|toleration| {
            let agrees = |field: &str| {
                let wanted = text(toleration, &[field]);
                wanted.is_empty() || wanted == text(taint, &[field])
            };
            let any_value = text(toleration, &["operator"]) == "Exists";
            let value = any_value || text(toleration, &["value"]) == text(taint, &["value"]);
            agrees("key") && agrees("effect") && value
        })
    };
    let untainted = items(node, &["spec", "taints"]).iter().filter(keeps_out).all(tolerated);
    let mut labels = entries(pod, &["spec", "nodeSelector"]);
    untainted
        && labels.all(|(key, wanted)| {
            node.get("metadata").and_then(|it| it.get("labels")?.get(key)) == Some(wanted)
        })
}

/// The addresses of a node's own network.
pub(super) fn addresses(node: &Value) -> Vec<String> {
    let all = items(node, &["status", "addresses"]).iter();
    all.filter(|it| text(it, &["type"]) == "InternalIP").map(|it| text(it, &["address"]).to_owned()).collect()
}
