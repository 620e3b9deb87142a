//! What happens between the API server and us: watches that are cut, expire or fail, writes that are refused or lost. In
//! the end objects and answers are right, and on the way no name that exists is denied.

use std::path::Path;

use anyhow::{Result, ensure};
use callsign_e2e::{
    apiserver::{
        ApiServer, Options,
        faults::{Fault, Requests},
        kind::Kind,
    },
    harness::{
        build,
        scrape::Metrics,
        world::{World, eventually},
    },
};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_callsign");
const NAME: &str = "web.n.svc.cluster.local.";

/// A world with one headless Service and one ready pod.
async fn world() -> Result<World> {
    let world = World::start(Path::new(BINARY), Options::default(), &[]).await?;
    populate(&world).await?;
    Ok(world)
}

async fn populate(world: &World) -> Result<()> {
    world.cluster.apply(&build::namespace("n")).await?;
    world.cluster.apply(&build::node("node-a", "zone-a")).await?;
    world.cluster.apply(&build::headless("n", "web")).await?;
    world.cluster.apply(&build::pod("n", "a", "web", "10.1.0.1", true)).await?;
    world.answers(NAME, "A", &["10.1.0.1"]).await?;
    written(world, &["10.1.0.1"]).await
}

/// Waits until the slices of `web` hold these addresses, each once.
async fn written(world: &World, wanted: &[&str]) -> Result<()> {
    eventually("slices", async || {
        let slices = world.cluster.list(Kind::EndpointSlice).await?;
        let ours = slices.iter().filter(|slice| {
            slice.pointer("/metadata/labels/kubernetes.io~1service-name").and_then(Value::as_str)
                == Some("web")
        });
        let endpoints = ours.filter_map(|slice| slice.get("endpoints")?.as_array().cloned()).flatten();
        let mut found: Vec<String> =
            endpoints.filter_map(|e| Some(e.pointer("/addresses/0")?.as_str()?.to_owned())).collect();
        found.sort();
        ensure!(found == wanted, "wanted {wanted:?}, found {found:?}");
        Ok(())
    })
    .await
}

/// A second pod comes; both are answered and written.
async fn goes_on(world: &World) -> Result<()> {
    world.cluster.apply(&build::pod("n", "b", "web", "10.1.0.2", true)).await?;
    world.answers(NAME, "A", &["10.1.0.1", "10.1.0.2"]).await?;
    written(world, &["10.1.0.1", "10.1.0.2"]).await
}

