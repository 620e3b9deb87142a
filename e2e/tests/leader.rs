//! Leader election between real processes: who writes, who takes over and when, and who writes no more.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use callsign_e2e::{
    apiserver::{
        Options, Running,
        faults::{Fault, Requests},
        kind::Kind,
    },
    harness::{
        build,
        namespace::{Namespace, Wanted, hold, server, until, writes},
        process::{Callsign, Signal},
        scrape::get,
        world::{World, eventually},
    },
};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_callsign");
const PATIENCE: Duration = Duration::from_secs(20);

/// 3 s, 2 s and 500 ms.
const QUICK: [&str; 3] = [
    "--leader-elect-lease-duration=3s",
    "--leader-elect-renew-deadline=2s",
    "--leader-elect-retry-period=500ms",
];

/// So long that no test lives to see such a lease run out.
const LONG: [&str; 3] = [
    "--leader-elect-lease-duration=90s",
    "--leader-elect-renew-deadline=60s",
    "--leader-elect-retry-period=500ms",
];

/// The first replica, `a`, which leads.
async fn first(arguments: &[&str]) -> Result<World> {
    let server = server(Options::default(), &[("node-a", "zone-a")]).await?;
    let arguments = [arguments, &["--leader-elect-identity=a"]].concat();
    let world = World::join(Path::new(BINARY), server, &arguments).await?;
    until("a leads", || holder(&world).as_deref() == Some("a")).await?;
    Ok(world)
}

/// Another replica, which follows.
async fn second(world: &World, name: &str, arguments: &[&str]) -> Result<Callsign> {
    let identity = format!("--leader-elect-identity={name}");
    let arguments = [arguments, &[identity.as_str()]].concat();
    let mut other = world.another(Path::new(BINARY), &arguments)?;
    is_ready(&mut other).await?;
    until("it follows", || other.said().contains("another leads")).await?;
    Ok(other)
}

async fn is_ready(callsign: &mut Callsign) -> Result<()> {
    let address = callsign.address("ready").await?;
    eventually("ready", async || {
        let reply = get(address, "/ready").await?;
        ensure!(reply == (200, "OK".to_owned()), "{reply:?}");
        Ok(())
    })
    .await
}

fn lease(world: &World) -> Option<Value> {
    let object = world.embedded().ok()?.store().get(Kind::Lease, "kube-system", "callsign-controller")?;
    object.value.get("spec").cloned()
}

fn holder(world: &World) -> Option<String> {
    Some(lease(world)?.get("holderIdentity")?.as_str()?.to_owned())
}

/// Waits until its metrics have a line that begins so.
async fn shows_metric(callsign: &mut Callsign, line: &str) -> Result<()> {
    let address = callsign.address("metrics").await?;
    eventually(line, async || {
        let (_, page) = get(address, "/metrics").await?;
        ensure!(page.lines().any(|it| it.starts_with(line)), "{page}");
        Ok(())
    })
    .await
}

/// Waits until it knows that it leads, or that it does not.
async fn leads(callsign: &mut Callsign, wanted: bool) -> Result<()> {
    let value = i32::from(wanted);
    let line = format!("leader_election_master_status{{name=\"callsign-controller\"}} {value}");
    shows_metric(callsign, &line).await
}

/// How many requests came that write what a follower may not.
fn all_writes(server: &Running) -> u64 {
    ["endpoints", "endpointslices"].iter().flat_map(|resource| writes(server, resource)).sum()
}

/// A namespace with the Service `web` and the pod `a`, ready or not.
fn namespace(world: &World, name: &str) -> Result<Namespace> {
    let n = Namespace::new(world.embedded()?, name)?;
    n.put(build::service("", "web"))?;
    turn(&n, false)?;
    Ok(n)
}

fn turn(n: &Namespace, ready: bool) -> Result<()> {
    n.put(build::pod("", "a", "web", "10.1.0.1", ready))?;
    Ok(())
}

fn turned(n: &Namespace, ready: bool) -> Wanted {
    match ready {
        true => n.wants("web", Some(&["10.1.0.1 http:8080/TCP"]), &["10.1.0.1 rs- http:8080/TCP"]),
        false => n.wants("web", Some(&["!10.1.0.1 http:8080/TCP"]), &["10.1.0.1 --- http:8080/TCP"]),
    }
}

fn shows(n: &Namespace, ready: bool) -> bool {
    turned(n, ready).slices == n.endpoints_in_slices("web")
}

