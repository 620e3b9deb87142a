//! What churn costs: rollouts, and readiness that flips as fast as can be.
//!
//! ```text
//! cargo bench --bench churn [-- rollout | flips] [PODS]
//! ```
//!
//! A rollout replaces ready pods, 20 a second: the new one comes and is not ready, a tenth of a second later it is ready, the
//! old one is deleted as soon as a Deployment would, and gone a tenth of a second later. `in` counts from the API server's reply to the status write that makes the new
//! pod ready until a watch of EndpointSlices shows it so; `out` from the reply to the deletion of the old one until the
//! watch shows it not ready or gone. Writes are those the watches saw, a replaced pod.
//!
//! Flips: a namespace with ten pods a Service; sixteen writers set the pods of some of its Services ready and unready for ten
//! seconds, as fast as the API server takes it. The CPU time is that of Callsign, which answers DNS as well.
//!
//! The API server is the embedded one, in this process, unless `CALLSIGN_E2E_KUBECONFIG` names another, empty one.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use callsign_e2e::{
    apiserver::Options,
    harness::{build, process::Callsign, world::World},
};
use futures::{StreamExt, TryStreamExt, stream};
use hdrhistogram::Histogram;
use k8s_openapi::api::{core::v1::Endpoints, discovery::v1::EndpointSlice};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use parking_lot::Mutex;
use serde_json::json;

const STEP: Duration = Duration::from_millis(100);
/// From a pod's readiness to the deletion of the one it replaces: two controllers have to act.
const REACTION: Duration = Duration::from_millis(20);
const EVERY: Duration = Duration::from_millis(50);
const FLIPPING: Duration = Duration::from_secs(10);
const WRITERS: usize = 16;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let wants = |what: &str| {
        let named = arguments.iter().any(|argument| argument == "rollout" || argument == "flips");
        !named || arguments.iter().any(|argument| argument == what)
    };
    let pods = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(1000_usize);
    if wants("rollout") {
        println!(
            "{:<34} {:>8} {:>8} {:>9} {:>9} {:>9} {:>9} {:>8}",
            "rollout, 20 pods a second", "slices", "Endpts", "in p50", "in p99", "out p50", "out p99", "CPU"
        );
        for (what, services, shuffled) in [
            ("1 Service, pods in order", 1, false),
            ("1 Service, pods in any order", 1, true),
            ("100 Services", 100, false),
        ] {
            rollout(&format!("{pods} pods, {what}"), pods, services, shuffled).await?;
        }
    }
    if wants("flips") {
        println!(
            "{:<34} {:>8} {:>12} {:>8} {:>8} {:>9}",
            "flips of readiness", "flips/s", "CPU a flip", "slices", "Endpts", "at rest"
        );
        for (services, flipped) in [(10, 10), (100, 10), (1000, 10), (1000, 1000)] {
            flips(services, flipped).await?;
        }
    }
    Ok(())
}

async fn world(namespace: &str) -> Result<World> {
    let binary = Path::new(env!("CARGO_BIN_EXE_callsign"));
    let world = World::of_environment(binary, Options::default(), &[]).await?;
    world.cluster.apply(&build::namespace(namespace)).await?;
    world.cluster.apply(&build::node("node-a", "zone-a")).await?;
    Ok(world)
}

async fn populate(world: &World, namespace: &str, services: usize, pods: &[String]) -> Result<()> {
    for service in 0..services {
        world.cluster.apply(&build::service(namespace, &format!("s{service}"))).await?;
    }
    // One after the other: slices fill in this order, as they do when a Service grows.
    for (number, name) in pods.iter().enumerate() {
        let app = format!("s{}", number % services);
        world.cluster.apply(&build::pod(namespace, name, &app, &ip(2, number), true)).await?;
    }
    world.cluster.settle().await
}

fn ip(network: usize, number: usize) -> String {
    format!("10.{network}.{}.{}", number / 250, number % 250 + 1)
}

// === Rollouts ===

