//! The sandbox: nodes, the fake kubelet and the workloads.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use kube::api::{DeleteParams, Patch, PatchParams, PostParams};

use super::*;
use crate::apiserver::kind::Kind;
use crate::apiserver::rules::value::{items, number, text};
use crate::apiserver::{Object, Scope};

async fn sandbox() -> (Running, Client) {
    let mut options = Options::sandbox(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    options.kubelet.start_delay = Duration::from_millis(10);
    options.kubelet.longest_grace = Duration::from_millis(30);
    start(options).await
}

fn of(server: &Running, kind: Kind) -> Vec<Arc<Object>> {
    server.store().list(kind, Scope::Namespace("default")).0
}

fn is_ready(pod: &Object) -> bool {
    let conditions = items(&pod.value, &["status", "conditions"]);
    conditions.iter().any(|it| text(it, &["type"]) == "Ready" && text(it, &["status"]) == "True")
}

fn ready(server: &Running) -> Vec<String> {
    let pods = of(server, Kind::Pod);
    pods.iter()
        .filter(|pod| is_ready(pod) && !pod.is_terminating())
        .map(|pod| pod.key.name.to_string())
        .collect()
}

fn workload(kind: &str, name: &str, replicas: u32, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "serviceName": if kind == "StatefulSet" { json!(name) } else { Value::Null },
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": image}]},
            },
        },
    })
}

#[tokio::test]
async fn a_pod_gets_a_node_addresses_and_readiness() {
    let (server, client) = sandbox().await;
    let api = pods(&client);
    for name in ["a", "b", "c"] {
        api.create(&PostParams::default(), &object(pod(name, None))).await.unwrap();
    }
    eventually("all are ready", || ready(&server) == ["a", "b", "c"]).await;
    let mut nodes: Vec<String> =
        of(&server, Kind::Pod).iter().map(|pod| text(&pod.value, &["spec", "nodeName"]).to_owned()).collect();
    nodes.sort();
    assert_eq!(nodes, ["node-a", "node-b", "node-c"]);
    let status = api.get("a").await.unwrap().status.unwrap();
    let ips: Vec<String> = status.pod_ips.unwrap().into_iter().map(|it| it.ip).collect();
    assert!(ips[0].starts_with("10.244.") && ips[1].starts_with("fd00:10:244::"), "{ips:?}");
    assert_eq!(status.pod_ip.as_ref(), ips.first());
    assert!(status.container_statuses.unwrap()[0].ready);
    let mut host = pod("host", Some("node-a"));
    host["spec"]["hostNetwork"] = json!(true);
    api.create(&PostParams::default(), &object(host)).await.unwrap();
    eventually("the pod of the host is ready", || ready(&server).contains(&"host".to_owned())).await;
    let status = api.get("host").await.unwrap().status.unwrap();
    assert_eq!(
        (status.pod_ip.as_deref(), status.host_ip.as_deref()),
        (Some("172.18.0.3"), Some("172.18.0.3"))
    );
}

#[tokio::test]
async fn an_annotation_makes_a_pod_unready_and_back() {
    let (server, client) = sandbox().await;
    let api = pods(&client);
    api.create(&PostParams::default(), &object(pod("a", None))).await.unwrap();
    eventually("it is ready", || ready(&server) == ["a"]).await;
    let annotate = async |value: Value| {
        let patch = Patch::Merge(json!({"metadata": {"annotations": {"callsign.dev/ready": value}}}));
        api.patch("a", &PatchParams::default(), &patch).await.unwrap();
    };
    annotate(json!("false")).await;
    eventually("it is not ready", || ready(&server).is_empty()).await;
    annotate(Value::Null).await;
    eventually("it is ready again", || ready(&server) == ["a"]).await;
}

#[tokio::test]
async fn a_status_somebody_writes_is_left_alone() {
    let (server, client) = sandbox().await;
    let api = pods(&client);
    api.create(&PostParams::default(), &object(pod("a", Some("node-a")))).await.unwrap();
    let own = json!({"status": {"phase": "Running", "podIP": "10.9.9.9", "podIPs": [{"ip": "10.9.9.9"}],
        "conditions": [{"type": "Ready", "status": "False"}]}});
    api.patch_status("a", &PatchParams::default(), &Patch::Merge(own)).await.unwrap();
    let version = server.store().get(Kind::Pod, "default", "a").unwrap().version;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(server.store().get(Kind::Pod, "default", "a").unwrap().version, version);
}

