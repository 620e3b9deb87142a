//! Metrics: upstream's names where a dashboard may read them, and what upstream does not tell.
//!
//! `workqueue_*` ([`work`]), `endpoint_slice_controller_*` and `endpoint_slice_mirroring_controller_*` ([`upstream`]) are
//! those of kube-controller-manager. Upstream's plain counters are encoded without the suffix `_total` that OpenMetrics
//! wants, since a dashboard asks for them by their old name.
//!
//! The way of a change is measured from the moment the index has it: until a worker takes its key, and until the last
//! write it causes is acknowledged, by the class of the change. No metric has a label for a Service: what happened to one
//! Service is in the journal.

mod labels;
mod throttle;
mod upstream;
mod work;

use std::sync::Arc;

use callsign_shared::Index;
use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder},
    metrics::{
        MetricType, TypedMetric,
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use tokio::time::Instant;

use self::{
    labels::{ClassLabel, KindClass, KindResult, KindVerb, QueueName, ResultLabel, WriteLabels},
    throttle::ThrottleState,
    upstream::Upstream,
    work::{QueueState, WorkQueue},
};
pub(crate) use self::{
    labels::{Counted, KindLabel, class},
    work::Work,
};
use crate::{
    controller::Task,
    plan::{Part, Tally, Write},
    queue::{Lease, Queue},
    sync::Verdict,
    synced::Synced,
    write::{Failure, Outcome, Throttle},
};

/// What the controller counts.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    upstream: Upstream,
    work: WorkQueue,
    index: Arc<Index>,
    coalesced: Family<KindLabel, Counter>,
    writes: Family<WriteLabels, Counter>,
    write_seconds: Family<KindVerb, Histogram>,
    change_to_dequeue: Family<ClassLabel, Histogram>,
    change_to_write: Family<KindClass, Histogram>,
    syncs: Family<KindResult, Counter>,
    pub(crate) shadow: Family<KindLabel, Gauge>,
}

/// A counter under a name without `_total`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plain(Counter);

impl Metrics {
    pub(crate) fn register(
        registry: &mut Registry,
        index: &Arc<Index>,
        queue: &Arc<Queue<Task>>,
        throttle: &Arc<Throttle>,
    ) -> Self {
        let fine = || Histogram::new(exponential_buckets(0.000_25, 2.0, 18));
        let new = Self {
            upstream: Upstream::register(registry),
            work: WorkQueue::register(registry),
            index: Arc::clone(index),
            coalesced: Family::default(),
            writes: Family::default(),
            write_seconds: Family::new_with_constructor(fine),
            change_to_dequeue: Family::new_with_constructor(fine),
            change_to_write: Family::new_with_constructor(fine),
            syncs: Family::default(),
            shadow: Family::default(),
        };
        for part in [Part::Slices, Part::Endpoints] {
            drop(new.coalesced.get_or_create(&KindLabel { kind: kind(part) }));
        }
        registry.register_collector(Box::new(QueueState {
            queue: Arc::clone(queue),
            index: Arc::clone(index),
            running: Arc::clone(&new.work.running),
        }));
        registry.register_collector(Box::new(ThrottleState(Arc::clone(throttle))));
        let m = new.clone();
        let r = registry.sub_registry_with_prefix("callsign_controller");
        r.register(
            "changes_coalesced",
            "Changes that joined one of the same Service that waited already: writes avoided",
            m.coalesced,
        );
        r.register("writes", "Requests that write, by their result", m.writes);
        r.register("write_duration_seconds", "How long a write takes to be acknowledged", m.write_seconds);
        r.register(
            "change_to_dequeue_seconds",
            "From a change being applied to the index to its Service being worked on, by the class of the change",
            m.change_to_dequeue,
        );
        r.register(
            "change_to_write_seconds",
            "From a change being applied to the index to the acknowledgement of the last write it causes",
            m.change_to_write,
        );
        r.register(
            "syncs",
            "Syncs by what they came to: objects were written, there was nothing to write now, or it is tried again",
            m.syncs,
        );
        r.register("shadow_difference", "Writes that would be made if this controller were on", m.shadow);
        new
    }

