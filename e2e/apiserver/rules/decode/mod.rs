//! From what a client sent to an object of a kind.
//!
//! The types are those of `k8s-openapi`: an object goes through them once, which finds wrong types, and what comes back
//! shows which fields nobody knows. The result is brought to the form Go's `omitempty` leaves in storage, because
//! clients compare objects by what is there and what is not.

mod event;
mod normalise;
#[cfg(test)]
mod tests;

use k8s_openapi::api::{
    apps, autoscaling, coordination, core, discovery, networking, policy, rbac, scheduling,
};
use serde::de::DeserializeOwned;
use serde::{Deserializer, Serialize};
use serde_json::Value;

pub use self::event::{event_from_core, event_to_core};
use super::error::ApiError;
use super::value::text;
use crate::apiserver::kind::Kind;

/// Checks the types of all fields and brings the object to the form the server keeps: known fields only, no nulls,
/// `apiVersion` and `kind` filled in.
pub fn decode(kind: Kind, value: Value) -> Result<Value, ApiError> {
    let value = prepare(kind, value)?;
    let known = typed(kind, &value).map_err(|error| wrong_type(kind, &error))?;
    let mut object = restrict(known, &value);
    normalise::omit_empty(kind, &mut object);
    Ok(object)
}

/// What the object has that its kind does not: `unknown field "spec.foo"`, in order. Objects whose types are wrong have
/// none: [`decode`] says what is the matter with them.
pub fn unknown_fields(kind: Kind, value: &Value) -> Vec<String> {
    let mut paths = Vec::new();
    if let Ok(value) = prepare(kind, value.clone())
        && let Ok(known) = typed(kind, &value)
    {
        collect_unknown(&value, &known, &mut String::new(), &mut paths);
    }
    paths.into_iter().map(|path| format!("unknown field \"{path}\"")).collect()
}

/// The refusal for `fieldValidation=Strict`.
pub fn strict_error(kind: Kind, unknown: &[String]) -> ApiError {
    let info = kind.info();
    let (name, version) = (info.name, info.version);
    let list = unknown.join(", ");
    ApiError::bad_request(format!(
        "{name} in version \"{version}\" cannot be handled as a {name}: strict decoding error: {list}"
    ))
}

/// The checks and repairs that come before types.
fn prepare(kind: Kind, mut value: Value) -> Result<Value, ApiError> {
    let info = kind.info();
    let refuse = |name: &str, version: &str, why: String| {
        ApiError::bad_request(format!(
            "{name} in version \"{version}\" cannot be handled as a {}: {why}",
            info.name
        ))
    };
    if kind == Kind::Event && text(&value, &["apiVersion"]) == "events.k8s.io/v1" {
        value = event_to_core(&value);
    }
    let api_version = kind.api_version();
    let Some(map) = value.as_object_mut() else {
        let why =
            format!("json: cannot unmarshal {} into Go value of type v1.{}", go_kind(&value), info.name);
        return Err(refuse(info.name, info.version, why));
    };
    let given = |key: &str| map.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (given_version, given_kind) = (given("apiVersion"), given("kind"));
    if !given_kind.is_empty() && given_kind != info.name {
        let version = given_version.rsplit('/').next().unwrap_or_default();
        let why = format!("converting (v1.{given_kind}) to (core.{}): unknown conversion", info.name);
        return Err(refuse(&given_kind, version, why));
    }
    if !given_version.is_empty() && given_version != api_version {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({given_version}) does not match the expected API version ({api_version})"
        )));
    }
    map.insert("apiVersion".to_owned(), Value::String(api_version));
    map.insert("kind".to_owned(), Value::String(info.name.to_owned()));
    normalise::quantities(&mut value).map_err(|why| refuse(info.name, info.version, why.to_owned()))?;
    Ok(value)
}

