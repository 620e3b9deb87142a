//! The roles and bindings that every cluster has: what everybody may, who everybody is.

use serde_json::{Value, json};

use crate::apiserver::kind::{Kind, RBAC};
use crate::apiserver::rules::ApiError;
use crate::apiserver::store::Store;
use crate::apiserver::write::WriteOptions;

const HEALTH: [&str; 5] = ["/healthz", "/livez", "/readyz", "/version", "/version/"];
const EVERYBODY: [&str; 1] = ["system:authenticated"];

/// Makes them.
pub(crate) fn boot(store: &Store) -> Result<(), ApiError> {
    let discovery = [
        "/api",
        "/api/*",
        "/apis",
        "/apis/*",
        "/healthz",
        "/livez",
        "/openapi",
        "/openapi/*",
        "/readyz",
        "/version",
        "/version/",
    ];
    let all = json!([
        { "apiGroups": ["*"], "resources": ["*"], "verbs": ["*"] },
        { "nonResourceURLs": ["*"], "verbs": ["*"] },
    ]);
    make(store, "cluster-admin", &all, &["system:masters"])?;
    let paths = |paths: &[&str]| json!([{ "nonResourceURLs": paths, "verbs": ["get"] }]);
    make(store, "system:discovery", &paths(&discovery), &EVERYBODY)?;
    let anybody = ["system:authenticated", "system:unauthenticated"];
    make(store, "system:public-info-viewer", &paths(&HEALTH), &anybody)?;
    let reviews = json!([
        {
            "apiGroups": ["authorization.k8s.io"],
            "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
            "verbs": ["create"],
        },
        { "apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"], "verbs": ["create"] },
    ]);
    make(store, "system:basic-user", &reviews, &EVERYBODY)
}

fn make(store: &Store, name: &str, rules: &Value, groups: &[&str]) -> Result<(), ApiError> {
    let by = WriteOptions::by("kube-apiserver");
    let metadata = json!({ "name": name, "labels": { "kubernetes.io/bootstrapping": "rbac-defaults" } });
    let version = format!("{RBAC}/v1");
    let role = json!({ "apiVersion": version, "kind": "ClusterRole", "metadata": metadata, "rules": rules });
    store.create(Kind::ClusterRole, "", role, &by)?;
    let subjects: Vec<Value> =
        groups.iter().map(|group| json!({ "kind": "Group", "apiGroup": RBAC, "name": group })).collect();
    let binding = json!({
        "apiVersion": version,
        "kind": "ClusterRoleBinding",
        "metadata": metadata,
        "roleRef": { "apiGroup": RBAC, "kind": "ClusterRole", "name": name },
        "subjects": subjects,
    });
    store.create(Kind::ClusterRoleBinding, "", binding, &by).map(drop)
}
