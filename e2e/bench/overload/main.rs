//! What ten times too much does: to the answers that are given, to memory, to whoever asks modestly meanwhile.
//!
//! ```text
//! cargo bench --bench overload [-- --share 0.1 --seconds 6 --times 10]
//! ```
//!
//! A server that has a tenth of a core (a quota of its cgroup, as a pod's CPU limit is; where there are no cgroups to be made,
//! one core with the lowest priority) is first asked as much as it answers, which is its peak, and then ten times that, by a
//! load that does not wait for answers: names of the cluster, names whose upstream is dead, names that a template makes, and
//! ten thousand connections that dawdle. All the while somebody asks two hundred questions a second over UDP and fifty
//! over TCP, looks at `/health`, reads the metrics, makes Services and waits for their names.

mod flood;
mod polite;
mod server;

use std::{
    cell::Cell,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use callsign_e2e::{
    apiserver::{ApiServer, Options, Running, WriteOptions, kind::Kind as ObjectKind},
    harness::build,
    load::cluster::Cluster,
};
use clap::Parser;
use serde_json::{Value, json};

use flood::{Flood, Kind};
use polite::{Polite, Seen};
use server::Server;

/// What ten times too much does.
#[derive(Parser)]
struct Args {
    /// The server's share of a core.
    #[arg(long, default_value_t = 0.1)]
    share: f64,
    /// How long each flood is.
    #[arg(long, default_value_t = 6.0)]
    seconds: f64,
    /// How many times its peak it is asked.
    #[arg(long, default_value_t = 10.0)]
    times: f64,
    /// The build that is measured.
    #[arg(long, env = "CALLSIGN_BENCH_BINARY", default_value = env!("CARGO_BIN_EXE_callsign"))]
    binary: std::path::PathBuf,
    /// What `cargo bench` says to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

/// The answer to a question that came back so quickly is one of a server that has recovered.
const WELL: Duration = Duration::from_millis(50);
/// So many of them in a row.
const ROW: u32 = 10;

fn main() -> Result<()> {
    let args = Args::parse();
    let runtime = tokio::runtime::Runtime::new()?;
    let cluster = Cluster { namespaces: 5, services: 2000, headless: 20, endpoints: 20, aliases: 0, pods: 0 };
    let api = runtime.block_on(ApiServer::start(Options::default()))?;
    cluster.objects().try_for_each(|object| make(&api, object))?;
    let folder = tempfile::tempdir()?;
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, api.kubeconfig())?;
    let server = Server::start(&args.binary, folder.path(), &kubeconfig, args.share)?;
    let names: Arc<[String]> = (0..cluster.services).map(|at| cluster.service(at)).collect();
    polite::until_answered(server.dns, &names, Duration::from_secs(30))?;
    println!("{}", server.bounds);

    let seconds = Duration::from_secs_f64(args.seconds);
    let peak = |kind| flood::peak(&server, kind, &names, seconds);
    let (cluster_peak, template_peak) = (peak(Kind::Cluster)?, peak(Kind::Template)?);
    println!("peak, answers/s: names of the cluster {cluster_peak:.0}, a template {template_peak:.0}\n");
    let rate = cluster_peak * args.times;
    println!(
        "{:<22} {:>9} {:>9} {:>7} {:>16} {:>16} {:>14} {:>12} {:>12} {:>22} {:>9}",
        "",
        "asked/s",
        "answers/s",
        "of peak",
        "UDP %, p99 ms",
        "TCP %, p99 ms",
        "health p50/max",
        "metrics max",
        "change max",
        "RSS MiB before/most/after",
        "recovery"
    );
    let bench =
        Bench { server: &server, api: &api, cluster, names: Arc::clone(&names), changes: Cell::default() };
    bench.phase("quiet", None, 0.0, None, seconds)?;
    for (what, kind, rate, peak) in [
        ("names of the cluster", Kind::Cluster, rate, Some(cluster_peak)),
        ("a dead upstream", Kind::Dead, rate, None),
        ("a template", Kind::Template, template_peak * args.times, Some(template_peak)),
        ("10,000 connections", Kind::Connections, 0.0, None),
        ("names and connections", Kind::Both, rate, Some(cluster_peak)),
    ] {
        bench.phase(what, Some(kind), rate, peak, seconds)?;
    }
    Ok(())
}

struct Bench<'a> {
    server: &'a Server,
    api: &'a Running,
    cluster: Cluster,
    names: Arc<[String]>,
    changes: Cell<usize>,
}

