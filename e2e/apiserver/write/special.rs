//! The parts of objects with a form of their own: scale, and the binding of a pod to its node.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Part, WriteOptions, Written, commit};
use crate::apiserver::kind::Kind;
use crate::apiserver::object::{Key, Object};
use crate::apiserver::rules::error::{ApiError, FieldError};
use crate::apiserver::rules::value::{at, entries, number, set, text};
use crate::apiserver::store::Store;

impl Store {
    /// Sets the number of replicas from a `Scale`.
    pub(super) fn update_scale(
        &self,
        kind: Kind,
        key: &Key,
        scale: &Value,
        options: &WriteOptions,
    ) -> Result<Written, ApiError> {
        let replicas = number(scale, &["spec", "replicas"]).unwrap_or_default();
        let mut state = self.lock();
        let Some(old) = state.get(kind, key).cloned() else {
            return Err(ApiError::not_found(kind, &key.name));
        };
        if !(0..=i64::from(i32::MAX)).contains(&replicas) {
            let why = "must be greater than or equal to 0";
            let error = FieldError::invalid("spec.replicas", replicas, why);
            return Err(ApiError::invalid(kind, &key.name, vec![error]));
        }
        let mut new = old.value.clone();
        for field in ["resourceVersion", "uid"] {
            let known = text(scale, &["metadata", field]).to_owned();
            set(&mut new, &["metadata", field], json!(known));
        }
        set(&mut new, &["spec", "replicas"], json!(replicas));
        let object = self.commit_change(&mut state, &old, Part::Scale, new, options, true)?;
        Ok(Written { object, created: false, warnings: Vec::new() })
    }

    /// Gives a pod its node, as the scheduler does.
    ///
    /// # Errors
    /// As the API says them; 409 when it has one.
    pub fn bind(&self, key: &Key, node: &str, options: &WriteOptions) -> Result<Arc<Object>, ApiError> {
        let mut state = self.lock();
        let Some(old) = state.get(Kind::Pod, key).cloned() else {
            return Err(ApiError::not_found(Kind::Pod, &key.name));
        };
        if node.is_empty() {
            let error = FieldError::required("target.name", "");
            return Err(ApiError::invalid(Kind::Pod, &key.name, vec![error]));
        }
        let refuse = |why: &str| {
            let mut error = ApiError::conflict(Kind::Pod, &key.name, why);
            error.message = error.message.replacen("pods ", "pods/binding ", 1);
            Err(error)
        };
        let has = text(&old.value, &["spec", "nodeName"]);
        if old.is_terminating() {
            return refuse(&format!("pod {} is being deleted, cannot be assigned to a host", key.name));
        }
        if !has.is_empty() {
            return refuse(&format!("pod {} is already assigned to node {has:?}", key.name));
        }
        let mut new = old.value.clone();
        set(&mut new, &["spec", "nodeName"], json!(node));
        let scheduled = json!({
            "type": "PodScheduled",
            "status": "True",
            "lastProbeTime": null,
            "lastTransitionTime": commit::now(),
        });
        set_condition(&mut new, scheduled);
        if options.dry_run {
            return Ok(Arc::new(Object::new(Kind::Pod, old.version, new)));
        }
        // Binding bypasses the pod's strategy, which holds the node's name to be immutable and the status elsewhere's.
        Ok(self.put(&mut state, Kind::Pod, new))
    }
}

/// The `autoscaling/v1 Scale` of a workload.
pub(crate) fn scale(object: &Object) -> Value {
    let metadata = |field: &str| at(&object.value, &["metadata", field]).cloned();
    let labels = entries(&object.value, &["spec", "selector", "matchLabels"]);
    let selector: Vec<String> =
        labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": metadata("name"),
            "namespace": metadata("namespace"),
            "uid": metadata("uid"),
            "resourceVersion": metadata("resourceVersion"),
            "creationTimestamp": metadata("creationTimestamp"),
        },
        "spec": { "replicas": number(&object.value, &["spec", "replicas"]).unwrap_or_default() },
        "status": {
            "replicas": number(&object.value, &["status", "replicas"]).unwrap_or_default(),
            "selector": selector.join(","),
        },
    })
}

/// Puts a condition in the place of the one of its type.
pub(crate) fn set_condition(object: &mut Value, condition: Value) {
    let kind = text(&condition, &["type"]).to_owned();
    let mut conditions =
        at(object, &["status", "conditions"]).and_then(Value::as_array).cloned().unwrap_or_default();
    match conditions.iter_mut().find(|it| text(it, &["type"]) == kind) {
        Some(found) => *found = condition,
        None => conditions.push(condition),
    }
    set(object, &["status", "conditions"], Value::Array(conditions));
}
