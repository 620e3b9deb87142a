//! The kinds that nobody runs, which charts bring: stored, found, changed and refused like the others.

use http::StatusCode;
use serde_json::{Value, json};

use super::*;

/// One good object of each, as a chart has it.
fn objects() -> Vec<Value> {
    let role = |kind: &str| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": kind,
            "metadata": { "name": "system:dns" },
            "rules": [{ "apiGroups": [""], "resources": ["services"], "verbs": ["list", "watch"] }],
        })
    };
    let binding = |kind: &str, role: &str| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": kind,
            "metadata": { "name": "system:dns" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": role, "name": "system:dns" },
            "subjects": [{ "kind": "ServiceAccount", "name": "dns", "namespace": "default" }],
        })
    };
    let template = json!({
        "metadata": { "labels": { "app": "a" } },
        "spec": { "containers": [{ "name": "a", "image": "a" }], "tolerations": [{ "operator": "Exists" }] },
    });
    vec![
        json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "dns" },
                "automountServiceAccountToken": false }),
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "dns" },
                "data": { "Corefile": ".:53 {\n    errors\n}\n", "type": "" } }),
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "dns" }, "data": { "a": "Yg==" } }),
        role("ClusterRole"),
        role("Role"),
        binding("ClusterRoleBinding", "ClusterRole"),
        binding("RoleBinding", "Role"),
        json!({ "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": { "name": "dns" },
                "spec": { "maxUnavailable": 1, "selector": { "matchLabels": { "app": "a" } } } }),
        json!({ "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": { "name": "dns" },
                "spec": {
                    "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "dns" },
                    "minReplicas": 2,
                    "maxReplicas": 6,
                    "metrics": [{ "type": "Resource", "resource": {
                        "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 75 } } }],
                    "behavior": { "scaleDown": { "stabilizationWindowSeconds": 300 } },
                } }),
        json!({ "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": { "name": "dns" },
                "spec": {
                    "podSelector": { "matchLabels": { "app": "a" } },
                    "policyTypes": ["Ingress", "Egress"],
                    "ingress": [{ "ports": [{ "port": 53, "protocol": "UDP" }, { "port": "dns-tcp" }] }],
                    "egress": [{}],
                } }),
        json!({ "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": { "name": "dns" },
                "spec": { "selector": { "matchLabels": { "app": "a" } }, "template": template } }),
        json!({ "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": { "name": "dns" },
                "value": 1000 }),
    ]
}

fn path(object: &Value) -> (String, String) {
    let kind = Kind::of(object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap()).unwrap();
    let version = kind.api_version();
    let root = if version == "v1" { "/api/v1".to_owned() } else { format!("/apis/{version}") };
    let namespace = if kind.info().namespaced { "/namespaces/default" } else { "" };
    let all = format!("{root}{namespace}/{}", kind.info().plural);
    let one = format!("{all}/{}", object["metadata"]["name"].as_str().unwrap());
    (all, one)
}

async fn send(
    client: &Client,
    method: &str,
    path: &str,
    media: &str,
    body: &Value,
) -> Result<Value, kube::Error> {
    let request = http::Request::builder().method(method).uri(path).header("Content-Type", media);
    client.request(request.body(body.to_string().into_bytes()).unwrap()).await
}

const JSON: &str = "application/json";

#[tokio::test]
async fn each_is_made_found_changed_and_deleted() {
    let (_server, client) = bare().await;
    for object in objects() {
        let (all, one) = path(&object);
        let made = send(&client, "POST", &format!("{all}?fieldValidation=Strict"), JSON, &object).await;
        let made = made.unwrap_or_else(|error| panic!("{all}: {error}"));
        assert_eq!(made["metadata"]["name"], object["metadata"]["name"], "{all}");
        for part in ["data", "rules", "roleRef"] {
            assert_eq!(made[part], object[part], "{all}");
        }
        // Twice the same is no change, whichever way it is said.
        let apply = "application/apply-patch+yaml";
        let applied =
            send(&client, "PATCH", &format!("{one}?fieldManager=helm&force=true"), apply, &object).await;
        let applied = applied.unwrap_or_else(|error| panic!("{one}: {error}"));
        let again = send(&client, "PATCH", &format!("{one}?fieldManager=helm&force=true"), apply, &object)
            .await
            .unwrap();
        assert_eq!(applied["metadata"]["resourceVersion"], again["metadata"]["resourceVersion"], "{one}");
        let patch = json!({ "metadata": { "labels": { "a": "b" } } });
        send(&client, "PATCH", &one, "application/strategic-merge-patch+json", &patch).await.unwrap();
        let found =
            send(&client, "GET", &format!("{all}?labelSelector=a%3Db"), JSON, &Value::Null).await.unwrap();
        assert_eq!(found["items"].as_array().unwrap().len(), 1, "{all}");
        send(&client, "DELETE", &one, JSON, &json!({})).await.unwrap();
        let gone = send(&client, "GET", &one, JSON, &Value::Null).await.unwrap_err();
        assert!(
            matches!(gone, kube::Error::Api(status) if status.code == StatusCode::NOT_FOUND.as_u16()),
            "{one}"
        );
    }
}

#[tokio::test]
async fn what_no_kind_has_is_refused() {
    let (_server, client) = bare().await;
    for mut object in objects() {
        let (all, _) = path(&object);
        object["colour"] = json!("red");
        let error =
            send(&client, "POST", &format!("{all}?fieldValidation=Strict"), JSON, &object).await.unwrap_err();
        assert!(error.to_string().contains("unknown field \"colour\""), "{all}: {error}");
    }
}

#[tokio::test]
async fn a_secret_turns_text_into_data_and_keeps_its_type() {
    let (_server, client) = bare().await;
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "a" }, "type": "helm.sh/release.v1",
                         "stringData": { "user": "me", "empty": "" }, "data": { "user": "eA==", "other": "eA==" } });
    let made = send(&client, "POST", "/api/v1/namespaces/default/secrets", JSON, &secret).await.unwrap();
    assert_eq!(made["data"], json!({ "user": "bWU=", "empty": "", "other": "eA==" }));
    assert!(made.get("stringData").is_none());
    let found =
        send(&client, "GET", "/api/v1/secrets?fieldSelector=type%3Dhelm.sh%2Frelease.v1", JSON, &Value::Null);
    assert_eq!(found.await.unwrap()["items"].as_array().unwrap().len(), 1);
    let patch = json!({ "type": "Opaque" });
    let error = send(
        &client,
        "PATCH",
        "/api/v1/namespaces/default/secrets/a",
        "application/merge-patch+json",
        &patch,
    );
    assert!(error.await.unwrap_err().to_string().contains("field is immutable"));
}

#[tokio::test]
async fn discovery_names_each_group_with_its_version() {
    let (_server, client) = bare().await;
    let groups = send(&client, "GET", "/apis", JSON, &Value::Null).await.unwrap();
    let groups: Vec<&str> = groups["groups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["preferredVersion"]["groupVersion"].as_str().unwrap())
        .collect();
    for wanted in ["autoscaling/v2", "policy/v1", "networking.k8s.io/v1", "rbac.authorization.k8s.io/v1"] {
        assert!(groups.contains(&wanted), "{groups:?}");
        send(&client, "GET", &format!("/apis/{wanted}"), JSON, &Value::Null).await.unwrap();
        send(&client, "GET", &format!("/openapi/v3/apis/{wanted}"), JSON, &Value::Null).await.unwrap();
    }
}
