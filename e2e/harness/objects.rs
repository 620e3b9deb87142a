//! Endpoints and EndpointSlices in the form in which the cases record them.
//!
//! Names of slices, uids and versions differ from run to run; which slice holds which endpoint may differ between two
//! right controllers. What is compared is what consumers see: per Service and address type the groups of equal ports
//! with their endpoints, the labels and annotations, the owner, and the sizes where the case is certain of them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::cluster::text;

const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MIRRORING: &str = "endpointslicemirroring-controller.k8s.io";
const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// `namespace/name` → labels, annotations and subsets of the Endpoints in `namespaces`.
pub fn endpoints(objects: &[Value], namespaces: &[String]) -> BTreeMap<String, Value> {
    let mut recorded = BTreeMap::new();
    for object in objects.iter().filter(|object| is_in(object, namespaces)) {
        let mut subsets = object.get("subsets").cloned().unwrap_or_else(|| json!([]));
        strip_target_refs(&mut subsets);
        sort_lists(&mut subsets);
        let value = json!({
            "labels": map_at(object, "/metadata/labels"),
            "annotations": annotations(object),
            "subsets": subsets,
        });
        recorded.insert(path(object, text(object, "/metadata/name").unwrap_or_default()), value);
    }
    recorded
}

/// `namespace/service/addressType` → what the slices in `namespaces` hold together. Slices that a case made itself, and
/// those without a Service, are left out.
pub fn slices(objects: &[Value], namespaces: &[String]) -> BTreeMap<String, Value> {
    let mut grouped: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for object in objects.iter().filter(|object| is_in(object, namespaces)) {
        let labels = map_at(object, "/metadata/labels");
        let by_hand = labels.get(MANAGED_BY).and_then(Value::as_str) == Some("hand");
        if let (Some(service), false) = (labels.get(SERVICE_NAME).and_then(Value::as_str), by_hand) {
            let key =
                path(object, &format!("{service}/{}", text(object, "/addressType").unwrap_or_default()));
            grouped.entry(key).or_default().push(object);
        }
    }
    grouped.into_iter().map(|(key, slices)| (key, together(&slices))).collect()
}

/// What several slices of one Service and address type hold together.
fn together(slices: &[&Value]) -> Value {
    let mut groups: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let mut sizes = Vec::new();
    for slice in slices {
        let mut endpoints = slice.get("endpoints").cloned().unwrap_or_else(|| json!([]));
        strip_target_refs(&mut endpoints);
        let endpoints = endpoints.as_array().cloned().unwrap_or_default();
        sizes.push(endpoints.len());
        groups.entry(ports_key(slice.get("ports"))).or_default().extend(endpoints);
    }
    sizes.sort_unstable();
    let mut groups = serde_json::to_value(groups).unwrap_or_default();
    sort_lists(&mut groups);
    let first = slices.first().copied().unwrap_or(&Value::Null);
    let mut labels = map_at(first, "/metadata/labels");
    let mirror = labels.get(MANAGED_BY).and_then(Value::as_str) == Some(MIRRORING);
    labels.remove(SERVICE_NAME);
    labels.remove(MANAGED_BY);
    let owners = first.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let owners = owners.into_iter().flatten().map(|owner| {
        let controller =
            if owner.get("controller").and_then(Value::as_bool) == Some(true) { "True" } else { "False" };
        format!(
            "{}/{}/{controller}",
            text(owner, "/kind").unwrap_or_default(),
            text(owner, "/name").unwrap_or_default()
        )
    });
    json!({
        "labels": labels,
        "annotations": annotations(first),
        "groups": groups,
        "mirror": mirror,
        "owner": owners.collect::<Vec<_>>(),
        "sizes": sizes,
    })
}

