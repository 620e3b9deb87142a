//! Nodes.

use std::collections::BTreeSet;

use serde_json::Value;

use super::address::valid_cidr;
use super::{each, names};
use crate::apiserver::rules::error::FieldError;
use crate::apiserver::rules::value::{items, strings, text};

pub(super) fn create(node: &Value) -> Vec<FieldError> {
    let mut errors = taints(node);
    let networks = strings(node, &["spec", "podCIDRs"]);
    for (index, network) in networks.iter().enumerate() {
        let field = format!("spec.podCIDRs[{index}]");
        errors.extend(valid_cidr(&field, network));
        if networks.iter().take(index).any(|earlier| earlier == network) {
            errors.push(FieldError::duplicate(&field, *network));
        }
    }
    errors
}

pub(super) fn update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let addresses = items(new, &["status", "addresses"]);
    for (index, address) in addresses.iter().enumerate() {
        if addresses.iter().take(index).any(|earlier| earlier == address) {
            errors.push(FieldError::duplicate(format!("status.addresses[{index}]"), address.clone()));
        }
    }
    let before = items(old, &["spec", "podCIDRs"]);
    if !before.is_empty() && before != items(new, &["spec", "podCIDRs"]) {
        let detail = "node updates may not change podCIDR except from \"\" to valid";
        errors.push(FieldError::forbidden("spec.podCIDRs", detail));
    }
    let before = text(old, &["spec", "providerID"]);
    if !before.is_empty() && before != text(new, &["spec", "providerID"]) {
        let detail = "node updates may not change providerID except from \"\" to valid";
        errors.push(FieldError::forbidden("spec.providerID", detail));
    }
    errors.extend(taints(new));
    errors
}

fn taints(node: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut seen = BTreeSet::new();
    for (index, taint) in items(node, &["spec", "taints"]).iter().enumerate() {
        let field = format!("metadata.taints[{index}]");
        let (key, effect) = (text(taint, &["key"]), text(taint, &["effect"]));
        errors.extend(each(&format!("{field}.key"), key, names::qualified_name(key)));
        let value = text(taint, &["value"]);
        errors.extend(each(&format!("{field}.value"), value, names::label_value(value)));
        match effect {
            "" => errors.push(FieldError::required(format!("{field}.effect"), "")),
            "NoSchedule" | "PreferNoSchedule" | "NoExecute" => {}
            other => errors.push(FieldError::not_supported(
                format!("{field}.effect"),
                other,
                &["NoSchedule", "PreferNoSchedule", "NoExecute"],
            )),
        }
        if !seen.insert((key, effect)) {
            let mut error = FieldError::duplicate(&field, taint.clone());
            error.detail = "taints must be unique by key and effect pair".to_owned();
            errors.push(error);
        }
    }
    errors
}
