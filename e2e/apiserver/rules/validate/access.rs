//! Roles and their bindings (`pkg/apis/rbac/validation`).

use serde_json::{Value, json};

use super::{each, names};
use crate::apiserver::kind::{Kind, RBAC};
use crate::apiserver::rules::error::FieldError;
use crate::apiserver::rules::value::{at, items, text};

pub(super) fn role(kind: Kind, role: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (index, rule) in items(role, &["rules"]).iter().enumerate() {
        let field = |key: &str| format!("rules[{index}].{key}");
        let has = |key: &str| !items(rule, &[key]).is_empty();
        if !has("verbs") {
            errors.push(FieldError::required(field("verbs"), "verbs must contain at least one value"));
        }
        if has("nonResourceURLs") {
            let paths = at(rule, &["nonResourceURLs"]).cloned().unwrap_or_default();
            if kind == Kind::Role {
                let detail = "namespaced rules cannot apply to non-resource URLs";
                errors.push(FieldError::invalid(field("nonResourceURLs"), paths.clone(), detail));
            }
            if has("apiGroups") || has("resources") || has("resourceNames") {
                let detail = "rules cannot apply to both regular resources and non-resource URLs";
                errors.push(FieldError::invalid(field("nonResourceURLs"), paths, detail));
            }
            continue;
        }
        if !has("apiGroups") {
            let detail = "resource rules must supply at least one api group";
            errors.push(FieldError::required(field("apiGroups"), detail));
        }
        if !has("resources") {
            let detail = "resource rules must supply at least one resource";
            errors.push(FieldError::required(field("resources"), detail));
        }
    }
    errors
}

pub(super) fn binding(kind: Kind, binding: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let group = text(binding, &["roleRef", "apiGroup"]);
    if group != RBAC {
        errors.push(FieldError::not_supported("roleRef.apiGroup", group, &[RBAC]));
    }
    let known: &[&str] =
        if kind == Kind::ClusterRoleBinding { &["ClusterRole"] } else { &["ClusterRole", "Role"] };
    let referred = text(binding, &["roleRef", "kind"]);
    if !known.contains(&referred) {
        errors.push(FieldError::not_supported("roleRef.kind", referred, known));
    }
    let name = text(binding, &["roleRef", "name"]);
    if name.is_empty() {
        errors.push(FieldError::required("roleRef.name", ""));
    } else {
        errors.extend(each("roleRef.name", name, names::path_segment(name)));
    }
    for (index, subject) in items(binding, &["subjects"]).iter().enumerate() {
        errors.extend(self::subject(subject, &format!("subjects[{index}]")));
    }
    errors
}

/// What a binding binds stays what it was: to bind another role is to give other rights, and is a new binding.
pub(super) fn binding_update(kind: Kind, new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = binding(kind, new);
    if at(new, &["roleRef"]) != at(old, &["roleRef"]) {
        let bad = at(new, &["roleRef"]).cloned().unwrap_or_else(|| json!({}));
        errors.push(FieldError::invalid("roleRef", bad, "cannot change roleRef"));
    }
    errors
}

fn subject(subject: &Value, field: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let (kind, name, group) =
        (text(subject, &["kind"]), text(subject, &["name"]), text(subject, &["apiGroup"]));
    if name.is_empty() {
        errors.push(FieldError::required(format!("{field}.name"), ""));
    }
    let of_group = |wanted: &str| {
        (group != wanted).then(|| FieldError::not_supported(format!("{field}.apiGroup"), group, &[wanted]))
    };
    match kind {
        "ServiceAccount" => {
            if !name.is_empty() {
                errors.extend(each(&format!("{field}.name"), name, names::subdomain(name)));
            }
            errors.extend(of_group(""));
            if text(subject, &["namespace"]).is_empty() {
                errors.push(FieldError::required(format!("{field}.namespace"), ""));
            }
        }
        "User" | "Group" => errors.extend(of_group(RBAC)),
        other => {
            let known = ["Group", "ServiceAccount", "User"];
            errors.push(FieldError::not_supported(format!("{field}.kind"), other, &known));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(errors: Vec<FieldError>) -> Vec<String> {
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_rule_is_about_resources_or_about_paths() {
        let rules = json!({ "rules": [
            { "verbs": ["get"], "apiGroups": [""], "resources": ["pods"] },
            { "verbs": ["get"], "nonResourceURLs": ["/metrics"] },
            { "apiGroups": [""], "resources": ["pods"] },
            { "verbs": ["get"] },
            { "verbs": ["get"], "nonResourceURLs": ["/x"], "resources": ["pods"] },
        ] });
        assert_eq!(
            texts(role(Kind::ClusterRole, &rules)),
            [
                "rules[2].verbs: Required value: verbs must contain at least one value",
                "rules[3].apiGroups: Required value: resource rules must supply at least one api group",
                "rules[3].resources: Required value: resource rules must supply at least one resource",
                "rules[4].nonResourceURLs: Invalid value: [\"/x\"]: rules cannot apply to both regular resources and \
                 non-resource URLs",
            ]
        );
        let paths = json!({ "rules": [{ "verbs": ["get"], "nonResourceURLs": ["/metrics"] }] });
        assert_eq!(texts(role(Kind::Role, &paths)).len(), 1);
    }

    #[test]
    fn a_binding_names_a_role_and_subjects() {
        let good = json!({
            "roleRef": { "apiGroup": RBAC, "kind": "ClusterRole", "name": "system:coredns" },
            "subjects": [
                { "kind": "ServiceAccount", "name": "a", "namespace": "b" },
                { "kind": "Group", "name": "system:authenticated", "apiGroup": RBAC },
            ],
        });
        assert_eq!(texts(binding(Kind::ClusterRoleBinding, &good)), Vec::<String>::new());
        let bad = json!({
            "roleRef": { "apiGroup": RBAC, "kind": "Role", "name": "a" },
            "subjects": [{ "kind": "ServiceAccount", "name": "a" }, { "kind": "Pod", "name": "a" }],
        });
        assert_eq!(texts(binding(Kind::RoleBinding, &bad)).len(), 2);
        assert_eq!(texts(binding(Kind::ClusterRoleBinding, &bad)).len(), 3);
        let mut other = good.clone();
        other["roleRef"]["name"] = json!("other");
        assert!(
            texts(binding_update(Kind::ClusterRoleBinding, &other, &good))[0]
                .ends_with("cannot change roleRef")
        );
    }
}
