//! Latency while the cluster changes.
//!
//! Three kinds of rounds in turn: nothing is written, a hundred EndpointSlices a second are, or as many pods, which Callsign
//! does not watch. The API server and its writer are on the core of the load, and keep it from sending and receiving in time:
//! latency is therefore told twice, as the load sees it, from when a question was due, and from when it was sent until the
//! kernel had the answer. What there is with pods is the disturbance of this set-up, and none of Callsign's.
//!
//! A write gives the endpoints of a Service each other's addresses: every name has as many records as before, and so each
//! answer can be held against what is expected.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use callsign_e2e::{
    apiserver::{Key, Part, Patch, Store, WriteOptions, kind::Kind as ObjectKind},
    harness::{build, resolver::Resolver},
    load::{
        cluster::Cluster,
        mix::{Edns, Mix},
    },
};
use serde_json::json;
use tokio::time::MissedTickBehavior;

use crate::{
    Bench,
    client::{Client, Pace, WARM},
    cores, create,
    report::{Sample, Table, micros, middle},
    servers::Kind,
};

/// Between writes.
const EVERY: Duration = Duration::from_millis(10);
/// How long a change may take to be answered with.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is written meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writes {
    None,
    Pods,
    Slices,
}

/// One kind of rounds.
struct Measured {
    writes: Writes,
    /// How many have been written so far.
    count: Arc<AtomicU64>,
    samples: Vec<Sample>,
    /// Writes a second, of each round.
    a_second: Vec<f64>,
}

impl Measured {
    fn new(writes: Writes) -> Self {
        Self { writes, count: Arc::default(), samples: Vec::new(), a_second: Vec::new() }
    }
}

/// Measures the three in turn.
///
/// # Errors
/// When the server fails or answers wrong, or the API server refuses a write.
pub(crate) fn run(bench: &Bench<'_>) -> Result<()> {
    let cluster = bench.start.cluster;
    let questions = Mix::M1.questions(&cluster, Edns::Some);
    let server = bench.start.start(Kind::Callsign)?;
    let mut client = Client::new(server.address)?;
    let outcomes = client.learn(&questions)?;
    for service in 0..cluster.headless {
        create(&bench.api, pod(&cluster, service))?;
    }
    let mut measured = [Writes::None, Writes::Pods, Writes::Slices].map(Measured::new);
    let pace = Pace::Open(bench.args.rate);
    for _ in 0..bench.args.rounds {
        for Measured { writes, count, samples, a_second } in &mut measured {
            let writer = (*writes != Writes::None).then(|| {
                let (store, count) = (Arc::clone(bench.api.store()), Arc::clone(count));
                bench.runtime.spawn(write(store, cluster, *writes, count))
            });
            let run = client.load(&questions, &outcomes, pace, WARM).and_then(|_| {
                let (before, written) = (cores::spent(&server.processes)?, count.load(Ordering::Relaxed));
                let run = client.load(&questions, &outcomes, pace, bench.args.seconds)?;
                let written = count.load(Ordering::Relaxed) - written;
                Ok((run, cores::spent(&server.processes)?.saturating_sub(before), written))
            });
            let refused = writer.map(|writer| {
                writer.abort();
                bench.runtime.block_on(writer)
            });
            if let Some(Ok(Err(error))) = refused {
                return Err(error);
            }
            let (run, cpu, written) = run?;
            run.is_right().with_context(|| format!("{writes:?}"))?;
            a_second.push(written as f64 / run.took.as_secs_f64().max(f64::MIN_POSITIVE));
            samples.push(Sample::new(&run, cpu));
        }
    }
    let [.., slices] = &measured;
    bench.runtime.block_on(is_in_step(
        server.address,
        &cluster,
        slices.count.load(Ordering::Relaxed) as usize,
    ))?;
    let columns = [
        ("writes", 7),
        ("a second", 8),
        ("CPU-s/M", 7),
        ("p50", 8),
        ("p99", 8),
        ("p99.9", 8),
        ("p99 × quiet", 11),
        ("p99.9 × quiet", 13),
        ("load: p99", 9),
        ("p99.9", 8),
        ("lost", 5),
    ];
    let title = format!("While the cluster changes: M1, {} questions a second", bench.args.rate);
    let table = Table::new(&title, 1, columns, bench.args.markdown);
    let middles = |samples: &[Sample], of: fn(&Sample) -> [f64; 3]| {
        [0, 1, 2].map(|at| middle(samples, |sample| of(sample).get(at).copied().unwrap_or(f64::NAN)))
    };
    let [quiet, ..] = &measured;
    let [_, quiet_p99, quiet_p999] = middles(&quiet.samples, |sample| sample.served);
    for Measured { writes, samples, a_second, .. } in &measured {
        let [p50, p99, p999] = middles(samples, |sample| sample.served);
        let [_, late_p99, late_p999] = middles(samples, |sample| sample.latency);
        let a_second = a_second.iter().sum::<f64>() / a_second.len().max(1) as f64;
        let writes = match writes {
            Writes::None => "none",
            Writes::Pods => "pods",
            Writes::Slices => "slices",
        };
        table.row([
            writes.to_owned(),
            format!("{a_second:.0}"),
            format!("{:.2}", middle(samples, |sample| sample.cost)),
            micros(p50),
            micros(p99),
            micros(p999),
            format!("{:.2}", p99 / quiet_p99),
            format!("{:.2}", p999 / quiet_p999),
            micros(late_p99),
            micros(late_p999),
            samples.iter().map(|sample| sample.lost).sum::<u64>().to_string(),
        ]);
    }
    Ok(())
}

