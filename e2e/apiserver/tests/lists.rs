//! Lists: versions, pages, selectors and forms.

use kube::api::{ListParams, PostParams, VersionMatch};

use super::*;

const PODS: &str = "/api/v1/namespaces/default/pods";
const TABLE: &str = "Accept: application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

async fn with_pods(count: usize) -> (Running, Client) {
    let (server, client) = bare().await;
    for index in 0..count {
        pods(&client)
            .create(&PostParams::default(), &object(pod(&format!("p{index:02}"), None)))
            .await
            .unwrap();
    }
    (server, client)
}

fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap();
    items.iter().map(|it| it["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn pages_are_of_one_version() {
    let (server, client) = with_pods(5).await;
    let first = get(&server, &format!("{PODS}?limit=2")).await.json();
    assert_eq!(names(&first), ["p00", "p01"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    assert!(first["items"][0].get("kind").is_none());
    let api = pods(&client);
    api.delete("p03", &Default::default()).await.unwrap();
    api.create(&PostParams::default(), &object(pod("p02x", None))).await.unwrap();
    let token = |list: &Value| list["metadata"]["continue"].as_str().unwrap().to_owned();
    let second = get(&server, &format!("{PODS}?limit=2&continue={}", token(&first))).await.json();
    assert_eq!(names(&second), ["p02", "p03"], "as it was at the first page");
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let third = get(&server, &format!("{PODS}?limit=2&continue={}", token(&second))).await.json();
    assert_eq!(names(&third), ["p04"]);
    assert!(third["metadata"].get("continue").is_none());
    assert_eq!(names(&get(&server, PODS).await.json()), ["p00", "p01", "p02", "p02x", "p04"]);
    server.faults().set(crate::apiserver::faults::Fault::ExpireVersions).unwrap();
    let expired = get(&server, &format!("{PODS}?limit=2&continue={}", token(&first))).await;
    assert_eq!((expired.status, &expired.json()["reason"]), (410, &json!("Expired")));
    assert_eq!(get(&server, &format!("{PODS}?continue=nonsense")).await.status, 400);
}

#[tokio::test]
async fn a_version_may_be_asked_for() {
    let (server, client) = with_pods(2).await;
    let then = server.store().version();
    pods(&client).create(&PostParams::default(), &object(pod("p02", None))).await.unwrap();
    let list = async |query: &str| get(&server, &format!("{PODS}?{query}")).await;
    let exact = list(&format!("resourceVersion={then}&resourceVersionMatch=Exact")).await.json();
    assert_eq!(names(&exact), ["p00", "p01"]);
    assert_eq!(exact["metadata"]["resourceVersion"], then.to_string());
    let newer = list(&format!("resourceVersion={then}&resourceVersionMatch=NotOlderThan")).await.json();
    assert_eq!(names(&newer).len(), 3);
    assert_eq!(names(&list(&format!("resourceVersion={then}")).await.json()).len(), 3);
    assert_eq!(names(&list(&format!("resourceVersion={then}&limit=1")).await.json()), ["p00"]);
    assert_eq!(names(&list("resourceVersion=0&limit=1").await.json()).len(), 3, "the cache knows no pages");
    for (query, status, reason) in [
        ("resourceVersion=999999", 504, "Timeout"),
        ("resourceVersionMatch=Exact", 422, "Invalid"),
        ("resourceVersion=0&resourceVersionMatch=Exact", 422, "Invalid"),
        ("resourceVersion=x", 400, "BadRequest"),
        ("limit=-1", 400, "BadRequest"),
        ("labelSelector=a%20in", 400, "BadRequest"),
        ("fieldSelector=spec.colour%3Dred", 400, "BadRequest"),
    ] {
        let answer = list(query).await;
        assert_eq!((answer.status, &answer.json()["reason"]), (status, &json!(reason)), "{query}");
    }
    let too_new = list("resourceVersion=999999").await.json();
    assert_eq!(too_new["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
}

#[tokio::test]
async fn selectors_choose() {
    let (_server, client) = with_pods(4).await;
    let api = pods(&client);
    let found = async |params: ListParams| {
        let list = api.list(&params).await.unwrap();
        list.items.into_iter().filter_map(|it| it.metadata.name).collect::<Vec<_>>()
    };
    assert_eq!(found(ListParams::default().labels("app in (p01,p03)")).await, ["p01", "p03"]);
    assert_eq!(found(ListParams::default().labels("app notin (p01),app!=p02")).await, ["p00", "p03"]);
    assert_eq!(found(ListParams::default().fields("metadata.name=p02")).await, ["p02"]);
    assert_eq!(found(ListParams::default().limit(1).labels("app in (p01,p03)")).await, ["p01"]);
    let exact = ListParams::default().match_any().labels("app=p00");
    assert_eq!(found(exact.matching(VersionMatch::NotOlderThan)).await, ["p00"]);
}

#[tokio::test]
async fn a_table_has_rows_and_metadata_comes_alone() {
    let (server, _) = with_pods(2).await;
    let table = send(&server, &format!("GET {PODS}\n{TABLE}"), "").await.json();
    assert_eq!((&table["kind"], &table["apiVersion"]), (&json!("Table"), &json!("meta.k8s.io/v1")));
    assert_eq!(table["columnDefinitions"][0]["name"], "Name");
    assert_eq!(table["rows"][1]["cells"][0], "p01");
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let with = async |include: &str| {
        send(&server, &format!("GET {PODS}/p00?includeObject={include}\n{TABLE}"), "").await.json()["rows"][0]
            .clone()
    };
    assert_eq!(with("Object").await["object"]["kind"], "Pod");
    assert!(with("None").await.get("object").is_none());
    let partial = "Accept: application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let list = send(&server, &format!("GET {PODS}\n{partial}"), "").await.json();
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert!(list["items"][0].get("spec").is_none() && list["items"][0]["metadata"]["name"] == "p00");
    let protobuf = "Accept: application/vnd.kubernetes.protobuf";
    let fallen_back = send(&server, &format!("GET {PODS}\n{protobuf}"), "").await;
    assert!(fallen_back.head.contains("application/json"), "{}", fallen_back.head);
}
