//! `metadata` (`k8s.io/apimachinery/pkg/api/validation/objectmeta.go`).

use serde_json::{Value, json};

use super::names;
use crate::apiserver::kind::Kind;
use crate::apiserver::rules::error::FieldError;
use crate::apiserver::rules::value::{at, entries, flag, items, number, strings, text};

/// All annotations of an object together, in bytes.
const MAX_ANNOTATIONS: usize = 256 * 1024;

/// Finalizers that need no domain.
const STANDARD_FINALIZERS: &[&str] = &["kubernetes", "orphan", "foregroundDeletion"];

pub(super) fn create(kind: Kind, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let prefix = text(object, &["metadata", "generateName"]);
    if !prefix.is_empty() {
        // A trailing dash is fine: more comes after it.
        let masked = match prefix.strip_suffix('-') {
            Some(rest) if !rest.is_empty() => format!("{rest}a"),
            _ => prefix.to_owned(),
        };
        for detail in name_of(kind, &masked) {
            errors.push(FieldError::invalid("metadata.generateName", prefix, detail));
        }
    }
    let name = text(object, &["metadata", "name"]);
    if name.is_empty() {
        errors.push(FieldError::required("metadata.name", "name or generateName is required"));
    } else {
        for detail in name_of(kind, name) {
            errors.push(FieldError::invalid("metadata.name", name, detail));
        }
    }
    let namespace = text(object, &["metadata", "namespace"]);
    if kind.info().namespaced {
        if namespace.is_empty() {
            errors.push(FieldError::required("metadata.namespace", ""));
        } else {
            for detail in names::label(namespace) {
                errors.push(FieldError::invalid("metadata.namespace", namespace, detail));
            }
        }
    } else if !namespace.is_empty() {
        errors.push(FieldError::forbidden("metadata.namespace", "not allowed on this type"));
    }
    if let Some(generation) = number(object, &["metadata", "generation"]).filter(|generation| *generation < 0)
    {
        let detail = "must be greater than or equal to 0";
        errors.push(FieldError::invalid("metadata.generation", generation, detail));
    }
    errors.extend(common(object));
    errors
}

pub(super) fn update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if at(old, &["metadata", "deletionTimestamp"]).is_some() {
        let before = strings(old, &["metadata", "finalizers"]);
        let added: Vec<String> = strings(new, &["metadata", "finalizers"])
            .into_iter()
            .filter(|name| !before.contains(name))
            .map(|name| format!("\"{name}\""))
            .collect();
        if !added.is_empty() {
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                added.join(", ")
            );
            errors.push(FieldError::forbidden("metadata.finalizers", detail));
        }
    }
    for key in
        ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"]
    {
        let (after, before) = (at(new, &["metadata", key]), at(old, &["metadata", key]));
        if after != before {
            let missing = if matches!(key, "name" | "namespace" | "uid") { json!("") } else { Value::Null };
            let bad = after.unwrap_or(&missing).clone();
            errors.push(FieldError::immutable(format!("metadata.{key}"), bad));
        }
    }
    errors.extend(common(new));
    errors
}

/// Labels, as they stand in `metadata`, in a template or in a plain selector.
pub(super) fn labels(object: &Value, path: &[&str], field: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (key, value) in entries(object, path) {
        for detail in names::qualified_name(key) {
            errors.push(FieldError::invalid(field, key.as_str(), detail));
        }
        let value = value.as_str().unwrap_or_default();
        for detail in names::label_value(value) {
            errors.push(FieldError::invalid(field, value, detail));
        }
    }
    errors
}

/// Annotations: keys are qualified names whatever their case, and all together have a limit.
pub(super) fn annotations(object: &Value, path: &[&str], field: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut size = 0;
    for (key, value) in entries(object, path) {
        for detail in names::qualified_name(&key.to_lowercase()) {
            errors.push(FieldError::invalid(field, key.as_str(), detail));
        }
        size += key.len() + value.as_str().unwrap_or_default().len();
    }
    if size > MAX_ANNOTATIONS {
        errors.push(FieldError::too_long(field, MAX_ANNOTATIONS));
    }
    errors
}

/// The name of a finalizer.
pub(super) fn finalizer(name: &str, field: &str) -> Vec<FieldError> {
    let mut errors: Vec<FieldError> = names::qualified_name(name)
        .into_iter()
        .map(|detail| FieldError::invalid(field, name, detail))
        .collect();
    if !name.contains('/') && !STANDARD_FINALIZERS.contains(&name) {
        let detail = "name is neither a standard finalizer name nor is it fully qualified";
        errors.push(FieldError::invalid(field, name, detail));
    }
    errors
}

fn common(object: &Value) -> Vec<FieldError> {
    let mut errors = labels(object, &["metadata", "labels"], "metadata.labels");
    errors.extend(annotations(object, &["metadata", "annotations"], "metadata.annotations"));
    errors.extend(owners(items(object, &["metadata", "ownerReferences"])));
    for (index, name) in strings(object, &["metadata", "finalizers"]).into_iter().enumerate() {
        errors.extend(finalizer(name, &format!("metadata.finalizers[{index}]")));
    }
    errors
}

fn owners(owners: &[Value]) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut controller: Option<&str> = None;
    for owner in owners {
        let field = |key: &str| format!("metadata.ownerReferences.{key}");
        if text(owner, &["apiVersion"]).rsplit('/').next().is_none_or(str::is_empty) {
            let bad = text(owner, &["apiVersion"]);
            errors.push(FieldError::invalid(field("apiVersion"), bad, "version must not be empty"));
        }
        for key in ["kind", "name", "uid"] {
            if text(owner, &[key]).is_empty() {
                errors.push(FieldError::invalid(field(key), "", "must not be empty"));
            }
        }
        if text(owner, &["apiVersion"]) == "v1" && text(owner, &["kind"]) == "Event" {
            let detail = "/v1, Kind=Event is disallowed from being an owner";
            errors.push(FieldError::invalid("metadata.ownerReferences", owner.clone(), detail));
        }
        if flag(owner, &["controller"]) {
            let name = text(owner, &["name"]);
            if let Some(first) = controller {
                let detail = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {name}"
                );
                errors.push(FieldError::invalid("metadata.ownerReferences", owners.to_vec(), detail));
            } else {
                controller = Some(name);
            }
        }
    }
    errors
}

fn name_of(kind: Kind, name: &str) -> Vec<String> {
    match kind {
        Kind::Namespace => names::label(name),
        Kind::Service => names::label_1035(name),
        Kind::ClusterRole | Kind::ClusterRoleBinding | Kind::Role | Kind::RoleBinding => {
            names::path_segment(name)
        }
        _ => names::subdomain(name),
    }
}
