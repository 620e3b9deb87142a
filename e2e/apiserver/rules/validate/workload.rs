//! Deployments, ReplicaSets, StatefulSets and DaemonSets (`pkg/apis/apps/validation`).

use serde_json::{Value, json};

use super::{each, meta, names, non_negative, pod};
use crate::apiserver::kind::Kind;
use crate::apiserver::rules::error::FieldError;
use crate::apiserver::rules::value::{at, copy, entries, items, number, strings, text};

/// What an update of a StatefulSet may change.
const STATEFUL_SET_MUTABLE: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

pub(super) fn deployment(object: &Value) -> Vec<FieldError> {
    let mut errors = numbers(object, &["replicas"]);
    selector_and_template(object, "deployment", &mut errors);
    errors.extend(strategy(object));
    errors.extend(numbers(object, &["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"]));
    let minimum = number(object, &["spec", "minReadySeconds"]).unwrap_or_default();
    if let Some(deadline) =
        number(object, &["spec", "progressDeadlineSeconds"]).filter(|deadline| *deadline <= minimum)
    {
        let detail = "must be greater than minReadySeconds";
        errors.push(FieldError::invalid("spec.progressDeadlineSeconds", deadline, detail));
    }
    errors
}

pub(super) fn replica_set(object: &Value) -> Vec<FieldError> {
    let mut errors = numbers(object, &["replicas", "minReadySeconds"]);
    selector_and_template(object, "deployment", &mut errors);
    errors
}

pub(super) fn stateful_set(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    match text(object, &["spec", "podManagementPolicy"]) {
        "" => errors.push(FieldError::required("spec.podManagementPolicy", "")),
        "OrderedReady" | "Parallel" => {}
        other => {
            let detail = "must be 'OrderedReady' or 'Parallel'";
            errors.push(FieldError::invalid("spec.podManagementPolicy", other, detail));
        }
    }
    match text(object, &["spec", "updateStrategy", "type"]) {
        "" => errors.push(FieldError::required("spec.updateStrategy", "")),
        "RollingUpdate" => {}
        "OnDelete" => {
            if at(object, &["spec", "updateStrategy", "rollingUpdate"]).is_some() {
                let detail = "only allowed for updateStrategy 'RollingUpdate'";
                let bad =
                    at(object, &["spec", "updateStrategy", "rollingUpdate"]).cloned().unwrap_or_default();
                errors.push(FieldError::invalid("spec.updateStrategy.rollingUpdate", bad, detail));
            }
        }
        other => {
            let detail = "must be 'RollingUpdate' or 'OnDelete'";
            errors.push(FieldError::invalid("spec.updateStrategy", json!({ "type": other }), detail));
        }
    }
    errors.extend(numbers(object, &["replicas", "minReadySeconds"]));
    errors.extend(non_negative(number(object, &["spec", "ordinals", "start"]), "spec.ordinals.start"));
    let service = text(object, &["spec", "serviceName"]);
    if !service.is_empty() {
        errors.extend(each("spec.serviceName", service, names::subdomain(service)));
    }
    selector_and_template(object, "statefulset", &mut errors);
    errors
}

pub(super) fn daemon_set(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    selector_and_template(object, "daemonset", &mut errors);
    errors.extend(numbers(object, &["minReadySeconds", "revisionHistoryLimit"]));
    match text(object, &["spec", "updateStrategy", "type"]) {
        "RollingUpdate" | "OnDelete" => {}
        other => {
            let known = ["OnDelete", "RollingUpdate"];
            errors.push(FieldError::not_supported("spec.updateStrategy", other, &known));
        }
    }
    errors
}

/// The selector of a Deployment, a ReplicaSet or a DaemonSet stays what it was.
pub(super) fn with_selector_update(mut errors: Vec<FieldError>, new: &Value, old: &Value) -> Vec<FieldError> {
    let (after, before) = (at(new, &["spec", "selector"]), at(old, &["spec", "selector"]));
    if after != before {
        errors.push(FieldError::immutable("spec.selector", after.cloned().unwrap_or(Value::Null)));
    }
    errors
}

pub(super) fn stateful_set_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = stateful_set(new);
    let mut same = new.clone();
    for key in STATEFUL_SET_MUTABLE {
        copy(&mut same, old, &["spec", key]);
    }
    if at(&same, &["spec"]) != at(old, &["spec"]) {
        let detail = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
                      'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
                      'minReadySeconds' are forbidden";
        errors.push(FieldError::forbidden("spec", detail));
    }
    errors
}

pub(super) fn status_update(kind: Kind, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let count = |key: &str| number(object, &["status", key]).unwrap_or_default();
    let keys: &[&str] = match kind {
        Kind::ReplicaSet => &["fullyLabeledReplicas", "readyReplicas", "availableReplicas"],
        Kind::StatefulSet => &["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"],
        _ => &["updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas"],
    };
    for key in ["replicas", "observedGeneration"].iter().chain(keys) {
        errors.extend(non_negative(Some(count(key)), &format!("status.{key}")));
    }
    for key in keys.iter().filter(|key| **key != "unavailableReplicas") {
        if count(key) > count("replicas") {
            let detail = "cannot be greater than status.replicas";
            errors.push(FieldError::invalid(format!("status.{key}"), count(key), detail));
        }
    }
    if count("availableReplicas") > count("readyReplicas") {
        let detail = if kind == Kind::StatefulSet {
            "cannot be greater than status.readyReplicas"
        } else {
            "cannot be greater than readyReplicas"
        };
        errors.push(FieldError::invalid("status.availableReplicas", count("availableReplicas"), detail));
    }
    errors
}

