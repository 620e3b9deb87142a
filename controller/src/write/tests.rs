//! Writes against an API server that refuses them.

use std::{sync::Arc, time::Duration};

use callsign_shared::{
    Key,
    object::{Decode, Endpoints},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Failure, Outcome, Overload, Throttle, Writer};
use crate::{
    gate::{Gate, Holder},
    plan::Write,
    testing::{Api, Cluster, Fault},
};

fn throttle() -> Arc<Throttle> {
    Arc::new(Throttle::new(None, 16))
}

fn writer() -> (Writer, Api, Arc<Cluster>) {
    let cluster = Arc::new(Cluster::default());
    let api = Api::new(&cluster);
    (Writer::new(api.client(), throttle(), Arc::default()), api, cluster)
}

fn endpoints(name: &str) -> Endpoints {
    Endpoints::decode(
        &json!({"metadata": {"name": name, "namespace": "n", "annotations": {"a": "b"}}}).to_string(),
    )
    .unwrap()
}

async fn created(writer: &Writer) -> Arc<Endpoints> {
    match writer.write(&Write::Create(endpoints("e"))).await {
        Ok(Outcome::Written(object)) => object,
        other => panic!("{other:?}"),
    }
}

fn answer(code: u16, body: Value) -> Fault {
    Fault::Answer(code, vec![], body)
}

#[tokio::test]
async fn a_write_says_who_it_is_and_what_it_replaces() {
    let (writer, api, _) = writer();
    let object = created(&writer).await;
    assert!(!object.meta.uid.is_empty() && !object.meta.resource_version.is_empty());
    let mut new = Endpoints::clone(&object);
    new.finalizers = vec!["example.com/held".into()];
    let Ok(Outcome::Written(updated)) = writer.write(&Write::Update { current: object, new }).await else {
        panic!()
    };
    let Ok(Outcome::Written(held)) = writer.write(&Write::Delete { current: updated }).await else {
        panic!()
    };
    assert!(held.meta.deleting, "a finalizer holds it");
    let calls = api.calls();
    assert_eq!(calls.iter().map(|call| call.verb).collect::<Vec<_>>(), ["create", "update", "delete"]);
    assert!(calls.iter().all(|call| call.agent.starts_with("callsign/")));
    assert!(calls[..2].iter().all(|call| call.query.contains("fieldManager=callsign")), "{calls:?}");
    assert_eq!(calls[0].body["metadata"].get("resourceVersion"), None);
    assert!(calls[1].body["metadata"]["resourceVersion"].is_string());
    assert_eq!(calls[1].body["metadata"]["annotations"]["a"], "b");
    assert!(calls[2].body["preconditions"]["resourceVersion"].is_string());
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let (writer, _, cluster) = writer();
    let object = created(&writer).await;
    assert_eq!(writer.write(&Write::Create(endpoints("e"))).await, Err(Failure::AlreadyExists));
    let mut by_another = cluster.get("Endpoints", &Key::new("n", "e")).unwrap();
    by_another["metadata"]["annotations"] = json!({});
    cluster.replace("Endpoints", &Key::new("n", "e"), by_another).unwrap();
    let new = Endpoints::clone(&object);
    let update = Write::Update { current: Arc::clone(&object), new };
    assert_eq!(writer.write(&update).await, Err(Failure::Conflict));
    assert_eq!(writer.write(&Write::Delete { current: Arc::clone(&object) }).await, Err(Failure::Conflict));
    cluster.delete("Endpoints", &Key::new("n", "e"), None).unwrap();
    assert_eq!(writer.write(&update).await, Err(Failure::NotFound));
    assert_eq!(
        writer.write(&Write::Delete { current: object }).await,
        Ok(Outcome::Deleted),
        "gone is what was wanted"
    );
    assert_eq!(writer.read::<Endpoints>(&Key::new("n", "e")).await, Ok(None));
}

#[tokio::test]
async fn a_namespace_that_ends_is_no_error() {
    let (writer, api, _) = writer();
    let forbidden = |cause: &str| json!({"reason": "Forbidden", "message": "no", "details": {"causes": [{"reason": cause}]}});
    api.fail_next([answer(403, forbidden("NamespaceTerminating")), answer(403, forbidden("Other"))]);
    assert_eq!(writer.write(&Write::Create(endpoints("e"))).await, Ok(Outcome::Dropped));
    assert_eq!(writer.write(&Write::Create(endpoints("e"))).await, Err(Failure::Other("no".into())));
}