/// How long after `since` the change is written, looked at each millisecond.
async fn written(n: &Namespace, since: Instant) -> Result<Duration> {
    let looking = async {
        while !shows(n, true) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE * 2, looking).await.context("the change is not written")?;
    Ok(since.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lease_is_the_standard_one() -> Result<()> {
    let mut world = first(&[]).await?;
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

/// At the end of a leader somebody else writes in far less than the time of the lease, and it answers on meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_planned_handover_is_quick() -> Result<()> {
    let mut world = first(&["--lameduck", "3s"]).await?;
    let mut other = second(&world, "b", &[]).await?;
    let n = namespace(&world, "planned")?;
    hold(&world, &[turned(&n, false)]).await?;
    leads(&mut other, false).await?;
    let begun = Instant::now();
    world.callsign.signal(Signal::SIGTERM)?;
    // From then on it can be nobody's write but the other's.
    while !world.callsign.said().contains("released the lease") {
        ensure!(begun.elapsed() < PATIENCE, "it does not end");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    turn(&n, true)?;
    let took = written(&n, begun).await?;
    println!("planned handover: {took:?} from SIGTERM to the first write of the next leader");
    assert_eq!(holder(&world).as_deref(), Some("b"));
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert!(world.callsign.id().is_some(), "it lingers");
    world.rcode("web.planned.svc.cluster.local.", "A", "NOERROR").await?;
    leads(&mut other, true).await?;
    let spec = lease(&world).context("no lease")?;
    assert_eq!(spec["leaseTransitions"], json!(1));
    let status = world.callsign.ended(PATIENCE).await?;
    assert_eq!(status.code(), Some(0));
    hold(&world, &[turned(&n, true)]).await
}

/// Where a follower may not watch the Lease it looks, and takes it a little later.
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_may_not_watch_looks() -> Result<()> {
    let mut world = first(&["--lameduck", "0", "--leader-elect-retry-period=500ms"]).await?;
    let requests = Requests::of("watch", "leases");
    world.fault(Fault::Answer { requests, times: 100_000, status: 403, retry_after: None })?;
    let other = second(&world, "b", &["--leader-elect-retry-period=500ms"]).await?;
    until("it says so", || other.said().contains("may not watch the lease")).await?;
    let begun = Instant::now();
    world.callsign.signal(Signal::SIGTERM)?;
    world.callsign.ended(PATIENCE).await?;
    until("b leads", || holder(&world).as_deref() == Some("b")).await?;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    Ok(())
}

/// Of a leader that is killed nothing is known but that it renews no more.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_costs_the_lease_time() -> Result<()> {
    let mut world = first(&QUICK).await?;
    let mut other = second(&world, "b", &QUICK).await?;
    let n = namespace(&world, "crash")?;
    hold(&world, &[turned(&n, false)]).await?;
    let begun = Instant::now();
    world.callsign.signal(Signal::SIGKILL)?;
    world.callsign.ended(PATIENCE).await?;
    turn(&n, true)?;
    let took = written(&n, begun).await?;
    println!("crash takeover with 3s/2s/500ms: {took:?} from SIGKILL to the first write of the next leader");
    // It renewed within its deadline before, and was waited for since.
    assert!(took > Duration::from_secs(1) && took < Duration::from_secs(10), "{took:?}");
    leads(&mut other, true).await?;
    hold(&world, &[turned(&n, true)]).await
}

/// On the same machine a process that is gone is known to be gone: by one that waits, and by one that starts.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_process_of_the_same_machine_is_not_waited_for() -> Result<()> {
    let server = server(Options::default(), &[("node-a", "zone-a")]).await?;
    let world = World::join(Path::new(BINARY), server, &LONG).await?;
    until("it leads", || holder(&world).is_some()).await?;
    let mut other = world.another(Path::new(BINARY), &LONG)?;
    until("it follows", || other.said().contains("another leads")).await?;
    let n = namespace(&world, "restart")?;
    hold(&world, &[turned(&n, false)]).await?;
    // Stopped is not dead.
    let held = holder(&world);
    world.callsign.signal(Signal::SIGSTOP)?;
    for _ in 0..15 {
        assert_eq!(holder(&world), held);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let begun = Instant::now();
    world.callsign.signal(Signal::SIGKILL)?;
    turn(&n, true)?;
    let took = written(&n, begun).await?;
    println!("a replica on the same machine: {took:?} from SIGKILL to its first write");
    assert_ne!(holder(&world), held);
    leads(&mut other, true).await?;
    turn(&n, false)?;
    hold(&world, &[turned(&n, false)]).await?;
    // Nobody is left, and one starts.
    other.signal(Signal::SIGKILL)?;
    other.ended(PATIENCE).await?;
    turn(&n, true)?;
    let begun = Instant::now();
    let mut third = world.another(Path::new(BINARY), &LONG)?;
    let took = written(&n, begun).await?;
    println!("restart on the same machine: {took:?} from its start to its first write");
    assert!(took < Duration::from_secs(15), "{took:?}");
    leads(&mut third, true).await?;
    Ok(())
}

/// A leader is stopped with writes in hand, and wakes up when another leads: it sends none of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_wakes_up_too_late_writes_nothing() -> Result<()> {
    const SERVICES: usize = 60;
    // Slow enough to be stopped in the middle of it.
    let slow: Vec<&str> = QUICK.into_iter().chain(["--kube-api-qps=5", "--kube-api-burst=1"]).collect();
    let mut world = first(&slow).await?;
    let other = second(&world, "b", &QUICK).await?;
    let n = Namespace::new(world.embedded()?, "asleep")?;
    n.put(build::pod("", "a", "web", "10.1.0.1", true))?;
    let names: Vec<String> = (0..SERVICES).map(|number| format!("web-{number}")).collect();
    for name in &names {
        let mut service = build::service("", name);
        service["spec"]["selector"] = json!({"app": "web"});
        n.put(service)?;
    }
    let server = world.embedded()?;
    until("it has begun", || all_writes(server) > 3).await?;
    world.callsign.signal(Signal::SIGSTOP)?;
    let begun = all_writes(server);
    assert!(begun < 50, "it is not stopped in the middle: {begun}");
    until("b leads", || holder(&world).as_deref() == Some("b")).await?;
    let right: Vec<Wanted> = names
        .iter()
        .map(|name| n.wants(name, Some(&["10.1.0.1 http:8080/TCP"]), &["10.1.0.1 rs- http:8080/TCP"]))
        .collect();
    hold(&world, &right).await?;
    let done = all_writes(server);
    assert!(done > begun);
    world.callsign.signal(Signal::SIGCONT)?;
    until("it notices", || world.callsign.said().contains("lost the lease")).await?;
    until("it follows", || world.callsign.said().contains("\"holder\":\"b\"")).await?;
    leads(&mut world.callsign, false).await?;
    // It had sixteen requests made, one to be sent each 200 ms.
    for _ in 0..8 {
        world.cluster.settle().await?;
        assert_eq!(all_writes(world.embedded()?), done, "it writes what it had in hand");
    }
    is_ready(&mut world.callsign).await?;
    // And may lead again.
    other.signal(Signal::SIGTERM)?;
    n.put(build::pod("", "a", "web", "10.1.0.1", false))?;
    let changed = names
        .iter()
        .take(3)
        .map(|name| n.wants(name, Some(&["!10.1.0.1 http:8080/TCP"]), &["10.1.0.1 --- http:8080/TCP"]));
    until("a leads", || holder(&world).as_deref() == Some("a")).await?;
    let changed: Vec<Wanted> = changed.collect();
    eventually("it writes again", async || {
        let written = changed.iter().any(|it| it.slices == n.endpoints_in_slices(&it.service));
        ensure!(written, "{}", world.callsign.said());
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_in_the_middle_of_a_rollout_ends_right() -> Result<()> {
    const PODS: usize = 60;
    let world = first(&QUICK).await?;
    let _other = second(&world, "b", &QUICK).await?;
    let n = Namespace::new(world.embedded()?, "rollout")?;
    n.put(build::service("", "web"))?;
    let pod = |generation: usize, number: usize| {
        let ip = format!("10.{generation}.0.{number}");
        build::pod("", &format!("web-{generation}-{number}"), "web", &ip, true)
    };
    for number in 0..PODS {
        n.put(pod(1, number))?;
    }
    let lines = |generation: usize, form: &str| -> Vec<String> {
        (0..PODS).map(|number| form.replace("IP", &format!("10.{generation}.0.{number}"))).collect()
    };
    let wanted = |generation: usize| {
        let (endpoints, slices) =
            (lines(generation, "IP http:8080/TCP"), lines(generation, "IP rs- http:8080/TCP"));
        let text =
            |lines: &[String]| lines.iter().map(|line| line.clone().leak() as &str).collect::<Vec<_>>();
        n.wants("web", Some(&text(&endpoints)), &text(&slices))
    };
    hold(&world, &[wanted(1)]).await?;
    for number in 0..PODS {
        if number == PODS / 3 {
            world.callsign.signal(Signal::SIGKILL)?;
        }
        n.put(pod(2, number))?;
        n.delete(Kind::Pod, &format!("web-1-{number}"), Some(0))?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    hold(&world, &[wanted(2)]).await?;
    assert_eq!(holder(&world).as_deref(), Some("b"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_with_everything_in_step_writes_nothing() -> Result<()> {
    let mut world = first(&["--lameduck", "0"]).await?;
    let mut other = second(&world, "b", &[]).await?;
    let mut wanted = Vec::new();
    for number in 0..20 {
        let n = namespace(&world, &format!("step-{number}"))?;
        turn(&n, number % 2 == 0)?;
        wanted.push(turned(&n, number % 2 == 0));
    }
    hold(&world, &wanted).await?;
    let before = all_writes(world.embedded()?);
    world.callsign.signal(Signal::SIGTERM)?;
    world.callsign.ended(PATIENCE).await?;
    until("b leads", || other.said().contains("became leader")).await?;
    // It has looked at every Service, slices and Endpoints.
    let metrics = other.address("metrics").await?;
    eventually("it has worked on all of them", async || {
        let (_, page) = get(metrics, "/metrics").await?;
        let done: f64 = page
            .lines()
            .filter(|line| line.starts_with("workqueue_work_duration_seconds_count"))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum();
        ensure!(done >= 40.0, "{page}");
        ensure!(page.contains("callsign_controller_settled 1"), "{page}");
        Ok(())
    })
    .await?;
    hold(&world, &wanted).await?;
    assert_eq!(all_writes(world.embedded()?), before);
    Ok(())
}

/// It writes no more though it could, for nobody knows any more that it may. Questions are answered as before.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_cannot_be_renewed_ends() -> Result<()> {
    let mut world = first(&QUICK).await?;
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
    let mut world = first(&QUICK).await?;
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

/// Answers that get lost, a Lease that a person edits or deletes: the leader leads on, and nobody beside it.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_stays_in_office() -> Result<()> {
    let mut world = first(&LONG).await?;
    let other = second(&world, "b", &LONG).await?;
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

/// Requests that are never answered hold up neither the end of the term nor that of the process.
#[tokio::test(flavor = "multi_thread")]
async fn silence_holds_nothing_up() -> Result<()> {
    let mut world = first(&[&QUICK[..], &["--lameduck", "0"]].concat()).await?;
    let requests = Requests { kind: Some("leases".to_owned()), ..Requests::default() };
    world.fault(Fault::Delay { requests, times: 100_000, milliseconds: 600_000 })?;
    until("it notices", || world.callsign.said().contains("lost the lease")).await?;
    world.callsign.signal(Signal::SIGTERM)?;
    let status = world.callsign.ended(PATIENCE).await?;
    assert_eq!(status.code(), Some(0), "{}", world.callsign.said());
    assert!(world.callsign.said().contains("cannot release the lease"), "{}", world.callsign.said());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_replicas_that_start_together_one_leads() -> Result<()> {
    let server = server(Options::default(), &[("node-a", "zone-a")]).await?;
    let mut world = World::join(Path::new(BINARY), server, &["--controller", "off"]).await?;
    let names = ["a", "b", "c", "d"];
    let mut all = Vec::new();
    for name in names {
        let identity = format!("--leader-elect-identity={name}");
        all.push(world.another(Path::new(BINARY), &[&identity, QUICK[0], QUICK[1], QUICK[2]])?);
    }
    let n = namespace(&world, "race")?;
    hold(&world, &[turned(&n, false)]).await?;
    let led = holder(&world);
    for (name, one) in names.iter().zip(&mut all) {
        is_ready(one).await?;
        let is_it = led.as_deref() == Some(*name);
        until("it knows", || one.said().contains(if is_it { "became leader" } else { "another leads" }))
            .await?;
        leads(one, is_it).await.with_context(|| (*name).to_owned())?;
    }
    assert_eq!(lease(&world).context("no lease")?["leaseTransitions"], json!(0));
    let [created, ..] = writes(world.embedded()?, "endpointslices");
    assert_eq!(created, 1);
    is_ready(&mut world.callsign).await
}

#[tokio::test(flavor = "multi_thread")]
async fn shadow_takes_no_lease() -> Result<()> {
    let server = server(Options::default(), &[("node-a", "zone-a")]).await?;
    let world = World::join(Path::new(BINARY), server, &["--leader-elect", "--controller", "shadow"]).await?;
    let n = namespace(&world, "shadow")?;
    until("it looks", || world.callsign.said().contains("shadow: would write")).await?;
    assert_eq!(lease(&world), None);
    assert!(n.slices("web").is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn times_that_make_no_sense_are_usage_errors() -> Result<()> {
    let mut callsign = Callsign::start(
        Path::new(BINARY),
        ["controller", "--leader-elect-lease-duration=10s", "--leader-elect-renew-deadline=10s"],
    )?;
    assert_eq!(callsign.ended(PATIENCE).await?.code(), Some(2));
    assert!(callsign.said().contains("--leader-elect-lease-duration"), "{}", callsign.said());
    Ok(())
}
