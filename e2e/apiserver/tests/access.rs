//! Tokens, roles, HTTPS and pods behind the server, with kube-rs.

use std::net::SocketAddr;

use k8s_openapi::api::core::v1::Namespace;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;
use crate::apiserver::access::{Asked, What};
use crate::apiserver::write::WriteOptions;
use crate::apiserver::{AccessOptions, Key};

const ACCOUNT: &str = "system:serviceaccount:kube-system:callsign";

/// A server that asks who one is, over HTTPS, with an account that may list Services.
async fn guarded() -> Running {
    let access = Some(AccessOptions { admin_token: Some("secret".to_owned()) });
    let server = ApiServer::start(Options { access, tls: true, ..Options::default() }).await.unwrap();
    let role = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": { "name": "callsign" },
                       "rules": [{ "apiGroups": [""], "resources": ["services"], "verbs": ["list", "watch"] }] });
    let binding = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
                          "metadata": { "name": "callsign" },
                          "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "callsign" },
                          "subjects": [{ "kind": "ServiceAccount", "name": "callsign", "namespace": "kube-system" }] });
    let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "callsign", "namespace": "kube-system" } });
    for object in [role, binding, account] {
        server.store().load(object).unwrap();
    }
    server
}

fn issue(server: &Running) -> String {
    server.access().issue("kube-system", "callsign", 3600, None, &[]).unwrap().token
}

/// A client with a token of its own, or none.
async fn with_token(server: &Running, token: Option<&str>) -> Client {
    let mut config = Kubeconfig::from_yaml(&server.kubeconfig()).unwrap();
    for user in &mut config.auth_infos {
        user.auth_info.as_mut().unwrap().token = token.map(|token| token.to_owned().into());
    }
    let mut config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.unwrap();
    // An answer of 503 is what one of these tests wants to see.
    config.default_retry = false;
    Client::try_from(config).unwrap()
}

async fn call(
    client: &Client,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Value,
) -> (u16, Value) {
    let mut request =
        http::Request::builder().method(method).uri(path).header("Content-Type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    match client.request::<Value>(request.body(body).unwrap()).await {
        Ok(value) => (200, value),
        Err(kube::Error::Api(status)) => (status.code, serde_json::to_value(*status).unwrap()),
        Err(error) => panic!("{path}: {error}"),
    }
}

async fn get(client: &Client, path: &str) -> (u16, Value) {
    call(client, "GET", path, &[], Value::Null).await
}

#[tokio::test]
async fn everybody_may_do_what_roles_say_and_no_more() {
    let server = guarded().await;
    let admin = with_token(&server, Some("secret")).await;
    assert_eq!(get(&admin, "/api/v1/pods").await.0, 200);
    let account = with_token(&server, Some(&issue(&server))).await;
    assert_eq!(get(&account, "/api/v1/services").await.0, 200);
    assert_eq!(get(&account, "/apis").await.0, 200);
    let (code, status) = get(&account, "/api/v1/namespaces/kube-system/pods/a").await;
    let text = format!(
        "pods \"a\" is forbidden: User \"{ACCOUNT}\" cannot get resource \"pods\" in API group \"\" in the \
                        namespace \"kube-system\""
    );
    assert_eq!((code, &status["message"], &status["reason"]), (403, &json!(text), &json!("Forbidden")));
    assert_eq!(status["details"]["kind"], "pods");
    // What the server does not have is refused before it is not found.
    assert_eq!(get(&account, "/apis/example.org/v1/things").await.0, 403);
    assert_eq!(get(&admin, "/apis/example.org/v1/things").await.0, 404);
    let nobody = with_token(&server, None).await;
    let (code, status) = get(&nobody, "/api/v1/services").await;
    assert_eq!(code, 403);
    assert!(
        status["message"].as_str().unwrap().contains("User \"system:anonymous\" cannot list"),
        "{status}"
    );
    assert_eq!(get(&nobody, "/version").await.0, 200);
    let wrong = with_token(&server, Some("wrong")).await;
    assert_eq!(get(&wrong, "/version").await.0, 401);

    let uses = server.access().uses(ACCOUNT);
    let names = |set: &std::collections::BTreeSet<Asked>| -> Vec<String> {
        let object = |asked: &Asked| match &asked.what {
            What::Object(object) => format!("{} {}", asked.verb, object.resource()),
            What::Path(path) => format!("{} {path}", asked.verb),
        };
        set.iter().map(object).collect()
    };
    assert_eq!(names(&uses.allowed), ["get /apis", "list services"]);
    assert_eq!(names(&uses.denied), ["get pods", "list things"]);
}

