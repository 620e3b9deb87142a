//! What an answer costs: CPU-seconds of the server per million answers, beside a bare reflector, NSD and Knot.
//!
//! ```text
//! cargo bench --bench dns [-- --mixes mix,hit,nx --edns without --seconds 3 --rounds 5]
//! ```
//!
//! A cluster of 10,000 Services and 500 headless ones with 10,000 endpoints is made in the embedded API server, in this
//! process, and written to zone files. Servers run one after another, in rounds, on one core; the load runs on another.
//! Before a mix is measured each server is asked all of it, and what it says is compared; then each answer is held against
//! what it was. `docs/benchmarks.md` says how to read them.

mod args;
mod churn;
mod client;
mod cores;
mod floor;
mod mixes;
mod port;
mod report;
mod run;
mod servers;
mod two_cores;

use std::path::PathBuf;

use anyhow::{Context, Result};
use callsign_e2e::{
    apiserver::{ApiServer, Options, Running, WriteOptions, kind::Kind as ObjectKind},
    harness::upstream::Upstream,
    load::{
        cluster::Cluster,
        mix::{Edns, Mix},
    },
};
use clap::Parser;
use serde_json::Value;
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};

use args::{Args, Regime};
use client::Pace;
use cores::Cores;
use servers::{Kind, Server, Start};

/// What all that is measured needs.
struct Bench<'a> {
    args: &'a Args,
    cores: Cores,
    runtime: &'a Runtime,
    api: Running,
    start: Start<'a>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(address) = args.reflect {
        return floor::run(address);
    }
    let cores = Cores::here()?;
    // The API server and its threads stay away from the server's core.
    cores::keep_to(&[cores.client])?;
    let runtime = Runtime::new()?;
    let cluster = Cluster::default();
    let folder = tempfile::tempdir()?;
    let (api, upstream) = runtime.block_on(async {
        let api = ApiServer::start(Options::default()).await?;
        cluster.objects().try_for_each(|object| create(&api, object))?;
        anyhow::Ok((api, Upstream::of_example().await?))
    })?;
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, api.kubeconfig())?;
    let start = Start {
        folder: folder.path(),
        kubeconfig: &kubeconfig,
        api: api.url(),
        upstream: upstream.address,
        cluster,
        callsign: &args.binary,
        against: args.against.as_deref(),
        coredns: &args.coredns,
        cores: vec![cores.server],
    };
    let bench = Bench { args: &args, cores, runtime: &runtime, api, start };
    runtime.spawn(end_when_told(folder.path().to_owned()));
    bench.tell()?;
    let wants = |regime| args.regimes.contains(&regime);
    if wants(Regime::Saturated) || wants(Regime::Rate) {
        let servers = bench.all()?;
        if wants(Regime::Saturated) {
            let title = "Saturated, on one core";
            mixes::run(&bench, &servers, title, &args.mixes, &args.edns, Pace::Closed)?;
        }
        if wants(Regime::Rate) {
            let title = format!("{} questions a second, on one core", args.rate);
            let (mixes, pace) = ([Mix::Mix, Mix::M1], Pace::Open(args.rate));
            mixes::run(&bench, &servers, &title, &mixes, &[Edns::Some], pace)?;
        }
    }
    if wants(Regime::Cores) {
        two_cores::run(&bench)?;
    }
    if wants(Regime::Churn) {
        churn::run(&bench)?;
    }
    Ok(())
}

/// Ends the servers too when this process is to end, and leaves nothing behind.
async fn end_when_told(folder: PathBuf) -> Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = term.recv() => {}
        told = tokio::signal::ctrl_c() => told?,
    }
    servers::end_all();
    let _ = std::fs::remove_dir_all(folder);
    std::process::exit(1)
}

impl Bench<'_> {
    /// Prints what the figures are of: the machine, the servers, the rounds.
    fn tell(&self) -> Result<()> {
        let cpu = std::fs::read_to_string("/proc/cpuinfo")?;
        let model =
            cpu.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(": "));
        let model = model.map_or("a processor without a name", |(_, model)| model.trim());
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
        let kinds = [Kind::Nsd, Kind::Knot, Kind::CoreDns];
        let servers: Vec<String> =
            kinds.iter().filter_map(|kind| servers::version(&self.start, *kind)).collect();
        println!(
            "{model}, {} processors, Linux {}; {}; {} rounds of {:?}.",
            std::thread::available_parallelism()
                .map_or(1, usize::from)
                .max(cpu.matches("model name").count()),
            kernel.trim(),
            servers.join(", "),
            self.args.rounds,
            self.args.seconds,
        );
        Ok(())
    }

    /// Starts all servers that there are.
    fn all(&self) -> Result<Vec<Server>> {
        let mut servers = Vec::new();
        for kind in [Kind::Floor, Kind::Nsd, Kind::Knot, Kind::CoreDns, Kind::Against, Kind::Callsign] {
            if kind == Kind::Against && self.args.against.is_none() {
                continue;
            }
            match self.start.start(kind) {
                Ok(server) => servers.push(server),
                Err(error) if kind == Kind::Callsign => return Err(error),
                Err(error) => println!("{} is left out: {error:#}.", kind.name()),
            }
        }
        Ok(servers)
    }
}

/// Makes an object.
fn create(api: &Running, object: Value) -> Result<()> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let kind = ObjectKind::of(text("/apiVersion"), text("/kind")).context("a known kind")?;
    let namespace = text("/metadata/namespace").to_owned();
    let made = api.store().create(kind, &namespace, object, &WriteOptions::by("bench"));
    made.map(drop).map_err(|error| anyhow::anyhow!("{}", error.to_status()))
}