/// What differs between what is wanted and what is there, one line each; empty when nothing does.
pub fn differences(wanted: &BTreeMap<String, Value>, found: &BTreeMap<String, Value>) -> Vec<String> {
    let mut lines = Vec::new();
    for (key, wanted) in wanted {
        let Some(found) = found.get(key) else {
            lines.push(format!("{key}: missing"));
            continue;
        };
        let fields: Vec<&String> =
            wanted.as_object().map(|fields| fields.keys().collect()).unwrap_or_default();
        for field in fields {
            let (wanted, found) = (wanted.get(field), found.get(field));
            // Sizes are recorded only where they are certain.
            if wanted != found && !(field == "sizes" && wanted.is_none_or(Value::is_null)) {
                let show = |value: Option<&Value>| value.map(Value::to_string).unwrap_or_default();
                lines.push(format!(
                    "{key}: {field}\n    wanted {}\n    found  {}",
                    show(wanted),
                    show(found)
                ));
            }
        }
    }
    lines.extend(
        found.keys().filter(|key| !wanted.contains_key(*key)).map(|key| format!("{key}: not wanted")),
    );
    lines
}

/// A case's own form with every list sorted the way this module sorts.
pub fn canonical(recorded: &BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let mut recorded = recorded.clone();
    for value in recorded.values_mut() {
        sort_lists(value);
        let Some(groups) = value.get_mut("groups").and_then(Value::as_object_mut) else { continue };
        let old = std::mem::take(groups);
        groups.extend(old.into_iter().map(|(key, endpoints)| {
            let ports: Option<Value> = serde_json::from_str(&key).ok();
            (ports_key(ports.as_ref()), endpoints)
        }));
    }
    recorded
}

fn is_in(object: &Value, namespaces: &[String]) -> bool {
    text(object, "/metadata/namespace")
        .is_some_and(|namespace| namespaces.iter().any(|name| name == namespace))
}

fn path(object: &Value, rest: &str) -> String {
    format!("{}/{rest}", text(object, "/metadata/namespace").unwrap_or_default())
}

fn map_at(object: &Value, pointer: &str) -> Map<String, Value> {
    object.pointer(pointer).and_then(Value::as_object).cloned().unwrap_or_default()
}

fn annotations(object: &Value) -> Map<String, Value> {
    let mut annotations = map_at(object, "/metadata/annotations");
    annotations.remove(TRIGGER_TIME);
    annotations
}

fn ports_key(ports: Option<&Value>) -> String {
    let mut ports = ports.cloned().unwrap_or(Value::Null);
    sort_lists(&mut ports);
    // No ports and an empty list are one group to everybody.
    if ports.as_array().is_some_and(Vec::is_empty) { Value::Null.to_string() } else { ports.to_string() }
}

/// Removes from every `targetRef` what differs from run to run.
fn strip_target_refs(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(strip_target_refs),
        Value::Object(fields) => {
            if let Some(Value::Object(target)) = fields.get_mut("targetRef") {
                target.remove("uid");
                target.remove("resourceVersion");
            }
            fields.values_mut().for_each(strip_target_refs);
        }
        _ => {}
    }
}

/// Sorts every list by the text of its entries, innermost first.
fn sort_lists(value: &mut Value) {
    match value {
        Value::Array(items) => {
            items.iter_mut().for_each(sort_lists);
            items.sort_by_cached_key(Value::to_string);
        }
        Value::Object(fields) => fields.values_mut().for_each(sort_lists),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_of_one_service_are_one_entry() {
        let slice = |name: &str, ip: &str| {
            json!({"metadata": {"name": name, "namespace": "n", "labels": {SERVICE_NAME: "s", MANAGED_BY: "x", "a": "b"},
                    "ownerReferences": [{"kind": "Service", "name": "s", "controller": true}]},
                "addressType": "IPv4", "ports": [{"port": 1}],
                "endpoints": [{"addresses": [ip], "targetRef": {"kind": "Pod", "uid": "u"}}]})
        };
        let found = slices(&[slice("s-2", "10.0.0.2"), slice("s-1", "10.0.0.1")], &["n".to_owned()]);
        let wanted = json!({"labels": {"a": "b"}, "annotations": {}, "mirror": false, "owner": ["Service/s/True"],
            "sizes": [1, 1], "groups": {r#"[{"port":1}]"#: [
                {"addresses": ["10.0.0.1"], "targetRef": {"kind": "Pod"}},
                {"addresses": ["10.0.0.2"], "targetRef": {"kind": "Pod"}}]}});
        let wanted: BTreeMap<String, Value> = [("n/s/IPv4".to_owned(), wanted)].into();
        assert_eq!(differences(&wanted, &found), Vec::<String>::new());
        assert_eq!(differences(&wanted, &BTreeMap::new()), ["n/s/IPv4: missing"]);
    }
}