#[tokio::test]
async fn a_token_is_good_until_its_account_or_its_pod_is_gone() {
    let server = guarded().await;
    let first = issue(&server);
    let client = with_token(&server, Some(&first)).await;
    assert_eq!(get(&client, "/api/v1/services").await.0, 200);
    server.access().revoke(&first);
    assert_eq!(get(&client, "/api/v1/services").await.0, 401);

    // As `kubectl create token` asks for one.
    let admin = with_token(&server, Some("secret")).await;
    let path = "/api/v1/namespaces/kube-system/serviceaccounts/callsign/token";
    let body = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": { "expirationSeconds": 600 } });
    let (code, answer) = call(&admin, "POST", path, &[], body.clone()).await;
    assert_eq!(code, 200, "{answer}");
    let client = with_token(&server, answer["status"]["token"].as_str()).await;
    assert_eq!(get(&client, "/api/v1/services").await.0, 200);
    let mut short = body;
    short["spec"]["expirationSeconds"] = json!(60);
    assert_eq!(call(&admin, "POST", path, &[], short).await.0, 422);
    let gone = Key::new("kube-system", "callsign");
    server.store().delete(Kind::ServiceAccount, &gone, &crate::apiserver::DeleteOptions::default()).unwrap();
    assert_eq!(get(&client, "/api/v1/services").await.0, 401);
}

#[tokio::test]
async fn who_may_impersonate_acts_as_others() {
    let server = guarded().await;
    let admin = with_token(&server, Some("secret")).await;
    let headers = [("Impersonate-User", ACCOUNT)];
    assert_eq!(call(&admin, "GET", "/api/v1/services", &headers, Value::Null).await.0, 200);
    assert_eq!(call(&admin, "GET", "/api/v1/pods", &headers, Value::Null).await.0, 403);
    let groups = [("Impersonate-User", "bob"), ("Impersonate-Group", "system:masters")];
    assert_eq!(call(&admin, "GET", "/api/v1/pods", &groups, Value::Null).await.0, 200);
    let alone = [("Impersonate-Group", "system:masters")];
    assert_eq!(call(&admin, "GET", "/api/v1/pods", &alone, Value::Null).await.0, 500);
    let account = with_token(&server, Some(&issue(&server))).await;
    let (code, status) =
        call(&account, "GET", "/api/v1/services", &[("Impersonate-User", "bob")], Value::Null).await;
    assert_eq!(code, 403);
    assert!(
        status["message"].as_str().unwrap().contains("cannot impersonate resource \"users\""),
        "{status}"
    );
}

