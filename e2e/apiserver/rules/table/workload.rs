//! Deployments, ReplicaSets and StatefulSets.

use serde_json::{Value, json};

use super::{NONE, containers};
use crate::apiserver::rules::value::{at, entries, items, number, strings, text};

pub(super) fn deployment(object: &Value, name: Value, age: Value) -> Vec<Value> {
    let mut cells = vec![
        name,
        ready(object),
        status(object, "updatedReplicas"),
        status(object, "availableReplicas"),
        age,
    ];
    cells.extend(template(object));
    cells.push(selector(object));
    cells
}

pub(super) fn replica_set(object: &Value, name: Value, age: Value) -> Vec<Value> {
    let wanted = json!(number(object, &["spec", "replicas"]).unwrap_or_default());
    let mut cells = vec![name, wanted, status(object, "replicas"), status(object, "readyReplicas"), age];
    cells.extend(template(object));
    cells.push(selector(object));
    cells
}

pub(super) fn stateful_set(object: &Value, name: Value, age: Value) -> Vec<Value> {
    let mut cells = vec![name, ready(object), age];
    cells.extend(template(object));
    cells
}

fn ready(object: &Value) -> Value {
    let wanted = number(object, &["spec", "replicas"]).unwrap_or_default();
    json!(format!("{}/{wanted}", number(object, &["status", "readyReplicas"]).unwrap_or_default()))
}

fn status(object: &Value, key: &str) -> Value {
    json!(number(object, &["status", key]).unwrap_or_default())
}

fn template(object: &Value) -> [Value; 2] {
    let null = Value::Null;
    let spec = at(object, &["spec", "template", "spec"]).unwrap_or(&null);
    [json!(containers(spec, "name")), json!(containers(spec, "image"))]
}

/// A `LabelSelector` as text: `app=web,tier in (a,b)`.
fn selector(object: &Value) -> Value {
    let mut terms: Vec<String> = entries(object, &["spec", "selector", "matchLabels"])
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    for expression in items(object, &["spec", "selector", "matchExpressions"]) {
        let key = text(expression, &["key"]);
        let values = strings(expression, &["values"]).join(",");
        terms.push(match text(expression, &["operator"]) {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    json!(if terms.is_empty() { NONE.to_owned() } else { terms.join(",") })
}