async fn rollout(what: &str, pods: usize, services: usize, shuffled: bool) -> Result<()> {
    // One for each run: the cluster may be the same.
    let namespace = format!("rollout-{services}-{}", if shuffled { "shuffled" } else { "ordered" });
    let namespace = namespace.as_str();
    let world = world(namespace).await?;
    let old: Vec<String> = (0..pods).map(|number| format!("old-{number:05}")).collect();
    populate(&world, namespace, services, &old).await?;
    let seen = Seen::watch(&world, namespace).await?;
    let mut order: Vec<usize> = (0..pods).collect();
    if shuffled {
        let mut random = fastrand::Rng::with_seed(7);
        random.shuffle(&mut order);
    }
    let before = cpu(&world.callsign)?;
    let started = tokio::time::Instant::now();
    let replacements = order.into_iter().enumerate().map(|(turn, number)| {
        let world = &world;
        async move {
            tokio::time::sleep_until(started + EVERY * u32::try_from(turn)?).await;
            replace(world, namespace, number, number % services).await
        }
    });
    let triggers: Vec<Replaced> = stream::iter(replacements).buffer_unordered(pods).try_collect().await?;
    world.cluster.settle().await?;
    tokio::time::sleep(Duration::from_secs(6)).await;
    let used = cpu(&world.callsign)? - before;
    let (mut arrived, mut left) = (histogram()?, histogram()?);
    for replaced in triggers {
        let at = |map: &Mutex<HashMap<String, Instant>>, name: &str| {
            map.lock().get(name).copied().with_context(|| format!("{name} in a slice"))
        };
        record(&mut arrived, at(&seen.ready, &format!("new-{:05}", replaced.number))?, replaced.ready)?;
        record(&mut left, at(&seen.unready, &format!("old-{:05}", replaced.number))?, replaced.deleted)?;
    }
    println!(
        "{what:<34} {:>8.2} {:>8.2} {:>9} {:>9} {:>9} {:>9} {:>6.2} s",
        a_pod(&seen.slices, pods),
        a_pod(&seen.endpoints, pods),
        ms(arrived.value_at_quantile(0.5)),
        ms(arrived.value_at_quantile(0.99)),
        ms(left.value_at_quantile(0.5)),
        ms(left.value_at_quantile(0.99)),
        used.as_secs_f64(),
    );
    Ok(())
}

/// When the changes of one pod were acknowledged.
struct Replaced {
    number: usize,
    ready: Instant,
    deleted: Instant,
}

async fn replace(world: &World, namespace: &str, number: usize, service: usize) -> Result<Replaced> {
    let address = ip(3, number);
    let new = build::pod(namespace, &format!("new-{number:05}"), &format!("s{service}"), &address, false);
    world.cluster.apply(&new).await?;
    tokio::time::sleep(STEP).await;
    let (api, name) = world.cluster.api(&new)?;
    let status = json!({"status": build::status(&address, true)});
    api.patch_status(&name, &PatchParams::default(), &Patch::Merge(&status)).await?;
    let ready = Instant::now();
    tokio::time::sleep(REACTION).await;
    let old = format!("old-{number:05}");
    api.delete(&old, &DeleteParams::default()).await?;
    let deleted = Instant::now();
    tokio::time::sleep(STEP).await;
    api.delete(&old, &DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() }).await?;
    Ok(Replaced { number, ready, deleted })
}

// === Flips ===

async fn flips(services: usize, flipped: usize) -> Result<()> {
    let namespace = format!("flips-{flipped}-of-{services}");
    let namespace = namespace.as_str();
    let world = world(namespace).await?;
    let pods: Vec<String> = (0..services * 10).map(|number| format!("pod-{number:05}")).collect();
    populate(&world, namespace, services, &pods).await?;
    let seen = Seen::watch(&world, namespace).await?;
    let before = cpu(&world.callsign)?;
    let started = Instant::now();
    // The pods of a Service are those whose number has its number as the remainder.
    let chosen: Vec<String> = (0..pods.len())
        .filter(|number| number % services < flipped)
        .filter_map(|number| pods.get(number).cloned())
        .collect();
    let writers = (0..WRITERS).map(|writer| flip(&world, namespace, &chosen, writer, started));
    let counts: Vec<usize> = stream::iter(writers).buffer_unordered(WRITERS).try_collect().await?;
    let (took, ended) = (started.elapsed(), Instant::now());
    world.cluster.settle().await?;
    let rest = seen.last.lock().map_or(Duration::ZERO, |last| last.saturating_duration_since(ended));
    let count = counts.into_iter().sum::<usize>().max(1);
    let used = cpu(&world.callsign)? - before;
    #[expect(clippy::cast_precision_loss, reason = "counts for people")]
    let count_f = count as f64;
    println!(
        "{:<34} {:>8.0} {:>9.0} us {:>8.3} {:>8.3} {:>7} ms",
        format!("{flipped} of {services} Services, {} pods", pods.len()),
        count_f / took.as_secs_f64(),
        used.as_secs_f64() * 1e6 / count_f,
        a_pod(&seen.slices, count),
        a_pod(&seen.endpoints, count),
        rest.as_millis(),
    );
    Ok(())
}

async fn flip(
    world: &World,
    namespace: &str,
    pods: &[String],
    writer: usize,
    started: Instant,
) -> Result<usize> {
    let (api, _) = world.cluster.api(&build::pod(namespace, "any", "", "", true))?;
    let mut random = fastrand::Rng::with_seed(u64::try_from(writer)?);
    let mut down = HashSet::new();
    let mut flipped = 0;
    while started.elapsed() < FLIPPING {
        // Each writer has pods of its own.
        let number = random.usize(..pods.len() / WRITERS) * WRITERS + writer;
        let Some(name) = pods.get(number) else { continue };
        let ready = down.remove(&number);
        if !ready {
            down.insert(number);
        }
        let status = json!({"status": build::status_conditions(ready)});
        api.patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await?;
        flipped += 1;
    }
    Ok(flipped)
}

