//! Counters of what was asked and answered, under the names and labels of CoreDNS.
//!
//! They are arrays of atomics, one set for each receiving task, and become metrics when somebody scrapes them: counting a
//! question is a handful of additions to memory that no other core writes.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use hickory_proto::rr::RecordType;
use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder},
    metrics::{MetricType, counter::ConstCounter, exemplar::Exemplar},
    registry::Registry,
};

use super::Peer;
use crate::answer::Transport;

/// The counters of one block under one zone, on one listener. Share them in an [`Arc`].
pub struct Metrics {
    server: Arc<str>,
    zone: Arc<str>,
    view: Arc<str>,
    shards: Box<[Shard]>,
}

/// All counters of a process, by server, zone and view. They outlive configurations.
#[derive(Debug, Default)]
pub struct Tallies {
    all: Mutex<BTreeMap<Labels, Arc<Metrics>>>,
    panics: AtomicU64,
}

type Labels = (Arc<str>, Arc<str>, Arc<str>);

/// A request, when its answer is counted.
pub(super) struct Seen {
    pub(super) from: Peer,
    pub(super) started: Instant,
    pub(super) request: usize,
}

/// Enough that tasks seldom share one.
const SHARDS: usize = 16;
const PROTOCOLS: [&str; 2] = ["udp", "tcp"];
const FAMILIES: [&str; 2] = ["1", "2"];
/// Types that are counted by their own name.
const TYPES: [&str; 20] = [
    "other", "A", "AAAA", "SRV", "PTR", "CNAME", "TXT", "NS", "SOA", "MX", "DNSKEY", "DS", "HTTPS", "SVCB",
    "NSEC", "NSEC3", "RRSIG", "AXFR", "IXFR", "ANY",
];
const RCODES: [&str; 16] = [
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET",
    "NOTAUTH", "NOTZONE", "RCODE11", "RCODE12", "RCODE13", "RCODE14", "RCODE15",
];
const SIZES: [f64; 14] =
    [0.0, 100.0, 200.0, 300.0, 400.0, 511.0, 1023.0, 2047.0, 4095.0, 8291.0, 16e3, 32e3, 48e3, 64e3];
const DURATIONS: usize = 16;

/// The counters of one task, away from those of others.
#[repr(align(128))]
struct Shard {
    requests: [[[AtomicU64; TYPES.len()]; 2]; 2],
    dnssec_ok: AtomicU64,
    responses: [AtomicU64; RCODES.len()],
    duration: Histogram<{ DURATIONS + 1 }>,
    request_size: [Histogram<{ SIZES.len() + 1 }>; 2],
    response_size: [Histogram<{ SIZES.len() + 1 }>; 2],
}

struct Histogram<const BUCKETS: usize> {
    buckets: [AtomicU64; BUCKETS],
    /// Of bytes, or of nanoseconds.
    sum: AtomicU64,
}

impl Tallies {
    /// The counters of one server, zone and view.
    pub fn of(&self, server: &Arc<str>, zone: &Arc<str>, view: &Arc<str>) -> Arc<Metrics> {
        let labels = (Arc::clone(server), Arc::clone(zone), Arc::clone(view));
        let mut all = self.all.lock();
        let metrics = all.entry(labels).or_insert_with_key(|(server, zone, view)| {
            let shards = (0..SHARDS).map(|_| Shard::new()).collect();
            Arc::new(Metrics {
                server: Arc::clone(server),
                zone: Arc::clone(zone),
                view: Arc::clone(view),
                shards,
            })
        });
        Arc::clone(metrics)
    }

    /// Registers them.
    pub fn register(self: &Arc<Self>, registry: &mut Registry) {
        registry.register_collector(Box::new(Arc::clone(self)));
    }

    /// Counts a panic.
    pub fn panicked(&self) {
        add_one(&self.panics);
    }
}

impl Metrics {
    fn labels(&self) -> [(&str, &str); 3] {
        [("server", &*self.server), ("zone", &*self.zone), ("view", &*self.view)]
    }

