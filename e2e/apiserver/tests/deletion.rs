//! Deletion: with grace, with finalizers, with what belongs together.

use k8s_openapi::api::core::v1::{Endpoints, Namespace};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy};

use super::*;
use crate::apiserver::kind::Kind;

fn is_there(server: &Running, kind: Kind, name: &str) -> bool {
    let namespace = if kind.info().namespaced { "default" } else { "" };
    server.store().get(kind, namespace, name).is_some()
}

#[tokio::test]
async fn a_pod_with_a_node_stays_until_its_time_is_up() {
    let (server, client) = bare().await;
    let api = pods(&client);
    for (name, node) in [("idle", None), ("busy", Some("node-a"))] {
        api.create(&PostParams::default(), &object(pod(name, node))).await.unwrap();
        api.delete(name, &DeleteParams::default()).await.unwrap();
    }
    assert!(!is_there(&server, Kind::Pod, "idle"));
    let busy = api.get("busy").await.unwrap();
    assert_eq!(busy.metadata.deletion_grace_period_seconds, Some(30));
    let first = busy.metadata.deletion_timestamp.clone().unwrap();
    api.delete("busy", &DeleteParams::default().grace_period(100)).await.unwrap();
    assert_eq!(api.get("busy").await.unwrap(), busy, "a deletion cannot be put off");
    api.delete("busy", &DeleteParams::default().grace_period(5)).await.unwrap();
    let sooner = api.get("busy").await.unwrap().metadata;
    assert!(sooner.deletion_grace_period_seconds == Some(5) && sooner.deletion_timestamp.unwrap() < first);
    api.delete("busy", &DeleteParams::default().grace_period(0)).await.unwrap();
    assert!(!is_there(&server, Kind::Pod, "busy"));
    let mut over = pod("over", Some("node-a"));
    over["metadata"]["name"] = json!("over");
    api.create(&PostParams::default(), &object(over)).await.unwrap();
    let ended = Patch::Merge(json!({"status": {"phase": "Succeeded"}}));
    api.patch_status("over", &PatchParams::default(), &ended).await.unwrap();
    api.delete("over", &DeleteParams::default()).await.unwrap();
    assert!(!is_there(&server, Kind::Pod, "over"), "a pod that has ended needs no time");
}

#[tokio::test]
async fn a_finalizer_holds_an_object_back() {
    let (server, client) = bare().await;
    let api = services(&client);
    let mut held = service("web");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    api.create(&PostParams::default(), &object(held)).await.unwrap();
    let deleted = api.delete("web", &DeleteParams::default()).await.unwrap();
    assert!(deleted.left().is_some_and(|it| it.metadata.deletion_timestamp.is_some()));
    assert!(is_there(&server, Kind::Service, "web"));
    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    api.patch("web", &PatchParams::default(), &release).await.unwrap();
    assert!(!is_there(&server, Kind::Service, "web"));
}

#[tokio::test]
async fn preconditions_are_kept() {
    let (server, client) = bare().await;
    let api = services(&client);
    let made = api.create(&PostParams::default(), &object(service("web"))).await.unwrap();
    let wrong = Preconditions { uid: Some("other".to_owned()), resource_version: None };
    let error = api.delete("web", &DeleteParams::default().preconditions(wrong)).await.unwrap_err();
    assert!(error.to_string().contains("Precondition failed: UID"), "{error}");
    let stale = Preconditions { uid: None, resource_version: Some("1".to_owned()) };
    assert!(api.delete("web", &DeleteParams::default().preconditions(stale)).await.is_err());
    assert!(is_there(&server, Kind::Service, "web"));
    let right = Preconditions {
        uid: made.metadata.uid.clone(),
        resource_version: made.metadata.resource_version.clone(),
    };
    api.delete("web", &DeleteParams::default().preconditions(right)).await.unwrap();
    assert!(!is_there(&server, Kind::Service, "web"));
    let head = "DELETE /api/v1/namespaces/default/services/kubernetes?propagationPolicy=Sometimes";
    assert_eq!(send(&server, head, "").await.status, 422);
}

#[tokio::test]
async fn a_service_takes_its_endpoints_along_and_gives_its_address_back() {
    let (server, client) = bare().await;
    let api = services(&client);
    let made = api.create(&PostParams::default(), &object(service("web"))).await.unwrap();
    let endpoints: Api<Endpoints> = Api::namespaced(client.clone(), "default");
    endpoints.create(&PostParams::default(), &object(json!({"metadata": {"name": "web"}}))).await.unwrap();
    api.delete("web", &DeleteParams::default()).await.unwrap();
    assert!(!is_there(&server, Kind::Endpoints, "web"));
    let mut again = service("again");
    again["spec"]["clusterIP"] = json!(made.spec.unwrap().cluster_ip);
    api.create(&PostParams::default(), &object(again)).await.unwrap();
}

