//! Containers of a pod.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{each, names, protocol};
use crate::apiserver::rules::error::FieldError;
use crate::apiserver::rules::value::{at, items, number, text};

/// What containers are checked against: the names taken so far, the volumes there are, and the host's network.
pub(super) struct Surroundings<'a> {
    pub(super) names: BTreeSet<&'a str>,
    pub(super) volumes: BTreeSet<&'a str>,
    pub(super) host_network: bool,
}

pub(super) fn check<'a>(
    container: &'a Value,
    around: &mut Surroundings<'a>,
    field: &str,
    errors: &mut Vec<FieldError>,
) {
    let name = text(container, &["name"]);
    let name_field = format!("{field}.name");
    if name.is_empty() {
        errors.push(FieldError::required(&name_field, ""));
    } else {
        errors.extend(each(&name_field, name, names::label(name)));
        if !around.names.insert(name) {
            errors.push(FieldError::duplicate(&name_field, name));
        }
    }
    let image = text(container, &["image"]);
    if image.is_empty() {
        errors.push(FieldError::required(format!("{field}.image"), ""));
    } else if image.trim() != image {
        let detail = "must not have leading or trailing whitespace";
        errors.push(FieldError::invalid(format!("{field}.image"), image, detail));
    }
    match text(container, &["imagePullPolicy"]) {
        "" => errors.push(FieldError::required(format!("{field}.imagePullPolicy"), "")),
        "Always" | "IfNotPresent" | "Never" => {}
        other => errors.push(FieldError::not_supported(
            format!("{field}.imagePullPolicy"),
            other,
            &["Always", "IfNotPresent", "Never"],
        )),
    }
    match text(container, &["terminationMessagePolicy"]) {
        "" | "File" | "FallbackToLogsOnError" => {}
        other => errors.push(FieldError::not_supported(
            format!("{field}.terminationMessagePolicy"),
            other,
            &["FallbackToLogsOnError", "File"],
        )),
    }
    ports(container, around.host_network, field, errors);
    environment(container, field, errors);
    mounts(container, &around.volumes, field, errors);
}

fn ports(container: &Value, host_network: bool, field: &str, errors: &mut Vec<FieldError>) {
    let mut seen = BTreeSet::new();
    for (index, port) in items(container, &["ports"]).iter().enumerate() {
        let field = |key: &str| format!("{field}.ports[{index}].{key}");
        let name = text(port, &["name"]);
        if !name.is_empty() {
            let wrong = names::port_name(name);
            if wrong.is_empty() && !seen.insert(name) {
                errors.push(FieldError::duplicate(field("name"), name));
            }
            errors.extend(each(&field("name"), name, wrong));
        }
        let inside = number(port, &["containerPort"]).unwrap_or_default();
        if inside == 0 {
            errors.push(FieldError::required(field("containerPort"), ""));
        } else {
            for detail in names::port_number(inside) {
                errors.push(FieldError::invalid(field("containerPort"), inside, detail));
            }
        }
        let outside = number(port, &["hostPort"]).unwrap_or_default();
        if outside != 0 {
            for detail in names::port_number(outside) {
                errors.push(FieldError::invalid(field("hostPort"), outside, detail));
            }
        }
        errors.extend(protocol(text(port, &["protocol"]), field("protocol")));
        if host_network && outside != inside {
            let detail = "must match `hostPort` when `hostNetwork` is true";
            errors.push(FieldError::invalid(field("containerPort"), inside, detail));
        }
    }
}

fn environment(container: &Value, field: &str, errors: &mut Vec<FieldError>) {
    for (index, variable) in items(container, &["env"]).iter().enumerate() {
        let field = format!("{field}.env[{index}]");
        let name = text(variable, &["name"]);
        if name.is_empty() {
            errors.push(FieldError::required(format!("{field}.name"), ""));
        } else if !name.chars().all(|c| (' '..='~').contains(&c) && c != '=') {
            let detail = "a valid environment variable name must consist only of printable ASCII characters other \
                          than '='";
            errors.push(FieldError::invalid(format!("{field}.name"), name, detail));
        }
        if let Some(from) = at(variable, &["valueFrom"]) {
            let from_field = format!("{field}.valueFrom");
            if !text(variable, &["value"]).is_empty() {
                let detail = "may not be specified when `value` is not empty";
                errors.push(FieldError::invalid(&from_field, "", detail));
            }
            match from.as_object().map_or(0, serde_json::Map::len) {
                0 => {
                    let detail = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, \
                                  `secretKeyRef` or `fileKeyRef`";
                    errors.push(FieldError::invalid(&from_field, "", detail));
                }
                1 => {}
                _ => {
                    let detail = "may not have more than one field specified at a time";
                    errors.push(FieldError::invalid(&from_field, "", detail));
                }
            }
        }
    }
}

fn mounts(container: &Value, volumes: &BTreeSet<&str>, field: &str, errors: &mut Vec<FieldError>) {
    let mut seen = BTreeSet::new();
    for (index, mount) in items(container, &["volumeMounts"]).iter().enumerate() {
        let field = |key: &str| format!("{field}.volumeMounts[{index}].{key}");
        let name = text(mount, &["name"]);
        if name.is_empty() {
            errors.push(FieldError::required(field("name"), ""));
        } else if !volumes.contains(name) {
            errors.push(FieldError::not_found(field("name"), name));
        }
        let path = text(mount, &["mountPath"]);
        if path.is_empty() {
            errors.push(FieldError::required(field("mountPath"), ""));
        } else if !seen.insert(path) {
            errors.push(FieldError::invalid(field("mountPath"), path, "must be unique"));
        }
    }
}