    pub(super) fn answered(&self, seen: &Seen, qtype: Option<RecordType>, reply: &[u8]) {
        let Some(shard) = self.shards.get(seen.from.worker % SHARDS) else { return };
        let protocol = usize::from(seen.from.transport == Transport::Tcp);
        let family = usize::from(seen.from.address.is_ipv6());
        let kind = qtype.map_or(0, type_index);
        let requests = shard.requests.get(protocol).and_then(|r| r.get(family)).and_then(|r| r.get(kind));
        requests.map(add_one);
        let rcode = reply.get(3).map_or(0, |flags| usize::from(flags & 0xf));
        shard.responses.get(rcode).map(add_one);
        if has_dnssec_ok(reply) {
            add_one(&shard.dnssec_ok);
        }
        let elapsed = u64::try_from(seen.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        shard.duration.add(duration_bucket(elapsed), elapsed);
        if let Some(sizes) = shard.request_size.get(protocol) {
            sizes.add(size_bucket(seen.request), seen.request as u64);
        }
        if let Some(sizes) = shard.response_size.get(protocol) {
            sizes.add(size_bucket(reply.len()), reply.len() as u64);
        }
    }

    fn sum(&self, of: impl Fn(&Shard) -> Option<&AtomicU64>) -> u64 {
        self.shards.iter().filter_map(of).map(|counter| counter.load(Ordering::Relaxed)).sum()
    }

    fn histogram<const N: usize>(&self, of: impl Fn(&Shard) -> Option<&Histogram<N>>) -> ([u64; N], u64) {
        let mut buckets = [0; N];
        let mut sum = 0_u64;
        for histogram in self.shards.iter().filter_map(of) {
            for (total, bucket) in buckets.iter_mut().zip(&histogram.buckets) {
                *total += bucket.load(Ordering::Relaxed);
            }
            sum = sum.wrapping_add(histogram.sum.load(Ordering::Relaxed));
        }
        (buckets, sum)
    }
}

impl Shard {
    fn new() -> Self {
        Self {
            requests: std::array::from_fn(|_| std::array::from_fn(|_| zeros())),
            dnssec_ok: AtomicU64::new(0),
            responses: zeros(),
            duration: Histogram::new(),
            request_size: [Histogram::new(), Histogram::new()],
            response_size: [Histogram::new(), Histogram::new()],
        }
    }
}

impl<const BUCKETS: usize> Histogram<BUCKETS> {
    fn new() -> Self {
        Self { buckets: zeros(), sum: AtomicU64::new(0) }
    }

