//! Replicas beside one API server, of which one leads.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{
    build,
    namespace::{Namespace, Wanted, server, until, writes},
    process::Callsign,
    scrape::get,
    world::{World, eventually},
};
use crate::apiserver::{Options, Running, kind::Kind};

/// How long what is waited for here may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// 3 s, 2 s and 500 ms.
pub const QUICK: [&str; 3] = [
    "--leader-elect-lease-duration=3s",
    "--leader-elect-renew-deadline=2s",
    "--leader-elect-retry-period=500ms",
];

/// So long that no test lives to see such a lease run out.
pub const LONG: [&str; 3] = [
    "--leader-elect-lease-duration=90s",
    "--leader-elect-renew-deadline=60s",
    "--leader-elect-retry-period=500ms",
];

/// The first replica, `a`, which leads.
///
/// # Errors
/// When it does not come up.
pub async fn first(binary: &str, arguments: &[&str]) -> Result<World> {
    let server = server(Options::default(), &[("node-a", "zone-a")]).await?;
    let arguments = [arguments, &["--leader-elect-identity=a"]].concat();
    let world = World::join(Path::new(binary), server, &arguments).await?;
    until("a leads", || holder(&world).as_deref() == Some("a")).await?;
    Ok(world)
}

/// Another replica, which follows.
///
/// # Errors
/// When it does not come up.
pub async fn second(binary: &str, world: &World, name: &str, arguments: &[&str]) -> Result<Callsign> {
    let identity = format!("--leader-elect-identity={name}");
    let arguments = [arguments, &[identity.as_str()]].concat();
    let mut other = world.another(Path::new(binary), &arguments)?;
    is_ready(&mut other).await?;
    until("it follows", || other.said().contains("another leads")).await?;
    Ok(other)
}

/// Waits until it is ready.
///
/// # Errors
/// When it is not in time; with what is missing.
pub async fn is_ready(callsign: &mut Callsign) -> Result<()> {
    let address = callsign.address("ready").await?;
    eventually("ready", async || {
        let reply = get(address, "/ready").await?;
        ensure!(reply == (200, "OK".to_owned()), "{reply:?}");
        Ok(())
    })
    .await
}

/// What the Lease says.
pub fn lease(world: &World) -> Option<Value> {
    let object = world.embedded().ok()?.store().get(Kind::Lease, "kube-system", "callsign-controller")?;
    object.value.get("spec").cloned()
}

/// Who holds it.
pub fn holder(world: &World) -> Option<String> {
    Some(lease(world)?.get("holderIdentity")?.as_str()?.to_owned())
}

/// Waits until its metrics have a line that begins so.
///
/// # Errors
/// When they have not in time.
pub async fn shows_metric(callsign: &mut Callsign, line: &str) -> Result<()> {
    let address = callsign.address("metrics").await?;
    eventually(line, async || {
        let (_, page) = get(address, "/metrics").await?;
        ensure!(page.lines().any(|it| it.starts_with(line)), "{page}");
        Ok(())
    })
    .await
}

/// Waits until it knows that it leads, or that it does not.
///
/// # Errors
/// When it does not in time.
pub async fn leads(callsign: &mut Callsign, wanted: bool) -> Result<()> {
    let value = i32::from(wanted);
    let line = format!("leader_election_master_status{{name=\"callsign-controller\"}} {value}");
    shows_metric(callsign, &line).await
}

/// How many requests came that write what a follower may not.
pub fn all_writes(server: &Running) -> u64 {
    ["endpoints", "endpointslices"].iter().flat_map(|resource| writes(server, resource)).sum()
}

/// A namespace with the Service `web` and the pod `a`, which is not ready.
///
/// # Errors
/// When the API server refuses.
pub fn namespace(world: &World, name: &str) -> Result<Namespace> {
    let n = Namespace::new(world.embedded()?, name)?;
    n.put(build::service("", "web"))?;
    turn(&n, false)?;
    Ok(n)
}

/// Makes the pod ready, or not.
///
/// # Errors
/// When the API server refuses.
pub fn turn(n: &Namespace, ready: bool) -> Result<()> {
    n.put(build::pod("", "a", "web", "10.1.0.1", ready))?;
    Ok(())
}

/// What is wanted of the Service then.
pub fn turned(n: &Namespace, ready: bool) -> Wanted {
    match ready {
        true => n.wants("web", Some(&["10.1.0.1 http:8080/TCP"]), &["10.1.0.1 rs- http:8080/TCP"]),
        false => n.wants("web", Some(&["!10.1.0.1 http:8080/TCP"]), &["10.1.0.1 --- http:8080/TCP"]),
    }
}

/// Whether its slice shows it.
pub fn shows(n: &Namespace, ready: bool) -> bool {
    turned(n, ready).slices == n.endpoints_in_slices("web")
}

/// How long after `since` the change is written, looked at each millisecond.
///
/// # Errors
/// When it is not in time.
pub async fn written(n: &Namespace, since: Instant) -> Result<Duration> {
    let looking = async {
        while !shows(n, true) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE * 2, looking).await.context("the change is not written")?;
    Ok(since.elapsed())
}
