//! Errors as the API server says them: `metav1.Status` with its code, reason, message and details.
//!
//! The texts are those of `k8s.io/apimachinery/pkg/api/errors`, because `kubectl` and client libraries print and
//! match them.

use std::fmt;

use serde_json::{Value, json};

pub use super::field::FieldError;
use crate::apiserver::kind::Kind;

/// Why a request failed, ready to be sent as a `Status`.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiError {
    /// HTTP status code.
    pub code: u16,
    /// Machine-readable reason (`NotFound`, `Invalid`, …); empty for none.
    pub reason: &'static str,
    /// What the user reads.
    pub message: String,
    /// `StatusDetails`.
    pub details: Option<Value>,
}

impl std::error::Error for ApiError {}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl ApiError {
    /// 404 `services "web" not found`.
    pub fn not_found(kind: Kind, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", resource(kind));
        Self { code: 404, reason: "NotFound", message, details: Some(resource_details(kind, name)) }
    }

    /// 404 for a path that nothing serves.
    pub fn no_such_path() -> Self {
        Self {
            code: 404,
            reason: "NotFound",
            message: "the server could not find the requested resource".to_owned(),
            details: Some(json!({})),
        }
    }

    /// 409 `services "web" already exists`.
    pub fn already_exists(kind: Kind, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", resource(kind));
        Self { code: 409, reason: "AlreadyExists", message, details: Some(resource_details(kind, name)) }
    }

    /// 409 `Operation cannot be fulfilled on services "web": …`.
    pub fn conflict(kind: Kind, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", resource(kind));
        Self { code: 409, reason: "Conflict", message, details: Some(resource_details(kind, name)) }
    }

    /// 409 for a stale `resourceVersion`.
    pub fn modified(kind: Kind, name: &str) -> Self {
        let why =
            "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(kind, name, why)
    }

    /// 422 with one cause per field: `Service "web" is invalid: spec.ports: Required value`, or the list in brackets.
    pub fn invalid(kind: Kind, name: &str, errors: Vec<FieldError>) -> Self {
        let info = kind.info();
        let qualified = if info.group.is_empty() {
            info.name.to_owned()
        } else {
            format!("{}.{}", info.name, info.group)
        };
        let causes: Vec<Value> = errors.iter().map(FieldError::to_cause).collect();
        let mut texts: Vec<String> = Vec::with_capacity(errors.len());
        for text in errors.iter().map(ToString::to_string) {
            // An aggregate says the same thing once.
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        let list = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let mut details = json!({ "name": name, "kind": info.name, "causes": causes });
        with_group(&mut details, kind);
        let message = format!("{qualified} \"{name}\" is invalid: {list}");
        Self { code: 422, reason: "Invalid", message, details: Some(details) }
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self { code: 400, reason: "BadRequest", message: message.into(), details: None }
    }

    /// 403 `pods "web" is forbidden: …`.
    pub fn forbidden(kind: Kind, name: &str, why: &str) -> Self {
        let message = if name.is_empty() {
            format!("{} is forbidden: {why}", resource(kind))
        } else {
            format!("{} \"{name}\" is forbidden: {why}", resource(kind))
        };
        Self { code: 403, reason: "Forbidden", message, details: Some(resource_details(kind, name)) }
    }

    /// 403 for a create in a namespace that is going away; controllers look for its cause.
    pub fn namespace_terminating(kind: Kind, name: &str, namespace: &str) -> Self {
        let why =
            format!("unable to create new content in namespace {namespace} because it is being terminated");
        let mut error = Self::forbidden(kind, name, &why);
        if let Some(details) = error.details.as_mut().and_then(Value::as_object_mut) {
            let cause = json!({
                "reason": "NamespaceTerminating",
                "message": format!("namespace {namespace} is being terminated"),
                "field": "metadata.namespace",
            });
            details.insert("causes".to_owned(), json!([cause]));
        }
        error
    }

    /// 410 `Gone`: a version a watch cannot start from any more.
    pub fn gone(message: impl Into<String>) -> Self {
        Self { code: 410, reason: "Gone", message: message.into(), details: None }
    }

    /// 410 `Expired`: a version or a continue token that is too old.
    pub fn expired(message: impl Into<String>) -> Self {
        Self { code: 410, reason: "Expired", message: message.into(), details: None }
    }

    /// 429, to be tried again after some seconds.
    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: u32) -> Self {
        let details = json!({ "retryAfterSeconds": retry_after_seconds });
        Self { code: 429, reason: "TooManyRequests", message: message.into(), details: Some(details) }
    }

