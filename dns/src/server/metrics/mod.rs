//! Counters of what was asked and answered, under the names and labels of CoreDNS.
//!
//! They are arrays of atomics, one set for each answering thread, and become metrics when somebody scrapes them: counting a
//! question is a handful of additions to memory that no other core writes ([`place`]). A set is made when the first question is counted
//! in it: an address range as a block's key is hundreds of zones, most of which are never asked for.

mod encode;
mod labels;
mod place;
mod tcp;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use hickory_proto::{op::ResponseCode, rr::RecordType};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;

pub(super) use self::place::Place;
pub(super) use self::tcp::TcpMetrics;
use self::{
    labels::{DURATIONS, RCODES, SIZES, STATUSES, TYPES, duration_bucket, size_bucket, type_index},
    place::{Counting, SHARDS},
};
use super::Peer;
use crate::{
    answer::{Asked, Request, Transport},
    block::Block,
};

/// The counters of one block under one zone, on one listener. Share them in an [`Arc`].
pub struct Metrics {
    server: Arc<str>,
    zone: Arc<str>,
    view: Arc<str>,
    shards: [OnceLock<Box<Shard>>; SHARDS],
}

/// All counters of a process, by server, zone and view. They outlive configurations.
#[derive(Debug, Default)]
pub struct Tallies {
    all: Mutex<BTreeMap<Labels, Arc<Metrics>>>,
    https: Mutex<BTreeMap<Arc<str>, Arc<HttpsMetrics>>>,
    panics: AtomicU64,
    dropped: AtomicU64,
    tcp: Arc<TcpMetrics>,
    enabled: Mutex<Vec<Enabled>>,
}

type Labels = (Arc<str>, Arc<str>, Arc<str>);

/// A plugin in the chain of a block that is served.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Enabled {
    labels: Labels,
    plugin: &'static str,
}

/// HTTP's answers of one listener.
#[derive(Debug)]
pub(super) struct HttpsMetrics {
    responses: [AtomicU64; STATUSES.len()],
}

/// What is counted of a request.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    pub(super) from: Peer,
    pub(super) started: Instant,
    /// Its length, bytes.
    size: usize,
    /// The type asked for, where a question could be read.
    qtype: Option<RecordType>,
    dnssec_ok: bool,
}

impl Seen {
    pub(super) fn of_asked(asked: &Asked<'_>, from: Peer, started: Instant) -> Self {
        let dnssec_ok = asked.edns.is_some_and(|edns| edns.dnssec_ok);
        Self { from, started, size: asked.size(), qtype: Some(asked.qtype), dnssec_ok }
    }

    pub(super) fn of_request(request: &Request, from: Peer, started: Instant, size: usize) -> Self {
        let qtype = request.has_question.then_some(request.question.qtype);
        let dnssec_ok = request.edns.is_some_and(|edns| edns.dnssec_ok);
        Self { from, started, size, qtype, dnssec_ok }
    }
}

/// The most plugins whose answers are told apart under one zone.
const PLUGINS: usize = 32;

/// The counters of one thread, away from those of others.
#[repr(align(128))]
struct Shard {
    requests: [[[AtomicU64; TYPES.len()]; 2]; 2],
    dnssec_ok: AtomicU64,
    responses: [OnceLock<Box<Responses>>; PLUGINS],
    duration: Histogram<{ DURATIONS + 1 }>,
    request_size: [Histogram<{ SIZES.len() + 1 }>; 2],
    response_size: [Histogram<{ SIZES.len() + 1 }>; 2],
}

