//! The form in which Go leaves objects: quantities as strings, empty values of `omitempty` fields gone.

use serde_json::Value;

use crate::apiserver::kind::Kind;

/// Maps that Go drops when they are empty. Other empty objects are pointers to structs and stay.
const MAPS: &[&str] = &[
    "labels",
    "annotations",
    "matchLabels",
    "nodeSelector",
    "limits",
    "requests",
    "capacity",
    "allocatable",
    "overhead",
    "deprecatedTopology",
    "allocatedResources",
    "data",
    "binaryData",
    "stringData",
];

/// Plain strings with `omitempty`: an empty one is the same as none.
const STRINGS: &[&str] = &[
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "clusterIP",
    "externalName",
    "loadBalancerIP",
    "sessionAffinity",
    "externalTrafficPolicy",
    "type",
    "protocol",
    "hostname",
    "subdomain",
    "serviceAccountName",
    "serviceAccount",
    "schedulerName",
    "restartPolicy",
    "dnsPolicy",
    "imagePullPolicy",
    "phase",
    "podIP",
    "hostIP",
    "ip",
    "message",
    "reason",
    "qosClass",
    "nominatedNodeName",
    "priorityClassName",
    "workingDir",
    "image",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "providerID",
    "podCIDR",
    "fieldPath",
    "component",
    "host",
    "action",
];

/// Plain numbers and truths with `omitempty`.
const ZEROS: &[&str] = &[
    "nodePort",
    "hostPort",
    "healthCheckNodePort",
    "generation",
    "minReadySeconds",
    "observedGeneration",
    "hostNetwork",
    "hostPID",
    "hostIPC",
    "publishNotReadyAddresses",
    "unschedulable",
    "stdin",
    "tty",
    "stdinOnce",
];

/// Maps whose keys are the user's, not fields; and field sets, whose leaves are empty objects.
const OPAQUE: &[&str] = &[
    "labels",
    "annotations",
    "matchLabels",
    "nodeSelector",
    "selector",
    "fieldsV1",
    "data",
    "binaryData",
    "stringData",
];

/// Numbers where Go reads quantities become strings, wherever a map of resources is; what is no quantity is refused.
pub(super) fn quantities(value: &mut Value) -> Result<(), &'static str> {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match (key.as_str(), &mut *value) {
                    (
                        "limits" | "requests" | "capacity" | "allocatable" | "overhead"
                        | "allocatedResources",
                        Value::Object(resources),
                    ) => resources.values_mut().try_for_each(quantity)?,
                    ("sizeLimit" | "divisor" | "averageValue", _) => quantity(value)?,
                    (key, _) if OPAQUE.contains(&key) => {}
                    _ => quantities(value)?,
                }
            }
            Ok(())
        }
        Value::Array(items) => items.iter_mut().try_for_each(quantities),
        _ => Ok(()),
    }
}

fn quantity(value: &mut Value) -> Result<(), &'static str> {
    const FORM: &str =
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
    if let Value::Number(number) = value {
        *value = Value::String(number.to_string());
    }
    match value.as_str() {
        Some(text) if !is_quantity(text) => Err(FORM),
        _ => Ok(()),
    }
}

/// A number with a decimal, binary or exponent suffix: `100m`, `1.5Gi`, `1e3`.
fn is_quantity(text: &str) -> bool {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let exponent =
        suffix.strip_prefix(['e', 'E']).map(|power| power.strip_prefix(['+', '-']).unwrap_or(power));
    number.contains(|c: char| c.is_ascii_digit())
        && number.matches('.').count() <= 1
        && (exponent.is_some_and(|power| !power.is_empty() && power.chars().all(|c| c.is_ascii_digit()))
            || ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]
                .contains(&suffix))
}

/// Drops what Go's `omitempty` drops.
pub(super) fn omit_empty(kind: Kind, object: &mut Value) {
    drop_empty(object);
    let Some(map) = object.as_object_mut() else {
        return;
    };
    match kind {
        // These two have no `omitempty`: an empty list comes back from storage as null.
        Kind::EndpointSlice => {
            for key in ["endpoints", "ports"] {
                map.entry(key).or_insert(Value::Null);
            }
            for endpoint in map.get_mut("endpoints").and_then(Value::as_array_mut).into_iter().flatten() {
                if let Some(endpoint) = endpoint.as_object_mut() {
                    endpoint.entry("addresses").or_insert_with(|| Value::Array(Vec::new()));
                    endpoint.entry("conditions").or_insert_with(|| Value::Object(serde_json::Map::new()));
                }
            }
        }
        Kind::ClusterRole | Kind::Role => drop(map.entry("rules").or_insert(Value::Null)),
        // A Service's selector is a plain map; everywhere else an empty selector says "everything".
        Kind::Service => {
            if let Some(spec) = map.get_mut("spec").and_then(Value::as_object_mut)
                && spec.get("selector").and_then(Value::as_object).is_some_and(serde_json::Map::is_empty)
            {
                spec.remove("selector");
            }
        }
        _ => {}
    }
}

fn drop_empty(value: &mut Value) {
    match value {
        Value::Object(map) => map.retain(|key, value| {
            if !OPAQUE.contains(&key.as_str()) {
                drop_empty(value);
            }
            match value {
                Value::Null => false,
                Value::Array(items) => !items.is_empty(),
                Value::Object(map) => !map.is_empty() || !MAPS.contains(&key.as_str()),
                Value::String(text) => !text.is_empty() || !STRINGS.contains(&key.as_str()),
                Value::Bool(false) => !ZEROS.contains(&key.as_str()),
                Value::Number(number) => number.as_i64() != Some(0) || !ZEROS.contains(&key.as_str()),
                Value::Bool(true) => true,
            }
        }),
        Value::Array(items) => items.iter_mut().for_each(drop_empty),
        _ => {}
    }
}
