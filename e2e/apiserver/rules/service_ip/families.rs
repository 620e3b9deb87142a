//! The IP families of a Service: from what the user said, from its addresses, or by default
//! (`initIPFamilyFields`). Both families are configured here, IPv4 first.

use serde_json::{Value, json};

use crate::apiserver::rules::error::FieldError;
use crate::apiserver::rules::validate::cluster_ip_fields;
use crate::apiserver::rules::value::{at, entries, items, set, strings, text};

const POLICY: [&str; 2] = ["spec", "ipFamilyPolicy"];
const FAMILIES: [&str; 2] = ["spec", "ipFamilies"];
const ADDRESSES: [&str; 2] = ["spec", "clusterIPs"];

pub(super) fn init(service: &mut Value, old: Option<&Value>) -> Result<(), Vec<FieldError>> {
    if text(service, &["spec", "type"]) == "ExternalName" || unchanged_prefer_dual_stack(service, old) {
        return Ok(());
    }
    let headless = text(service, &["spec", "clusterIP"]) == "None";
    let selectorless = entries(service, &["spec", "selector"]).next().is_none();
    if at(service, &POLICY).is_none() {
        let before = old.and_then(|old| at(old, &POLICY)).cloned();
        let policy = before.unwrap_or_else(|| {
            json!(if headless && selectorless { "RequireDualStack" } else { "SingleStack" })
        });
        set(service, &POLICY, policy);
    }
    let errors = cluster_ip_fields(service);
    if !errors.is_empty() {
        return Err(errors);
    }
    let single = text(service, &POLICY) == "SingleStack";
    let mut errors = Vec::new();
    if let Some(old) = old {
        downgrade(service, old, single, &mut errors);
    }
    let mut refuse = |service: &Value, detail: &str| {
        errors.push(FieldError::invalid("spec.ipFamilyPolicy", text(service, &POLICY), detail));
    };
    if single && items(service, &ADDRESSES).len() == 2 {
        refuse(
            service,
            "must be 'RequireDualStack' or 'PreferDualStack' when multiple cluster IPs are specified",
        );
    }
    if single && items(service, &FAMILIES).len() == 2 {
        refuse(
            service,
            "must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified",
        );
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let mut families: Vec<String> = strings(service, &FAMILIES).into_iter().map(str::to_owned).collect();
    for address in strings(service, &ADDRESSES).into_iter().skip(families.len()).filter(|a| *a != "None") {
        families.push(if address.contains(':') { "IPv6" } else { "IPv4" }.to_owned());
    }
    if families.is_empty() {
        families.push("IPv4".to_owned());
    }
    if let (false, [one]) = (single, families.as_slice()) {
        let other = if one == "IPv4" { "IPv6" } else { "IPv4" };
        families.push(other.to_owned());
    }
    set(service, &FAMILIES, json!(families));
    Ok(())
}

/// Asking for a single stack is enough to give the second family up; giving it up needs asking for a single stack.
fn downgrade(service: &mut Value, old: &Value, single: bool, errors: &mut Vec<FieldError>) {
    for (path, what) in [(ADDRESSES, "cluster IP"), (FAMILIES, "IP family")] {
        let (before, after) = (items(old, &path), items(service, &path));
        if single {
            if before == after && after.len() > 1 {
                let first: Vec<Value> = after.iter().take(1).cloned().collect();
                set(service, &path, first);
            }
        } else if !before.is_empty() && !after.is_empty() && after.len() < before.len() {
            let detail = format!("must be 'SingleStack' to release the secondary {what}");
            errors.push(FieldError::invalid("spec.ipFamilyPolicy", text(service, &POLICY), detail));
        }
    }
}

/// A Service that prefers two stacks is neither widened nor narrowed by updates that are about other things.
fn unchanged_prefer_dual_stack(service: &Value, old: Option<&Value>) -> bool {
    let Some(old) = old else {
        return false;
    };
    text(old, &["spec", "type"]) != "ExternalName"
        && text(service, &POLICY) == "PreferDualStack"
        && text(old, &POLICY) == "PreferDualStack"
        && items(service, &ADDRESSES) == items(old, &ADDRESSES)
        && items(service, &FAMILIES) == items(old, &FAMILIES)
}