#[tokio::test]
async fn a_terminating_pod_goes_and_an_unschedulable_one_waits() {
    let (server, client) = sandbox().await;
    let api = pods(&client);
    api.create(&PostParams::default(), &object(pod("a", None))).await.unwrap();
    eventually("it is ready", || ready(&server) == ["a"]).await;
    api.delete("a", &DeleteParams::default()).await.unwrap();
    assert!(server.store().get(Kind::Pod, "default", "a").is_some_and(|pod| pod.is_terminating()));
    eventually("it is gone", || of(&server, Kind::Pod).is_empty()).await;
    let nodes: Api<k8s_openapi::api::core::v1::Node> = Api::all(client.clone());
    let taint =
        Patch::Merge(json!({"spec": {"taints": [{"key": "own", "value": "x", "effect": "NoSchedule"}]}}));
    for node in ["node-a", "node-c"] {
        nodes.patch(node, &PatchParams::default(), &taint).await.unwrap();
    }
    api.create(&PostParams::default(), &object(pod("plain", None))).await.unwrap();
    let mut tolerant = pod("tolerant", None);
    tolerant["spec"]["tolerations"] = json!([{"key": "own", "operator": "Equal", "value": "x"}]);
    tolerant["spec"]["nodeSelector"] = json!({"kubernetes.io/hostname": "node-a"});
    api.create(&PostParams::default(), &object(tolerant)).await.unwrap();
    eventually("both are ready", || ready(&server) == ["plain", "tolerant"]).await;
    let plain = api.get("plain").await.unwrap();
    assert_eq!(plain.spec.unwrap().node_name.as_deref(), Some("node-b"));
    for name in ["plain", "tolerant"] {
        api.delete(name, &DeleteParams::default().grace_period(0)).await.unwrap();
    }
    let mut picky = pod("picky", None);
    picky["spec"]["nodeSelector"] = json!({"disk": "fast"});
    api.create(&PostParams::default(), &object(picky)).await.unwrap();
    let reason = || {
        let pod = server.store().get(Kind::Pod, "default", "picky").unwrap();
        items(&pod.value, &["status", "conditions"]).first().map(|it| text(it, &["reason"]).to_owned())
    };
    eventually("it cannot be scheduled", || reason().as_deref() == Some("Unschedulable")).await;
    let label = Patch::Merge(json!({"metadata": {"labels": {"disk": "fast"}}}));
    nodes.patch("node-b", &PatchParams::default(), &label).await.unwrap();
    eventually("it is ready", || ready(&server) == ["picky"]).await;
}

#[tokio::test]
async fn a_deployment_rolls_from_template_to_template() {
    let (server, client) = sandbox().await;
    let api: Api<k8s_openapi::api::apps::v1::Deployment> = Api::namespaced(client.clone(), "default");
    let body = workload("Deployment", "web", 3, "app:1");
    api.create(&PostParams::default(), &object(body)).await.unwrap();
    let done = || {
        let deployment = server.store().get(Kind::Deployment, "default", "web").unwrap();
        let status = |name: &str| number(&deployment.value, &["status", name]).unwrap_or_default();
        let generation = number(&deployment.value, &["metadata", "generation"]).unwrap_or_default();
        let wanted = number(&deployment.value, &["spec", "replicas"]).unwrap_or_default();
        status("observedGeneration") == generation
            && status("updatedReplicas") == wanted
            && status("replicas") == wanted
            && status("availableReplicas") == wanted
    };
    eventually("it is complete", done).await;
    let first = ready(&server);
    assert_eq!(first.len(), 3);
    let image = Patch::Strategic(
        json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "app:2"}]}}}}),
    );
    api.patch("web", &PatchParams::default(), &image).await.unwrap();
    let mut fewest = usize::MAX;
    eventually("it is complete again", || {
        fewest = fewest.min(ready(&server).len());
        done()
    })
    .await;
    assert!(fewest >= 3, "never fewer than wanted were ready, but {fewest}");
    assert!(first.iter().all(|old| !ready(&server).contains(old)));
    assert_eq!(of(&server, Kind::ReplicaSet).len(), 2);
    let conditions = api.get("web").await.unwrap().status.unwrap().conditions.unwrap();
    assert!(
        conditions
            .iter()
            .any(|it| it.type_.as_deref() == Some("Available") && it.status.as_deref() == Some("True")),
        "{conditions:?}"
    );
    api.patch_scale("web", &PatchParams::default(), &Patch::Merge(json!({"spec": {"replicas": 1}})))
        .await
        .unwrap();
    eventually("one is left", || of(&server, Kind::Pod).len() == 1).await;
    api.delete("web", &DeleteParams::background()).await.unwrap();
    eventually("all is gone", || {
        of(&server, Kind::Pod).is_empty() && of(&server, Kind::ReplicaSet).is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_stateful_set_counts_its_pods() {
    let (server, client) = sandbox().await;
    let api: Api<k8s_openapi::api::apps::v1::StatefulSet> = Api::namespaced(client.clone(), "default");
    api.create(&PostParams::default(), &object(workload("StatefulSet", "db", 3, "app:1"))).await.unwrap();
    let mut most_unready = 0;
    eventually("all are ready", || {
        let pods = of(&server, Kind::Pod);
        most_unready = most_unready.max(pods.iter().filter(|pod| !is_ready(pod)).count());
        ready(&server) == ["db-0", "db-1", "db-2"]
    })
    .await;
    assert!(most_unready <= 1, "one after the other");
    let last = server.store().get(Kind::Pod, "default", "db-2").unwrap();
    assert_eq!(text(&last.value, &["spec", "hostname"]), "db-2");
    assert_eq!(text(&last.value, &["spec", "subdomain"]), "db");
    assert_eq!(text(&last.value, &["metadata", "labels", "apps.kubernetes.io/pod-index"]), "2");
    let before: Vec<String> = of(&server, Kind::Pod).iter().map(|pod| pod.uid().to_owned()).collect();
    let image = Patch::Strategic(
        json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "app:2"}]}}}}),
    );
    api.patch("db", &PatchParams::default(), &image).await.unwrap();
    eventually("all are new and ready", || {
        let pods = of(&server, Kind::Pod);
        ready(&server).len() == 3 && pods.iter().all(|pod| !before.contains(&pod.uid().to_owned()))
    })
    .await;
    eventually("it says so", || {
        let set = server.store().get(Kind::StatefulSet, "default", "db").unwrap();
        text(&set.value, &["status", "currentRevision"]) == text(&set.value, &["status", "updateRevision"])
    })
    .await;
    api.patch_scale("db", &PatchParams::default(), &Patch::Merge(json!({"spec": {"replicas": 1}})))
        .await
        .unwrap();
    eventually("the first is left", || ready(&server) == ["db-0"] && of(&server, Kind::Pod).len() == 1).await;
}