#[tokio::test]
async fn a_collection_is_deleted_as_selected() {
    let (server, client) = bare().await;
    let api = services(&client);
    for name in ["a", "b"] {
        api.create(&PostParams::default(), &object(service(name))).await.unwrap();
    }
    let deleted = api
        .delete_collection(&DeleteParams::default(), &ListParams::default().labels("app=a"))
        .await
        .unwrap();
    assert_eq!(deleted.left().unwrap().items.len(), 1);
    assert!(!is_there(&server, Kind::Service, "a") && is_there(&server, Kind::Service, "b"));
}

#[tokio::test]
async fn a_namespace_empties_itself() {
    let (server, client) = bare().await;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces.create(&PostParams::default(), &object(json!({"metadata": {"name": "shop"}}))).await.unwrap();
    let api: Api<Pod> = Api::namespaced(client.clone(), "shop");
    let mut busy = pod("busy", Some("node-a"));
    busy["metadata"]["namespace"] = json!("shop");
    api.create(&PostParams::default(), &object(busy.clone())).await.unwrap();
    let mut web = service("web");
    web["metadata"]["namespace"] = json!("shop");
    Api::<Service>::namespaced(client.clone(), "shop")
        .create(&PostParams::default(), &object(web))
        .await
        .unwrap();
    namespaces.delete("shop", &DeleteParams::default()).await.unwrap();
    assert_eq!(namespaces.get("shop").await.unwrap().status.unwrap().phase.as_deref(), Some("Terminating"));
    let store = server.store();
    eventually("the Service is gone", || store.get(Kind::Service, "shop", "web").is_none()).await;
    busy["metadata"]["name"] = json!("late");
    let late = api.create(&PostParams::default(), &object(busy)).await.unwrap_err();
    let kube::Error::Api(status) = &late else { panic!("{late}") };
    let causes = status.details.clone().unwrap().causes;
    assert_eq!((status.code, causes[0].reason.as_str()), (403, "NamespaceTerminating"));
    assert!(store.get(Kind::Namespace, "", "shop").is_some(), "a pod is still ending");
    api.delete("busy", &DeleteParams::default().grace_period(0)).await.unwrap();
    eventually("the namespace is gone", || store.get(Kind::Namespace, "", "shop").is_none()).await;
}

/// A ReplicaSet with two dependents, in a server that collects garbage and starts nothing.
async fn family() -> (Running, Client, Api<k8s_openapi::api::apps::v1::ReplicaSet>) {
    let (server, client) = start(Options { garbage: true, ..Options::default() }).await;
    let sets: Api<k8s_openapi::api::apps::v1::ReplicaSet> = Api::namespaced(client.clone(), "default");
    let set = json!({
        "metadata": {"name": "web"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
        },
    });
    let set = sets.create(&PostParams::default(), &object(set)).await.unwrap();
    for name in ["a", "b"] {
        let mut body = pod(name, None);
        body["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": set.metadata.uid,
            "controller": true, "blockOwnerDeletion": true,
        }]);
        if name == "b" {
            body["metadata"]["finalizers"] = json!(["example.com/hold"]);
        }
        pods(&client).create(&PostParams::default(), &object(body)).await.unwrap();
    }
    (server, client, sets)
}

#[tokio::test]
async fn dependents_go_with_their_owner() {
    let (server, client, sets) = family().await;
    sets.delete("web", &DeleteParams::background()).await.unwrap();
    assert!(!is_there(&server, Kind::ReplicaSet, "web"));
    eventually("the dependent is gone", || !is_there(&server, Kind::Pod, "a")).await;
    eventually("the held one is on its way", || {
        server.store().get(Kind::Pod, "default", "b").is_some_and(|pod| pod.is_terminating())
    })
    .await;
    let mut orphan = pod("late", None);
    orphan["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "gone"}]);
    pods(&client).create(&PostParams::default(), &object(orphan)).await.unwrap();
    eventually("a dependent of nobody is gone", || !is_there(&server, Kind::Pod, "late")).await;
    let mut foreign = pod("foreign", None);
    foreign["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "batch/v1", "kind": "Job", "name": "job", "uid": "unknown"}]);
    pods(&client).create(&PostParams::default(), &object(foreign)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(is_there(&server, Kind::Pod, "foreign"), "of kinds that are not known nothing is known");
}

#[tokio::test]
async fn an_owner_waits_for_its_dependents_in_the_foreground() {
    let (server, client, sets) = family().await;
    sets.delete("web", &DeleteParams::foreground()).await.unwrap();
    eventually("the free dependent is gone", || !is_there(&server, Kind::Pod, "a")).await;
    assert!(is_there(&server, Kind::ReplicaSet, "web"));
    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    pods(&client).patch("b", &PatchParams::default(), &release).await.unwrap();
    eventually("the owner is gone", || !is_there(&server, Kind::ReplicaSet, "web")).await;
}

#[tokio::test]
async fn orphans_live_on() {
    let (server, client, sets) = family().await;
    let orphan =
        DeleteParams { propagation_policy: Some(PropagationPolicy::Orphan), ..DeleteParams::default() };
    sets.delete("web", &orphan).await.unwrap();
    eventually("the owner is gone", || !is_there(&server, Kind::ReplicaSet, "web")).await;
    let left = pods(&client).get("a").await.unwrap();
    assert_eq!(left.metadata.owner_references.unwrap_or_default(), []);
}
