//! What answering threads could read a Service's names from, measured.
//!
//! ```text
//! cargo bench --bench reads [-- SECONDS]
//! ```
//!
//! 10,000 names, looked up by one thread and by two: by popularity (Zipf's law), all alike, and names that are not there.
//! Quiet, and while a writer replaces values a hundred times a second and as fast as it can. The figures are nanoseconds a
//! look-up: the median of small pieces, of two threads only of those during which both ran, and of the rounds'
//! medians the median. What else the machine does is not in them. `write` is the CPU that it costs to replace a value, `bytes` what an entry
//! takes besides name and value, `own` what each thread has for itself, in KiB.

mod tables;

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use compact_str::{CompactString as Text, format_compact};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    time::{ClockId, clock_gettime},
    unistd::Pid,
};
use tables::{Cached, Cloned, Guarded, HashedOnce, LockFree, Snapshots, Table, Value};

const NAMES: usize = 10_000;
const ROUNDS: usize = 5;
/// How many look-ups are prepared.
const ORDER: usize = 1 << 16;
/// How many are timed together, and after how many a thread says how far it is.
const PIECE: usize = 256;
const STEP: usize = 32;
/// Longer a piece only takes when its thread did not run all the time.
const LONGEST: u64 = PIECE as u64 * 500;

/// Which names are looked up.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Zipf,
    Uniform,
    Absent,
}

/// What happens meanwhile.
#[derive(Clone, Copy, Debug)]
enum Churn {
    Quiet,
    Slow,
    Fast,
}

/// A column of the table.
const COLUMNS: [(&str, usize, Asked, Churn); 9] = [
    ("zipf", 1, Asked::Zipf, Churn::Quiet),
    ("all", 1, Asked::Uniform, Churn::Quiet),
    ("absent", 1, Asked::Absent, Churn::Quiet),
    ("zipf", 2, Asked::Zipf, Churn::Quiet),
    ("all", 2, Asked::Uniform, Churn::Quiet),
    ("absent", 2, Asked::Absent, Churn::Quiet),
    ("zipf 100/s", 2, Asked::Zipf, Churn::Slow),
    ("zipf fast", 1, Asked::Zipf, Churn::Fast),
    ("zipf fast", 2, Asked::Zipf, Churn::Fast),
];

struct Row {
    name: &'static str,
    /// Of each column.
    reads: [f64; COLUMNS.len()],
    write: f64,
    bytes: f64,
    own: f64,
}

fn main() -> Result<()> {
    let seconds: f64 = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(0.3);
    let length = Duration::from_secs_f64(seconds);
    let names: Vec<Text> = (0..NAMES).map(|n| format_compact!("web-{n}.namespace-{}", n % 100)).collect();
    let mut rounds: Vec<Vec<Row>> = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push(vec![
            row::<Cloned<0>>("dashmap, value shared", &names, length)?,
            row::<Cloned<1024>>("dashmap of 1024 shards, value shared", &names, length)?,
            row::<Guarded<0>>("dashmap, under its lock", &names, length)?,
            row::<Guarded<1024>>("dashmap of 1024 shards, under its lock", &names, length)?,
            row::<LockFree>("papaya", &names, length)?,
            row::<Snapshots<256>>("256 snapshots", &names, length)?,
            row::<Snapshots<1024>>("1024 snapshots", &names, length)?,
            row::<Snapshots<4096>>("4096 snapshots", &names, length)?,
            row::<HashedOnce<256, false>>("256 snapshots, hashed once", &names, length)?,
            row::<HashedOnce<1024, false>>("1024 snapshots, hashed once", &names, length)?,
            row::<HashedOnce<1024, true>>("1024 snapshots, hashed once, shared", &names, length)?,
            row::<Cached<1024>>("dashmap, own cache of 1024", &names, length)?,
            row::<Cached<8192>>("dashmap, own cache of 8192", &names, length)?,
        ]);
    }
    print!("{:<40}", "threads");
    COLUMNS.iter().for_each(|(_, threads, ..)| print!(" {threads:>10}"));
    println!();
    print!("{:<40}", "");
    COLUMNS.iter().for_each(|(name, ..)| print!(" {name:>10}"));
    println!(" {:>8} {:>7} {:>7}", "write", "bytes", "own");
    for (at, first) in rounds.first().into_iter().flatten().enumerate() {
        let median = |of: &dyn Fn(&Row) -> f64| {
            let mut all: Vec<f64> = rounds.iter().filter_map(|round| round.get(at)).map(of).collect();
            all.sort_unstable_by(f64::total_cmp);
            all.get(all.len() / 2).copied().unwrap_or_default()
        };
        print!("{:<40}", first.name);
        for column in 0..COLUMNS.len() {
            print!(" {:>10.1}", median(&|row| row.reads.get(column).copied().unwrap_or_default()));
        }
        println!(" {:>8.0} {:>7.0} {:>7.0}", median(&|row| row.write), first.bytes, first.own);
    }
    Ok(())
}

