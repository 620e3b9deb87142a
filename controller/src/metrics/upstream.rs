//! The metrics of upstream's two slice controllers, by their names, labels, types and buckets (Kubernetes
//! `staging/src/k8s.io/endpointslice/metrics`, `pkg/controller/endpointslicemirroring/metrics`).
//!
//! Slices of a selector count in one family, mirrored ones in the other, as a Service's plan says.

use prometheus_client::{
    metrics::{
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use super::{
    Plain,
    labels::{DistributionLabel, OperationLabel, ResultLabel, TrafficLabels, distribution},
    signed,
};
use crate::plan::Tally;

/// `endpoint_slice_controller_*`
#[derive(Clone, Debug)]
pub(super) struct Slices {
    common: Common,
    pub(super) syncs: Family<ResultLabel, Plain>,
    changed: Family<TrafficLabels, Histogram>,
    services: Family<DistributionLabel, Gauge>,
}

/// `endpoint_slice_mirroring_controller_*`
#[derive(Clone, Debug)]
pub(super) struct Mirroring {
    common: Common,
    updated: Histogram,
    skipped: Histogram,
    duration: Histogram,
}

/// What both have.
#[derive(Clone, Debug)]
struct Common {
    changes: Family<OperationLabel, Plain>,
    added: Histogram,
    removed: Histogram,
    endpoints: Gauge,
    objects: Gauge,
    objects_at_best: Gauge,
}

/// Both families.
#[derive(Clone, Debug)]
pub(super) struct Upstream {
    pub(super) slices: Slices,
    mirroring: Mirroring,
}

/// Buckets of counts.
fn counts() -> Histogram {
    Histogram::new(exponential_buckets(2.0, 2.0, 15))
}

/// The buckets of a histogram that names none.
fn unnamed() -> Histogram {
    Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0])
}

impl Upstream {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let slices = registry.sub_registry_with_prefix("endpoint_slice_controller");
        let slices = Slices {
            common: Common::register(slices, "Service"),
            syncs: registered(slices, "syncs", "Number of EndpointSlice syncs", Family::default()),
            changed: registered(
                slices,
                "endpointslices_changed_per_sync",
                "Number of EndpointSlices changed on each Service sync",
                Family::new_with_constructor(unnamed as fn() -> Histogram),
            ),
            services: registered(
                slices,
                "services_count_by_traffic_distribution",
                "Number of Services using some specific trafficDistribution",
                Family::default(),
            ),
        };
        let mirroring = registry.sub_registry_with_prefix("endpoint_slice_mirroring_controller");
        let mirroring = Mirroring {
            common: Common::register(mirroring, "Endpoints"),
            updated: registered(
                mirroring,
                "endpoints_updated_per_sync",
                "Number of endpoints updated on each Endpoints sync",
                counts(),
            ),
            skipped: registered(
                mirroring,
                "addresses_skipped_per_sync",
                "Number of addresses skipped on each Endpoints sync due to being invalid or exceeding MaxEndpointsPerSubset",
                counts(),
            ),
            duration: registered(
                mirroring,
                "endpoints_sync_duration",
                "Duration of syncEndpoints() in seconds",
                Histogram::new(exponential_buckets(0.001, 2.0, 15)),
            ),
        };
        Self { slices, mirroring }
    }

    /// A slice was written.
    pub(super) fn wrote(&self, mirrored: bool, operation: &'static str) {
        self.common(mirrored).changes.get_or_create(&OperationLabel { operation }).inc();
    }

    /// A sync has ended well, with so many writes, in so many seconds.
    pub(super) fn synced(&self, tally: &Tally, writes: usize, seconds: f64) {
        // Counts are far below 2^52.
        let common = self.common(tally.mirrored);
        common.added.observe(tally.added as f64);
        common.removed.observe(tally.removed as f64);
        if tally.mirrored {
            self.mirroring.updated.observe(tally.updated as f64);
            self.mirroring.skipped.observe(tally.skipped as f64);
            self.mirroring.duration.observe(seconds);
        } else {
            self.slices.changed.get_or_create(&TrafficLabels::of(tally)).observe(writes as f64);
        }
    }

    /// Replaces what one Service contributed to the sums.
    pub(super) fn recount(&self, old: Tally, new: Tally) {
        for (tally, sign) in [(old, -1), (new, 1)] {
            let common = self.common(tally.mirrored);
            common.endpoints.inc_by(sign * signed(tally.endpoints));
            common.objects.inc_by(sign * signed(tally.objects));
            common.objects_at_best.inc_by(sign * signed(tally.objects_at_best));
        }
        if old.distribution != new.distribution {
            for (tally, sign) in [(old, -1), (new, 1)] {
                if let Some(traffic_distribution) = tally.distribution.map(distribution) {
                    let services =
                        self.slices.services.get_or_create(&DistributionLabel { traffic_distribution });
                    services.inc_by(sign);
                }
            }
        }
    }

    pub(super) fn forget_sums(&self) {
        for common in [&self.slices.common, &self.mirroring.common] {
            for gauge in [&common.endpoints, &common.objects, &common.objects_at_best] {
                gauge.set(0);
            }
        }
        self.slices.services.clear();
    }

    fn common(&self, mirrored: bool) -> &Common {
        if mirrored { &self.mirroring.common } else { &self.slices.common }
    }
}

impl Common {
    fn register(registry: &mut Registry, of: &str) -> Self {
        Self {
            changes: registered(registry, "changes", "Number of EndpointSlice changes", Family::default()),
            added: registered(
                registry,
                "endpoints_added_per_sync",
                &format!("Number of endpoints added on each {of} sync"),
                counts(),
            ),
            removed: registered(
                registry,
                "endpoints_removed_per_sync",
                &format!("Number of endpoints removed on each {of} sync"),
                counts(),
            ),
            endpoints: registered(
                registry,
                "endpoints_desired",
                "Number of endpoints desired",
                Gauge::default(),
            ),
            objects: registered(
                registry,
                "num_endpoint_slices",
                "Number of EndpointSlices",
                Gauge::default(),
            ),
            objects_at_best: registered(
                registry,
                "desired_endpoint_slices",
                "Number of EndpointSlices that would exist with perfect endpoint allocation",
                Gauge::default(),
            ),
        }
    }
}

fn registered<M: prometheus_client::registry::Metric + Clone>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    metric: M,
) -> M {
    registry.register(name, help, metric.clone());
    metric
}
