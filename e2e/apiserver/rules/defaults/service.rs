//! Defaults of Services. Addresses, families and node ports are not defaults but allocations.

use serde_json::{Value, json};

use crate::apiserver::rules::value::{at, ensure_object, items, items_mut, remove, set, set_default, text};

/// How long `sessionAffinity: ClientIP` sticks.
const AFFINITY_SECONDS: u32 = 10_800;

pub(super) fn defaults(object: &mut Value) {
    set_default(object, &["spec", "sessionAffinity"], "None");
    match text(object, &["spec", "sessionAffinity"]) {
        "None" => drop(remove(object, &["spec", "sessionAffinityConfig"])),
        "ClientIP" => {
            let path = ["spec", "sessionAffinityConfig", "clientIP", "timeoutSeconds"];
            set_default(object, &path, AFFINITY_SECONDS);
        }
        _ => {}
    }
    set_default(object, &["spec", "type"], "ClusterIP");
    for port in items_mut(object, &["spec", "ports"]) {
        set_default(port, &["protocol"], "TCP");
        let target = at(port, &["targetPort"]);
        if target.is_none_or(|target| target == 0 || target == "") {
            let number = port.get("port").cloned().unwrap_or_else(|| json!(0));
            set(port, &["targetPort"], number);
        }
    }
    let kind = text(object, &["spec", "type"]).to_owned();
    let external_ips = !items(object, &["spec", "externalIPs"]).is_empty();
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") || (kind == "ClusterIP" && external_ips) {
        set_default(object, &["spec", "externalTrafficPolicy"], "Cluster");
    }
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer" | "ClusterIP") {
        set_default(object, &["spec", "internalTrafficPolicy"], "Cluster");
    }
    if kind == "LoadBalancer" {
        set_default(object, &["spec", "allocateLoadBalancerNodePorts"], true);
        for ingress in items_mut(object, &["status", "loadBalancer", "ingress"]) {
            if at(ingress, &["ip"]).is_some() {
                set_default(ingress, &["ipMode"], "VIP");
            }
        }
    }
    ensure_object(object, &["status", "loadBalancer"]);
}
