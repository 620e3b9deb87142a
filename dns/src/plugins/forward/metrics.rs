//! What is counted of forwarding (`coredns` `plugin/forward/metrics.go`, `plugin/pkg/proxy/metrics.go`).

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use crate::plugin::Meter;

/// The metrics of all `forward` directives.
#[derive(Clone)]
pub(super) struct Metrics {
    pub(super) broken: Counter,
    pub(super) rejected: Counter,
    pub(super) durations: Family<Answered, Histogram, fn() -> Histogram>,
    pub(super) unhealthy: Family<To, Counter>,
    pub(super) kept: Family<Over, Counter>,
    pub(super) dialled: Family<Over, Counter>,
}

/// An upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct To {
    pub(super) proxy_name: &'static str,
    pub(super) to: String,
}

/// An upstream and what it answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Answered {
    pub(super) proxy_name: &'static str,
    pub(super) to: String,
    pub(super) rcode: String,
}

/// An upstream and how it is spoken to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Over {
    pub(super) proxy_name: &'static str,
    pub(super) to: String,
    pub(super) proto: &'static str,
}

impl Meter for Metrics {
    fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            broken: Counter::default(),
            rejected: Counter::default(),
            durations: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.000_25, 2.0, 16))
            }),
            unhealthy: Family::default(),
            kept: Family::default(),
            dialled: Family::default(),
        };
        registry.register(
            "coredns_forward_healthcheck_broken",
            "Questions for which every upstream was down",
            metrics.broken.clone(),
        );
        registry.register(
            "coredns_forward_max_concurrent_rejects",
            "Questions refused because too many were under way",
            metrics.rejected.clone(),
        );
        registry.register(
            "coredns_proxy_request_duration_seconds",
            "How long upstreams took to answer",
            metrics.durations.clone(),
        );
        registry.register(
            "coredns_proxy_healthcheck_failures",
            "Health checks of upstreams that failed",
            metrics.unhealthy.clone(),
        );
        registry.register(
            "coredns_proxy_conn_cache_hits",
            "Questions asked over a connection that was there",
            metrics.kept.clone(),
        );
        registry.register(
            "coredns_proxy_conn_cache_misses",
            "Questions asked over a new connection or socket",
            metrics.dialled.clone(),
        );
        metrics
    }
}
