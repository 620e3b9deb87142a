//! Events (`pkg/apis/core/validation/events.go`). Those without `eventTime` are of the old form, where next to nothing is
//! checked. Those with it are taken for what came through `events.k8s.io`, where all is.

use serde_json::Value;

use super::names;
use crate::apiserver::rules::error::FieldError;
use crate::apiserver::rules::value::{at, number, text};

/// The most characters of what names the reporter, the action and the reason.
const MOST: usize = 128;

/// The most characters of the message.
const MOST_OF_MESSAGE: usize = 1024;

/// What an update may not change.
const FIXED: [&str; 12] = [
    "involvedObject",
    "reason",
    "message",
    "source",
    "firstTimestamp",
    "lastTimestamp",
    "count",
    "type",
    "eventTime",
    "action",
    "related",
    "reportingInstance",
];

pub(super) fn create(event: &Value) -> Vec<FieldError> {
    let mut errors = check(event);
    if at(event, &["eventTime"]).is_some() {
        errors.extend(series(event));
        let kind = text(event, &["type"]);
        if !matches!(kind, "Normal" | "Warning") {
            errors.push(FieldError::invalid("type", "", format!("has invalid value: {kind}")));
        }
        for field in ["firstTimestamp", "lastTimestamp", "count", "source"] {
            let set = at(event, &[field]).is_some_and(|value| {
                *value != 0 && value.as_object().is_none_or(|fields| !fields.is_empty())
            });
            if set {
                errors.push(FieldError::invalid(field, "", "needs to be unset"));
            }
        }
    }
    errors
}

pub(super) fn update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = check(new);
    if at(new, &["eventTime"]).is_none() {
        return errors;
    }
    if at(new, &["series"]) != at(old, &["series"]) {
        errors.extend(series(new));
    }
    for field in FIXED {
        if at(new, &[field]) != at(old, &[field]) {
            errors.push(FieldError::immutable(field, at(new, &[field]).cloned().unwrap_or_default()));
        }
    }
    let reporter = |event| text(event, &["reportingComponent"]);
    if reporter(new) != reporter(old) {
        errors.push(FieldError::immutable("reportingController", reporter(new)));
    }
    errors
}

fn check(event: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let namespace = text(event, &["metadata", "namespace"]);
    let about = text(event, &["involvedObject", "namespace"]);
    let is_new = at(event, &["eventTime"]).is_some();
    // Events about cluster-scoped objects live in `default`.
    let matches = match about {
        "" => matches!(namespace, "" | "default") || (is_new && namespace == "kube-system"),
        about => is_new || about == namespace,
    };
    if !matches {
        errors.push(FieldError::invalid("involvedObject.namespace", about, "does not match event.namespace"));
    }
    if !is_new {
        return errors;
    }
    let reporter = text(event, &["reportingComponent"]);
    if reporter.is_empty() {
        errors.push(FieldError::required("reportingController", ""));
    }
    errors.extend(super::each("reportingController", reporter, names::qualified_name(reporter)));
    let too_long = |field: &str, most: usize| {
        FieldError::invalid(field, "", format!("can have at most {most} characters"))
    };
    for field in ["reportingInstance", "action", "reason"] {
        match text(event, &[field]) {
            "" => errors.push(FieldError::required(field, "")),
            value if value.len() > MOST => errors.push(too_long(field, MOST)),
            _ => {}
        }
    }
    if text(event, &["message"]).len() > MOST_OF_MESSAGE {
        errors.push(too_long("message", MOST_OF_MESSAGE));
    }
    errors
}

fn series(event: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if at(event, &["series"]).is_some() {
        if number(event, &["series", "count"]).unwrap_or_default() < 2 {
            errors.push(FieldError::invalid("series.count", "", "should be at least 2"));
        }
        if at(event, &["series", "lastObservedTime"]).is_none() {
            errors.push(FieldError::required("series.lastObservedTime", ""));
        }
    }
    errors
}
