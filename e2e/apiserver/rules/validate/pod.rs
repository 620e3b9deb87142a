//! Pods (`ValidatePodSpec`, `ValidatePodUpdate`, `ValidatePodStatusUpdate`).

use std::collections::BTreeSet;

use serde_json::Value;

use super::address::{is_dual_stack, valid_ip};
use super::container::{self, Surroundings};
use super::{each, meta, names, non_negative};
use crate::apiserver::rules::error::FieldError;
use crate::apiserver::rules::value::{at, copy, flag, items, items_mut, number, remove, set, strings, text};

/// What a pod's update may change, as the refusal says it.
const UPDATABLE: &str = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
    `spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set \
    to 1 if it was previously negative)";

pub(super) fn create(pod: &Value) -> Vec<FieldError> {
    let null = Value::Null;
    let mut errors = spec(at(pod, &["spec"]).unwrap_or(&null), "spec");
    addresses(pod, &mut errors);
    errors
}

pub(super) fn update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = create(new);
    for list in ["containers", "initContainers"] {
        let (after, before) = (items(new, &["spec", list]), items(old, &["spec", list]));
        if after.len() != before.len() {
            let detail = "pod updates may not add or remove containers";
            errors.push(FieldError::forbidden(format!("spec.{list}"), detail));
            return errors;
        }
        for (index, container) in
            after.iter().enumerate().filter(|(_, container)| text(container, &["image"]).trim().is_empty())
        {
            let field = format!("spec.{list}[{index}].image");
            if text(container, &["image"]).is_empty() {
                errors.push(FieldError::required(field, ""));
            }
        }
    }
    deadline(new, old, &mut errors);
    added_only(new, old, &mut errors);
    let mut same = new.clone();
    forgive(&mut same, old);
    let null = Value::Null;
    let (after, before) = (at(&same, &["spec"]).unwrap_or(&null), at(old, &["spec"]).unwrap_or(&null));
    if after != before {
        let changed = changes(before, after).join("\n");
        let detail = format!("pod updates may not change fields other than {UPDATABLE}\n{changed}");
        errors.push(FieldError::forbidden("spec", detail));
    }
    errors
}

pub(super) fn status_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (index, condition) in items(new, &["status", "conditions"]).iter().enumerate() {
        let kind = text(condition, &["type"]);
        errors.extend(each(&format!("metadata.conditions[{index}].Type"), kind, names::qualified_name(kind)));
    }
    let (after, before) = (text(new, &["status", "qosClass"]), text(old, &["status", "qosClass"]));
    if !before.is_empty() && after != before {
        errors.push(FieldError::immutable("status.qosClass", after));
    }
    addresses(new, &mut errors);
    errors
}

/// A `PodSpec`, of a pod or of a template.
pub(super) fn spec(spec: &Value, field: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let at_field = |key: &str| format!("{field}.{key}");
    let mut volumes = BTreeSet::new();
    for (index, volume) in items(spec, &["volumes"]).iter().enumerate() {
        let field = format!("{}[{index}].name", at_field("volumes"));
        let name = text(volume, &["name"]);
        if name.is_empty() {
            errors.push(FieldError::required(field, ""));
            continue;
        }
        errors.extend(each(&field, name, names::label(name)));
        if !volumes.insert(name) {
            errors.push(FieldError::duplicate(field, name));
        }
    }
    containers(spec, volumes, field, &mut errors);
    match text(spec, &["restartPolicy"]) {
        "" => errors.push(FieldError::required(at_field("restartPolicy"), "")),
        "Always" | "OnFailure" | "Never" => {}
        other => errors.push(FieldError::not_supported(
            at_field("restartPolicy"),
            other,
            &["Always", "Never", "OnFailure"],
        )),
    }
    dns(spec, field, &mut errors);
    errors.extend(meta::labels(spec, &["nodeSelector"], &at_field("nodeSelector")));
    type Check = fn(&str) -> Vec<String>;
    let checks: [(&str, Check); 4] = [
        ("hostname", names::label),
        ("subdomain", names::label),
        ("serviceAccountName", names::subdomain),
        ("nodeName", names::subdomain),
    ];
    for (key, check) in checks {
        let value = text(spec, &[key]);
        if !value.is_empty() {
            errors.extend(each(&at_field(key), value, check(value)));
        }
    }
    if let Some(seconds) =
        number(spec, &["activeDeadlineSeconds"]).filter(|s| !(1..=i64::from(i32::MAX)).contains(s))
    {
        let detail = "must be between 1 and 2147483647, inclusive";
        errors.push(FieldError::invalid(at_field("activeDeadlineSeconds"), seconds, detail));
    }
    errors.extend(non_negative(
        number(spec, &["terminationGracePeriodSeconds"]),
        &at_field("terminationGracePeriodSeconds"),
    ));
    for (index, alias) in items(spec, &["hostAliases"]).iter().enumerate() {
        let field = format!("{}[{index}]", at_field("hostAliases"));
        errors.extend(valid_ip(&format!("{field}.ip"), text(alias, &["ip"])));
        for (index, name) in strings(alias, &["hostnames"]).into_iter().enumerate() {
            errors.extend(each(&format!("{field}.hostnames[{index}]"), name, names::subdomain(name)));
        }
    }
    errors
}

fn containers<'a>(spec: &'a Value, volumes: BTreeSet<&'a str>, field: &str, errors: &mut Vec<FieldError>) {
    let mut around =
        Surroundings { names: BTreeSet::new(), volumes, host_network: flag(spec, &["hostNetwork"]) };
    if items(spec, &["containers"]).is_empty() {
        errors.push(FieldError::required(format!("{field}.containers"), ""));
    }
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for (index, container) in items(spec, &[list]).iter().enumerate() {
            container::check(container, &mut around, &format!("{field}.{list}[{index}]"), errors);
        }
    }
}

fn dns(spec: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let policy = text(spec, &["dnsPolicy"]);
    match policy {
        "" => errors.push(FieldError::required(format!("{field}.dnsPolicy"), "")),
        "ClusterFirst" | "ClusterFirstWithHostNet" | "Default" | "None" => {}
        other => errors.push(FieldError::not_supported(
            format!("{field}.dnsPolicy"),
            other,
            &["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"],
        )),
    }
    let servers = strings(spec, &["dnsConfig", "nameservers"]);
    if policy == "None" && servers.is_empty() {
        let detail = "must provide `dnsConfig` when `dnsPolicy` is None";
        if at(spec, &["dnsConfig"]).is_none() {
            errors.push(FieldError::required(format!("{field}.dnsConfig"), detail));
        } else {
            let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            errors.push(FieldError::required(format!("{field}.dnsConfig.nameservers"), detail));
        }
    }
    if servers.len() > 3 {
        let detail = "must not have more than 3 nameservers";
        errors.push(FieldError::invalid(format!("{field}.dnsConfig.nameservers"), servers.clone(), detail));
    }
    for (index, server) in servers.into_iter().enumerate() {
        errors.extend(valid_ip(&format!("{field}.dnsConfig.nameservers[{index}]"), server));
    }
}

/// The addresses in a pod's status.
fn addresses(pod: &Value, errors: &mut Vec<FieldError>) {
    for list in ["podIPs", "hostIPs"] {
        let addresses: Vec<&str> =
            items(pod, &["status", list]).iter().map(|item| text(item, &["ip"])).collect();
        let field = format!("status.{list}");
        for (index, address) in addresses.iter().enumerate() {
            errors.extend(valid_ip(&format!("{field}[{index}]"), address));
        }
        if addresses.len() > 1 && (addresses.len() > 2 || !is_dual_stack(&addresses)) {
            let shown = items(pod, &["status", list]).to_vec();
            let detail = "may specify no more than one IP for each IP family";
            errors.push(FieldError::invalid(field, shown, detail));
        }
    }
}

/// A deadline may be set, and may come closer.
fn deadline(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    const FIELD: &str = "spec.activeDeadlineSeconds";
    let seconds = |pod: &Value| number(pod, &["spec", "activeDeadlineSeconds"]);
    match (seconds(old), seconds(new)) {
        (Some(before), Some(after)) if after > before => {
            errors.push(FieldError::invalid(FIELD, after, "must be less than or equal to previous value"));
        }
        (Some(_), None) => {
            let detail = "must not update from a positive integer to nil value";
            errors.push(FieldError::invalid(FIELD, Value::Null, detail));
        }
        _ => {}
    }
}

/// Tolerations are only added, scheduling gates only removed.
fn added_only(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let after = items(new, &["spec", "tolerations"]);
    let same = |one: &Value, other: &Value| {
        let bare = |toleration: &Value| {
            let mut toleration = toleration.clone();
            remove(&mut toleration, &["tolerationSeconds"]);
            toleration
        };
        bare(one) == bare(other)
    };
    if items(old, &["spec", "tolerations"])
        .iter()
        .any(|before| !after.iter().any(|after| same(after, before)))
    {
        let detail = "existing toleration can not be modified except its tolerationSeconds";
        errors.push(FieldError::forbidden("spec.tolerations", detail));
    }
    let before = items(old, &["spec", "schedulingGates"]);
    if items(new, &["spec", "schedulingGates"]).iter().any(|gate| !before.contains(gate)) {
        let detail = "only deletion is allowed, but found new scheduling gates";
        errors.push(FieldError::forbidden("spec.schedulingGates", detail));
    }
}

/// Makes the fields that may change what they were, so that the rest can be compared.
fn forgive(new: &mut Value, old: &Value) {
    for list in ["containers", "initContainers"] {
        let before = items(old, &["spec", list]);
        for (container, before) in items_mut(new, &["spec", list]).zip(before) {
            copy(container, before, &["image"]);
        }
    }
    for key in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
        copy(new, old, &["spec", key]);
    }
    let grace = ["spec", "terminationGracePeriodSeconds"];
    if let (Some(before), Some(1)) = (number(old, &grace).filter(|before| *before < 0), number(new, &grace)) {
        set(new, &grace, before);
    }
}

/// The fields that differ, one line each.
fn changes(before: &Value, after: &Value) -> Vec<String> {
    let keys: BTreeSet<&String> =
        [before, after].into_iter().filter_map(Value::as_object).flat_map(serde_json::Map::keys).collect();
    let show = |value: Option<&Value>| value.map_or_else(|| "<none>".to_owned(), Value::to_string);
    keys.into_iter()
        .filter(|key| before.get(*key) != after.get(*key))
        .map(|key| format!("  {key}: {} -> {}", show(before.get(key)), show(after.get(key))))
        .collect()
}