    /// A change of a key was put into the queue, and joined one that waited there, or did not.
    pub(crate) fn pushed(&self, task: &Task, joined: bool) {
        if joined {
            self.coalesced.get_or_create(&KindLabel { kind: kind(task.part) }).inc();
        } else {
            self.work.adds.get_or_create(&QueueName::of(task, &self.index)).inc();
        }
    }

    /// A worker has taken a key.
    pub(crate) fn begin(&self, lease: &Lease<Task>) -> Work {
        let class = ClassLabel { class: class(lease.class) };
        self.change_to_dequeue.get_or_create(&class).observe(lease.since.elapsed().as_secs_f64());
        self.work.begin(QueueName::of(&lease.key, &self.index), lease.since)
    }

    /// A worker is done with it.
    pub(crate) fn ended(&self, task: &Task, work: &Work, verdict: &Verdict) {
        let done = matches!(verdict, Verdict::Done(_));
        if !done {
            self.syncs.get_or_create(&KindResult { kind: kind(task.part), result: "retry" }).inc();
            self.work.retries.get_or_create(&work.name()).inc();
        }
        if task.part == Part::Slices {
            let result = if done { "success" } else { "error" };
            self.upstream.slices.syncs.get_or_create(&ResultLabel { result }).inc();
        }
    }

    /// A request that writes was answered.
    pub(crate) fn wrote<T: Synced>(
        &self,
        write: &Write<T>,
        outcome: &Result<Outcome<T>, Failure>,
        begun: Instant,
    ) {
        let (kind, verb) = (T::KIND, write.verb());
        let result = match outcome {
            Ok(Outcome::Written(_) | Outcome::Deleted) => "ok",
            Ok(Outcome::Dropped) => "namespace_ending",
            Err(Failure::Conflict | Failure::AlreadyExists) => "conflict",
            Err(Failure::Overloaded { .. } | Failure::Paused { .. }) => "overloaded",
            Err(_) => "error",
        };
        self.writes.get_or_create(&WriteLabels { kind, verb, result }).inc();
        let seconds = begun.elapsed().as_secs_f64();
        self.write_seconds.get_or_create(&KindVerb { kind, verb }).observe(seconds);
        if T::PART == Part::Slices && result == "ok" {
            let object = match write {
                Write::Create(new) | Write::Update { new, .. } => new,
                Write::Delete { current } => current,
            };
            self.upstream.wrote(object.is_mirrored(), verb);
        }
    }

    /// A plan was carried out, of so many writes.
    pub(crate) fn carried_out<T: Synced>(
        &self,
        work: &Lease<Task>,
        tally: &Tally,
        writes: usize,
        begun: Instant,
    ) {
        let result = if writes > 0 { "written" } else { "nothing" };
        self.syncs.get_or_create(&KindResult { kind: T::KIND, result }).inc();
        if writes > 0 {
            let labels = KindClass { kind: T::KIND, class: class(work.class) };
            self.change_to_write.get_or_create(&labels).observe(work.since.elapsed().as_secs_f64());
        }
        if T::PART == Part::Slices {
            self.upstream.synced(tally, writes, begun.elapsed().as_secs_f64());
        }
    }

    /// Forgets the sums over Services, as a controller does that starts.
    pub(crate) fn forget_sums(&self) {
        self.upstream.forget_sums();
        self.shadow.clear();
    }

    /// Replaces what one Service contributed to the sums.
    pub(crate) fn recount(&self, old: Tally, new: Tally) {
        self.upstream.recount(old, new);
    }
}

fn kind(part: Part) -> &'static str {
    match part {
        Part::Slices => "EndpointSlice",
        Part::Endpoints => "Endpoints",
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