/// The answers of one plugin.
struct Responses {
    plugin: &'static str,
    rcodes: [AtomicU64; RCODES.len()],
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
            Arc::new(Metrics {
                server: Arc::clone(server),
                zone: Arc::clone(zone),
                view: Arc::clone(view),
                shards: [const { OnceLock::new() }; SHARDS],
            })
        });
        Arc::clone(metrics)
    }

    /// The counters of HTTP's answers of one server.
    pub(super) fn https(&self, server: &Arc<str>) -> Arc<HttpsMetrics> {
        let mut https = self.https.lock();
        Arc::clone(https.entry(Arc::clone(server)).or_default())
    }

    /// The counters of connections.
    pub(super) fn tcp(&self) -> Arc<TcpMetrics> {
        Arc::clone(&self.tcp)
    }

    /// Says which plugins are in the chains that are served: server, zone, and block.
    pub(super) fn enable<'a>(&self, served: impl Iterator<Item = (Arc<str>, Arc<str>, &'a Block)>) {
        let mut enabled = Vec::new();
        for (server, zone, block) in served.filter(|(.., block)| block.counted) {
            let view: Arc<str> = block.view.as_ref().map_or("", |view| view.name()).into();
            for plugin in block.plugins.iter().map(|plugin| plugin.name()).chain(["prometheus"]) {
                let labels = (Arc::clone(&server), Arc::clone(&zone), Arc::clone(&view));
                enabled.push(Enabled { labels, plugin });
            }
        }
        enabled.sort_unstable();
        enabled.dedup();
        *self.enabled.lock() = enabled;
    }

    /// Registers them.
    pub fn register(self: &Arc<Self>, registry: &mut Registry) {
        registry.register_collector(Box::new(Arc::clone(self)));
    }

    /// Counts a panic.
    pub fn panicked(&self) {
        add_one(&self.panics);
    }

    /// Counts a question that was dropped because too many were being answered.
    pub(super) fn dropped(&self) {
        add_one(&self.dropped);
    }
}

impl Metrics {
    /// Counts a request and its answer: whose it is, its code, and its length in bytes.
    pub(super) fn answered(&self, seen: &Seen, plugin: &'static str, rcode: ResponseCode, length: usize) {
        let counting = Counting::here();
        let Some(shard) = self.shards.get(counting.shard) else { return };
        let shard = shard.get_or_init(|| Box::new(Shard::new()));
        let protocol = usize::from(seen.from.transport == Transport::Tcp);
        let family = usize::from(!seen.from.address.ip().to_canonical().is_ipv4());
        let kind = seen.qtype.map_or(0, type_index);
        let requests = shard.requests.get(protocol).and_then(|r| r.get(family)).and_then(|r| r.get(kind));
        if let Some(requests) = requests {
            counting.add_one(requests);
        }
        shard.response(counting, plugin, rcode);
        if seen.dnssec_ok {
            counting.add_one(&shard.dnssec_ok);
        }
        let elapsed = u64::try_from(seen.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        shard.duration.add(counting, duration_bucket(elapsed), elapsed);
        if let Some(sizes) = shard.request_size.get(protocol) {
            sizes.add(counting, size_bucket(seen.size), seen.size as u64);
        }
        if let Some(sizes) = shard.response_size.get(protocol) {
            sizes.add(counting, size_bucket(length), length as u64);
        }
    }
}

impl Shard {
    fn new() -> Self {
        Self {
            requests: std::array::from_fn(|_| std::array::from_fn(|_| zeros())),
            dnssec_ok: AtomicU64::new(0),
            responses: [const { OnceLock::new() }; PLUGINS],
            duration: Histogram::new(),
            request_size: [Histogram::new(), Histogram::new()],
            response_size: [Histogram::new(), Histogram::new()],
        }
    }

    /// Plugins take places in the order of their first answers, so that the busiest is found at once, by the address of
    /// its name. A name at two addresses has two places; they are added up when they are shown.
    fn response(&self, counting: Counting, plugin: &'static str, rcode: ResponseCode) {
        let at = usize::from(u16::from(rcode));
        for place in &self.responses {
            let responses = place.get_or_init(|| Box::new(Responses { plugin, rcodes: zeros() }));
            if std::ptr::eq(responses.plugin, plugin) {
                if let Some(rcode) = responses.rcodes.get(at) {
                    counting.add_one(rcode);
                }
                return;
            }
        }
    }
}

impl HttpsMetrics {
    /// Counts an answer with this code.
    pub(super) fn responded(&self, status: u16) {
        let at = STATUSES.iter().position(|known| *known == status);
        at.and_then(|at| self.responses.get(at)).map(add_one);
    }
}

impl Default for HttpsMetrics {
    fn default() -> Self {
        Self { responses: zeros() }
    }
}

impl<const BUCKETS: usize> Histogram<BUCKETS> {
    fn new() -> Self {
        Self { buckets: zeros(), sum: AtomicU64::new(0) }
    }

    fn add(&self, counting: Counting, bucket: usize, value: u64) {
        if let Some(bucket) = self.buckets.get(bucket) {
            counting.add_one(bucket);
        }
        counting.add(&self.sum, value);
    }
}

fn zeros<const N: usize>() -> [AtomicU64; N] {
    [const { AtomicU64::new(0) }; N]
}

fn add_one(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("server", &self.server).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