    /// 500 `Internal error occurred: …`.
    pub fn internal(why: &str) -> Self {
        Self {
            code: 500,
            reason: "InternalError",
            message: format!("Internal error occurred: {why}"),
            details: Some(json!({ "causes": [{ "message": why }] })),
        }
    }

    /// 503.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self { code: 503, reason: "ServiceUnavailable", message: message.into(), details: None }
    }

    /// 504 `Timeout: …`.
    pub fn timeout(message: &str, retry_after_seconds: u32) -> Self {
        let details = json!({ "retryAfterSeconds": retry_after_seconds });
        Self { code: 504, reason: "Timeout", message: format!("Timeout: {message}"), details: Some(details) }
    }

    /// 415: the body's media type is none of those accepted.
    pub fn unsupported_media_type(accepted: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        );
        Self { code: 415, reason: "UnsupportedMediaType", message, details: None }
    }

    /// 406: no media type of `Accept` can be produced.
    pub fn not_acceptable(accepted: &[&str]) -> Self {
        let message = format!("only the following media types are accepted: {}", accepted.join(", "));
        Self { code: 406, reason: "NotAcceptable", message, details: None }
    }

    /// 405.
    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource".to_owned();
        Self { code: 405, reason: "MethodNotAllowed", message, details: Some(json!({})) }
    }

    /// 413.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self { code: 413, reason: "RequestEntityTooLarge", message: message.into(), details: None }
    }

    /// 409 of server-side apply: one cause per field that somebody else owns.
    pub fn apply_conflict(causes: Vec<(String, String)>) -> Self {
        let what =
            if causes.len() == 1 { "1 conflict".to_owned() } else { format!("{} conflicts", causes.len()) };
        let message = format!("Apply failed with {what}: {}", conflict_text(&causes));
        let causes: Vec<Value> = causes
            .into_iter()
            .map(|(message, field)| {
                json!({ "reason": "FieldManagerConflict", "message": message, "field": field })
            })
            .collect();
        Self { code: 409, reason: "Conflict", message, details: Some(json!({ "causes": causes })) }
    }

    /// The `Status` object.
    pub fn to_status(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        });
        if let Some(map) = status.as_object_mut() {
            if !self.reason.is_empty() {
                map.insert("reason".to_owned(), json!(self.reason));
            }
            if let Some(details) = &self.details {
                map.insert("details".to_owned(), details.clone());
            }
            map.insert("code".to_owned(), json!(self.code));
        }
        status
    }
}

/// `services`, `deployments.apps`.
fn resource(kind: Kind) -> String {
    let info = kind.info();
    if info.group.is_empty() { info.plural.to_owned() } else { format!("{}.{}", info.plural, info.group) }
}

fn resource_details(kind: Kind, name: &str) -> Value {
    let mut details = json!({ "kind": kind.info().plural });
    if let (Some(map), false) = (details.as_object_mut(), name.is_empty()) {
        map.insert("name".to_owned(), json!(name));
    }
    with_group(&mut details, kind);
    details
}

fn with_group(details: &mut Value, kind: Kind) {
    let group = kind.info().group;
    if let (Some(map), false) = (details.as_object_mut(), group.is_empty()) {
        map.insert("group".to_owned(), json!(group));
    }
}

/// One manager: `conflict with "m" using v1: .spec.x`; several fields or managers: a heading and `- .field` lines.
fn conflict_text(causes: &[(String, String)]) -> String {
    if let [(message, field)] = causes {
        return format!("{message}: {field}");
    }
    let mut managers: Vec<&str> = causes.iter().map(|(message, _)| message.as_str()).collect();
    managers.sort_unstable();
    managers.dedup();
    let blocks: Vec<String> = managers
        .into_iter()
        .map(|manager| {
            let fields: Vec<String> =
                causes.iter().filter(|(m, _)| m == manager).map(|(_, field)| format!("- {field}")).collect();
            let verb = manager.replacen("conflict with", "conflicts with", 1);
            format!("{verb}:\n{}", fields.join("\n"))
        })
        .collect();
    blocks.join("\n")
}

#[cfg(test)]
mod tests;