/// Asks all the time while `work` goes on: the name must never be denied.
async fn never_denied(world: &World, work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::select! {
        done = work => done,
        denied = async {
            loop {
                let answer = world.resolver.ask(NAME, "A").await?;
                ensure!(!answer.answer.is_empty(), "denied: {answer:?}");
            }
        } => denied,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_watches_are_taken_up_again() -> Result<()> {
    let world = world().await?;
    for abrupt in [false, true] {
        world.fault(Fault::DropWatches { abrupt })?;
    }
    goes_on(&world).await
}

/// What metrics tell of the watch of Services: it lags while it is refused, and not when it is open again, though nothing changes.
#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_what_befalls_a_watch() -> Result<()> {
    let mut world = world().await?;
    let at = world.callsign.address("metrics").await?;
    let shows = async |name: &str, more: &str, wanted: &dyn Fn(f64) -> bool| {
        eventually(&format!("{name} {more}"), async || {
            let metrics = Metrics::of(at).await?;
            let is_meant = |sample: &str| {
                sample.starts_with(&format!("callsign_watch_{name}{{"))
                    && sample.contains("kind=\"services\"")
                    && sample.contains(more)
            };
            let found = metrics.samples.iter().find(|(sample, _)| is_meant(sample));
            ensure!(found.is_some_and(|(_, value)| wanted(*value)), "{found:?}");
            Ok(())
        })
        .await
    };
    shows("synced", "", &|synced| synced == 1.0).await?;
    shows("lag_seconds", "", &|lag| lag == 0.0).await?;
    // `kubernetes` is there by itself.
    shows("objects", "", &|objects| objects == 2.0).await?;
    let requests = Requests::of("watch", "services");
    world.fault(Fault::Answer { requests, times: 5, status: 403, retry_after: None })?;
    world.fault(Fault::DropWatches { abrupt: true })?;
    shows("lag_seconds", "", &|lag| lag > 0.1).await?;
    shows("errors_total", "reason=\"forbidden\"", &|errors| errors == 5.0).await?;
    shows("lag_seconds", "", &|lag| lag == 0.0).await?;
    shows("lists_total", "", &|lists| lists == 1.0).await?;
    shows("synced", "", &|synced| synced == 1.0).await?;
    world.cluster.apply(&build::headless("n", "other")).await?;
    shows("objects", "", &|objects| objects == 3.0).await?;
    shows("events_total", "", &|events| events >= 2.0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_versions_are_listed_again_without_a_gap() -> Result<()> {
    let world = world().await?;
    let other = world.resolver.ask(NAME, "A").await?;
    assert!(!other.answer.is_empty());
    // While the watch is held the version ages past the window: 410 when it is taken up.
    world.fault(Fault::Hold { kind: None })?;
    world.cluster.apply(&build::pod("n", "b", "web", "10.1.0.2", true)).await?;
    world.fault(Fault::ExpireVersions)?;
    world.fault(Fault::DropWatches { abrupt: true })?;
    world.fault(Fault::Release { kind: None })?;
    let resolver = callsign_e2e::harness::resolver::Resolver::new(world.dns).await?;
    tokio::select! {
        done = async {
            world.answers(NAME, "A", &["10.1.0.1", "10.1.0.2"]).await?;
            written(&world, &["10.1.0.1", "10.1.0.2"]).await
        } => done,
        denied = async {
            loop {
                let answer = resolver.ask(NAME, "A").await?;
                ensure!(!answer.answer.is_empty(), "denied: {answer:?}");
            }
        } => denied,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_streaming_lists_is_listed_by_page() -> Result<()> {
    let server = ApiServer::start(Options::default()).await?;
    server.faults().set(Fault::RefuseStreamingLists { refuse: true }).map_err(anyhow::Error::msg)?;
    let world = World::join(Path::new(BINARY), server, &[]).await?;
    populate(&world).await?;
    goes_on(&world).await
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_writes_are_tried_again() -> Result<()> {
    for (status, retry_after) in [(409, None), (429, Some(1)), (500, None), (503, None)] {
        let world = world().await?;
        for verb in ["create", "update", "delete"] {
            world.fault(Fault::Answer {
                requests: Requests::of(verb, "endpointslices"),
                times: 2,
                status,
                retry_after,
            })?;
            world.fault(Fault::Answer {
                requests: Requests::of(verb, "endpoints"),
                times: 2,
                status,
                retry_after,
            })?;
        }
        never_denied(&world, async { written(&world, &["10.1.0.1"]).await }).await?;
        goes_on(&world).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_answer_is_lost_is_not_made_twice() -> Result<()> {
    let world = world().await?;
    for verb in ["create", "update"] {
        world.fault(Fault::LoseResponse { requests: Requests::of(verb, "endpointslices"), times: 1 })?;
    }
    world.cluster.apply(&build::headless("n", "other")).await?;
    goes_on(&world).await?;
    world.cluster.settle().await?;
    let slices = world.cluster.list(Kind::EndpointSlice).await?;
    for service in ["web", "other"] {
        let count = slices.iter().filter(|slice| {
            slice.pointer("/metadata/labels/kubernetes.io~1service-name").and_then(Value::as_str)
                == Some(service)
        });
        assert_eq!(count.count(), 1, "{service}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_do_not_wait_for_slices() -> Result<()> {
    let world = world().await?;
    // No write of ours is seen, and none gets through.
    world.fault(Fault::Hold { kind: Some("endpointslices".to_owned()) })?;
    for verb in ["create", "update"] {
        let requests = Requests::of(verb, "endpointslices");
        world.fault(Fault::Answer { requests, times: 1000, status: 500, retry_after: None })?;
    }
    world.cluster.apply(&build::pod("n", "b", "web", "10.1.0.2", true)).await?;
    world.answers(NAME, "A", &["10.1.0.1", "10.1.0.2"]).await?;
    world.server.as_ref().unwrap().faults().clear();
    written(&world, &["10.1.0.1", "10.1.0.2"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn flips_faster_than_the_watch_end_right() -> Result<()> {
    let world = world().await?;
    world.fault(Fault::DelayWatch { kind: Some("endpointslices".to_owned()), milliseconds: 300 })?;
    for round in 0..20 {
        world.cluster.apply(&build::pod("n", "b", "web", "10.1.0.2", round % 2 == 0)).await?;
    }
    world.cluster.apply(&build::pod("n", "b", "web", "10.1.0.2", true)).await?;
    world.answers(NAME, "A", &["10.1.0.1", "10.1.0.2"]).await?;
    written(&world, &["10.1.0.1", "10.1.0.2"]).await?;
    world.cluster.settle().await?;
    written(&world, &["10.1.0.1", "10.1.0.2"]).await
}