fn row<T: Table>(name: &'static str, names: &[Text], length: Duration) -> Result<Row> {
    let values: Vec<Arc<Value>> = (0..names.len()).map(|n| Value::new(n as u64)).collect();
    let mut made = None;
    let allocated = allocation_counter::measure(|| {
        let table = T::new();
        names.iter().zip(values).for_each(|(name, value)| table.insert(name, value));
        made = Some(table);
    });
    let table = made.context("a table")?;
    let mut local = None;
    let own = allocation_counter::measure(|| local = Some(table.local()));
    drop(local);
    let mut reads = [0.0; COLUMNS.len()];
    for (read, (_, threads, asked, churn)) in reads.iter_mut().zip(COLUMNS) {
        *read = measure(&table, names, threads, asked, churn, length)?;
    }
    let before = cpu()?;
    let writes = NAMES * 5;
    for n in 0..writes {
        let name = names.get(n * 7919 % NAMES).context("a name")?;
        table.insert(name, Value::new(n as u64));
    }
    let write = (cpu()? - before).as_nanos() as f64 / writes as f64;
    // A name of this length is in the entry itself.
    let entry = (size_of::<Text>() + size_of::<Arc<Value>>()) as f64;
    let bytes = allocated.bytes_current as f64 / NAMES as f64 - entry;
    Ok(Row { name, reads, write, bytes, own: own.bytes_current as f64 / 1024.0 })
}

/// Nanoseconds a look-up: the median of what many small pieces took.
fn measure<T: Table>(
    table: &T,
    names: &[Text],
    threads: usize,
    asked: Asked,
    churn: Churn,
    length: Duration,
) -> Result<f64> {
    let stop = AtomicBool::new(false);
    let progress: Vec<Progress> = (0..threads).map(|_| Progress::default()).collect();
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..threads)
            .map(|thread| {
                let order = order(names, asked, thread as u64);
                let (stop, progress) = (&stop, &progress);
                scope.spawn(move || read(table, &order, progress, thread, stop))
            })
            .collect();
        // Two do not run together all the time.
        let end = Instant::now() + length * u32::try_from(threads * threads)?;
        match churn {
            Churn::Quiet => std::thread::sleep(end - Instant::now()),
            Churn::Slow | Churn::Fast => {
                for n in 0_usize.. {
                    if Instant::now() >= end {
                        break;
                    }
                    // One of eight is among the most popular.
                    let at = if n.is_multiple_of(8) { n / 8 % 16 } else { n * 7919 % NAMES };
                    table.insert(names.get(at).context("a name")?, Value::new(n as u64));
                    if matches!(churn, Churn::Slow) {
                        std::thread::sleep(Duration::from_millis(10));
                    }
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for reader in readers {
            all.extend(reader.join().map_err(|_| anyhow!("a reader has panicked"))?);
        }
        all.sort_unstable();
        let median = all.get(all.len() / 2).copied().unwrap_or_default();
        Ok(median as f64 / PIECE as f64)
    })
}

/// How long each piece took, nanoseconds; with several threads only of those during which another one ran as well.
fn read<T: Table>(
    table: &T,
    order: &[Text],
    progress: &[Progress],
    thread: usize,
    stop: &AtomicBool,
) -> Vec<u64> {
    let others = || -> u64 {
        let others = progress.iter().enumerate().filter(|(at, _)| *at != thread);
        others.map(|(_, other)| other.0.load(Ordering::Relaxed)).sum()
    };
    // Each on its own core; where that is not allowed, wherever the system puts it.
    let mut core = CpuSet::new();
    let _ = core.set(thread).and_then(|()| sched_setaffinity(Pid::from_raw(0), &core));
    let mut local = table.local();
    for name in order {
        black_box(table.get(&mut local, name));
    }
    let mut times = Vec::new();
    for piece in order.chunks(PIECE).cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let (before, began) = (others(), Instant::now());
        for step in piece.chunks(STEP) {
            for name in step {
                black_box(table.get(&mut local, black_box(name)));
            }
            if let Some(own) = progress.get(thread) {
                own.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let took = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let together = progress.len() == 1 || others() - before >= (PIECE / STEP / 2) as u64;
        if together && took < LONGEST {
            times.push(took);
        }
    }
    times
}

/// How far a thread has come, alone in its cache line.
#[derive(Default)]
#[repr(align(128))]
struct Progress(AtomicU64);

fn order(names: &[Text], asked: Asked, seed: u64) -> Vec<Text> {
    let mut random = fastrand::Rng::with_seed(seed + 3);
    // Where each name's share of the look-ups ends.
    let ends: Vec<f64> = (1..=NAMES)
        .scan(0.0, |sum, rank| {
            *sum += 1.0 / rank as f64;
            Some(*sum)
        })
        .collect();
    let total = ends.last().copied().unwrap_or_default();
    (0..ORDER)
        .map(|_| match asked {
            Asked::Zipf => {
                let point = random.f64() * total;
                names.get(ends.partition_point(|end| *end < point)).cloned().unwrap_or_default()
            }
            Asked::Uniform => names.get(random.usize(0..NAMES)).cloned().unwrap_or_default(),
            Asked::Absent => format_compact!("example.com{}", random.u32(..)),
        })
        .collect()
}

/// The CPU time of this thread so far.
fn cpu() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}
