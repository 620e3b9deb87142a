//! EndpointSlices (`pkg/apis/discovery/validation`).

use serde_json::Value;

use super::address::{non_special, valid_ip, valid_ipv4, valid_ipv6};
use super::{each, meta, names, protocol};
use crate::apiserver::rules::error::FieldError;
use crate::apiserver::rules::value::{at, entries, items, number, strings, text};

const MAX_ENDPOINTS: usize = 1000;
const MAX_ADDRESSES: usize = 100;
const MAX_PORTS: usize = 20_000;
const MAX_TOPOLOGY: usize = 16;
const MAX_HINTS: usize = 8;

pub(super) fn create(slice: &Value) -> Vec<FieldError> {
    check(slice, &["FQDN", "IPv4", "IPv6"])
}

pub(super) fn update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = check(new, &["FQDN", "IP", "IPv4", "IPv6"]);
    let (after, before) = (text(new, &["addressType"]), text(old, &["addressType"]));
    if after != before {
        errors.push(FieldError::immutable("addressType", after));
    }
    errors
}

fn check(slice: &Value, types: &[&str]) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let address_type = text(slice, &["addressType"]);
    if address_type.is_empty() {
        errors.push(FieldError::required("addressType", ""));
    } else if !types.contains(&address_type) {
        errors.push(FieldError::not_supported("addressType", address_type, types));
    }
    let endpoints = items(slice, &["endpoints"]);
    if endpoints.len() > MAX_ENDPOINTS {
        errors.push(FieldError::too_many("endpoints", endpoints.len(), MAX_ENDPOINTS));
    } else {
        for (index, endpoint) in endpoints.iter().enumerate() {
            self::endpoint(endpoint, address_type, &format!("endpoints[{index}]"), &mut errors);
        }
    }
    ports(items(slice, &["ports"]), &mut errors);
    errors
}

fn endpoint(endpoint: &Value, address_type: &str, field: &str, errors: &mut Vec<FieldError>) {
    let addresses = strings(endpoint, &["addresses"]);
    let list = format!("{field}.addresses");
    if addresses.is_empty() {
        errors.push(FieldError::required(&list, "must contain at least 1 address"));
    } else if addresses.len() > MAX_ADDRESSES {
        errors.push(FieldError::too_many(&list, addresses.len(), MAX_ADDRESSES));
    }
    for (index, address) in addresses.into_iter().enumerate() {
        let field = format!("{list}[{index}]");
        match address_type {
            "IP" => errors.extend(valid_ip(&field, address)),
            "IPv4" => {
                errors.extend(valid_ipv4(&field, address));
                errors.extend(non_special(&field, address));
            }
            "IPv6" => {
                errors.extend(valid_ipv6(&field, address));
                errors.extend(non_special(&field, address));
            }
            "FQDN" => errors.extend(full_name(&field, address)),
            _ => {}
        }
    }
    if let Some(node) = at(endpoint, &["nodeName"]).and_then(Value::as_str) {
        errors.extend(each(&format!("{field}.nodeName"), node, names::subdomain(node)));
    }
    let topology = entries(endpoint, &["deprecatedTopology"]).count();
    let topology_field = format!("{field}.deprecatedTopology");
    if topology > MAX_TOPOLOGY {
        errors.push(FieldError::too_many(&topology_field, topology, MAX_TOPOLOGY));
    }
    errors.extend(meta::labels(endpoint, &["deprecatedTopology"], &topology_field));
    if let Some(hostname) = at(endpoint, &["hostname"]).and_then(Value::as_str) {
        errors.extend(each(&format!("{field}.hostname"), hostname, names::label(hostname)));
    }
    hints(endpoint, "forZones", names::label_value, field, errors);
    hints(endpoint, "forNodes", names::subdomain, field, errors);
}

fn hints(
    endpoint: &Value,
    list: &str,
    check: fn(&str) -> Vec<String>,
    field: &str,
    errors: &mut Vec<FieldError>,
) {
    let hints = items(endpoint, &["hints", list]);
    let field = format!("{field}.hints.{list}");
    if hints.len() > MAX_HINTS {
        errors.push(FieldError::too_many(&field, hints.len(), MAX_HINTS));
        return;
    }
    let names: Vec<&str> = hints.iter().map(|hint| text(hint, &["name"])).collect();
    for (index, name) in names.iter().enumerate() {
        let field = format!("{field}[{index}].name");
        if names.iter().take(index).any(|earlier| earlier == name) {
            errors.push(FieldError::duplicate(&field, *name));
        }
        errors.extend(each(&field, name, check(name)));
    }
}

fn ports(ports: &[Value], errors: &mut Vec<FieldError>) {
    if ports.len() > MAX_PORTS {
        errors.push(FieldError::too_many("ports", ports.len(), MAX_PORTS));
        return;
    }
    let mut seen = std::collections::BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let field = |key: &str| format!("ports[{index}].{key}");
        let name = text(port, &["name"]);
        if !name.is_empty() {
            errors.extend(each(&field("name"), name, names::label(name)));
        }
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(field("name"), name));
        }
        if let Some(number) = number(port, &["port"]) {
            for detail in names::port_number(number) {
                errors.push(FieldError::invalid(field("port"), number, detail));
            }
        }
        errors.extend(protocol(text(port, &["protocol"]), field("protocol")));
        if let Some(name) = at(port, &["appProtocol"]).and_then(Value::as_str) {
            errors.extend(each(&field("appProtocol"), name, names::qualified_name(name)));
        }
    }
}

fn full_name(field: &str, value: &str) -> Vec<FieldError> {
    let name = value.strip_suffix('.').unwrap_or(value);
    if name.is_empty() {
        return vec![FieldError::required(field, "")];
    }
    let mut errors = each(field, name, names::subdomain(name));
    if errors.is_empty() && !name.contains('.') {
        let detail = "should be a domain with at least two segments separated by dots";
        errors.push(FieldError::invalid(field, name, detail));
    }
    errors
}