impl Bench<'_> {
    /// One flood, and a line about it.
    fn phase(
        &self,
        what: &str,
        kind: Option<Kind>,
        rate: f64,
        peak: Option<f64>,
        time: Duration,
    ) -> Result<()> {
        let before = self.server.memory()?;
        let polite = Polite::start(self.server, &self.names);
        let flood = kind.map(|kind| Flood::start(kind, self.server.dns, &self.names, rate));
        let started = Instant::now();
        let answered = self.server.answered()?;
        let (mut most, mut change) = (before, Duration::ZERO);
        let mut number = 0;
        while started.elapsed() < time {
            change = change.max(self.change(what, number)?);
            number += 1;
            for _ in 0..5 {
                most = most.max(self.server.memory()?);
                std::thread::sleep(Duration::from_millis(40));
            }
        }
        let answers = (self.server.answered()? - answered) / started.elapsed().as_secs_f64();
        let asked =
            flood.as_ref().map_or(0.0, |flood| flood.asked() as f64 / started.elapsed().as_secs_f64());
        let seen = polite.end();
        drop(flood);
        let ended = Instant::now();
        self.recovered()?;
        let recovery = ended.elapsed();
        // Questions that wait for a dead upstream are given up after five seconds.
        std::thread::sleep(Duration::from_secs(if kind == Some(Kind::Dead) { 6 } else { 1 }));
        let after = self.server.memory()?;
        let of_peak = peak.map_or_else(String::new, |peak| format!("{:.0}%", answers / peak * 100.0));
        let rate = |seen: &Seen| format!("{:.1} {:.1}", seen.percent(), seen.at(0.99));
        println!(
            "{what:<22} {asked:>9.0} {answers:>9.0} {of_peak:>7} {:>16} {:>16} {:>14} {:>9.0} ms {:>9.0} ms {:>25} {:>6.0} ms",
            rate(&seen.udp),
            rate(&seen.tcp),
            format!("{:.1} / {:.0}", seen.health.at(0.5), seen.health.at(1.0)),
            seen.metrics.at(1.0),
            change.as_secs_f64() * 1e3,
            format!("{before:.1} / {most:.1} / {after:.1}"),
            recovery.as_secs_f64() * 1e3,
        );
        for (what, seen) in [("health", &seen.health), ("metrics", &seen.metrics)] {
            if seen.lost > 0 {
                println!("    {what}: {} of {} without an answer", seen.lost, seen.asked);
            }
        }
        Ok(())
    }

    /// Makes a Service; how long its name takes.
    fn change(&self, what: &str, number: usize) -> Result<Duration> {
        let name = format!("new-{}-{number}", what.replace([' ', ','], "-"));
        let mut service = build::service(&self.cluster.namespace(0), &name);
        if let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut) {
            // Any that no other Service has.
            let address = self.changes.get() + 1;
            self.changes.set(address);
            let address = std::net::Ipv4Addr::new(10, 96, 200 + (address / 250) as u8, (address % 250) as u8);
            spec.insert("clusterIP".to_owned(), json!(address));
        }
        make(self.api, service)?;
        let name = format!("{name}.{}.svc.cluster.local", self.cluster.namespace(0));
        let started = Instant::now();
        polite::until_there(self.server.dns, &name, Duration::from_secs(20))?;
        Ok(started.elapsed())
    }

    /// Waits until questions are answered as if nothing had been.
    fn recovered(&self) -> Result<()> {
        let mut row = 0;
        let started = Instant::now();
        while row < ROW {
            anyhow::ensure!(started.elapsed() < Duration::from_secs(60), "it does not recover");
            let name = self.names.first().context("a name")?;
            row = if polite::is_answered(self.server.dns, name, WELL)? { row + 1 } else { 0 };
        }
        Ok(())
    }
}

/// Makes an object.
fn make(api: &Running, object: Value) -> Result<()> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let kind = ObjectKind::of(text("/apiVersion"), text("/kind")).context("a known kind")?;
    let namespace = text("/metadata/namespace").to_owned();
    let made = api.store().create(kind, &namespace, object, &WriteOptions::by("bench"));
    made.map(drop).map_err(|error| anyhow::anyhow!("{}", error.to_status()))
}