/// The object as its kind's type reads and writes it.
fn typed(kind: Kind, value: &Value) -> Result<Value, TypeError> {
    match kind {
        Kind::Namespace => through::<core::v1::Namespace>(value),
        Kind::Node => through::<core::v1::Node>(value),
        Kind::Service => through::<core::v1::Service>(value),
        Kind::Pod => through::<core::v1::Pod>(value),
        Kind::Endpoints => through::<core::v1::Endpoints>(value),
        Kind::Event => through::<core::v1::Event>(value),
        Kind::EndpointSlice => through::<discovery::v1::EndpointSlice>(value),
        Kind::Lease => through::<coordination::v1::Lease>(value),
        Kind::Deployment => through::<apps::v1::Deployment>(value),
        Kind::ReplicaSet => through::<apps::v1::ReplicaSet>(value),
        Kind::StatefulSet => through::<apps::v1::StatefulSet>(value),
        Kind::DaemonSet => through::<apps::v1::DaemonSet>(value),
        Kind::ServiceAccount => through::<core::v1::ServiceAccount>(value),
        Kind::ConfigMap => through::<core::v1::ConfigMap>(value),
        Kind::Secret => through::<core::v1::Secret>(value),
        Kind::ClusterRole => through::<rbac::v1::ClusterRole>(value),
        Kind::ClusterRoleBinding => through::<rbac::v1::ClusterRoleBinding>(value),
        Kind::Role => through::<rbac::v1::Role>(value),
        Kind::RoleBinding => through::<rbac::v1::RoleBinding>(value),
        Kind::PodDisruptionBudget => through::<policy::v1::PodDisruptionBudget>(value),
        Kind::HorizontalPodAutoscaler => through::<autoscaling::v2::HorizontalPodAutoscaler>(value),
        Kind::NetworkPolicy => through::<networking::v1::NetworkPolicy>(value),
        Kind::PriorityClass => through::<scheduling::v1::PriorityClass>(value),
    }
}

/// A field of the wrong type: where, and what serde said.
struct TypeError {
    path: String,
    message: String,
}

fn through<T: DeserializeOwned + Serialize>(value: &Value) -> Result<Value, TypeError> {
    fn read<'de, T: DeserializeOwned, D: Deserializer<'de>>(
        from: D,
    ) -> Result<T, serde_path_to_error::Error<D::Error>> {
        serde_path_to_error::deserialize(from)
    }
    let object: T = read(value)
        .map_err(|error| TypeError { path: error.path().to_string(), message: error.inner().to_string() })?;
    serde_json::to_value(object)
        .map_err(|error| TypeError { path: ".".to_owned(), message: error.to_string() })
}

/// The known form of the object without what the typed form made up: only keys the client gave a value.
fn restrict(known: Value, given: &Value) -> Value {
    match (known, given) {
        (Value::Object(known), Value::Object(given)) => known
            .into_iter()
            .filter_map(|(key, value)| match given.get(&key) {
                None | Some(Value::Null) => None,
                Some(from) => Some((key, restrict(value, from))),
            })
            .collect(),
        (Value::Array(known), Value::Array(given)) if known.len() == given.len() => {
            known.into_iter().zip(given).map(|(value, from)| restrict(value, from)).collect()
        }
        (known, _) => known,
    }
}

fn collect_unknown(given: &Value, known: &Value, path: &mut String, found: &mut Vec<String>) {
    let length = path.len();
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => {
            for (key, value) in given.iter().filter(|(_, value)| !value.is_null()) {
                if length > 0 {
                    path.push('.');
                }
                path.push_str(key);
                match known.get(key) {
                    Some(known) => collect_unknown(value, known, path, found),
                    None => found.push(path.clone()),
                }
                path.truncate(length);
            }
        }
        (Value::Array(given), Value::Array(known)) => {
            for (index, (value, known)) in given.iter().zip(known).enumerate() {
                path.push_str(&format!("[{index}]"));
                collect_unknown(value, known, path, found);
                path.truncate(length);
            }
        }
        _ => {}
    }
}

