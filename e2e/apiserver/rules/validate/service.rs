//! Services (`ValidateService` and its kin in `pkg/apis/core/validation`).

mod families;

use serde_json::{Value, json};

pub use self::families::cluster_ip_fields;
use super::address::{non_special, valid_cidr, valid_ip};
use super::{each, meta, names, protocol};
use crate::apiserver::rules::error::FieldError;
use crate::apiserver::rules::strategy::service::{externally_accessible, needs_health_check};
use crate::apiserver::rules::value::{at, items, number, strings, text};

/// A day: the longest a session sticks.
const MAX_AFFINITY_SECONDS: i64 = 86_400;

pub(super) fn create(service: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    shape(service, &mut errors);
    ports(service, &mut errors);
    errors.extend(meta::labels(service, &["spec", "selector"], "spec.selector"));
    affinity(service, &mut errors);
    errors.extend(cluster_ip_fields(service));
    for (index, address) in strings(service, &["spec", "externalIPs"]).into_iter().enumerate() {
        let field = format!("spec.externalIPs[{index}]");
        let wrong = valid_ip(&field, address);
        errors.extend(if wrong.is_empty() { non_special(&field, address) } else { wrong });
    }
    match text(service, &["spec", "type"]) {
        "" => errors.push(FieldError::required("spec.type", "")),
        "ClusterIP" | "NodePort" | "LoadBalancer" | "ExternalName" => {}
        other => errors.push(FieldError::not_supported(
            "spec.type",
            other,
            &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"],
        )),
    }
    port_duplicates(service, &mut errors);
    load_balancer(service, &mut errors);
    traffic(service, &mut errors);
    errors
}

pub(super) fn update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = families::update(new, old);
    let class = |service: &Value| at(service, &["spec", "loadBalancerClass"]).cloned();
    let balanced = |service: &Value| text(service, &["spec", "type"]) == "LoadBalancer";
    if balanced(new) && balanced(old) && class(new) != class(old) {
        let bad = class(new).unwrap_or(Value::Null);
        errors.push(FieldError::invalid("spec.loadBalancerClass", bad, "may not change once set"));
    }
    let health = |service: &Value| number(service, &["spec", "healthCheckNodePort"]).unwrap_or_default();
    if needs_health_check(new) && needs_health_check(old) && health(new) != health(old) {
        errors.push(FieldError::forbidden("spec.healthCheckNodePort", "field is immutable"));
    }
    errors.extend(create(new));
    errors
}

pub(super) fn status_update(service: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let ingresses = items(service, &["status", "loadBalancer", "ingress"]);
    if !ingresses.is_empty() && text(service, &["spec", "type"]) != "LoadBalancer" {
        let detail = "may only be used when `spec.type` is LoadBalancer";
        errors.push(FieldError::forbidden("status.loadBalancer.ingress", detail));
        return errors;
    }
    for (index, ingress) in ingresses.iter().enumerate() {
        let field = |key: &str| format!("status.loadBalancer.ingress[{index}].{key}");
        let address = text(ingress, &["ip"]);
        if !address.is_empty() {
            errors.extend(valid_ip(&field("ip"), address));
        }
        match (text(ingress, &["ipMode"]), address.is_empty()) {
            ("", _) => {}
            ("VIP" | "Proxy", false) => {}
            (_, true) => errors
                .push(FieldError::forbidden(field("ipMode"), "may not be specified when `ip` is not set")),
            (mode, false) => errors.push(FieldError::not_supported(field("ipMode"), mode, &["Proxy", "VIP"])),
        }
        let host = text(ingress, &["hostname"]);
        if !host.is_empty() {
            errors.extend(each(&field("hostname"), host, names::subdomain(host)));
            if host.parse::<std::net::IpAddr>().is_ok() {
                let detail = "must be a DNS name, not an IP address";
                errors.push(FieldError::invalid(field("hostname"), host, detail));
            }
        }
    }
    errors
}

fn is_headless(service: &Value) -> bool {
    strings(service, &["spec", "clusterIPs"]) == ["None"]
}

