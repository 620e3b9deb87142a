//! Leader election between real processes: who writes, who takes over and when, and who writes no more.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use callsign_e2e::{
    apiserver::{
        Options,
        faults::{Fault, Requests},
        kind::Kind,
    },
    harness::{
        build,
        namespace::{Namespace, Wanted, hold, server, until, writes},
        process::{Callsign, Signal},
        replicas::{
            self, LONG, PATIENCE, QUICK, all_writes, holder, is_ready, leads, lease, namespace, turn, turned,
            written,
        },
        scrape::get,
        world::{World, eventually},
    },
};
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_callsign");

/// At the end of a leader somebody else writes in far less than the time of the lease, and it answers on meanwhile.
async fn planned(flags: &[&str]) -> Result<()> {
    let mut world = replicas::first(BINARY, &[flags, &["--lameduck", "6s"]].concat()).await?;
    let mut other = replicas::second(BINARY, &world, "b", flags).await?;
    let n = namespace(&world, "planned")?;
    hold(&world, &[turned(&n, false)]).await?;
    leads(&mut other, false).await?;
    if flags.contains(&"--guard") {
        let store = Arc::clone(world.embedded()?.store());
        until("the guard has left word", || {
            let lease = store.get(Kind::Lease, "kube-system", "callsign-controller");
            lease.is_some_and(|lease| lease.value.pointer("/metadata/annotations").is_some())
        })
        .await?;
    }
    let begun = Instant::now();
    world.callsign.signal(Signal::SIGTERM)?;
    // From then on it can be nobody's write but the other's.
    while !world.callsign.said().contains("released the lease") {
        ensure!(begun.elapsed() < PATIENCE, "it does not end");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    turn(&n, true)?;
    let took = written(&n, begun).await?;
    println!("planned handover {flags:?}: {took:?} from SIGTERM to the first write of the next leader");
    assert_eq!(holder(&world).as_deref(), Some("b"));
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(world.callsign.id().is_some(), "it lingers");
    world.rcode("web.planned.svc.cluster.local.", "A", "NOERROR").await?;
    leads(&mut other, true).await?;
    let spec = lease(&world).context("no lease")?;
    assert_eq!(spec.get("leaseTransitions"), Some(&json!(1)));
    let status = world.callsign.ended(PATIENCE).await?;
    assert_eq!(status.code(), Some(0));
    hold(&world, &[turned(&n, true)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_handover_is_quick() -> Result<()> {
    planned(&[]).await
}

/// With the guard on, as it is by default: once the leader has made sure that nobody else writes, the next need not look
/// again before its first write.
#[tokio::test(flavor = "multi_thread")]
async fn a_planned_handover_is_quick_with_the_guard_on() -> Result<()> {
    planned(&["--guard", "on", "--guard-wait", "1s"]).await
}

/// Where a follower may not watch the Lease it looks, and takes it a little later.
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_may_not_watch_looks() -> Result<()> {
    let mut world =
        replicas::first(BINARY, &["--lameduck", "0", "--leader-elect-retry-period=500ms"]).await?;
    let requests = Requests::of("watch", "leases");
    world.fault(Fault::Answer { requests, times: 100_000, status: 403, retry_after: None })?;
    let other = replicas::second(BINARY, &world, "b", &["--leader-elect-retry-period=500ms"]).await?;
    until("it says so", || other.said().contains("may not watch the lease")).await?;
    let begun = Instant::now();
    world.callsign.signal(Signal::SIGTERM)?;
    world.callsign.ended(PATIENCE).await?;
    until("b leads", || holder(&world).as_deref() == Some("b")).await?;
    // The lease alone would be fifteen seconds.
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    Ok(())
}

/// Of a leader that is killed nothing is known but that it renews no more.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_costs_the_lease_time() -> Result<()> {
    let mut world = replicas::first(BINARY, &QUICK).await?;
    let mut other = replicas::second(BINARY, &world, "b", &QUICK).await?;
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
    let mut world = replicas::first(BINARY, &slow).await?;
    let other = replicas::second(BINARY, &world, "b", &QUICK).await?;
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
    let world = replicas::first(BINARY, &QUICK).await?;
    let _other = replicas::second(BINARY, &world, "b", &QUICK).await?;
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
    let mut world = replicas::first(BINARY, &["--lameduck", "0"]).await?;
    let mut other = replicas::second(BINARY, &world, "b", &[]).await?;
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
