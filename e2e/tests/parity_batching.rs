//! The batch periods bound how often the objects of a Service are written, whatever its pods do; the first change does not
//! wait for one. kube-controller-manager's tests (`TestPodAddsBatching`, `TestPodUpdatesBatching`,
//! `TestPodDeleteBatching`, of both controllers) count the same.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;
use callsign_e2e::{
    apiserver::{Options, kind::Kind},
    harness::{
        build,
        namespace::{Namespace, server, until, writes},
        world::World,
    },
};
use futures::future::try_join_all;
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_callsign");
const NODES: [(&str, &str); 1] = [("node-a", "zone-a")];
const PERIOD: Duration = Duration::from_millis(600);
const OURS: [&str; 2] = ["endpoints", "endpointslices"];

/// A change of one of the Service's pods.
type Step = fn(&Namespace, usize) -> Result<()>;

fn name(number: usize) -> String {
    format!("p-{number:02}")
}

fn ip(number: usize) -> String {
    format!("10.1.0.{}", number + 1)
}

fn add(n: &Namespace, number: usize) -> Result<()> {
    n.put(build::pod("", &name(number), "web", &ip(number), true)).map(drop)
}

fn flip(n: &Namespace, number: usize) -> Result<()> {
    n.merge(Kind::Pod, &name(number), json!({"status": build::status_conditions(false)})).map(drop)
}

fn delete(n: &Namespace, number: usize) -> Result<()> {
    n.delete(Kind::Pod, &name(number), Some(0))
}

/// Thirty changes over one and a half seconds, for both kinds.
#[tokio::test(flavor = "multi_thread")]
async fn changes_within_a_period_are_one_write() -> Result<()> {
    let steps: [(&str, Step); 3] = [("adds", add), ("updates", flip), ("deletes", delete)];
    try_join_all(steps.map(|(what, step)| batches(what, step))).await.map(drop)
}

async fn batches(what: &str, step: Step) -> Result<()> {
    let period = format!("{}ms", PERIOD.as_millis());
    let flags = ["--endpointslice-updates-batch-period", &period, "--endpoint-updates-batch-period", &period];
    let server = server(Options::default(), &NODES).await?;
    let n = Namespace::new(&server, "batches")?;
    n.put(build::service("", "web"))?;
    let (mut in_endpoints, mut in_slices): (Vec<String>, Vec<String>) =
        (0..30).map(ip).map(|ip| (format!("{ip} http:8080/TCP"), format!("{ip} rs- http:8080/TCP"))).unzip();
    let all_but_adds = 0..if what == "adds" { 0 } else { 30 };
    all_but_adds.into_iter().try_for_each(|number| add(&n, number))?;
    let world = World::join(Path::new(BINARY), server, &flags).await?;
    until("objects", || n.endpoints("web").is_some() && !n.slices("web").is_empty()).await?;
    world.cluster.settle().await?;
    // What came before has rested.
    tokio::time::sleep(PERIOD * 2).await;
    let server = world.embedded()?;
    let before = OURS.map(|kind| writes(server, kind));
    let started = Instant::now();
    for number in 0..30 {
        step(&n, number)?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    match what {
        "updates" => {
            in_endpoints.iter_mut().for_each(|line| line.insert(0, '!'));
            in_slices.iter_mut().for_each(|line| *line = line.replace("rs-", "---"));
        }
        "deletes" => (in_endpoints, in_slices) = (Vec::new(), vec!["IPv4 empty".to_owned()]),
        _ => {}
    }
    in_endpoints.sort();
    in_slices.sort();
    until(&format!("{what} are written"), || {
        n.endpoints("web").as_ref() == Some(&in_endpoints) && n.endpoints_in_slices("web") == in_slices
    })
    .await?;
    let periods = u64::try_from(started.elapsed().as_millis().div_ceil(PERIOD.as_millis()))?;
    for (kind, before) in OURS.into_iter().zip(before) {
        let ([creates, updates, deletes], [creates_before, updates_before, deletes_before]) =
            (writes(server, kind), before);
        let updates = updates - updates_before;
        assert_eq!((creates, deletes), (creates_before, deletes_before), "{what}: {kind}");
        // The first at once, then one a period.
        assert!(updates <= periods + 1, "{what}: {updates} updates of {kind} in {periods} periods");
    }
    Ok(())
}

/// A Service whose objects have not been written for a period is written at once, however long the period is; what comes
/// then waits for its end. Upstream has every change of a pod wait.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_change_does_not_wait() -> Result<()> {
    let flags = ["--endpointslice-updates-batch-period", "15s", "--endpoint-updates-batch-period", "15s"];
    let server = server(Options::default(), &NODES).await?;
    let n = Namespace::new(&server, "first")?;
    let service = n.put(build::service("", "web"))?;
    // What is there is right, so that starting writes nothing.
    n.put(json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "web",
        "labels": {"endpoints.kubernetes.io/managed-by": "endpoint-controller"}}}))?;
    n.put(json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "web-x",
            "labels": {"kubernetes.io/service-name": "web",
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": "web",
                "uid": service.pointer("/metadata/uid"), "controller": true, "blockOwnerDeletion": true}]},
        "endpoints": [], "ports": null}))?;
    let world = World::join(Path::new(BINARY), server, &flags).await?;
    world.cluster.settle().await?;
    let started = Instant::now();
    add(&n, 0)?;
    let listed = |count: usize| {
        n.endpoints("web").is_some_and(|lines| lines.len() == count) && n.sizes("web") == [count]
    };
    until("the first pod", || listed(1)).await?;
    add(&n, 1)?;
    // On a machine that is so busy that the period is over there is nothing to see.
    if started.elapsed() < Duration::from_secs(8) {
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(listed(1), "the second pod waits");
    }
    Ok(())
}