#[tokio::test]
async fn reviews_answer_what_requests_would_meet() {
    let server = guarded().await;
    let account = with_token(&server, Some(&issue(&server))).await;
    let admin = with_token(&server, Some("secret")).await;
    let reviews = "/apis/authorization.k8s.io/v1";
    let spec = |verb: &str| json!({ "resourceAttributes": { "verb": verb, "resource": "services" } });
    for (verb, wanted) in [("list", true), ("delete", false)] {
        let body = json!({ "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": spec(verb) });
        let (_, answer) =
            call(&account, "POST", &format!("{reviews}/selfsubjectaccessreviews"), &[], body).await;
        assert_eq!(answer["status"]["allowed"], wanted, "{answer}");
        let mut of_other = spec(verb);
        of_other["user"] = json!(ACCOUNT);
        let body = json!({ "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": of_other });
        let (_, answer) =
            call(&admin, "POST", &format!("{reviews}/subjectaccessreviews"), &[], body.clone()).await;
        assert_eq!(answer["status"]["allowed"], wanted, "{answer}");
        assert_eq!(
            call(&account, "POST", &format!("{reviews}/subjectaccessreviews"), &[], body).await.0,
            403
        );
    }
    let body = json!({ "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": { "namespace": "default" } });
    let (_, answer) = call(&account, "POST", &format!("{reviews}/selfsubjectrulesreviews"), &[], body).await;
    let rules = answer["status"]["resourceRules"].as_array().unwrap();
    assert!(rules.iter().any(|rule| rule["resources"] == json!(["services"])), "{answer}");
    let body = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview" });
    let (_, answer) =
        call(&account, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", &[], body).await;
    assert_eq!(answer["status"]["userInfo"]["username"], ACCOUNT);
}

#[tokio::test]
async fn pods_answer_through_the_server() {
    let server = guarded().await;
    let page = axum::Router::new().route(
        "/metrics",
        axum::routing::get(|uri: http::Uri, headers: http::HeaderMap| async move {
            assert!(!headers.contains_key("authorization"), "the token stays here");
            format!("{}\n", uri.query().unwrap_or_default())
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr: SocketAddr = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, page).await });
    let mut pod = pod("web", Some("node-a"));
    pod["spec"]["containers"] = json!([{ "name": "web", "image": "web", "ports": [{ "name": "http", "containerPort": addr.port() }] }]);
    pod["status"] = json!({ "podIP": "127.0.0.1", "phase": "Running" });
    server.store().load(pod).unwrap();
    let admin = with_token(&server, Some("secret")).await;
    let text = async |name: &str, path: &str| {
        let uri = format!("/api/v1/namespaces/default/pods/{name}/proxy/{path}");
        let request = http::Request::get(uri).body(Vec::new()).unwrap();
        admin.request_text(request).await
    };
    for name in
        ["web".to_owned(), format!("web:{}", addr.port()), "web:http".to_owned(), "http:web:http".to_owned()]
    {
        assert_eq!(text(&name, "metrics?a=b").await.unwrap(), "a=b\n", "{name}");
    }
    for (name, code) in [("none", 404), ("web:none", 400), ("web:1", 503)] {
        let error = text(name, "metrics").await.unwrap_err();
        assert!(matches!(&error, kube::Error::Api(status) if status.code == code), "{name}: {error}");
    }
    // It is a permission of its own, and nowhere else is reached.
    let account = with_token(&server, Some(&issue(&server))).await;
    let (code, status) = get(&account, "/api/v1/namespaces/default/pods/web/proxy/metrics").await;
    assert_eq!(code, 403);
    assert!(status["message"].as_str().unwrap().contains("cannot get resource \"pods/proxy\""), "{status}");
    let moved = json!({ "status": { "podIP": "192.0.2.1" } });
    let key = Key::new("default", "web");
    let patch = crate::apiserver::Patch::Merge(moved);
    server
        .store()
        .patch(Kind::Pod, &key, crate::apiserver::Part::Status, &patch, &WriteOptions::by("test"))
        .unwrap();
    let error = text("web", "metrics").await.unwrap_err();
    assert!(error.to_string().contains("address not allowed"), "{error}");
}

#[tokio::test]
async fn the_authority_is_the_only_one() {
    let server = guarded().await;
    let mut config = Kubeconfig::from_yaml(&server.kubeconfig()).unwrap();
    config.clusters[0].cluster.as_mut().unwrap().certificate_authority_data = None;
    let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.unwrap();
    let client = Client::try_from(config).unwrap();
    assert!(Api::<Namespace>::all(client).list(&kube::api::ListParams::default()).await.is_err());
    assert!(server.url().starts_with("https://127.0.0.1:"));
}