/// What each type must have and must not have.
fn shape(service: &Value, errors: &mut Vec<FieldError>) {
    let kind = text(service, &["spec", "type"]);
    if items(service, &["spec", "ports"]).is_empty() && !is_headless(service) && kind != "ExternalName" {
        errors.push(FieldError::required("spec.ports", ""));
    }
    match kind {
        "LoadBalancer" | "NodePort" if is_headless(service) => {
            let detail = format!("may not be set to 'None' for {kind} services");
            errors.push(FieldError::invalid("spec.clusterIPs[0]", "None", detail));
        }
        "ExternalName" => {
            for key in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                if at(service, &["spec", key]).is_some() {
                    let detail = "may not be set for ExternalName services";
                    errors.push(FieldError::forbidden(format!("spec.{key}"), detail));
                }
            }
            let name = text(service, &["spec", "externalName"]);
            match name.strip_suffix('.').unwrap_or(name) {
                "" => errors.push(FieldError::required("spec.externalName", "")),
                name => errors.extend(each("spec.externalName", name, names::subdomain(name))),
            }
        }
        _ => {}
    }
}

fn ports(service: &Value, errors: &mut Vec<FieldError>) {
    let ports = items(service, &["spec", "ports"]);
    let mut seen: Vec<&str> = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let field = |key: &str| format!("spec.ports[{index}].{key}");
        let name = text(port, &["name"]);
        if name.is_empty() {
            if ports.len() > 1 {
                errors.push(FieldError::required(field("name"), ""));
            }
        } else {
            errors.extend(each(&field("name"), name, names::label(name)));
            if seen.contains(&name) {
                errors.push(FieldError::duplicate(field("name"), name));
            }
            seen.push(name);
        }
        let port_number = number(port, &["port"]).unwrap_or_default();
        for detail in names::port_number(port_number) {
            errors.push(FieldError::invalid(field("port"), port_number, detail));
        }
        errors.extend(protocol(text(port, &["protocol"]), field("protocol")));
        match at(port, &["targetPort"]) {
            Some(Value::String(name)) => {
                errors.extend(each(&field("targetPort"), name, names::port_name(name)));
            }
            target => {
                let target = target.and_then(Value::as_i64).unwrap_or_default();
                for detail in names::port_number(target) {
                    errors.push(FieldError::invalid(field("targetPort"), target, detail));
                }
            }
        }
        if let Some(name) = at(port, &["appProtocol"]).and_then(Value::as_str) {
            errors.extend(each(&field("appProtocol"), name, names::qualified_name(name)));
        }
    }
}

fn port_duplicates(service: &Value, errors: &mut Vec<FieldError>) {
    let ports = items(service, &["spec", "ports"]);
    let node_port = |port: &Value| number(port, &["nodePort"]).unwrap_or_default();
    if text(service, &["spec", "type"]) == "ClusterIP" {
        for (index, _) in ports.iter().enumerate().filter(|(_, port)| node_port(port) != 0) {
            let detail = "may not be used when `type` is 'ClusterIP'";
            errors.push(FieldError::forbidden(format!("spec.ports[{index}].nodePort"), detail));
        }
    }
    let repeated = |key: &dyn Fn(&Value) -> i64| -> Vec<usize> {
        let keys: Vec<(&str, i64)> =
            ports.iter().map(|port| (text(port, &["protocol"]), key(port))).collect();
        (0..keys.len())
            .filter(|index| {
                let (earlier, rest) = keys.split_at(*index);
                rest.first().is_some_and(|key| key.1 != 0 && earlier.contains(key))
            })
            .collect()
    };
    for index in repeated(&node_port) {
        let bad = ports.get(index).map(node_port).unwrap_or_default();
        errors.push(FieldError::duplicate(format!("spec.ports[{index}].nodePort"), bad));
    }
    for index in repeated(&|port| number(port, &["port"]).unwrap_or_default()) {
        if let Some(port) = ports.get(index) {
            // Upstream shows its internal form of the port.
            let bad = json!({
                "Name": "", "Protocol": text(port, &["protocol"]), "AppProtocol": null,
                "Port": number(port, &["port"]), "TargetPort": 0, "NodePort": 0,
            });
            errors.push(FieldError::duplicate(format!("spec.ports[{index}]"), bad));
        }
    }
}

