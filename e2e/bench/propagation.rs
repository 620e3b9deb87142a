//! Time from a pod's status write to the right DNS answer: idle, and when the pods of many Services turn ready at once.
//!
//! ```text
//! cargo bench --bench propagation [-- SERVICES]
//! ```
//!
//! The API server is the embedded one, in this process, unless `CALLSIGN_E2E_KUBECONFIG` names another, empty one; Callsign is
//! a process of its own. `sent` counts from the moment the status write leaves the client, `acknowledged` from the API
//! server's reply. `slice written` is when a watch of EndpointSlices shows the endpoint ready.

use std::{
    collections::HashMap,
    net::UdpSocket,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use callsign_e2e::{
    apiserver::Options,
    harness::{build, resolver::question, world::World},
};
use futures::{StreamExt, TryStreamExt, stream};
use hdrhistogram::Histogram;
use hickory_proto::op::{Message, ResponseCode};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{
    Api,
    api::{Patch, PatchParams},
    runtime::{WatchStreamExt, watcher},
};
use parking_lot::Mutex;
use serde_json::json;

const NAMESPACE: &str = "bench";
const IDLE_ROUNDS: usize = 300;

#[tokio::main]
async fn main() -> Result<()> {
    // `cargo bench` passes `--bench`; what is a number is ours.
    let services = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(400_usize);
    let world =
        World::of_environment(Path::new(env!("CARGO_BIN_EXE_callsign")), Options::default(), &[]).await?;
    world.cluster.apply(&build::namespace(NAMESPACE)).await?;
    world.cluster.apply(&build::node("node-a", "zone-a")).await?;
    let written = watch_slices(&world);
    println!("{:<34} {:>6} {:>9} {:>9} {:>9} {:>9}", "", "n", "p50", "p90", "p99", "max");
    idle(&world).await?;
    burst(&world, services, &written).await?;
    Ok(())
}

fn name(service: usize) -> String {
    format!("s{service}.{NAMESPACE}.svc.cluster.local.")
}

fn ip(service: usize) -> String {
    format!("10.2.{}.{}", service / 250, service % 250 + 1)
}

async fn set_ready(world: &World, service: usize, ready: bool) -> Result<(Instant, Instant)> {
    let (api, pod) = world.cluster.api(&build::pod(NAMESPACE, &format!("p{service}"), "", "", true))?;
    let status = json!({"status": build::status(&ip(service), ready)});
    let sent = Instant::now();
    api.patch_status(&pod, &PatchParams::default(), &Patch::Merge(&status)).await?;
    Ok((sent, Instant::now()))
}

async fn make(world: &World, service: usize) -> Result<()> {
    let label = format!("s{service}");
    world.cluster.apply(&build::headless(NAMESPACE, &label)).await?;
    world.cluster.apply(&build::pod(NAMESPACE, &format!("p{service}"), &label, &ip(service), false)).await
}

/// One pod, flipped again and again; each time the answer is awaited.
async fn idle(world: &World) -> Result<()> {
    make(world, 0).await?;
    world.cluster.settle().await?;
    let (mut sent, mut acknowledged) = (histogram()?, histogram()?);
    for round in 0..IDLE_ROUNDS {
        let ready = round % 2 == 0;
        let (before, after) = set_ready(world, 0, ready).await?;
        while world.resolver.ask(&name(0), "A").await?.answer.is_empty() == ready {}
        record(&mut sent, before.elapsed())?;
        record(&mut acknowledged, after.elapsed())?;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    row("idle, sent to answered", &sent);
    row("idle, acknowledged to answered", &acknowledged);
    Ok(())
}

/// Many Services with a pod each, all turned ready at once.
async fn burst(world: &World, services: usize, written: &Written) -> Result<()> {
    stream::iter(1..=services)
        .map(|service| make(world, service))
        .buffer_unordered(32)
        .try_collect::<Vec<_>>()
        .await?;
    world.cluster.settle().await?;
    written.lock().clear();
    let server = world.dns;
    let answered = std::thread::spawn(move || await_answers(server, services));
    let flips =
        stream::iter(1..=services).map(async |service| Ok((service, set_ready(world, service, true).await?)));
    let flips: Vec<(usize, (Instant, Instant))> =
        flips.buffer_unordered(64).try_collect::<Vec<_>>().await.map_err(|error: anyhow::Error| error)?;
    let answered = tokio::task::spawn_blocking(move || answered.join()).await?;
    let answered = answered.map_err(|_| anyhow::anyhow!("the asking thread failed"))??;
    let deadline = Instant::now() + Duration::from_secs(60);
    while written.lock().len() < services && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (mut sent, mut acknowledged, mut slices) = (histogram()?, histogram()?, histogram()?);
    for (service, (before, after)) in flips {
        let at = answered.get(&service).context("an answer for each Service")?;
        record(&mut sent, at.saturating_duration_since(before))?;
        record(&mut acknowledged, at.saturating_duration_since(after))?;
        if let Some(at) = written.lock().get(&format!("s{service}")) {
            record(&mut slices, at.saturating_duration_since(after))?;
        }
    }
    row(&format!("burst of {services}, sent to answered"), &sent);
    row("burst, acknowledged to answered", &acknowledged);
    row("burst, acknowledged to slice written", &slices);
    Ok(())
}

/// Asks for every name until each has an answer, many questions in flight. To be run on a thread of its own: beside the
/// API server's tasks it would see answers late.
fn await_answers(server: std::net::SocketAddr, services: usize) -> Result<HashMap<usize, Instant>> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    let mut questions: HashMap<usize, Vec<u8>> = HashMap::new();
    for service in 1..=services {
        let mut packet = question(&name(service), "A", Some(1232))?;
        // The id says which Service an answer is for.
        packet.splice(..2, u16::try_from(service)?.to_be_bytes());
        questions.insert(service, packet);
    }
    let mut answered = HashMap::new();
    let mut buffer = [0_u8; 1500];
    while !questions.is_empty() {
        for batch in questions.values().collect::<Vec<_>>().chunks(32) {
            for packet in batch {
                socket.send(packet)?;
            }
            for _ in batch {
                let Ok(length) = socket.recv(&mut buffer) else { break };
                let reply = Message::from_vec(buffer.get(..length).unwrap_or_default())?;
                if reply.metadata.response_code == ResponseCode::NoError && !reply.answers.is_empty() {
                    answered.entry(usize::from(reply.metadata.id)).or_insert_with(Instant::now);
                }
            }
        }
        questions.retain(|service, _| !answered.contains_key(service));
        // Asking without a pause would take a core of the two from what is measured.
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(answered)
}

type Written = Arc<Mutex<HashMap<String, Instant>>>;

/// Notes when the slice of each Service first shows a ready endpoint.
fn watch_slices(world: &World) -> Written {
    let written = Written::default();
    let notes = Arc::clone(&written);
    let api: Api<EndpointSlice> = Api::namespaced(world.cluster.client(), NAMESPACE);
    tokio::spawn(async move {
        let mut slices = watcher(api, watcher::Config::default()).default_backoff().applied_objects().boxed();
        while let Some(slice) = slices.next().await {
            let Ok(slice) = slice else { continue };
            let ready = slice.endpoints.iter().flatten().any(|endpoint| {
                endpoint.conditions.as_ref().is_some_and(|conditions| conditions.ready == Some(true))
            });
            let labels = slice.metadata.labels.unwrap_or_default();
            if let (true, Some(service)) = (ready, labels.get("kubernetes.io/service-name")) {
                notes.lock().entry(service.clone()).or_insert_with(Instant::now);
            }
        }
    });
    written
}

fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 120_000_000, 3)?)
}

fn record(histogram: &mut Histogram<u64>, duration: Duration) -> Result<()> {
    Ok(histogram.record(u64::try_from(duration.as_micros())?.max(1))?)
}

fn row(what: &str, histogram: &Histogram<u64>) {
    #[expect(clippy::cast_precision_loss, reason = "microseconds for people")]
    let ms = |value: u64| format!("{:.2}ms", value as f64 / 1000.0);
    println!(
        "{what:<34} {:>6} {:>9} {:>9} {:>9} {:>9}",
        histogram.len(),
        ms(histogram.value_at_quantile(0.5)),
        ms(histogram.value_at_quantile(0.9)),
        ms(histogram.value_at_quantile(0.99)),
        ms(histogram.max()),
    );
}
