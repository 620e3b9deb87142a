//! `fieldSelector`: the grammar of `k8s.io/apimachinery/pkg/fields`, and the fields each kind can be selected by.

use serde_json::Value;

use crate::apiserver::kind::Kind;
use crate::apiserver::rules::error::ApiError;
use crate::apiserver::rules::value::{flag, number, text};

/// A parsed `fieldSelector`: every term must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldSelector {
    terms: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq)]
struct Term {
    field: String,
    value: String,
    equal: bool,
}

/// Parses a selector and refuses fields that objects of this kind cannot be selected by.
pub fn parse_fields(kind: Kind, selector: &str) -> Result<FieldSelector, ApiError> {
    let mut terms = Vec::new();
    for part in split(selector).into_iter().filter(|part| !part.is_empty()) {
        let term = parse_term(&part).ok_or_else(|| {
            ApiError::bad_request(format!("invalid selector: '{selector}'; can't understand '{part}'"))
        })?;
        if !supported(kind, &term.field) {
            return Err(ApiError::bad_request(format!("field label not supported: {}", term.field)));
        }
        terms.push(term);
    }
    Ok(FieldSelector { terms })
}

impl FieldSelector {
    /// Whether everything matches.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether this object matches.
    pub fn matches(&self, object: &Value) -> bool {
        self.terms.iter().all(|term| (field(object, &term.field) == term.value) == term.equal)
    }

    /// The value a field must have: a list of `metadata.name=x` is a look-up.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.terms.iter().find(|term| term.equal && term.field == field).map(|term| term.value.as_str())
    }
}

/// Splits at commas that are not escaped; escapes stay for the term's parser.
fn split(selector: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut escaped = false;
    for c in selector.chars() {
        if c == ',' && !escaped {
            parts.push(String::new());
            continue;
        }
        escaped = c == '\\' && !escaped;
        if let Some(last) = parts.last_mut() {
            last.push(c);
        }
    }
    parts
}

/// `a=b`, `a==b` or `a!=b`, at the first operator that is not escaped.
fn parse_term(part: &str) -> Option<Term> {
    let mut escaped = false;
    for (index, c) in part.char_indices() {
        let rest = part.get(index..)?;
        if !escaped {
            for (operator, equal) in [("!=", false), ("==", true), ("=", true)] {
                if let Some(value) = rest.strip_prefix(operator) {
                    return Some(Term {
                        field: part.get(..index)?.to_owned(),
                        value: unescape(value)?,
                        equal,
                    });
                }
            }
        }
        escaped = c == '\\' && !escaped;
    }
    None
}

fn unescape(value: &str) -> Option<String> {
    let mut plain = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => plain.push(chars.next().filter(|c| matches!(c, '\\' | ',' | '='))?),
            ',' | '=' => return None,
            c => plain.push(c),
        }
    }
    Some(plain)
}

fn supported(kind: Kind, field: &str) -> bool {
    if matches!(field, "metadata.name" | "metadata.namespace") {
        return true;
    }
    let fields: &[&str] = match kind {
        Kind::Namespace => &["status.phase", "name"],
        Kind::Node => &["spec.unschedulable"],
        Kind::Service => &["spec.clusterIP", "spec.type"],
        Kind::Pod => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ],
        Kind::Event => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
            // The names of `events.k8s.io/v1`.
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "regarding.resourceVersion",
            "regarding.fieldPath",
            "reportingController",
        ],
        Kind::ReplicaSet => &["status.replicas"],
        Kind::StatefulSet => &["status.successful"],
        Kind::Secret => &["type"],
        _ => &[],
    };
    fields.contains(&field)
}

fn field(object: &Value, field: &str) -> String {
    match field {
        "name" => text(object, &["metadata", "name"]).to_owned(),
        "spec.hostNetwork" | "spec.unschedulable" => {
            let path: Vec<&str> = field.split('.').collect();
            flag(object, &path).to_string()
        }
        "status.replicas" => number(object, &["status", "replicas"]).unwrap_or_default().to_string(),
        "status.podIPs" => text(object, &["status", "podIP"]).to_owned(),
        "source" => match text(object, &["source", "component"]) {
            "" => text(object, &["reportingComponent"]).to_owned(),
            component => component.to_owned(),
        },
        "reportingController" => text(object, &["reportingComponent"]).to_owned(),
        other => {
            let path: Vec<&str> = match other.strip_prefix("regarding.") {
                Some(rest) => vec!["involvedObject", rest],
                None => other.split('.').collect(),
            };
            text(object, &path).to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pods_by_node_and_phase() {
        let pod = json!({ "metadata": { "name": "p" }, "spec": { "nodeName": "a" }, "status": { "phase": "Running" } });
        let matches = |selector: &str| parse_fields(Kind::Pod, selector).unwrap().matches(&pod);
        assert!(matches("spec.nodeName=a,status.phase!=Pending"));
        assert!(!matches("spec.nodeName==b"));
        assert!(matches("spec.hostNetwork=false"));
        assert!(matches("status.podIP="));
        assert!(matches(""));
        assert_eq!(parse_fields(Kind::Pod, "metadata.name=p").unwrap().exact("metadata.name"), Some("p"));
    }

    #[test]
    fn events_by_their_object() {
        let event = json!({ "involvedObject": { "kind": "Pod", "name": "p" }, "reason": "Failed", "type": "Warning",
                            "reportingComponent": "kubelet", "source": {} });
        let selector =
            "involvedObject.kind=Pod,involvedObject.name=p,type=Warning,source=kubelet,regarding.name=p";
        assert!(parse_fields(Kind::Event, selector).unwrap().matches(&event));
    }

    #[test]
    fn other_fields_are_refused() {
        let error = parse_fields(Kind::Pod, "spec.foo=a").unwrap_err();
        assert_eq!((error.code, error.message.as_str()), (400, "field label not supported: spec.foo"));
        let error = parse_fields(Kind::Pod, "spec").unwrap_err();
        assert_eq!(error.message, "invalid selector: 'spec'; can't understand 'spec'");
    }

    #[test]
    fn escapes() {
        let selector = parse_fields(Kind::Pod, r"metadata.name=a\,b\=c").unwrap();
        assert_eq!(selector.exact("metadata.name"), Some("a,b=c"));
    }
}
