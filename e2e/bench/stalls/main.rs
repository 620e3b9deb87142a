//! What changes cost those who ask: answers are timed while a writer changes the cluster, and while it changes another one.
//!
//! ```text
//! cargo bench --bench stalls [-- SECONDS]
//! ```
//!
//! 10,000 Services, 1,451 of them headless with 150,000 endpoints in all, one of which has 5,000 in 50 slices. There are no
//! sockets: one thread asks as fast as it can, another takes in slices as a watch and its follower do. On a machine of two
//! cores both disturb each other by being there, so each load is also put on a second cluster that nobody asks about
//! (`elsewhere`): what `here` costs above that is the zone's doing. `waits` counts how often the thread that asks gave up
//! its core by itself; it waits for nothing but locks.
//!
//! The second table is what an update costs by the size of its Service: microseconds of reading it, of the index and of the
//! zone (median), CPU of all, and allocations. From being there to being answered takes as long as the last two together.

mod cluster;
mod questions;
mod thread;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use cluster::{Cluster, Headless, Size};
use hdrhistogram::Histogram;
use questions::{Questions, Times};

const SIZE: Size = Size { plain: 8549, headless: 1450 };
const ROUNDS: u32 = 5;

/// What the writer does.
#[derive(Clone, Copy)]
struct Load {
    name: &'static str,
    /// The time between two updates; `None` for none at all.
    every: Option<Duration>,
    /// Always the large Service.
    large: bool,
}

const LOADS: [Load; 5] = [
    Load { name: "quiet", every: None, large: false },
    Load { name: "100 slices/s", every: Some(Duration::from_millis(10)), large: false },
    Load { name: "large Service, 10/s", every: Some(Duration::from_millis(100)), large: true },
    Load { name: "large Service, 100/s", every: Some(Duration::from_millis(10)), large: true },
    Load { name: "as fast as can be", every: Some(Duration::ZERO), large: false },
];

fn main() -> Result<()> {
    let seconds: f64 = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(2.0);
    let clusters = [Mutex::new(Cluster::new(SIZE)?), Mutex::new(Cluster::new(SIZE)?)];
    let questions = Arc::new(Questions::about(SIZE)?);
    let mut rows = Vec::new();
    for load in LOADS {
        let places: &[usize] = if load.every.is_some() { &[1, 0] } else { &[0] };
        for place in places {
            rows.push((load, *place, Times::new()?, 0_u64));
        }
    }
    for _ in 0..ROUNDS {
        for (load, place, times, updates) in &mut rows {
            let length = Duration::from_secs_f64(seconds);
            let (more, written) = round(&clusters, &questions, *load, *place, length)?;
            times.add(&more)?;
            *updates += written;
        }
    }
    let ends = ["p50", "p99", "p99.9", "p99.99", "max"];
    println!("microseconds an answer; {ROUNDS} rounds of {seconds} s of each, in turn");
    print!("{:<50} {:>10}", "", "answers");
    ends.iter().for_each(|end| print!(" {end:>9}"));
    println!(" {:>7} {:>9} {:>9}", "waits", "preempted", "updates");
    for (load, place, times, updates) in &rows {
        let place = match (load.every, place) {
            (None, _) => "",
            (_, 0) => ", here",
            _ => ", elsewhere",
        };
        print!("{:<50}", format!("{}{place}", load.name));
        print_times(&times.all()?);
        println!(" {:>7} {:>9} {updates:>9}", times.switches.waited, times.switches.preempted);
    }
    for (kind, (name, _)) in Times::new()?.kinds.iter().enumerate() {
        println!("{name}");
        for (load, place, times, _) in &rows {
            let (_, histogram) = times.kinds.get(kind).context("a kind")?;
            let place = if *place == 0 { "" } else { ", elsewhere" };
            print!("{:<50}", format!("  {}{place}", load.name));
            print_times(histogram);
            println!();
        }
    }
    costs(&clusters)
}

