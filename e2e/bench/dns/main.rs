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

mod client;
mod cores;
mod floor;
mod report;
mod servers;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail};
use callsign_e2e::{
    apiserver::{ApiServer, Options, Running, WriteOptions, kind::Kind as ObjectKind},
    harness::upstream::Upstream,
    load::{
        cluster::Cluster,
        mix::{Edns, Mix},
        outcome::{Comparison, Outcome},
        question::Question,
    },
};
use clap::Parser;
use serde_json::Value;

use client::{Client, Pace};
use cores::Cores;
use report::{Row, Sample};
use servers::{Kind, Server, Start};

/// What an answer costs, beside a bare reflector, NSD and Knot.
#[derive(Parser)]
struct Args {
    /// What is asked.
    #[arg(long, value_delimiter = ',', default_values_t = Mix::ALL)]
    mixes: Vec<Mix>,
    /// Whether questions have an OPT: `without`, `with`, or both in turn.
    #[arg(long, value_delimiter = ',', default_values = ["without", "with"], value_parser = edns)]
    edns: Vec<Edns>,
    /// How long a round is, of each server.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// How many rounds there are.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// So many questions a second, instead of as many as are answered.
    #[arg(short = 'Q', long)]
    rate: Option<u32>,
    /// The build of Callsign that is measured.
    #[arg(long, env = "CALLSIGN_BENCH_BINARY", default_value = env!("CARGO_BIN_EXE_callsign"))]
    binary: PathBuf,
    /// Another one, beside it.
    #[arg(long)]
    against: Option<PathBuf>,
    /// The CoreDNS that is measured, where there is one.
    #[arg(long, env = "CALLSIGN_BENCH_COREDNS", default_value = "coredns")]
    coredns: PathBuf,
    /// The tables are those of docs/benchmarks.md.
    #[arg(long)]
    markdown: bool,
    /// Be the reflector.
    #[arg(long, hide = true)]
    reflect: Option<SocketAddr>,
    /// Cargo says it.
    #[arg(long, hide = true)]
    bench: bool,
}

fn edns(text: &str) -> Result<Edns, String> {
    match text {
        "without" => Ok(Edns::Without),
        "with" => Ok(Edns::With),
        "some" => Ok(Edns::Some),
        _ => Err("`without`, `with` or `some`".to_owned()),
    }
}

/// How long the load runs before a round counts.
const WARM: Duration = Duration::from_millis(300);

fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(address) = args.reflect {
        return floor::run(address);
    }
    let cores = Cores::here()?;
    // The API server and its threads stay away from the server's core.
    cores::keep_to(&[cores.client])?;
    let runtime = tokio::runtime::Runtime::new()?;
    let cluster = Cluster::default();
    let folder = tempfile::tempdir()?;
    let (api, upstream) = runtime.block_on(async {
        let api = ApiServer::start(Options::default()).await?;
        fill(&api, &cluster)?;
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
    tables(&args, &start)
}

/// Makes the cluster's objects.
fn fill(api: &Running, cluster: &Cluster) -> Result<()> {
    cluster.objects().try_for_each(|object| {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let kind = ObjectKind::of(text("/apiVersion"), text("/kind")).context("a known kind")?;
        let namespace = text("/metadata/namespace").to_owned();
        let made = api.store().create(kind, &namespace, object, &WriteOptions::by("bench"));
        made.map(drop).map_err(|error| anyhow::anyhow!("{}", error.to_status()))
    })
}

/// All servers that there are.
fn all(start: &Start<'_>) -> Result<Vec<Server>> {
    let mut servers = Vec::new();
    for kind in [Kind::Floor, Kind::Nsd, Kind::Knot, Kind::CoreDns, Kind::Against, Kind::Callsign] {
        if kind == Kind::Against && start.against.is_none() {
            continue;
        }
        match start.start(kind) {
            Ok(server) => servers.push(server),
            Err(error) if kind == Kind::Callsign => return Err(error),
            Err(error) => println!("{} is left out: {error:#}", kind.name()),
        }
    }
    Ok(servers)
}

fn tables(args: &Args, start: &Start<'_>) -> Result<()> {
    let servers = all(start)?;
    let pace = args.rate.map_or(Pace::Closed, Pace::Open);
    report::heading(args.markdown);
    for mix in &args.mixes {
        for edns in &args.edns {
            let rows = measure(args, &start.cluster, &servers, *mix, *edns, pace)?;
            report::print(&rows, args.markdown);
        }
    }
    Ok(())
}

/// Measures one mix: a row for each server.
fn measure(
    args: &Args,
    cluster: &Cluster,
    servers: &[Server],
    mix: Mix,
    edns: Edns,
    pace: Pace,
) -> Result<Vec<Row>> {
    let questions = mix.questions(cluster, edns);
    let mut measured = Vec::new();
    for server in servers {
        let mut client = Client::new(server.address)?;
        let outcomes = client.learn(&questions)?;
        measured.push((server, client, outcomes, Row::new(mix, edns, server.kind)));
    }
    compare(
        &questions,
        measured.iter_mut().map(|(server, _, outcomes, row)| (server.kind, &**outcomes, row)),
    )?;
    for _ in 0..args.rounds {
        for (server, client, outcomes, row) in &mut measured {
            client.load(&questions, outcomes, pace, WARM)?;
            let before = cores::spent(&server.processes)?;
            let run = client.load(&questions, outcomes, pace, Duration::from_secs_f64(args.seconds))?;
            let cpu = cores::spent(&server.processes)?.saturating_sub(before);
            if let Some(first) = &run.first_wrong {
                bail!("{}: {} wrong answers, the first: {first}", server.kind.name(), run.wrong);
            }
            row.samples.push(Sample::new(&run, cpu));
        }
    }
    Ok(measured.into_iter().map(|(_, _, _, row)| row).collect())
}

/// Holds the answers of all servers against Callsign's.
fn compare<'a>(
    questions: &[Question],
    said: impl Iterator<Item = (Kind, &'a [Outcome], &'a mut Row)>,
) -> Result<()> {
    let said: Vec<_> = said.collect();
    let ours = said.iter().find(|(kind, ..)| *kind == Kind::Callsign);
    let ours = ours.map(|(_, outcomes, _)| *outcomes).context("Callsign")?;
    for (kind, outcomes, row) in said {
        let none = outcomes.iter().position(|outcome| outcome.code().is_none());
        if let Some(question) = none.and_then(|at| questions.get(at)) {
            bail!("{} does not answer {}", kind.name(), question.text());
        }
        if kind == Kind::Floor {
            continue;
        }
        let comparison = Comparison::of(ours, outcomes);
        if let Some(at) = comparison.first {
            let question = questions.get(at).map(Question::text).unwrap_or_default();
            let (ours, its) = (ours.get(at), outcomes.get(at));
            bail!(
                "{} answers {} of {} questions otherwise than Callsign, first {question}: {its:?}, not {ours:?}",
                kind.name(),
                comparison.answers,
                questions.len(),
            );
        }
        row.comparison = comparison;
    }
    Ok(())
}