fn affinity(service: &Value, errors: &mut Vec<FieldError>) {
    const FIELD: &str = "spec.sessionAffinityConfig";
    let config = at(service, &["spec", "sessionAffinityConfig"]);
    match text(service, &["spec", "sessionAffinity"]) {
        "" => errors.push(FieldError::required("spec.sessionAffinity", "")),
        "None" => {
            if config.is_some() {
                errors.push(FieldError::forbidden(FIELD, "must not be set when session affinity is None"));
            }
        }
        "ClientIP" => {
            let seconds = config.and_then(|config| number(config, &["clientIP", "timeoutSeconds"]));
            match seconds {
                None => errors.push(FieldError::required(FIELD, "when session affinity type is ClientIP")),
                Some(seconds) if !(1..=MAX_AFFINITY_SECONDS).contains(&seconds) => {
                    let detail = format!("must be greater than 0 and less than {MAX_AFFINITY_SECONDS}");
                    errors.push(FieldError::invalid(
                        format!("{FIELD}.clientIP.timeoutSeconds"),
                        seconds,
                        detail,
                    ));
                }
                Some(_) => {}
            }
        }
        other => errors.push(FieldError::not_supported("spec.sessionAffinity", other, &["ClientIP", "None"])),
    }
}

fn load_balancer(service: &Value, errors: &mut Vec<FieldError>) {
    const ONLY: &str = "may only be used when `type` is 'LoadBalancer'";
    let balanced = text(service, &["spec", "type"]) == "LoadBalancer";
    let ranges = strings(service, &["spec", "loadBalancerSourceRanges"]);
    if !ranges.is_empty() && !balanced {
        errors.push(FieldError::forbidden("spec.LoadBalancerSourceRanges", ONLY));
    }
    for (index, range) in ranges.into_iter().enumerate() {
        errors.extend(valid_cidr(&format!("spec.LoadBalancerSourceRanges[{index}]"), range.trim()));
    }
    let allocate = at(service, &["spec", "allocateLoadBalancerNodePorts"]);
    if allocate.is_some() && !balanced {
        errors.push(FieldError::forbidden("spec.allocateLoadBalancerNodePorts", ONLY));
    }
    if allocate.is_none() && balanced {
        errors.push(FieldError::required("allocateLoadBalancerNodePorts", ""));
    }
    if let Some(class) = at(service, &["spec", "loadBalancerClass"]).and_then(Value::as_str) {
        if balanced {
            errors.extend(each("spec.loadBalancerClass", class, names::qualified_name(class)));
        } else {
            errors.push(FieldError::forbidden("spec.loadBalancerClass", ONLY));
        }
    }
}

fn traffic(service: &Value, errors: &mut Vec<FieldError>) {
    const POLICIES: &[&str] = &["Cluster", "Local"];
    let external = text(service, &["spec", "externalTrafficPolicy"]);
    let field = "spec.externalTrafficPolicy";
    match (externally_accessible(service), external) {
        (false, "") | (true, "Cluster" | "Local") => {}
        (false, bad) => {
            errors.push(FieldError::invalid(
                field,
                bad,
                "may only be set for externally-accessible services",
            ));
        }
        (true, "") => errors.push(FieldError::required(field, "")),
        (true, bad) => errors.push(FieldError::not_supported(field, bad, POLICIES)),
    }
    let field = "spec.healthCheckNodePort";
    let health = number(service, &["spec", "healthCheckNodePort"]).unwrap_or_default();
    match (needs_health_check(service), health) {
        (false, 0) => {}
        (false, bad) => {
            let detail =
                "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
            errors.push(FieldError::invalid(field, bad, detail));
        }
        (true, 0) => errors.push(FieldError::required(field, "")),
        (true, port) => {
            errors.extend(
                names::port_number(port).into_iter().map(|text| FieldError::invalid(field, port, text)),
            );
        }
    }
    let field = "spec.internalTrafficPolicy";
    let kind = text(service, &["spec", "type"]);
    match at(service, &["spec", "internalTrafficPolicy"]).map(|policy| policy.as_str().unwrap_or_default()) {
        None if matches!(kind, "NodePort" | "LoadBalancer" | "ClusterIP") => {
            errors.push(FieldError::required(field, ""));
        }
        None | Some("Cluster" | "Local") => {}
        Some(bad) => errors.push(FieldError::not_supported(field, bad, POLICIES)),
    }
    match at(service, &["spec", "trafficDistribution"]).map(|value| value.as_str().unwrap_or_default()) {
        None | Some("PreferClose" | "PreferSameNode" | "PreferSameZone") => {}
        Some(bad) => errors.push(FieldError::not_supported(
            "spec.trafficDistribution",
            bad,
            &["PreferClose", "PreferSameNode", "PreferSameZone"],
        )),
    }
}