fn print_times(histogram: &Histogram<u64>) {
    print!(" {:>10}", histogram.len());
    let ends = [0.5, 0.99, 0.999, 0.9999].map(|quantile| histogram.value_at_quantile(quantile));
    for nanoseconds in ends.into_iter().chain([histogram.max()]) {
        print!(" {:>9.2}", nanoseconds as f64 / 1000.0);
    }
}

/// Asks the first cluster while the writer changes the one at this place; the number of updates.
fn round(
    clusters: &[Mutex<Cluster>; 2],
    questions: &Arc<Questions>,
    load: Load,
    place: usize,
    length: Duration,
) -> Result<(Times, u64)> {
    let zone = Arc::clone(&lock(clusters, 0)?.zone);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| questions.ask(&zone, &stop));
        let end = Instant::now() + length;
        let written = match load.every {
            None => {
                std::thread::sleep(length);
                Ok(0)
            }
            Some(every) => {
                lock(clusters, place).and_then(|mut cluster| write(&mut cluster, load, every, end))
            }
        };
        stop.store(true, Ordering::Relaxed);
        let times = reader.join().map_err(|_| anyhow!("the thread that asks has panicked"))??;
        Ok((times, written?))
    })
}

fn lock(clusters: &[Mutex<Cluster>; 2], place: usize) -> Result<std::sync::MutexGuard<'_, Cluster>> {
    let cluster = clusters.get(place).context("a cluster")?;
    cluster.lock().map_err(|_| anyhow!("a writer has panicked"))
}

fn write(cluster: &mut Cluster, load: Load, every: Duration, end: Instant) -> Result<u64> {
    let (mut due, mut updates) = (Instant::now(), 0);
    while due < end && Instant::now() < end {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let headless = if load.large { Headless::LARGE } else { cluster.any() };
        let slice = cluster.changed(headless);
        cluster.take_in(&slice)?;
        updates += 1;
        due += every;
    }
    Ok(updates)
}

/// What an update costs, by the size of its Service.
fn costs(clusters: &[Mutex<Cluster>; 2]) -> Result<()> {
    let mut cluster = lock(clusters, 0)?;
    println!();
    println!(
        "{:<24} {:>9} {:>9} {:>9} {:>9} {:>13} {:>11}",
        "one slice changed, of", "decode", "index", "zone", "CPU", "allocations", "KiB"
    );
    for (number, endpoints) in [1, 100, 1000, 5000].into_iter().enumerate() {
        let headless = cluster.add(SIZE.headless + 100 + number * 100, endpoints)?;
        let updates = (200_000 / endpoints).clamp(100, 2000);
        let slices: Vec<String> = (0..updates).map(|_| cluster.changed(headless)).collect();
        let mut all: [Vec<u64>; 3] = Default::default();
        let before = thread::cpu()?;
        let mut failed = None;
        let allocated = allocation_counter::measure(|| {
            for slice in &slices {
                match cluster.take_in(slice) {
                    Ok(took) => {
                        all.iter_mut()
                            .zip([took.decode, took.index, took.zone])
                            .for_each(|(all, one)| all.push(one));
                    }
                    Err(error) => failed = Some(error),
                }
            }
        });
        if let Some(error) = failed {
            return Err(error);
        }
        let used = thread::cpu()? - before;
        let median = |all: &mut Vec<u64>| {
            all.sort_unstable();
            all.get(all.len() / 2).copied().unwrap_or_default() as f64 / 1000.0
        };
        let [decode, index, zone] = all.each_mut().map(median);
        println!(
            "{:<24} {decode:>9.1} {index:>9.1} {zone:>9.1} {:>9.1} {:>13.0} {:>11.1}",
            format!("{endpoints} endpoints"),
            used.as_secs_f64() * 1e6 / updates as f64,
            allocated.count_total as f64 / updates as f64,
            allocated.bytes_total as f64 / 1024.0 / updates as f64,
        );
    }
    Ok(())
}
