//! The Lease itself: what is in it, and what becomes of its leader when it is edited, deleted, forbidden, or cannot be
//! reached.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use callsign_e2e::{
    apiserver::{
        Options,
        faults::{Fault, Requests},
    },
    harness::{
        build,
        namespace::{Namespace, hold, server, until},
        process::Signal,
        replicas::{
            self, LONG, PATIENCE, QUICK, all_writes, holder, is_ready, leads, lease, namespace, shows,
            shows_metric, turn, turned,
        },
        scrape::get,
        world::{World, eventually},
    },
};
use kube::api::{Patch, PatchParams};
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_callsign");

#[tokio::test(flavor = "multi_thread")]
async fn the_lease_is_the_standard_one() -> Result<()> {
    let mut world = replicas::first(BINARY, &[]).await?;
    let spec = lease(&world).context("no lease")?;
    assert_eq!((&spec["leaseDurationSeconds"], &spec["leaseTransitions"]), (&json!(15), &json!(0)));
    for field in ["acquireTime", "renewTime"] {
        let time = spec[field].as_str().unwrap_or_default();
        assert_eq!(time.len(), "2026-01-01T00:00:00.000000Z".len(), "{time}");
    }
    leads(&mut world.callsign, true).await?;
    let info = "callsign_leader_info{name=\"callsign-controller\",holder=\"a\"} 1";
    shows_metric(&mut world.callsign, info).await?;
    shows_metric(&mut world.callsign, "callsign_leader_start_seconds_count 1").await?;
    shows_metric(&mut world.callsign, "callsign_leader_transitions_total{to=\"leader\"} 1").await?;
    until("it is renewed", || lease(&world).is_some_and(|now| now["renewTime"] != spec["renewTime"])).await?;
    assert_eq!(lease(&world).context("no lease")?["acquireTime"], spec["acquireTime"]);
    Ok(())
}

/// Answers that get lost, a Lease that a person edits or deletes: the leader leads on, and nobody beside it.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_stays_in_office() -> Result<()> {
    let mut world = replicas::first(BINARY, &LONG).await?;
    let other = replicas::second(BINARY, &world, "b", &LONG).await?;
    let renewed = async |what: &str| {
        let before = lease(&world).and_then(|spec| spec.get("renewTime").cloned());
        until(what, || {
            let now = lease(&world).and_then(|spec| spec.get("renewTime").cloned());
            now.is_some() && now != before
        })
        .await
    };
    world.fault(Fault::LoseResponse { requests: Requests::of("update", "leases"), times: 2 })?;
    until("answers are lost", || world.embedded().is_ok_and(|server| server.faults().armed() == 0)).await?;
    renewed("it renews after lost answers").await?;
    let named = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"namespace": "kube-system", "name": "callsign-controller"}});
    let (api, name) = world.cluster.api(&named)?;
    let note = json!({"metadata": {"annotations": {"note": "by hand"}}});
    api.patch(&name, &PatchParams::default(), &Patch::Merge(&note)).await?;
    renewed("it renews after an edit").await?;
    assert_eq!(api.get(&name).await?.metadata.annotations.unwrap_or_default()["note"], "by hand");
    world.cluster.delete(&named).await?;
    until("it makes it anew", || holder(&world).as_deref() == Some("a")).await?;
    renewed("it renews what it made").await?;
    leads(&mut world.callsign, true).await?;
    for said in [world.callsign.said(), other.said()] {
        assert!(!said.contains("lost the lease") && said.matches("became leader").count() < 2, "{said}");
    }
    assert!(!other.said().contains("became leader"));
    Ok(())
}

