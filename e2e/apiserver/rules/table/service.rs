//! Services, and what is behind them: Endpoints and EndpointSlices.

use serde_json::{Value, json};

use super::{NONE, labels, or_none, some_of};
use crate::apiserver::rules::value::{items, number, strings, text};

pub(super) fn cells(service: &Value, name: Value, age: Value) -> Vec<Value> {
    let address = strings(service, &["spec", "clusterIPs"]).first().copied().unwrap_or_default();
    vec![
        name,
        json!(text(service, &["spec", "type"])),
        json!(or_none(address)),
        json!(external(service)),
        json!(ports(service)),
        age,
        json!(labels(service, &["spec", "selector"])),
    ]
}

/// `10.0.0.1:80,10.0.0.2:80 + 2 more...`
pub(super) fn endpoints(endpoints: &Value) -> String {
    let subsets = items(endpoints, &["subsets"]);
    if subsets.is_empty() {
        return NONE.to_owned();
    }
    let mut all = Vec::new();
    for subset in subsets {
        let addresses: Vec<&str> =
            items(subset, &["addresses"]).iter().map(|address| text(address, &["ip"])).collect();
        let ports = items(subset, &["ports"]);
        if ports.is_empty() {
            all.extend(addresses.iter().map(|address| (*address).to_owned()));
        }
        for port in ports {
            let port = number(port, &["port"]).unwrap_or_default();
            all.extend(addresses.iter().map(|address| {
                if address.contains(':') {
                    format!("[{address}]:{port}")
                } else {
                    format!("{address}:{port}")
                }
            }));
        }
    }
    some_of(&all)
}

/// `80,443`
pub(super) fn slice_ports(slice: &Value) -> String {
    let all: Vec<String> = items(slice, &["ports"])
        .iter()
        .map(|port| match (number(port, &["port"]), text(port, &["name"])) {
            (Some(number), _) => number.to_string(),
            (None, "") => "*".to_owned(),
            (None, name) => name.to_owned(),
        })
        .collect();
    or_unset(some_of(&all))
}

/// `10.0.0.1,10.0.0.2`
pub(super) fn slice_endpoints(slice: &Value) -> String {
    let all: Vec<String> = items(slice, &["endpoints"])
        .iter()
        .flat_map(|endpoint| strings(endpoint, &["addresses"]))
        .map(str::to_owned)
        .collect();
    or_unset(some_of(&all))
}

fn or_unset(text: String) -> String {
    if text.is_empty() { "<unset>".to_owned() } else { text }
}

fn external(service: &Value) -> String {
    let mut addresses = strings(service, &["spec", "externalIPs"]);
    match text(service, &["spec", "type"]) {
        "ClusterIP" | "NodePort" => or_none(&addresses.join(",")).to_owned(),
        "LoadBalancer" => {
            let balancers = items(service, &["status", "loadBalancer", "ingress"]).iter().map(|ingress| {
                match text(ingress, &["ip"]) {
                    "" => text(ingress, &["hostname"]),
                    address => address,
                }
            });
            let mut all: Vec<&str> = balancers.collect();
            all.append(&mut addresses);
            if all.is_empty() { "<pending>".to_owned() } else { all.join(",") }
        }
        "ExternalName" => text(service, &["spec", "externalName"]).to_owned(),
        _ => "<unknown>".to_owned(),
    }
}

fn ports(service: &Value) -> String {
    let ports: Vec<String> = items(service, &["spec", "ports"])
        .iter()
        .map(|port| {
            let (outside, protocol) =
                (number(port, &["port"]).unwrap_or_default(), text(port, &["protocol"]));
            match number(port, &["nodePort"]).unwrap_or_default() {
                0 => format!("{outside}/{protocol}"),
                node_port => format!("{outside}:{node_port}/{protocol}"),
            }
        })
        .collect();
    or_none(&ports.join(",")).to_owned()
}
