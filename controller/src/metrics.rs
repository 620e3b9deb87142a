//! Metrics: upstream's names where a dashboard may read them, and what upstream does not tell.
//!
//! `workqueue_*` and `endpoint_slice_controller_*` are those of kube-controller-manager. Upstream's plain counters are
//! encoded without the suffix `_total` that OpenMetrics wants, since a dashboard asks for them by their old name.

use std::sync::Arc;

use callsign_shared::object::{EndpointSlice, Endpoints, well_known};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, MetricEncoder},
    metrics::{
        MetricType, TypedMetric,
        counter::Counter,
        family::Family,
        gauge::{ConstGauge, Gauge},
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use crate::{
    controller::Task,
    plan::{Part, Tally},
    queue::Queue,
    write::Body,
};

/// What the controller counts.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    pub(crate) adds: Family<QueueName, Counter>,
    pub(crate) retries: Family<QueueName, Counter>,
    pub(crate) waited: Family<QueueName, Histogram>,
    pub(crate) worked: Family<QueueName, Histogram>,
    pub(crate) writes: Family<WriteLabels, Counter>,
    pub(crate) write_seconds: Family<KindVerb, Histogram>,
    pub(crate) change_to_write: Family<KindLabel, Histogram>,
    pub(crate) shadow: Family<KindLabel, Gauge>,
    pub(crate) syncs: Family<ResultLabel, Plain>,
    pub(crate) changes: Family<OperationLabel, Plain>,
    pub(crate) mirror_changes: Family<OperationLabel, Plain>,
    pub(crate) added: Histogram,
    pub(crate) removed: Histogram,
    pub(crate) skipped: Counter,
    endpoints: Gauge,
    objects: Gauge,
    objects_at_best: Gauge,
}

