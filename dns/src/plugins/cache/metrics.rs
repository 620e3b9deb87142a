//! What is counted of caches (`coredns` `plugin/cache/metrics.go`).

use std::sync::Arc;

use arc_swap::ArcSwap;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::plugin::Meter;

/// The metrics of all caches.
pub(super) struct Metrics {
    entries: Family<OfSort, Gauge>,
    requests: Family<OfCache, Counter>,
    hits: Family<OfSort, Counter>,
    misses: Family<OfCache, Counter>,
    prefetches: Family<OfCache, Counter>,
    drops: Family<OfCache, Counter>,
    stale: Family<OfCache, Counter>,
    evictions: Family<OfSort, Counter>,
}

/// A cache of one block, on one listener.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCache {
    server: String,
    zones: String,
    view: String,
}

/// One of its halves.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSort {
    server: String,
    r#type: &'static str,
    zones: String,
    view: String,
}

/// The counters of one cache on one listener.
pub(super) struct Tally {
    server: Arc<str>,
    pub(super) requests: Counter,
    pub(super) misses: Counter,
    pub(super) prefetches: Counter,
    pub(super) stale: Counter,
    pub(super) success: HalfTally,
    pub(super) denial: HalfTally,
}

/// The counters of one half.
pub(super) struct HalfTally {
    pub(super) entries: Gauge,
    pub(super) hits: Counter,
    pub(super) evictions: Counter,
}

/// The counters of one cache, by listener.
pub(super) struct Tallies {
    metrics: Arc<Metrics>,
    zones: String,
    known: ArcSwap<Vec<Arc<Tally>>>,
}

impl Meter for Metrics {
    fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            entries: Family::default(),
            requests: Family::default(),
            hits: Family::default(),
            misses: Family::default(),
            prefetches: Family::default(),
            drops: Family::default(),
            stale: Family::default(),
            evictions: Family::default(),
        };
        registry.register("coredns_cache_entries", "Answers in caches", metrics.entries.clone());
        registry.register(
            "coredns_cache_requests",
            "Questions that caches were asked",
            metrics.requests.clone(),
        );
        registry.register("coredns_cache_hits", "Questions answered from caches", metrics.hits.clone());
        registry.register(
            "coredns_cache_misses",
            "Questions that caches did not know",
            metrics.misses.clone(),
        );
        registry.register(
            "coredns_cache_prefetch",
            "Answers got again before or after their time",
            metrics.prefetches.clone(),
        );
        registry.register(
            "coredns_cache_drops",
            "Replies not kept because they were to another question",
            metrics.drops.clone(),
        );
        registry.register(
            "coredns_cache_served_stale",
            "Questions answered with what was true once",
            metrics.stale.clone(),
        );
        registry.register(
            "coredns_cache_evictions",
            "Answers that had to make room",
            metrics.evictions.clone(),
        );
        metrics
    }
}

impl Tallies {
    /// Those of a cache of these zones.
    pub(super) fn new(metrics: Arc<Metrics>, zones: String) -> Self {
        Self { metrics, zones, known: ArcSwap::default() }
    }

    /// Those of a listener, if it asked before.
    pub(super) fn known(&self, server: &Arc<str>) -> Option<Arc<Tally>> {
        self.known.load().iter().find(|tally| is_same(&tally.server, server)).cloned()
    }

    /// Those of a listener.
    pub(super) fn of(&self, server: &Arc<str>, view: &str) -> Arc<Tally> {
        if let Some(tally) = self.known(server) {
            return tally;
        }
        let tally = Arc::new(self.metrics.tally(server, &self.zones, view));
        self.known.rcu(|known| {
            let mut known = known.to_vec();
            if !known.iter().any(|other| is_same(&other.server, server)) {
                known.push(Arc::clone(&tally));
            }
            known
        });
        tally
    }
}

/// Names of listeners are made once a configuration: usually it is the very same.
fn is_same(a: &Arc<str>, b: &Arc<str>) -> bool {
    Arc::ptr_eq(a, b) || a == b
}

impl Metrics {
    fn tally(&self, server: &Arc<str>, zones: &str, view: &str) -> Tally {
        let (server_text, zones, view) = (server.to_string(), zones.to_owned(), view.to_owned());
        let sort =
            |r#type| OfSort { server: server_text.clone(), r#type, zones: zones.clone(), view: view.clone() };
        let half = |kind| HalfTally {
            entries: self.entries.get_or_create_owned(&sort(kind)),
            hits: self.hits.get_or_create_owned(&sort(kind)),
            evictions: self.evictions.get_or_create_owned(&sort(kind)),
        };
        let (success, denial) = (half("success"), half("denial"));
        let cache = OfCache { server: server_text.clone(), zones: zones.clone(), view: view.clone() };
        // Replies come matched to their questions, so that none is dropped here.
        drop(self.drops.get_or_create(&cache));
        // A new cache has nothing.
        success.entries.set(0);
        denial.entries.set(0);
        Tally {
            server: Arc::clone(server),
            requests: self.requests.get_or_create_owned(&cache),
            misses: self.misses.get_or_create_owned(&cache),
            prefetches: self.prefetches.get_or_create_owned(&cache),
            stale: self.stale.get_or_create_owned(&cache),
            success,
            denial,
        }
    }
}