/// The words of Go's decoder for what serde found.
fn wrong_type(kind: Kind, error: &TypeError) -> ApiError {
    let info = kind.info();
    let (path, last_list) = go_path(&error.path);
    let why = match error.message.split_once(", expected ") {
        Some((found, expected)) if found.starts_with("invalid ") => {
            let expected = go_type(expected);
            let found = go_found(found.split_once(": ").map_or(found, |(_, found)| found), expected);
            let owner = go_struct(info.name, &path, last_list);
            format!("json: cannot unmarshal {found} into Go struct field {owner}.{path} of type {expected}")
        }
        _ => format!("{path}: {}", error.message),
    };
    ApiError::bad_request(format!(
        "{} in version \"{}\" cannot be handled as a {}: {why}",
        info.name, info.version, info.name
    ))
}

/// What serde calls the value it met, as Go calls it: numbers that do not fit are shown.
fn go_found(found: &str, expected: &str) -> String {
    let shown = found.split('`').nth(1).unwrap_or_default();
    let kind = found.split_whitespace().next().unwrap_or_default();
    match kind {
        "integer" | "floating" if expected.starts_with("int") => format!("number {shown}"),
        "integer" | "floating" => "number".to_owned(),
        "boolean" => "bool".to_owned(),
        "string" => "string".to_owned(),
        "map" => "object".to_owned(),
        "sequence" => "array".to_owned(),
        _ => found.to_owned(),
    }
}

/// Maps of strings: their keys are no fields, and may have dots.
const STRING_MAPS: &[&str] = &["labels", "annotations", "matchLabels", "nodeSelector", "selector"];

/// `spec.ports[0].port` as Go names the field: without indexes and keys of maps. Also the name of the list nearest to
/// the field.
fn go_path(path: &str) -> (String, Option<String>) {
    let mut list = None;
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('.').filter(|part| !part.is_empty()) {
        let name = part.split_once('[').map_or(part, |(name, _)| name);
        if name != part {
            list = Some(name.to_owned());
        }
        parts.push(name);
        if STRING_MAPS.contains(&name) {
            break;
        }
    }
    (parts.join("."), list)
}

/// The Go struct that holds a field, for the fields people get wrong.
fn go_struct(kind: &str, path: &str, list: Option<String>) -> String {
    let parents: Vec<&str> = path.split('.').collect();
    let parent =
        parents.len().checked_sub(2).and_then(|index| parents.get(index)).copied().unwrap_or_default();
    match (parent, list.as_deref()) {
        ("metadata" | "labels" | "annotations", _) => "ObjectMeta".to_owned(),
        ("ports", Some("ports")) if kind == "Service" => "ServicePort".to_owned(),
        ("ports", Some("ports")) if kind.starts_with("Endpoint") => "EndpointPort".to_owned(),
        ("ports", Some("ports")) => "ContainerPort".to_owned(),
        ("containers" | "initContainers", _) => "Container".to_owned(),
        ("endpoints", _) => "Endpoint".to_owned(),
        ("subsets", _) => "EndpointSubset".to_owned(),
        ("addresses" | "notReadyAddresses", _) => "EndpointAddress".to_owned(),
        ("template", _) => "PodTemplateSpec".to_owned(),
        ("spec" | "selector", _) if path.starts_with("spec.template.") => "PodSpec".to_owned(),
        ("spec" | "selector", _) => format!("{kind}Spec"),
        ("status", _) => format!("{kind}Status"),
        _ => kind.to_owned(),
    }
}

/// The Go type for what serde expected.
fn go_type(expected: &str) -> &str {
    match expected {
        "a string" => "string",
        "a boolean" => "bool",
        "a sequence" => "[]v1.Item",
        "a map" => "map[string]string",
        "i32" => "int32",
        "i64" => "int64",
        other => other,
    }
}

fn go_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