fn numbers(object: &Value, keys: &[&str]) -> Vec<FieldError> {
    keys.iter()
        .filter_map(|key| non_negative(number(object, &["spec", key]), &format!("spec.{key}")))
        .collect()
}

fn selector_and_template(object: &Value, what: &str, errors: &mut Vec<FieldError>) {
    const LABELS: [&str; 4] = ["spec", "template", "metadata", "labels"];
    match at(object, &["spec", "selector"]) {
        None => errors.push(FieldError::required("spec.selector", "")),
        Some(selector) => {
            requirements(selector, errors);
            let empty = entries(selector, &["matchLabels"]).next().is_none()
                && items(selector, &["matchExpressions"]).is_empty();
            if empty {
                let detail = format!("empty selector is invalid for {what}");
                errors.push(FieldError::invalid("spec.selector", selector.clone(), detail));
            } else if !matches(selector, at(object, &LABELS)) {
                let labels = at(object, &LABELS).cloned().unwrap_or_else(|| json!({}));
                let detail = "`selector` does not match template `labels`";
                errors.push(FieldError::invalid("spec.template.metadata.labels", labels, detail));
            }
        }
    }
    errors.extend(meta::labels(object, &LABELS, "spec.template.labels"));
    errors.extend(meta::annotations(
        object,
        &["spec", "template", "metadata", "annotations"],
        "spec.template.annotations",
    ));
    let null = Value::Null;
    let spec = at(object, &["spec", "template", "spec"]).unwrap_or(&null);
    errors.extend(pod::spec(spec, "spec.template.spec"));
    let policy = text(spec, &["restartPolicy"]);
    if !matches!(policy, "" | "Always") {
        errors.push(FieldError::not_supported("spec.template.spec.restartPolicy", policy, &["Always"]));
    }
    if at(spec, &["activeDeadlineSeconds"]).is_some() {
        let detail = "activeDeadlineSeconds in ReplicaSet is not Supported";
        errors.push(FieldError::forbidden("spec.template.spec.activeDeadlineSeconds", detail));
    }
}

/// The form of a `LabelSelector`.
fn requirements(selector: &Value, errors: &mut Vec<FieldError>) {
    errors.extend(meta::labels(selector, &["matchLabels"], "spec.selector.matchLabels"));
    for (index, expression) in items(selector, &["matchExpressions"]).iter().enumerate() {
        let field = |key: &str| format!("spec.selector.matchExpressions[{index}].{key}");
        let values = strings(expression, &["values"]);
        match (text(expression, &["operator"]), values.is_empty()) {
            ("In" | "NotIn", true) => {
                let detail = "must be specified when `operator` is 'In' or 'NotIn'";
                errors.push(FieldError::required(field("values"), detail));
            }
            ("Exists" | "DoesNotExist", false) => {
                let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.push(FieldError::forbidden(field("values"), detail));
            }
            ("In" | "NotIn" | "Exists" | "DoesNotExist", _) => {}
            (other, _) => {
                errors.push(FieldError::invalid(field("operator"), other, "not a valid selector operator"));
            }
        }
        let key = text(expression, &["key"]);
        errors.extend(each(&field("key"), key, names::qualified_name(key)));
        for (index, value) in values.into_iter().enumerate() {
            errors.extend(each(&format!("{}[{index}]", field("values")), value, names::label_value(value)));
        }
    }
}

/// Whether a `LabelSelector` selects these labels.
fn matches(selector: &Value, labels: Option<&Value>) -> bool {
    let label = |key: &str| labels.and_then(|labels| labels.get(key)).and_then(Value::as_str);
    entries(selector, &["matchLabels"]).all(|(key, value)| label(key) == value.as_str())
        && items(selector, &["matchExpressions"]).iter().all(|expression| {
            let value = label(text(expression, &["key"]));
            let values = strings(expression, &["values"]);
            match text(expression, &["operator"]) {
                "In" => value.is_some_and(|value| values.contains(&value)),
                "NotIn" => value.is_none_or(|value| !values.contains(&value)),
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}

fn strategy(object: &Value) -> Vec<FieldError> {
    let rolling = at(object, &["spec", "strategy", "rollingUpdate"]);
    match text(object, &["spec", "strategy", "type"]) {
        "Recreate" if rolling.is_some() => {
            let detail = "may not be specified when strategy `type` is 'Recreate'";
            vec![FieldError::forbidden("spec.strategy.rollingUpdate", detail)]
        }
        "Recreate" => Vec::new(),
        "RollingUpdate" => match rolling {
            None => vec![FieldError::required(
                "spec.strategy.rollingUpdate",
                "this should be defaulted and never be nil",
            )],
            Some(rolling) => {
                let zero = |key: &str| match at(rolling, &[key]) {
                    Some(Value::String(percent)) => percent == "0%",
                    Some(number) => number == 0,
                    None => true,
                };
                if zero("maxUnavailable") && zero("maxSurge") {
                    let bad = at(rolling, &["maxUnavailable"]).cloned().unwrap_or_else(|| json!(0));
                    let field = "spec.strategy.rollingUpdate.maxUnavailable";
                    vec![FieldError::invalid(field, bad, "may not be 0 when `maxSurge` is 0")]
                } else {
                    Vec::new()
                }
            }
        },
        other => {
            vec![FieldError::not_supported("spec.strategy.type", other, &["Recreate", "RollingUpdate"])]
        }
    }
}