    fn add(&self, bucket: usize, value: u64) {
        self.buckets.get(bucket).map(add_one);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }
}

fn zeros<const N: usize>() -> [AtomicU64; N] {
    std::array::from_fn(|_| AtomicU64::new(0))
}

fn add_one(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// The upper bound of a bucket: a quarter of a millisecond, doubled each time.
fn duration_bound(bucket: usize) -> f64 {
    0.000_25 * f64::from(1_u32 << bucket.min(31))
}

fn duration_bucket(nanos: u64) -> usize {
    let quarters = nanos.div_ceil(250_000).max(1);
    (u64::BITS - (quarters - 1).leading_zeros()).min(DURATIONS as u32) as usize
}

fn size_bucket(size: usize) -> usize {
    SIZES.iter().position(|bound| size as f64 <= *bound).unwrap_or(SIZES.len())
}

fn type_index(qtype: RecordType) -> usize {
    let name: &str = qtype.into();
    TYPES.iter().skip(1).position(|known| *known == name).map_or(0, |at| at + 1)
}

/// The DO bit of an answer, which repeats the request's: our OPT is the last record.
fn has_dnssec_ok(reply: &[u8]) -> bool {
    match reply {
        [.., 0, 0, 41, _, _, _, _, flags, _, 0, 0] => flags & 0x80 != 0,
        _ => false,
    }
}

impl Collector for Tallies {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let all: Vec<Arc<Metrics>> = self.all.lock().values().cloned().collect();
        let counter = MetricType::Counter;
        let help = "Counter of DNS requests made per zone, protocol and family.";
        let mut requests = encoder.encode_descriptor("coredns_dns_requests", help, None, counter)?;
        for metrics in &all {
            for (p, protocol) in PROTOCOLS.iter().enumerate() {
                for (f, family) in FAMILIES.iter().enumerate() {
                    for (t, kind) in TYPES.iter().enumerate() {
                        let count = metrics.sum(|shard| shard.requests.get(p)?.get(f)?.get(t));
                        let more = [("proto", *protocol), ("family", *family), ("type", *kind)];
                        encode_counter(&mut requests, &metrics.labels(), &more, count)?;
                    }
                }
            }
        }
        let help = "Counter of response status codes.";
        let mut responses = encoder.encode_descriptor("coredns_dns_responses", help, None, counter)?;
        for metrics in &all {
            for (at, rcode) in RCODES.iter().enumerate() {
                let count = metrics.sum(|shard| shard.responses.get(at));
                let more = [("rcode", *rcode), ("plugin", "")];
                encode_counter(&mut responses, &metrics.labels(), &more, count)?;
            }
        }
        let help = "Counter of DNS requests with DO bit set per zone.";
        let mut dnssec_ok = encoder.encode_descriptor("coredns_dns_do_requests", help, None, counter)?;
        for metrics in &all {
            let count = metrics.sum(|shard| Some(&shard.dnssec_ok));
            encode_counter(&mut dnssec_ok, &metrics.labels(), &[], count)?;
        }
        let name = "coredns_dns_request_duration_seconds";
        let help = "Histogram of the time (in seconds) each request took per zone.";
        let mut duration = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for metrics in &all {
            let (buckets, nanos) = metrics.histogram(|shard| Some(&shard.duration));
            let sum = nanos as f64 / 1e9;
            encode_histogram(&mut duration, &metrics.labels(), &[], &buckets, duration_bound, sum)?;
        }
        encode_sizes(&mut encoder, &all, "request", |shard| &shard.request_size)?;
        encode_sizes(&mut encoder, &all, "response", |shard| &shard.response_size)?;
        let help = "A metrics that counts the number of panics.";
        let panics = encoder.encode_descriptor("coredns_panics", help, None, counter)?;
        ConstCounter::new(self.panics.load(Ordering::Relaxed)).encode(panics)
    }
}

fn encode_sizes(
    encoder: &mut DescriptorEncoder<'_>,
    all: &[Arc<Metrics>],
    of: &str,
    sizes: impl Fn(&Shard) -> &[Histogram<{ SIZES.len() + 1 }>; 2],
) -> Result<(), fmt::Error> {
    let name = format!("coredns_dns_{of}_size_bytes");
    let help = format!("Size of the {of} in bytes, per zone and protocol.");
    let mut family = encoder.encode_descriptor(&name, &help, None, MetricType::Histogram)?;
    for metrics in all {
        for (at, protocol) in PROTOCOLS.iter().enumerate() {
            let (buckets, sum) = metrics.histogram(|shard| sizes(shard).get(at));
            let bound = |bucket: usize| SIZES.get(bucket).copied().unwrap_or(f64::INFINITY);
            encode_histogram(
                &mut family,
                &metrics.labels(),
                &[("proto", *protocol)],
                &buckets,
                bound,
                sum as f64,
            )?;
        }
    }
    Ok(())
}

/// Counters that never counted are left out: most types are never asked for.
fn encode_counter(
    family: &mut MetricEncoder<'_>,
    block: &[(&str, &str)],
    more: &[(&str, &str)],
    count: u64,
) -> Result<(), fmt::Error> {
    if count == 0 {
        return Ok(());
    }
    let labels = [block, more].concat();
    let labels = labels.as_slice();
    family.encode_family(&labels)?.encode_counter(&count, None::<&Exemplar<[(&str, &str); 0], u64>>)
}

fn encode_histogram(
    family: &mut MetricEncoder<'_>,
    block: &[(&str, &str)],
    more: &[(&str, &str)],
    buckets: &[u64],
    bound: impl Fn(usize) -> f64,
    sum: f64,
) -> Result<(), fmt::Error> {
    let count = buckets.iter().sum();
    if count == 0 {
        return Ok(());
    }
    let last = buckets.len() - 1;
    let bounds = (0..).map(|at| if at == last { f64::INFINITY } else { bound(at) });
    let buckets: Vec<(f64, u64)> = bounds.zip(buckets.iter().copied()).collect();
    let labels = [block, more].concat();
    let labels = labels.as_slice();
    family.encode_family(&labels)?.encode_histogram::<[(&str, &str); 0]>(sum, count, &buckets, None)
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("server", &self.server).finish_non_exhaustive()
    }
}
