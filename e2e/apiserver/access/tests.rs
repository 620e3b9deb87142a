use http::{Method, Uri};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;

fn list<T: DeserializeOwned>(values: &[Value]) -> Vec<T> {
    values.iter().map(|value| serde_json::from_value(value.clone()).unwrap()).collect()
}

fn role(name: &str, namespace: &str, rules: Value) -> Value {
    json!({ "metadata": { "name": name, "namespace": namespace }, "rules": rules })
}

fn binding(name: &str, namespace: &str, to: (&str, &str), subject: Value) -> Value {
    json!({ "metadata": { "name": name, "namespace": namespace },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": to.0, "name": to.1 }, "subjects": [subject] })
}

fn account(namespace: &str, name: &str) -> Value {
    json!({ "kind": "ServiceAccount", "name": name, "namespace": namespace })
}

/// One rule for the account `kube-system/callsign` in the whole cluster.
fn one(rule: Value) -> Policy {
    let roles = [role("callsign", "", json!([rule]))];
    let bindings = [binding("callsign", "", ("ClusterRole", "callsign"), account("kube-system", "callsign"))];
    Policy::new(&list::<ClusterRole>(&roles), &list::<ClusterRoleBinding>(&bindings), &[], &[])
}

fn callsign() -> User {
    User::account("kube-system", "callsign", "1")
}

fn asked(method: &str, uri: &str) -> Asked {
    Asked::of(&method.parse::<Method>().unwrap(), &uri.parse::<Uri>().unwrap())
}

fn may(policy: &Policy, method: &str, uri: &str) -> bool {
    policy.decide(&callsign(), &asked(method, uri)).is_allowed()
}

#[test]
fn requests_are_verbs_of_resources_or_of_paths() {
    let cases = [
        ("GET", "/api/v1/pods", "list", "", "pods", "", ""),
        ("GET", "/api/v1/pods?watch=1", "watch", "", "pods", "", ""),
        ("GET", "/api/v1/pods?watch=true&fieldSelector=metadata.name%3Da", "watch", "", "pods", "", "a"),
        (
            "GET",
            "/api/v1/pods?fieldSelector=spec.nodeName%3Db%2Cmetadata.name%3D%3Da",
            "list",
            "",
            "pods",
            "",
            "a",
        ),
        ("GET", "/api/v1/pods?fieldSelector=metadata.name!%3Da", "list", "", "pods", "", ""),
        (
            "DELETE",
            "/api/v1/namespaces/a/pods?fieldSelector=metadata.name%3Da",
            "deletecollection",
            "",
            "pods",
            "a",
            "",
        ),
        ("DELETE", "/api/v1/namespaces/a/pods/b", "delete", "", "pods", "a", "b"),
        ("PATCH", "/api/v1/namespaces/a/pods/b/status", "patch", "", "pods/status", "a", "b"),
        ("GET", "/api/v1/namespaces/a/pods/b:8080/proxy/metrics/x", "get", "", "pods/proxy", "a", "b:8080"),
        ("GET", "/api/v1/namespaces", "list", "", "namespaces", "", ""),
        ("GET", "/api/v1/namespaces/a", "get", "", "namespaces", "a", "a"),
        ("PUT", "/api/v1/namespaces/a/finalize", "update", "", "namespaces/finalize", "a", "a"),
        ("POST", "/apis/apps/v1/namespaces/a/deployments", "create", "apps", "deployments", "a", ""),
        ("HEAD", "/apis/apps/v1/namespaces/a/deployments/b", "get", "apps", "deployments", "a", "b"),
        ("GET", "/apis/example.org/v1/things", "list", "example.org", "things", "", ""),
    ];
    for (method, uri, verb, group, resource, namespace, name) in cases {
        let asked = asked(method, uri);
        let What::Object(object) = &asked.what else { panic!("{uri}") };
        let found =
            (asked.verb.as_str(), &*object.group, &*object.resource(), &*object.namespace, &*object.name);
        assert_eq!(found, (verb, group, resource, namespace, name), "{method} {uri}");
    }
    for path in
        ["/api", "/api/v1", "/apis/apps", "/apis/apps/v1", "/healthz", "/openapi/v3/apis/apps/v1", "/_faults"]
    {
        assert_eq!(asked("GET", path), Asked { verb: "get".to_owned(), what: What::Path(path.to_owned()) });
    }
}

#[test]
fn verbs_groups_and_resources() {
    let policy = one(
        json!({ "verbs": ["list", "watch"], "apiGroups": [""], "resources": ["services", "pods/status"] }),
    );
    assert!(may(&policy, "GET", "/api/v1/services"));
    assert!(may(&policy, "GET", "/api/v1/namespaces/a/services?watch=1"));
    assert!(!may(&policy, "GET", "/api/v1/namespaces/a/services/b"), "get is no list");
    assert!(!may(&policy, "GET", "/apis/apps/v1/services"), "another group");
    assert!(!may(&policy, "GET", "/api/v1/pods"), "a part is not the whole");
    let whole = one(json!({ "verbs": ["*"], "apiGroups": [""], "resources": ["pods"] }));
    assert!(may(&whole, "DELETE", "/api/v1/namespaces/a/pods"));
    assert!(!may(&whole, "PATCH", "/api/v1/namespaces/a/pods/b/status"), "the whole is not its parts");
    let all = one(json!({ "verbs": ["patch"], "apiGroups": ["*"], "resources": ["*"] }));
    assert!(may(&all, "PATCH", "/apis/apps/v1/namespaces/a/deployments/b/scale"));
    let scale = one(json!({ "verbs": ["patch"], "apiGroups": ["apps"], "resources": ["*/scale"] }));
    assert!(may(&scale, "PATCH", "/apis/apps/v1/namespaces/a/deployments/b/scale"));
    assert!(!may(&scale, "PATCH", "/apis/apps/v1/namespaces/a/deployments/b/status"));
    assert!(!may(&scale, "PATCH", "/apis/apps/v1/namespaces/a/deployments/b"));
}

#[test]
fn a_rule_with_names_is_about_requests_that_name_one() {
    let policy = one(json!({ "verbs": ["*"], "apiGroups": ["coordination.k8s.io"], "resources": ["leases"],
                             "resourceNames": ["callsign-controller"] }));
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
    assert!(may(&policy, "GET", &format!("{leases}/callsign-controller")));
    assert!(may(&policy, "PUT", &format!("{leases}/callsign-controller")));
    assert!(!may(&policy, "GET", &format!("{leases}/other")));
    assert!(!may(&policy, "POST", leases), "a create names nothing");
    assert!(!may(&policy, "GET", leases));
    assert!(!may(&policy, "DELETE", &format!("{leases}?fieldSelector=metadata.name%3Dcallsign-controller")));
    for query in ["", "watch=1&"] {
        assert!(may(
            &policy,
            "GET",
            &format!("{leases}?{query}fieldSelector=metadata.name%3Dcallsign-controller")
        ));
        assert!(!may(&policy, "GET", &format!("{leases}?{query}fieldSelector=metadata.name%3Dother")));
    }
}

#[test]
fn paths() {
    let policy = one(json!({ "verbs": ["get"], "nonResourceURLs": ["/metrics", "/api/*"] }));
    assert!(may(&policy, "GET", "/metrics"));
    assert!(!may(&policy, "GET", "/metrics/x"));
    assert!(!may(&policy, "POST", "/metrics"));
    assert!(may(&policy, "GET", "/api/v1"));
    assert!(!may(&policy, "GET", "/api"));
    assert!(!may(&policy, "GET", "/api/v1/pods"), "resources are no paths");
}

#[test]
fn a_role_binding_grants_in_its_namespace_alone() {
    let rule = json!([{ "verbs": ["get"], "apiGroups": [""], "resources": ["secrets"] },
                      { "verbs": ["get"], "nonResourceURLs": ["/metrics"] }]);
    let cluster = list::<ClusterRole>(&[role("reader", "", rule.clone())]);
    let roles = list::<Role>(&[role("local", "a", rule)]);
    let bindings = list::<RoleBinding>(&[
        binding(
            "one",
            "a",
            ("Role", "local"),
            json!({ "kind": "ServiceAccount", "name": "callsign", "namespace": "kube-system" }),
        ),
        binding("two", "b", ("ClusterRole", "reader"), account("kube-system", "callsign")),
        // A Role of another namespace is none.
        binding("three", "c", ("Role", "local"), account("kube-system", "callsign")),
    ]);
    let policy = Policy::new(&cluster, &[], &roles, &bindings);
    assert!(may(&policy, "GET", "/api/v1/namespaces/a/secrets/x"));
    assert!(may(&policy, "GET", "/api/v1/namespaces/b/secrets/x"));
    assert!(!may(&policy, "GET", "/metrics"), "paths are of no namespace");
    let decision = policy.decide(&callsign(), &asked("GET", "/api/v1/namespaces/c/secrets/x"));
    assert_eq!(
        decision,
        Decision::Denied("RBAC: role.rbac.authorization.k8s.io \"local\" not found".to_owned())
    );
    let decision = policy.decide(&callsign(), &asked("GET", "/api/v1/namespaces/d/secrets/x"));
    assert_eq!(decision, Decision::Denied(String::new()));
}

#[test]
fn subjects_are_users_groups_and_accounts() {
    let rule = json!({ "verbs": ["list"], "apiGroups": [""], "resources": ["pods"] });
    let policy = |subject: Value| {
        let roles = list::<ClusterRole>(&[role("r", "", json!([rule.clone()]))]);
        Policy::new(
            &roles,
            &list::<ClusterRoleBinding>(&[binding("b", "", ("ClusterRole", "r"), subject)]),
            &[],
            &[],
        )
    };
    let group = |name: &str| {
        policy(json!({ "kind": "Group", "name": name, "apiGroup": "rbac.authorization.k8s.io" }))
    };
    let pods = asked("GET", "/api/v1/pods");
    for name in ["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"] {
        assert!(group(name).decide(&callsign(), &pods).is_allowed(), "{name}");
    }
    assert!(!group("system:serviceaccounts:other").decide(&callsign(), &pods).is_allowed());
    assert!(!group("system:unauthenticated").decide(&callsign(), &pods).is_allowed());
    assert!(group("system:unauthenticated").decide(&User::anonymous(), &pods).is_allowed());
    assert!(!group("system:authenticated").decide(&User::anonymous(), &pods).is_allowed());
    let user = policy(json!({ "kind": "User", "name": "system:serviceaccount:kube-system:callsign" }));
    assert!(user.decide(&callsign(), &pods).is_allowed());
    let same = policy(account("kube-system", "callsign"));
    let decision = same.decide(&callsign(), &pods);
    let why = "RBAC: allowed by ClusterRoleBinding \"b\" of ClusterRole \"r\" to ServiceAccount \"callsign/kube-system\"";
    assert_eq!(decision, Decision::Allowed(why.to_owned()));
    assert!(!same.decide(&User::account("other", "callsign", "1"), &pods).is_allowed());
    // An account without a namespace is nobody in the whole cluster.
    let nowhere = policy(json!({ "kind": "ServiceAccount", "name": "callsign" }));
    assert!(!nowhere.decide(&callsign(), &pods).is_allowed());
    assert!(Policy::default().decide(&User::admin(), &pods).is_allowed(), "masters need no role");
}

#[test]
fn rules_of_a_user_are_those_of_the_cluster_and_of_the_namespace() {
    let rule = |verb: &str| json!([{ "verbs": [verb], "apiGroups": [""], "resources": ["pods"] }]);
    let policy = Policy::new(
        &list::<ClusterRole>(&[role("c", "", rule("list"))]),
        &list::<ClusterRoleBinding>(&[binding(
            "c",
            "",
            ("ClusterRole", "c"),
            account("kube-system", "callsign"),
        )]),
        &list::<Role>(&[role("n", "a", rule("get"))]),
        &list::<RoleBinding>(&[binding("n", "a", ("Role", "n"), account("kube-system", "callsign"))]),
    );
    let verbs = |namespace: &str| -> Vec<String> {
        policy.rules_of(&callsign(), namespace).into_iter().flat_map(|rule| rule.verbs).collect()
    };
    assert_eq!(
        (verbs("a"), verbs("b")),
        (vec!["list".to_owned(), "get".to_owned()], vec!["list".to_owned()])
    );
}

#[test]
fn what_is_denied_is_said_as_the_real_server_says_it() {
    let cases = [
        (
            "GET",
            "/api/v1/services",
            "cannot list resource \"services\" in API group \"\" at the cluster scope",
        ),
        (
            "GET",
            "/api/v1/namespaces/a/pods/b:1/proxy/x",
            "cannot get resource \"pods/proxy\" in API group \"\" in the namespace \"a\"",
        ),
        (
            "POST",
            "/apis/apps/v1/namespaces/a/deployments",
            "cannot create resource \"deployments\" in API group \"apps\" in the namespace \"a\"",
        ),
        ("GET", "/metrics", "cannot get path \"/metrics\""),
    ];
    for (method, uri, text) in cases {
        assert_eq!(asked(method, uri).to_string(), text);
    }
}
