//! `callsign serve` as a process: readiness, metrics, the end, and life without an API server.

use std::{path::Path, time::Duration};

use anyhow::{Result, ensure};
use callsign_e2e::{
    apiserver::{
        ApiServer, Options,
        faults::{Fault, Requests},
        kind::Kind,
    },
    harness::{
        build,
        cluster::Cluster,
        in_place::{Place, free_port},
        process::{Callsign, Signal},
        resolver::Resolver,
        scrape::get,
        world::{World, client, eventually},
    },
};

const BINARY: &str = env!("CARGO_BIN_EXE_callsign");
const NAME: &str = "web.n.svc.cluster.local.";

#[tokio::test(flavor = "multi_thread")]
async fn before_the_first_sync_it_is_alive_but_not_ready() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let kubeconfig = folder.path().join("kubeconfig");
    // A port that nobody listens on: the server that had it is gone.
    let server = ApiServer::start(Options::default()).await?;
    let address = server.addr();
    std::fs::write(&kubeconfig, server.kubeconfig())?;
    server.shutdown().await;
    let path = kubeconfig.display().to_string();
    let any = "127.0.0.1:0";
    let mut callsign = Callsign::start(
        Path::new(BINARY),
        [
            "serve",
            "--kubeconfig",
            &path,
            "--listen",
            any,
            "--health-listen",
            any,
            "--ready-listen",
            any,
            "--metrics-listen",
            any,
        ],
    )?;
    let (health, ready) = (callsign.address("health").await?, callsign.address("ready").await?);
    let resolver = Resolver::new(callsign.address("dns").await?).await?;
    assert_eq!(get(health, "/health").await?, (200, "OK".to_owned()));
    eventually("the reason is named", async || {
        let (code, body) = get(ready, "/ready").await?;
        ensure!(code == 503 && body.contains("services") && body.contains("refused"), "{code} {body}");
        Ok(())
    })
    .await?;
    // SERVFAIL, never NXDOMAIN: it does not know.
    assert_eq!(resolver.ask(NAME, "A").await?.rcode, "SERVFAIL");
    assert_eq!(resolver.ask("example.com.", "A").await?.rcode, "REFUSED");
    // The API server comes up later, at the same place.
    let server = ApiServer::start(Options::bare(address)).await?;
    eventually("ready", async || {
        let reply = get(ready, "/ready").await?;
        ensure!(reply == (200, "OK".to_owned()), "{reply:?}");
        Ok(())
    })
    .await?;
    assert_eq!(resolver.ask(NAME, "A").await?.rcode, "NXDOMAIN");
    server.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_term_signal_is_not_ready_at_once_then_quiet() -> Result<()> {
    let mut world = World::start(Path::new(BINARY), Options::default(), &["--lameduck", "1s"]).await?;
    let ready = world.callsign.address("ready").await?;
    assert_eq!(get(ready, "/ready").await?.0, 200);
    world.callsign.signal(Signal::SIGTERM)?;
    eventually("not ready", async || {
        let (code, body) = get(ready, "/ready").await?;
        ensure!(code == 503 && body.contains("ending"), "{code} {body}");
        Ok(())
    })
    .await?;
    assert_eq!(world.resolver.ask("svc.cluster.local.", "A").await?.rcode, "NOERROR", "it still answers");
    let status = world.callsign.ended(Duration::from_secs(5)).await?;
    assert_eq!(status.code(), Some(0), "{}", world.callsign.said());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_is_gone_changes_no_answer() -> Result<()> {
    let mut world = World::start(Path::new(BINARY), Options::default(), &[]).await?;
    world.cluster.apply(&build::namespace("n")).await?;
    world.cluster.apply(&build::node("node-a", "zone-a")).await?;
    world.cluster.apply(&build::headless("n", "web")).await?;
    world.cluster.apply(&build::pod("n", "a", "web", "10.1.0.1", true)).await?;
    world.answers(NAME, "A", &["10.1.0.1"]).await?;
    world.server.take().unwrap().shutdown().await;
    for _ in 0..20 {
        assert_eq!(world.data(NAME, "A").await?, ["10.1.0.1"]);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let ready = world.callsign.address("ready").await?;
    assert_eq!(get(ready, "/ready").await?.0, 200, "what is known stays known");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_missed_in_an_outage_is_caught_up() -> Result<()> {
    let world = World::start(Path::new(BINARY), Options::default(), &[]).await?;
    world.cluster.apply(&build::namespace("n")).await?;
    world.cluster.apply(&build::node("node-a", "zone-a")).await?;
    world.cluster.apply(&build::headless("n", "web")).await?;
    world.cluster.apply(&build::pod("n", "a", "web", "10.1.0.1", true)).await?;
    world.answers(NAME, "A", &["10.1.0.1"]).await?;
    for verb in ["watch", "list"] {
        let requests = Requests { verb: Some(verb.to_owned()), ..Requests::default() };
        world.fault(Fault::Answer { requests, times: 100_000, status: 503, retry_after: None })?;
    }
    world.fault(Fault::DropWatches { abrupt: true })?;
    world.cluster.apply(&build::pod("n", "a", "web", "10.1.0.1", false)).await?;
    world.cluster.apply(&build::pod("n", "b", "web", "10.1.0.2", true)).await?;
    for _ in 0..10 {
        assert_eq!(world.data(NAME, "A").await?, ["10.1.0.1"], "nothing is known of the change");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    world.server.as_ref().unwrap().faults().clear();
    world.answers(NAME, "A", &["10.1.0.2"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_questions() -> Result<()> {
    let mut world = World::start(Path::new(BINARY), Options::default(), &[]).await?;
    let metrics = world.callsign.address("metrics").await?;
    for _ in 0..3 {
        world.resolver.ask("nosuch.svc.cluster.local.", "A").await?;
    }
    let (code, page) = get(metrics, "/metrics").await?;
    assert_eq!(code, 200);
    let count: f64 = page
        .lines()
        .filter(|line| line.starts_with("coredns_dns_responses_total{") && line.contains("NXDOMAIN"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum();
    assert!(count >= 3.0, "{page}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_agree_on_the_serial() -> Result<()> {
    let world = World::start(Path::new(BINARY), Options::default(), &[]).await?;
    world.cluster.apply(&build::namespace("n")).await?;
    for name in ["web", "gone"] {
        world.cluster.apply(&build::service("n", name)).await?;
    }
    world.cluster.settle().await?;
    world.cluster.delete(&build::service("n", "gone")).await?;
    world.rcode("gone.n.svc.cluster.local.", "A", "NXDOMAIN").await?;
    world.cluster.settle().await?;
    // A replica that has not seen what is gone.
    let mut late = world.another(Path::new(BINARY), &["--controller", "off"])?;
    let late = Resolver::new(late.address("dns").await?).await?;
    let serial = async |resolver: &Resolver| -> Result<u32> {
        let question = callsign_e2e::harness::resolver::question("cluster.local.", "SOA", None)?;
        let reply = resolver.udp(&question).await?;
        let soa = reply.answers.iter().find_map(|record| match &record.data {
            hickory_proto::rr::RData::SOA(soa) => Some(soa.serial),
            _ => None,
        });
        soa.ok_or_else(|| anyhow::anyhow!("no SOA: {reply:?}"))
    };
    eventually("the same serial", async || {
        let (one, other) = (serial(&world.resolver).await?, serial(&late).await?);
        ensure!(one == other && one != 0, "{one} and {other}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_errors_are_exit_code_2() -> Result<()> {
    for arguments in [
        vec!["serve", "--kubeconfig", "/nowhere/kubeconfig"],
        vec!["serve", "--ttl", "4000"],
        vec!["serve", "--listen", "nonsense"],
        vec!["nonsense"],
    ] {
        let mut callsign = Callsign::start(Path::new(BINARY), &arguments)?;
        let status = callsign.ended(Duration::from_secs(10)).await?;
        assert_eq!(status.code(), Some(2), "{arguments:?}: {}", callsign.said());
    }
    Ok(())
}

/// The controllers beside what a Corefile serves: one process, from one index.
#[tokio::test(flavor = "multi_thread")]
async fn a_corefile_takes_the_place_of_flags() -> Result<()> {
    let server = ApiServer::start(Options::default()).await?;
    let place = Place::new(&server)?;
    let [ready, metrics] = [free_port()?, free_port()?];
    let write = |ttl: u32| {
        let text = format!(
            ".:{} {{\n    bind 127.0.0.1\n    ready 127.0.0.1:{ready}\n    prometheus 127.0.0.1:{metrics}\n    \
             kubernetes cluster.local {{\n        ttl {ttl}\n    }}\n}}\n",
            place.port
        );
        place.write("Corefile", &text)
    };
    write(7)?;
    let (corefile, kubeconfig) = (place.path("Corefile"), place.path("kubeconfig"));
    let (corefile, kubeconfig) = (corefile.display().to_string(), kubeconfig.display().to_string());
    let mut arguments = vec![
        "serve",
        "--kubeconfig",
        &kubeconfig,
        "--guard",
        "off",
        "--leader-elect=false",
        "--corefile",
        &corefile,
    ];
    let callsign = Callsign::start(Path::new(BINARY), &arguments)?;
    let cluster = Cluster::new(client(&place.path("kubeconfig")).await?);
    cluster.apply(&build::node("node-a", "zone-a")).await?;
    cluster.apply(&build::namespace("n")).await?;
    cluster.apply(&build::headless("n", "web")).await?;
    cluster.apply(&build::pod("n", "web-1", "web", "10.1.0.7", true)).await?;
    let resolver = place.answers(&callsign, NAME, "A").await?;
    ensure!(resolver.ask(NAME, "A").await?.answer.contains(&format!("{NAME} 7 A 10.1.0.7")));
    eventually("written, and ready", async || {
        ensure!(cluster.list(Kind::EndpointSlice).await?.len() >= 2);
        ensure!(get(([127, 0, 0, 1], ready).into(), "/ready").await?.0 == 200);
        ensure!(get(([127, 0, 0, 1], metrics).into(), "/journal").await?.1.contains("web"));
        Ok(())
    })
    .await?;
    write(9)?;
    callsign.signal(Signal::SIGUSR1)?;
    eventually("reloaded", async || {
        ensure!(resolver.ask(NAME, "A").await?.answer.contains(&format!("{NAME} 9 A 10.1.0.7")));
        Ok(())
    })
    .await?;
    // What the file says is not said by flags.
    arguments.extend(["--ttl", "5"]);
    let mut refused = Callsign::start(Path::new(BINARY), &arguments)?;
    let status = refused.ended(Duration::from_secs(10)).await?;
    ensure!(status.code() == Some(2) && refused.said().contains("--corefile"), "{status} {}", refused.said());
    Ok(())
}