/// A counter under a name without `_total`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plain(Counter);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct QueueName {
    name: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct WriteLabels {
    pub(crate) kind: &'static str,
    pub(crate) verb: &'static str,
    pub(crate) result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct KindVerb {
    pub(crate) kind: &'static str,
    pub(crate) verb: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct KindLabel {
    pub(crate) kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ResultLabel {
    pub(crate) result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct OperationLabel {
    pub(crate) operation: &'static str,
}

/// A kind that is written and counted.
pub(crate) trait Counted: Body {
    /// Its name in labels.
    const KIND: &'static str;

    /// Whether it is made from Endpoints rather than from a selector.
    fn is_mirrored(&self) -> bool;
}

impl Counted for EndpointSlice {
    const KIND: &'static str = "EndpointSlice";

    fn is_mirrored(&self) -> bool {
        self.managed_by().is_some_and(|by| by == well_known::MIRRORING_CONTROLLER)
    }
}

impl Counted for Endpoints {
    const KIND: &'static str = "Endpoints";

    fn is_mirrored(&self) -> bool {
        false
    }
}

impl QueueName {
    /// Upstream's names of the queues.
    pub(crate) fn of(part: Part) -> Self {
        Self {
            name: match part {
                Part::Slices => "endpoint_slice",
                Part::Endpoints => "endpoint",
            },
        }
    }
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let fine = || Histogram::new(exponential_buckets(0.000_25, 2.0, 18));
        let queue = || Histogram::new(exponential_buckets(1e-8, 10.0, 10));
        let counts = || Histogram::new(exponential_buckets(2.0, 2.0, 15));
        let new = Self {
            adds: Family::default(),
            retries: Family::default(),
            waited: Family::new_with_constructor(queue),
            worked: Family::new_with_constructor(queue),
            writes: Family::default(),
            write_seconds: Family::new_with_constructor(fine),
            change_to_write: Family::new_with_constructor(fine),
            shadow: Family::default(),
            syncs: Family::default(),
            changes: Family::default(),
            mirror_changes: Family::default(),
            added: counts(),
            removed: counts(),
            skipped: Counter::default(),
            endpoints: Gauge::default(),
            objects: Gauge::default(),
            objects_at_best: Gauge::default(),
        };
        let m = new.clone();
        let r = registry;
        r.register("workqueue_adds", "Changes handled by the work queue", m.adds);
        r.register("workqueue_retries", "Retries handled by the work queue", m.retries);
        r.register(
            "workqueue_queue_duration_seconds",
            "How long a key waits before it is worked on",
            m.waited,
        );
        r.register("workqueue_work_duration_seconds", "How long the work on a key takes", m.worked);
        r.register("callsign_controller_writes", "Requests that write, by their result", m.writes);
        r.register(
            "callsign_controller_write_duration_seconds",
            "How long a write takes to be acknowledged",
            m.write_seconds,
        );
        r.register(
            "callsign_controller_change_to_write_seconds",
            "From a change being applied to the index to the acknowledgement of the last write it causes",
            m.change_to_write,
        );
        r.register(
            "callsign_controller_shadow_difference",
            "Writes that would be made if this controller were on",
            m.shadow,
        );
        r.register("endpoint_slice_controller_syncs", "EndpointSlice syncs, by their result", m.syncs);
        r.register("endpoint_slice_controller_changes", "EndpointSlice changes", m.changes);
        r.register(
            "endpoint_slice_mirroring_controller_changes",
            "Changes of mirrored EndpointSlices",
            m.mirror_changes,
        );
        r.register(
            "endpoint_slice_mirroring_controller_addresses_skipped",
            "Addresses found over the limit of a subset, each time it was planned",
            m.skipped,
        );
        r.register(
            "endpoint_slice_controller_endpoints_added_per_sync",
            "Endpoints added on each sync",
            m.added,
        );
        r.register(
            "endpoint_slice_controller_endpoints_removed_per_sync",
            "Endpoints removed on each sync",
            m.removed,
        );
        r.register(
            "endpoint_slice_controller_endpoints_desired",
            "Endpoints that should be listed",
            m.endpoints,
        );
        r.register("endpoint_slice_controller_num_endpoint_slices", "EndpointSlices", m.objects);
        r.register(
            "endpoint_slice_controller_desired_endpoint_slices",
            "EndpointSlices there would be if they were packed perfectly",
            m.objects_at_best,
        );
        new
    }

    /// Forgets the sums over Services, as a controller does that starts.
    pub(crate) fn forget_sums(&self) {
        for gauge in [&self.endpoints, &self.objects, &self.objects_at_best] {
            gauge.set(0);
        }
        self.shadow.clear();
    }

    /// Replaces what one Service contributed to the sums.
    pub(crate) fn recount(&self, old: Tally, new: Tally) {
        for (gauge, old, new) in [
            (&self.endpoints, old.endpoints, new.endpoints),
            (&self.objects, old.objects, new.objects),
            (&self.objects_at_best, old.objects_at_best, new.objects_at_best),
        ] {
            gauge.inc_by(signed(new) - signed(old));
        }
    }
}

/// A count as a gauge holds it.
pub(crate) fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Plain {
    pub(crate) fn inc(&self) {
        self.0.inc();
    }
}

impl EncodeMetric for Plain {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        encoder.encode_gauge(&i64::try_from(self.0.get()).unwrap_or(i64::MAX))
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl TypedMetric for Plain {
    const TYPE: MetricType = MetricType::Unknown;
}

/// The state of the queue at the time of the scrape.
#[derive(Debug)]
pub(crate) struct QueueState(pub(crate) Arc<Queue<Task>>);

impl Collector for QueueState {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let help = "Keys that wait to be worked on";
        let mut depths = encoder.encode_descriptor("workqueue_depth", help, None, MetricType::Gauge)?;
        for part in [Part::Slices, Part::Endpoints] {
            let depth = self.0.count(|task| task.part == part);
            ConstGauge::new(signed(depth)).encode(depths.encode_family(&QueueName::of(part))?)?;
        }
        let help = "Keys that are being worked on";
        let running =
            encoder.encode_descriptor("callsign_controller_in_flight", help, None, MetricType::Gauge)?;
        ConstGauge::new(signed(self.0.running())).encode(running)?;
        let help = "1 when nothing waits to be written and nothing is being written";
        let settled =
            encoder.encode_descriptor("callsign_controller_settled", help, None, MetricType::Gauge)?;
        ConstGauge::new(i64::from(self.0.is_idle())).encode(settled)
    }
}
