//! Time and memory to load many Services and pods.
//!
//! ```text
//! cargo bench --bench load [-- SERVICES]
//! ```
//!
//! As many pods as Services, one behind each. The API server is the embedded one, in this process and already full;
//! Callsign is a process of its own. `first start` finds no endpoints and writes them all, `restart` finds them in step,
//! `dns only` answers from EndpointSlices. The time to the first answer counts from exec; memory is VmRSS at rest and
//! VmHWM, its peak.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use callsign_e2e::{
    apiserver::{ApiServer, Key, Options, Part, Patch, Running, WriteOptions, kind::Kind},
    harness::{
        build,
        process::{Callsign, Signal},
        resolver::Resolver,
    },
};
use serde_json::{Value, json};

const NAMESPACES: usize = 20;

#[tokio::main]
async fn main() -> Result<()> {
    let services =
        std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(10_000_usize);
    let server = ApiServer::start(Options::default()).await?;
    fill(&server, services)?;
    let folder = tempfile::tempdir()?;
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, server.kubeconfig())?;
    println!("{services} Services, {services} pods");
    println!(
        "{:<14} {:>12} {:>12} {:>10} {:>10} {:>8}",
        "", "1st answer", "all written", "RSS", "peak", "writes"
    );
    let kubeconfig = kubeconfig.display().to_string();
    for (what, arguments) in [
        ("first start", vec!["serve", "--kubeconfig", &kubeconfig]),
        ("restart", vec!["serve", "--kubeconfig", &kubeconfig]),
        ("dns only", vec!["dns", "--kubeconfig", &kubeconfig]),
    ] {
        server.faults().reset_requests();
        run(&server, what, &arguments, services).await?;
    }
    Ok(())
}

fn fill(server: &Running, services: usize) -> Result<()> {
    create(server, Kind::Node, "", build::node("node-a", "zone-a"))?;
    for namespace in 0..NAMESPACES {
        create(server, Kind::Namespace, "", build::namespace(&format!("ns{namespace}")))?;
    }
    for service in 0..services {
        let (namespace, name) = (format!("ns{}", service % NAMESPACES), format!("svc{service}"));
        create(server, Kind::Service, &namespace, build::headless(&namespace, &name))?;
        let ip = format!("10.{}.{}.{}", 2 + service / 62_500, service / 250 % 250, service % 250 + 1);
        let mut pod = build::pod(&namespace, &format!("pod{service}"), &name, &ip, true);
        let status = pod.as_object_mut().and_then(|fields| fields.remove("status")).unwrap_or_default();
        create(server, Kind::Pod, &namespace, pod)?;
        let (key, patch) =
            (Key::new(&namespace, &format!("pod{service}")), Patch::Merge(json!({"status": status})));
        let written = server.store().patch(Kind::Pod, &key, Part::Status, &patch, &WriteOptions::by("bench"));
        written.map_err(|error| anyhow::anyhow!("{}", error.to_status()))?;
    }
    Ok(())
}

fn create(server: &Running, kind: Kind, namespace: &str, object: Value) -> Result<()> {
    let created = server.store().create(kind, namespace, object, &WriteOptions::by("bench"));
    created.map(drop).map_err(|error| anyhow::anyhow!("{}", error.to_status()))
}

async fn run(server: &Running, what: &str, arguments: &[&str], services: usize) -> Result<()> {
    let started = Instant::now();
    let any = "127.0.0.1:0";
    let ports = ["--listen", any, "--health-listen", any, "--ready-listen", any, "--metrics-listen", any];
    let all = arguments.iter().chain(&ports).chain(&["--lameduck", "0"]);
    let mut callsign = Callsign::start(Path::new(env!("CARGO_BIN_EXE_callsign")), all)?;
    let resolver = Resolver::new(callsign.address("dns").await?).await?;
    let last = services - 1;
    let name = format!("svc{last}.ns{}.svc.cluster.local.", last % NAMESPACES);
    while resolver.ask(&name, "A").await?.answer.is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let answered = started.elapsed();
    let (written, writes) = at_rest(server, started).await;
    let memory = |field| memory(&callsign, field);
    println!(
        "{what:<14} {:>10.2} s {:>10.2} s {:>6.1} MiB {:>6.1} MiB {writes:>8}",
        answered.as_secs_f64(),
        written.as_secs_f64(),
        memory("VmRSS")?,
        memory("VmHWM")?,
    );
    callsign.signal(Signal::SIGTERM)?;
    callsign.ended(Duration::from_secs(10)).await?;
    Ok(())
}

/// When the last write came, and how many there were: at rest is a second without any.
async fn at_rest(server: &Running, started: Instant) -> (Duration, u64) {
    let count = || {
        let verbs = ["create", "update", "delete"];
        let kinds = ["endpoints", "endpointslices"];
        verbs
            .iter()
            .flat_map(|verb| kinds.iter().map(move |kind| (verb, kind)))
            .map(|(verb, kind)| server.faults().requests_of(verb, kind))
            .sum::<u64>()
    };
    let mut last = (count(), started.elapsed());
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = count();
        if now != last.0 {
            last = (now, started.elapsed());
        } else if started.elapsed() > last.1 + Duration::from_secs(1) {
            return (if now == 0 { Duration::ZERO } else { last.1 }, now);
        }
    }
}

/// A field of `/proc/PID/status`, in MiB.
fn memory(callsign: &Callsign, field: &str) -> Result<f64> {
    let id = callsign.id().context("callsign has ended")?;
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find(|line| line.starts_with(field)).context("a line of the status")?;
    let kib: f64 = line.split_whitespace().nth(1).context("a number")?.parse()?;
    Ok(kib / 1024.0)
}
