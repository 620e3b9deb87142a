//! Deployments, ReplicaSets, StatefulSets and DaemonSets.

use serde_json::{Value, json};

use super::{containers, labels, selector};
use crate::apiserver::rules::value::{at, number};

pub(super) fn deployment(object: &Value, name: Value, age: Value) -> Vec<Value> {
    let mut cells = vec![
        name,
        ready(object),
        status(object, "updatedReplicas"),
        status(object, "availableReplicas"),
        age,
    ];
    cells.extend(template(object));
    cells.push(json!(selector(object, &["spec", "selector"])));
    cells
}

pub(super) fn replica_set(object: &Value, name: Value, age: Value) -> Vec<Value> {
    let wanted = json!(number(object, &["spec", "replicas"]).unwrap_or_default());
    let mut cells = vec![name, wanted, status(object, "replicas"), status(object, "readyReplicas"), age];
    cells.extend(template(object));
    cells.push(json!(selector(object, &["spec", "selector"])));
    cells
}

pub(super) fn stateful_set(object: &Value, name: Value, age: Value) -> Vec<Value> {
    let mut cells = vec![name, ready(object), age];
    cells.extend(template(object));
    cells
}

pub(super) fn daemon_set(object: &Value, name: Value, age: Value) -> Vec<Value> {
    let mut cells = vec![name];
    let counts = [
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "numberReady",
        "updatedNumberScheduled",
        "numberAvailable",
    ];
    cells.extend(counts.map(|key| status(object, key)));
    cells.push(json!(labels(object, &["spec", "template", "spec", "nodeSelector"])));
    cells.push(age);
    cells.extend(template(object));
    cells.push(json!(selector(object, &["spec", "selector"])));
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