#[tokio::test(start_paused = true)]
async fn an_overloaded_server_is_left_alone_as_long_as_it_asks() {
    let (writer, api, _) = writer();
    let seconds = Duration::from_secs;
    for (fault, pause) in [
        (Fault::Answer(429, vec![("retry-after", "3")], json!({})), seconds(3)),
        (answer(429, json!({"details": {"retryAfterSeconds": 2}})), seconds(2)),
        (answer(503, json!("not a status")), seconds(1)),
        (Fault::Answer(503, vec![("retry-after", "86400")], json!({})), seconds(30)),
    ] {
        api.fail_next([fault]);
        let overloaded = Failure::Overloaded { pause, by: Overload::Server };
        assert_eq!(writer.write(&Write::Create(endpoints("e"))).await, Err(overloaded));
        let begun = Instant::now();
        let key = Key::new("n", "none");
        assert_eq!(writer.read::<Endpoints>(&key).await, Err(Failure::Paused { pause }), "nothing is sent");
        let turn = writer.enter().await;
        let waited = begun.elapsed();
        assert!(waited >= pause && waited <= pause + seconds(1), "{waited:?} for {pause:?}");
        assert_eq!(writer.read::<Endpoints>(&key).await, Ok(None));
        drop(turn);
    }
}

#[tokio::test(start_paused = true)]
async fn priority_and_fairness_says_who_it_is() {
    let (writer, api, _) = writer();
    let headers = vec![
        ("retry-after", "1"),
        ("X-Kubernetes-PF-FlowSchema-UID", "schema"),
        ("X-Kubernetes-PF-PriorityLevel-UID", "level"),
    ];
    api.fail_next([Fault::Answer(429, headers, json!({}))]);
    let by = Overload::PriorityAndFairness { flow_schema: "schema".into(), priority_level: "level".into() };
    let overloaded = Failure::Overloaded { pause: Duration::from_secs(1), by };
    assert_eq!(writer.write(&Write::Create(endpoints("e"))).await, Err(overloaded));
}

#[tokio::test(start_paused = true)]
async fn what_is_never_answered_ends() {
    let cluster = Arc::new(Cluster::default());
    let writer =
        Writer::new(Api::slow(&cluster, Duration::from_secs(3600)).client(), throttle(), Arc::default());
    let failure = writer.write(&Write::Create(endpoints("e"))).await.unwrap_err();
    assert_eq!(failure.to_string(), "no answer within 30 s");
}

#[tokio::test(start_paused = true)]
async fn behind_a_closed_gate_nothing_is_written() {
    let cluster = Arc::new(Cluster::default());
    let gate = Arc::new(Gate::default());
    let writer = Writer::new(Api::slow(&cluster, Duration::ZERO).client(), throttle(), Arc::clone(&gate));
    gate.close(Holder::Guard, "somebody else writes");
    let refused = writer.write(&Write::Create(endpoints("e"))).await.unwrap_err();
    assert_eq!(refused.to_string(), "not writing: somebody else writes");
    assert_eq!(writer.read::<Endpoints>(&Key::new("n", "e")).await, Ok(None), "reads go on");
    gate.open(Holder::Guard);
    assert!(matches!(writer.write(&Write::Create(endpoints("e"))).await, Ok(Outcome::Written(_))));
}

/// The way to a connection is long: a lease that ends meanwhile keeps the write from being sent.
#[tokio::test(start_paused = true)]
async fn a_write_under_way_is_not_sent_once_the_lease_is_lost() {
    let seconds = Duration::from_secs;
    let cluster = Arc::new(Cluster::default());
    let api = Api::slow(&cluster, seconds(5));
    let gate = Arc::new(Gate::default());
    let writer = Writer::new(api.client(), throttle(), Arc::clone(&gate));
    let write = Write::Create(endpoints("e"));
    gate.open_until(Instant::now() + seconds(4));
    let failure = writer.write(&write).await.unwrap_err();
    assert_eq!(failure.to_string(), "not writing: the lease was not renewed in time");
    gate.open_until(Instant::now() + seconds(60));
    let (outcome, ()) = tokio::join!(writer.write(&write), async {
        tokio::time::sleep(seconds(1)).await;
        gate.lose("another leads");
    });
    assert_eq!(outcome.unwrap_err().to_string(), "not writing: another leads");
    assert_eq!(api.calls(), [], "nothing has arrived");
    gate.open_until(Instant::now() + seconds(60));
    let (outcome, ()) = tokio::join!(writer.write(&write), async {
        tokio::time::sleep(seconds(1)).await;
        gate.close(Holder::Lease, "ending");
    });
    assert!(matches!(outcome, Ok(Outcome::Written(_))), "it was begun in time");
}