/// It writes no more though it could, for nobody knows any more that it may. Questions are answered as before.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_cannot_be_renewed_ends() -> Result<()> {
    let mut world = replicas::first(BINARY, &QUICK).await?;
    let n = Namespace::new(world.embedded()?, "alone")?;
    n.put(build::headless("", "web"))?;
    turn(&n, false)?;
    hold(&world, &[turned(&n, false)]).await?;
    let requests = Requests { kind: Some("leases".to_owned()), ..Requests::default() };
    world.fault(Fault::Answer { requests, times: 100_000, status: 503, retry_after: None })?;
    until("it notices", || world.callsign.said().contains("lost the lease")).await?;
    leads(&mut world.callsign, false).await?;
    let before = all_writes(world.embedded()?);
    turn(&n, true)?;
    world.answers("web.alone.svc.cluster.local.", "A", &["10.1.0.1"]).await?;
    for _ in 0..3 {
        world.cluster.settle().await?;
    }
    assert!(shows(&n, false));
    assert_eq!(all_writes(world.embedded()?), before);
    is_ready(&mut world.callsign).await?;
    world.embedded()?.faults().clear();
    hold(&world, &[turned(&n, true)]).await?;
    leads(&mut world.callsign, true).await?;
    assert_eq!(lease(&world).context("no lease")?["leaseTransitions"], json!(0), "nobody else led");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_was_away_is_written_to_again() -> Result<()> {
    let mut world = replicas::first(BINARY, &QUICK).await?;
    let n = namespace(&world, "away")?;
    hold(&world, &[turned(&n, false)]).await?;
    let everything = Requests { user_agent: Some("callsign/*".to_owned()), ..Requests::default() };
    world.fault(Fault::Answer { requests: everything, times: 100_000, status: 503, retry_after: None })?;
    world.fault(Fault::DropWatches { abrupt: true })?;
    turn(&n, true)?;
    until("it notices", || world.callsign.said().contains("lost the lease")).await?;
    assert!(shows(&n, false));
    world.embedded()?.faults().clear();
    hold(&world, &[turned(&n, true)]).await?;
    leads(&mut world.callsign, true).await?;
    Ok(())
}

/// Requests that are never answered hold up neither the end of the term nor that of the process.
#[tokio::test(flavor = "multi_thread")]
async fn silence_holds_nothing_up() -> Result<()> {
    let mut world = replicas::first(BINARY, &[&QUICK[..], &["--lameduck", "0"]].concat()).await?;
    let requests = Requests { kind: Some("leases".to_owned()), ..Requests::default() };
    world.fault(Fault::Delay { requests, times: 100_000, milliseconds: 600_000 })?;
    until("it notices", || world.callsign.said().contains("lost the lease")).await?;
    world.callsign.signal(Signal::SIGTERM)?;
    let status = world.callsign.ended(PATIENCE).await?;
    assert_eq!(status.code(), Some(0), "{}", world.callsign.said());
    assert!(world.callsign.said().contains("cannot release the lease"), "{}", world.callsign.said());
    Ok(())
}

/// Nobody could ever write: that must not look well.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_forbidden_is_told() -> Result<()> {
    let server = server(Options::default(), &[("node-a", "zone-a")]).await?;
    let requests = Requests { kind: Some("leases".to_owned()), ..Requests::default() };
    let forbidden = Fault::Answer { requests, times: 100_000, status: 403, retry_after: None };
    server.faults().set(forbidden).map_err(anyhow::Error::msg)?;
    let mut world = World::join(Path::new(BINARY), server, &QUICK).await?;
    let n = namespace(&world, "forbidden")?;
    let ready = world.callsign.address("ready").await?;
    eventually("the reason is told", async || {
        let (code, body) = get(ready, "/ready").await?;
        let named = body.contains("leader election") && body.contains("kube-system/callsign-controller");
        ensure!(code == 503 && named, "{code} {body}");
        Ok(())
    })
    .await?;
    let told = |world: &World| world.callsign.said().matches("does not let us take part").count();
    assert_eq!(told(&world), 1);
    assert_eq!(all_writes(world.embedded()?), 0);
    world.rcode("web.forbidden.svc.cluster.local.", "A", "NOERROR").await?;
    world.embedded()?.faults().clear();
    hold(&world, &[turned(&n, false)]).await?;
    assert_eq!(told(&world), 1, "once is enough");
    leads(&mut world.callsign, true).await?;
    is_ready(&mut world.callsign).await?;
    // A permission that is taken away ends the writing. Questions are answered on, as without an API server.
    let requests = Requests { kind: Some("leases".to_owned()), ..Requests::default() };
    world.fault(Fault::Answer { requests, times: 100_000, status: 403, retry_after: None })?;
    until("it notices", || world.callsign.said().contains("lost the lease")).await?;
    assert_eq!(told(&world), 2);
    is_ready(&mut world.callsign).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_not_there_is_told() -> Result<()> {
    let server = server(Options::default(), &[("node-a", "zone-a")]).await?;
    let flags = ["--leader-elect-resource-namespace=nowhere", "--leader-elect-resource-name=mine"];
    let mut world = World::join(Path::new(BINARY), server, &flags).await?;
    let ready = world.callsign.address("ready").await?;
    eventually("the reason is told", async || {
        let (code, body) = get(ready, "/ready").await?;
        ensure!(code == 503 && body.contains("nowhere/mine") && body.contains("not found"), "{code} {body}");
        Ok(())
    })
    .await?;
    Namespace::new(world.embedded()?, "nowhere")?;
    is_ready(&mut world.callsign).await?;
    until("it leads", || world.callsign.said().contains("became leader")).await
}