/// Writes until it is aborted, and counts.
async fn write(store: Arc<Store>, cluster: Cluster, writes: Writes, count: Arc<AtomicU64>) -> Result<()> {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    loop {
        ticks.tick().await;
        let number = count.load(Ordering::Relaxed) as usize;
        let (service, turn) = turn(&cluster, number);
        let (kind, name, patch) = match writes {
            Writes::Slices => {
                let slice = cluster.slice(service, turn);
                let patch = json!({"endpoints": slice.get("endpoints")});
                (ObjectKind::EndpointSlice, cluster.slice_name(service), patch)
            }
            _ => {
                // As long as a slice.
                let note = format!("{number:04000}");
                (
                    ObjectKind::Pod,
                    format!("pod-{service}"),
                    json!({"metadata": {"annotations": {"note": note}}}),
                )
            }
        };
        let key = Key::new(&cluster.namespace(service), &name);
        let written = store.patch(kind, &key, Part::Main, &Patch::Merge(patch), &WriteOptions::by("bench"));
        written.map_err(|error| anyhow::anyhow!("{}", error.to_status()))?;
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Which Service the write of this number is for, and how many it has had then.
fn turn(cluster: &Cluster, number: usize) -> (usize, usize) {
    let services = cluster.headless.max(1);
    (number % services, number / services + 1)
}

/// Waits until the last of so many writes is answered with.
async fn is_in_step(server: SocketAddr, cluster: &Cluster, written: usize) -> Result<()> {
    let (service, turn) = turn(cluster, written.checked_sub(1).context("no slice was written")?);
    let name = format!("{}.", cluster.endpoint(service, 0));
    let address = cluster.endpoint_address(service, turn % cluster.endpoints.max(1)).to_string();
    let (resolver, started) = (Resolver::new(server).await?, Instant::now());
    loop {
        let answer = resolver.ask(&name, "A").await?.answer;
        if answer.iter().any(|record| record.ends_with(&format!(" A {address}"))) {
            return Ok(());
        }
        ensure!(started.elapsed() < PATIENCE, "{name} has still {answer:?}, not {address}");
        tokio::time::sleep(EVERY).await;
    }
}

fn pod(cluster: &Cluster, number: usize) -> serde_json::Value {
    let namespace = cluster.namespace(number);
    build::pod(&namespace, &format!("pod-{number}"), "other", "10.250.0.1", true)
}
