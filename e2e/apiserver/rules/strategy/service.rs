//! Services: fields that were allocated once are kept for clients that leave them out, linked fields follow each other,
//! and fields that the new type does not have are wiped (`pkg/registry/core/service`, `PatchAllocatedValues`,
//! `NormalizeClusterIPs`, `dropTypeDependentFields`).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::apiserver::rules::value::{at, copy, flag, items, items_mut, number, remove, set, text};

pub(super) fn prepare_create(new: &mut Value) {
    set(new, &["status"], json!({ "loadBalancer": {} }));
    let address = text(new, &["spec", "clusterIP"]).to_owned();
    if !address.is_empty() && items(new, &["spec", "clusterIPs"]).is_empty() {
        set(new, &["spec", "clusterIPs"], json!([address]));
    }
}

pub(super) fn prepare_update(new: &mut Value, old: &Value) {
    keep_allocated(new, old);
    normalise_cluster_ips(new, old);
    drop_type_dependent(new, old);
}

fn keep_allocated(new: &mut Value, old: &Value) {
    if needs_cluster_ip(old) && needs_cluster_ip(new) {
        if text(new, &["spec", "clusterIP"]).is_empty() {
            copy(new, old, &["spec", "clusterIP"]);
        }
        let same = text(new, &["spec", "clusterIP"]) == text(old, &["spec", "clusterIP"]);
        if same && items(new, &["spec", "clusterIPs"]).is_empty() {
            copy(new, old, &["spec", "clusterIPs"]);
        }
    }
    if needs_node_port(old) && needs_node_port(new) {
        keep_node_ports(new, old);
    }
    if needs_health_check(old)
        && needs_health_check(new)
        && number(new, &["spec", "healthCheckNodePort"]).unwrap_or_default() == 0
    {
        copy(new, old, &["spec", "healthCheckNodePort"]);
    }
}

/// Ports that name no node port get the one the port of the same name had, if no other port took it meanwhile.
fn keep_node_ports(new: &mut Value, old: &Value) {
    let ports = |service: &Value| -> BTreeSet<i64> {
        items(service, &["spec", "ports"]).iter().map(node_port).filter(|port| *port != 0).collect()
    };
    let mut used: BTreeSet<i64> = ports(old).intersection(&ports(new)).copied().collect();
    let by_name: BTreeMap<&str, i64> =
        items(old, &["spec", "ports"]).iter().map(|port| (text(port, &["name"]), node_port(port))).collect();
    for port in items_mut(new, &["spec", "ports"]) {
        if node_port(port) == 0
            && let Some(before) = by_name.get(text(port, &["name"])).copied().filter(|before| *before != 0)
            && used.insert(before)
        {
            set(port, &["nodePort"], before);
        }
    }
}

/// Old clients know `clusterIP` only; new ones send both. What an old client changes is carried over to the list.
fn normalise_cluster_ips(new: &mut Value, old: &Value) {
    let (before, after) = (text(old, &["spec", "clusterIP"]), text(new, &["spec", "clusterIP"]).to_owned());
    let same_list = items(old, &["spec", "clusterIPs"]) == items(new, &["spec", "clusterIPs"]);
    if before == after {
        if items(new, &["spec", "clusterIPs"]).is_empty() {
            copy(new, old, &["spec", "clusterIPs"]);
        }
    } else if same_list {
        if after.is_empty() {
            remove(new, &["spec", "clusterIPs"]);
        } else {
            set(new, &["spec", "clusterIPs"], json!([after]));
        }
    }
}

fn drop_type_dependent(new: &mut Value, old: &Value) {
    let mut wipe = |needs: fn(&Value) -> bool, keys: &[&str]| {
        if needs(old) && !needs(new) {
            for key in keys {
                if at(new, &["spec", key]) == at(old, &["spec", key]) {
                    remove(new, &["spec", key]);
                }
            }
        }
    };
    wipe(needs_cluster_ip, &["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"]);
    wipe(needs_health_check, &["healthCheckNodePort"]);
    wipe(is_load_balancer, &["allocateLoadBalancerNodePorts", "loadBalancerClass"]);
    wipe(externally_accessible, &["externalTrafficPolicy"]);
    if needs_node_port(old) && !needs_node_port(new) {
        let ports = |service: &Value| -> Vec<i64> {
            items(service, &["spec", "ports"]).iter().map(node_port).collect()
        };
        if ports(old) == ports(new) {
            for port in items_mut(new, &["spec", "ports"]) {
                remove(port, &["nodePort"]);
            }
        }
    }
}

fn node_port(port: &Value) -> i64 {
    number(port, &["nodePort"]).unwrap_or_default()
}

fn needs_cluster_ip(service: &Value) -> bool {
    matches!(text(service, &["spec", "type"]), "ClusterIP" | "NodePort" | "LoadBalancer")
}

fn is_load_balancer(service: &Value) -> bool {
    text(service, &["spec", "type"]) == "LoadBalancer"
}

fn needs_node_port(service: &Value) -> bool {
    let kind = text(service, &["spec", "type"]);
    let allocates = at(service, &["spec", "allocateLoadBalancerNodePorts"]).is_none()
        || flag(service, &["spec", "allocateLoadBalancerNodePorts"]);
    kind == "NodePort" || (kind == "LoadBalancer" && allocates)
}

/// Whether a Service needs a node port for health checks.
pub(in crate::apiserver::rules) fn needs_health_check(service: &Value) -> bool {
    is_load_balancer(service) && text(service, &["spec", "externalTrafficPolicy"]) == "Local"
}

/// Whether a Service can be reached from outside, so that an external traffic policy means something.
pub(in crate::apiserver::rules) fn externally_accessible(service: &Value) -> bool {
    match text(service, &["spec", "type"]) {
        "NodePort" | "LoadBalancer" => true,
        "ClusterIP" => !items(service, &["spec", "externalIPs"]).is_empty(),
        _ => false,
    }
}