// === What the watches saw ===

/// Writes since it was made, and when endpoints changed.
#[derive(Default)]
struct Seen {
    slices: AtomicU64,
    endpoints: AtomicU64,
    ready: Mutex<HashMap<String, Instant>>,
    unready: Mutex<HashMap<String, Instant>>,
    last: Mutex<Option<Instant>>,
}

impl Seen {
    async fn watch(world: &World, namespace: &str) -> Result<Arc<Self>> {
        let seen = Arc::new(Self::default());
        let slices: Api<EndpointSlice> = Api::namespaced(world.cluster.client(), namespace);
        let endpoints: Api<Endpoints> = Api::namespaced(world.cluster.client(), namespace);
        let (listed, mut both) = tokio::sync::mpsc::channel::<()>(2);
        let (notes, done) = (Arc::clone(&seen), listed.clone());
        tokio::spawn(async move {
            let mut known: HashMap<String, HashSet<String>> = HashMap::new();
            let watch = watcher::watcher(slices, watcher::Config::default()).default_backoff();
            let mut events = watch.boxed();
            while let Some(Ok(event)) = events.next().await {
                match event {
                    Event::InitApply(slice) => {
                        known.insert(name(&slice), ready(&slice));
                    }
                    Event::InitDone => done.send(()).await.unwrap_or_default(),
                    Event::Apply(slice) => notes.slice(&mut known, name(&slice), ready(&slice)),
                    Event::Delete(slice) => notes.slice(&mut known, name(&slice), HashSet::new()),
                    Event::Init => {}
                }
            }
        });
        let notes = Arc::clone(&seen);
        tokio::spawn(async move {
            let watch = watcher::watcher(endpoints, watcher::Config::default()).default_backoff();
            let mut events = watch.boxed();
            while let Some(Ok(event)) = events.next().await {
                match event {
                    Event::InitDone => listed.send(()).await.unwrap_or_default(),
                    Event::Apply(_) | Event::Delete(_) => {
                        notes.endpoints.fetch_add(1, Ordering::Relaxed);
                        *notes.last.lock() = Some(Instant::now());
                    }
                    Event::Init | Event::InitApply(_) => {}
                }
            }
        });
        for _ in 0..2 {
            both.recv().await.context("the watches ended")?;
        }
        Ok(seen)
    }

    fn slice(&self, known: &mut HashMap<String, HashSet<String>>, slice: String, ready: HashSet<String>) {
        let now = Instant::now();
        self.slices.fetch_add(1, Ordering::Relaxed);
        *self.last.lock() = Some(now);
        let before = known.insert(slice, ready.clone()).unwrap_or_default();
        for pod in ready.difference(&before) {
            self.ready.lock().entry(pod.clone()).or_insert(now);
        }
        for pod in before.difference(&ready) {
            self.unready.lock().entry(pod.clone()).or_insert(now);
        }
    }
}

fn name(slice: &EndpointSlice) -> String {
    slice.metadata.name.clone().unwrap_or_default()
}

/// The pods that the slice shows ready.
fn ready(slice: &EndpointSlice) -> HashSet<String> {
    let endpoints = slice.endpoints.iter().flatten();
    let ready =
        endpoints.filter(|endpoint| endpoint.conditions.as_ref().is_some_and(|c| c.ready == Some(true)));
    ready.filter_map(|endpoint| endpoint.target_ref.as_ref()?.name.clone()).collect()
}

// === Figures ===

/// The CPU time a process has used.
fn cpu(callsign: &Callsign) -> Result<Duration> {
    let id = callsign.id().context("callsign has ended")?;
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
    // Behind the name, which may have blanks: state is field 3, user and system time are 14 and 15, in hundredths.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 =
        fields.iter().skip(11).take(2).map(|field| field.parse::<u64>().unwrap_or_default()).sum();
    Ok(Duration::from_millis(ticks * 10))
}

#[expect(clippy::cast_precision_loss, reason = "counts for people")]
fn a_pod(count: &AtomicU64, pods: usize) -> f64 {
    count.load(Ordering::Relaxed) as f64 / pods as f64
}

fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 120_000_000, 3)?)
}

fn record(histogram: &mut Histogram<u64>, at: Instant, trigger: Instant) -> Result<()> {
    let late = at.saturating_duration_since(trigger);
    Ok(histogram.record(u64::try_from(late.as_micros())?.max(1))?)
}

#[expect(clippy::cast_precision_loss, reason = "microseconds for people")]
fn ms(value: u64) -> String {
    format!("{:.1} ms", value as f64 / 1000.0)
}
