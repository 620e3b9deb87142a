//! Endpoints (`ValidateEndpoints`).

use serde_json::Value;

use super::address::{non_special, valid_ip};
use super::{each, names, protocol};
use crate::apiserver::rules::error::FieldError;
use crate::apiserver::rules::value::{at, items, number, text};

pub(super) fn check(endpoints: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (index, subset) in items(endpoints, &["subsets"]).iter().enumerate() {
        let field = format!("subsets[{index}]");
        if items(subset, &["addresses"]).is_empty() && items(subset, &["notReadyAddresses"]).is_empty() {
            let detail = "must specify `addresses` or `notReadyAddresses`";
            errors.push(FieldError::required(&field, detail));
        }
        for list in ["addresses", "notReadyAddresses"] {
            for (index, address) in items(subset, &[list]).iter().enumerate() {
                self::address(address, &format!("{field}.{list}[{index}]"), &mut errors);
            }
        }
        let ports = items(subset, &["ports"]);
        for (index, port) in ports.iter().enumerate() {
            self::port(port, ports.len() > 1, &format!("{field}.ports[{index}]"), &mut errors);
        }
    }
    errors
}

fn address(address: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let ip = text(address, &["ip"]);
    let ip_field = format!("{field}.ip");
    errors.extend(valid_ip(&ip_field, ip));
    let hostname = text(address, &["hostname"]);
    if !hostname.is_empty() {
        errors.extend(each(&format!("{field}.hostname"), hostname, names::label(hostname)));
    }
    if let Some(node) = at(address, &["nodeName"]).and_then(Value::as_str) {
        errors.extend(each(&format!("{field}.nodeName"), node, names::subdomain(node)));
    }
    errors.extend(non_special(&ip_field, ip));
}

fn port(port: &Value, name_required: bool, field: &str, errors: &mut Vec<FieldError>) {
    let name = text(port, &["name"]);
    if !name.is_empty() {
        errors.extend(each(&format!("{field}.name"), name, names::label(name)));
    } else if name_required {
        errors.push(FieldError::required(format!("{field}.name"), ""));
    }
    let number = number(port, &["port"]).unwrap_or_default();
    for detail in names::port_number(number) {
        errors.push(FieldError::invalid(format!("{field}.port"), number, detail));
    }
    errors.extend(protocol(text(port, &["protocol"]), format!("{field}.protocol")));
    if let Some(name) = at(port, &["appProtocol"]).and_then(Value::as_str) {
        errors.extend(each(&format!("{field}.appProtocol"), name, names::qualified_name(name)));
    }
}
