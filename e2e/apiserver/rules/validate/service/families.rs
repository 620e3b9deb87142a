//! Cluster IPs and IP families: what fits together, and what an update may change.

use serde_json::Value;

use super::is_headless;
use crate::apiserver::rules::error::FieldError;
use crate::apiserver::rules::validate::address::{is_dual_stack, valid_ip};
use crate::apiserver::rules::value::{at, items, strings, text};

/// `clusterIP`, `clusterIPs`, `ipFamilies` and `ipFamilyPolicy` among themselves
/// (`ValidateServiceClusterIPsRelatedFields`); the allocator asks too.
pub fn cluster_ip_fields(service: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if text(service, &["spec", "type"]) == "ExternalName" {
        return errors;
    }
    let list = Value::from(items(service, &["spec", "clusterIPs"]).to_vec());
    let addresses = strings(service, &["spec", "clusterIPs"]);
    let mut refuse = |detail: &str| errors.push(FieldError::invalid("spec.clusterIPs", list.clone(), detail));
    match (text(service, &["spec", "clusterIP"]), addresses.first()) {
        ("", Some(_)) => refuse("must be empty when `clusterIP` is not specified"),
        ("", None) => {}
        (_, None) => errors.push(FieldError::required("spec.clusterIPs", "")),
        (one, Some(first)) if one != *first => refuse("first value must match `clusterIP`"),
        _ => {}
    }
    let families = strings(service, &["spec", "ipFamilies"]);
    for (index, family) in families.iter().enumerate() {
        let field = format!("spec.ipFamilies[{index}]");
        if !matches!(*family, "IPv4" | "IPv6") {
            errors.push(FieldError::not_supported(&field, *family, &["IPv4", "IPv6"]));
        }
        if families.iter().take(index).any(|earlier| earlier == family) {
            errors.push(FieldError::duplicate(&field, *family));
        }
    }
    if let Some(policy) = at(service, &["spec", "ipFamilyPolicy"]).and_then(Value::as_str) {
        let supported = ["PreferDualStack", "RequireDualStack", "SingleStack"];
        if !supported.contains(&policy) {
            errors.push(FieldError::not_supported("spec.ipFamilyPolicy", policy, &supported));
        }
    }
    let mut bad_address = false;
    for (index, address) in addresses.iter().enumerate() {
        if index == 0 && *address == "None" {
            if addresses.len() > 1 {
                bad_address = true;
                let detail = "'None' must be the first and only value";
                errors.push(FieldError::invalid("spec.clusterIPs", list.clone(), detail));
            }
            continue;
        }
        let wrong = valid_ip(&format!("spec.clusterIPs[{index}]"), address);
        bad_address |= !wrong.is_empty();
        errors.extend(wrong);
    }
    if addresses.len() > 2 {
        errors.push(FieldError::invalid("spec.clusterIPs", list.clone(), "may only hold up to 2 values"));
    }
    if bad_address {
        return errors;
    }
    if addresses.len() > 1 && !is_dual_stack(&addresses) {
        let detail = "may specify no more than one IP for each IP family";
        errors.push(FieldError::invalid("spec.clusterIPs", list, detail));
    }
    if !is_headless(service) {
        for (index, (address, family)) in addresses.iter().zip(&families).enumerate() {
            let is_v6 = address.contains(':');
            if matches!((*family, is_v6), ("IPv4", true) | ("IPv6", false)) {
                let detail = format!("expected an {family} value as indicated by `ipFamilies[{index}]`");
                errors.push(FieldError::invalid(format!("spec.clusterIPs[{index}]"), *address, detail));
            }
        }
    }
    errors
}

/// The first address and the first family stay; a second may come and go by `ipFamilyPolicy`.
pub(super) fn update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let external = |service: &Value| text(service, &["spec", "type"]) == "ExternalName";
    if external(new) || external(old) {
        return errors;
    }
    let (headless, was_headless) = (is_headless(new), is_headless(old));
    if !(headless && was_headless) {
        changes(new, old, "clusterIPs", "clusterIP", &mut errors);
    }
    if !headless && !was_headless {
        changes(new, old, "ipFamilies", "ipFamily", &mut errors);
    }
    errors
}

fn changes(new: &Value, old: &Value, key: &str, one: &str, errors: &mut Vec<FieldError>) {
    let (after, before) = (items(new, &["spec", key]), items(old, &["spec", key]));
    let bad = Value::from(after.to_vec());
    let mut refuse = |index: usize, detail: String| {
        errors.push(FieldError::invalid(format!("spec.{key}[{index}]"), bad.clone(), detail));
    };
    if after.len() == before.len() {
        for (index, _) in before.iter().zip(after).enumerate().filter(|(_, (before, after))| before != after)
        {
            // Upstream names the first family whichever changed.
            refuse(if key == "ipFamilies" { 0 } else { index }, "may not change once set".to_owned());
        }
        return;
    }
    match (before.first(), after.first()) {
        (Some(_), None) => refuse(0, format!("primary {one} can not be unset")),
        (Some(before), Some(after)) if before != after => refuse(0, "may not change once set".to_owned()),
        _ => {}
    }
    if before.len() > after.len()
        && after.len() == 1
        && text(new, &["spec", "ipFamilyPolicy"]) != "SingleStack"
    {
        let policy = at(new, &["spec", "ipFamilyPolicy"]).cloned().unwrap_or(Value::Null);
        let detail = format!("must be set to 'SingleStack' when releasing the secondary {one}");
        errors.push(FieldError::invalid("spec.ipFamilyPolicy", policy, detail));
    }
}
