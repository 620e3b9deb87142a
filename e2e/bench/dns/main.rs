//! What an answer costs: CPU-seconds of the server per million answers, beside a bare reflector, NSD and Knot.
//!
//! ```text
//! cargo bench --bench dns [-- --mixes mix,hit,nx --edns without --seconds 3 --rounds 5]
//! ```
//!
//! A cluster of 10,000 Services and 500 headless ones with 10,000 endpoints is made in the embedded API server, in this
//! process, and written to zone files. Servers run one after another, in rounds, on one core; the load runs on another.
//! Before a mix is measured each server is asked all of it, and what it says is compared; then each answer is held against
//! what it was. `docs/benchmarks.md` says how to read the figures.

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
use tokio::runtime::Runtime;

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
    for regime in &args.regimes {
        match regime {
            Regime::Saturated => {
                mixes::run(&bench, "Saturated, on one core", &args.mixes, &args.edns, Pace::Closed)?;
            }
            Regime::Rate => {
                let title = format!("{} questions a second, on one core", args.rate);
                mixes::run(&bench, &title, &[Mix::Mix, Mix::M1], &[Edns::Some], Pace::Open(args.rate))?;
            }
            Regime::Cores => two_cores::run(&bench)?,
            Regime::Churn => churn::run(&bench)?,
        }
    }
    Ok(())
}

impl Bench<'_> {
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
                Err(error) => println!("{} is left out: {error:#}", kind.name()),
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
