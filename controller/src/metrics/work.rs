//! The work queues' metrics: `workqueue_*` as every controller of kube-controller-manager has them, and the age of what
//! waits, by its class.
//!
//! There is one queue; a key of slices counts as `endpoint_slice_mirroring` where the Service's slices are made from
//! Endpoints. What the queue can tell when it is asked is computed at the scrape.

use std::{collections::BTreeMap, sync::Arc};

use callsign_shared::Index;
use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{
        MetricType,
        counter::Counter,
        family::Family,
        gauge::ConstGauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use tokio::time::Instant;

use super::{
    labels::{CLASSES, ClassLabel, QueueName, class},
    signed,
};
use crate::{
    controller::Task,
    plan::{Part, Role},
    queue::Queue,
};

const NAMES: [&str; 3] = ["endpoint", "endpoint_slice", "endpoint_slice_mirroring"];

/// What is counted as it happens.
#[derive(Clone, Debug)]
pub(super) struct WorkQueue {
    pub(super) adds: Family<QueueName, Counter>,
    pub(super) retries: Family<QueueName, Counter>,
    waited: Family<QueueName, Histogram>,
    worked: Family<QueueName, Histogram>,
    pub(super) running: Arc<Running>,
}

/// What is being worked on, since when.
#[derive(Debug, Default)]
pub(super) struct Running(Mutex<Vec<(&'static str, Instant)>>);

/// A key that is being worked on, until this is dropped.
#[derive(Debug)]
pub(crate) struct Work {
    queue: WorkQueue,
    name: &'static str,
    begun: Instant,
}

/// Tells the state of the queue at the time of the scrape.
#[derive(Debug)]
pub(crate) struct QueueState {
    pub(super) queue: Arc<Queue<Task>>,
    pub(super) index: Arc<Index>,
    pub(super) running: Arc<Running>,
}

impl QueueName {
    /// Upstream's name of the queue that the task would be in.
    pub(super) fn of(task: &Task, index: &Index) -> Self {
        let mirrored = || {
            index.view(&task.key).is_some_and(|view| {
                view.endpoints.is_some()
                    && matches!(Role::of(&view), Role::Manual(service) if !service.is_external())
            })
        };
        Self {
            name: match task.part {
                Part::Endpoints => "endpoint",
                Part::Slices if mirrored() => "endpoint_slice_mirroring",
                Part::Slices => "endpoint_slice",
            },
        }
    }
}

impl WorkQueue {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let seconds = || Histogram::new(exponential_buckets(10e-7, 10.0, 10));
        let new = Self {
            adds: Family::default(),
            retries: Family::default(),
            waited: Family::new_with_constructor(seconds),
            worked: Family::new_with_constructor(seconds),
            running: Arc::default(),
        };
        for name in NAMES {
            // They are there from the start, as upstream's are.
            drop(new.adds.get_or_create(&QueueName { name }));
            drop(new.retries.get_or_create(&QueueName { name }));
        }
        let r = registry.sub_registry_with_prefix("workqueue");
        r.register("adds", "Total number of adds handled by workqueue", new.adds.clone());
        r.register("retries", "Total number of retries handled by workqueue", new.retries.clone());
        r.register(
            "queue_duration_seconds",
            "How long in seconds an item stays in workqueue before being requested",
            new.waited.clone(),
        );
        r.register(
            "work_duration_seconds",
            "How long in seconds processing an item from workqueue takes",
            new.worked.clone(),
        );
        new
    }

    pub(super) fn begin(&self, name: QueueName, waiting_since: Instant) -> Work {
        let begun = Instant::now();
        self.waited.get_or_create(&name).observe((begun - waiting_since).as_secs_f64());
        self.running.0.lock().push((name.name, begun));
        Work { queue: self.clone(), name: name.name, begun }
    }
}

impl Work {
    /// The queue's name.
    pub(crate) fn name(&self) -> QueueName {
        QueueName { name: self.name }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let mut running = self.queue.running.0.lock();
        if let Some(at) = running.iter().position(|entry| *entry == (self.name, self.begun)) {
            running.swap_remove(at);
        }
        drop(running);
        self.queue.worked.get_or_create(&self.name()).observe(self.begun.elapsed().as_secs_f64());
    }
}

impl Collector for QueueState {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut depths: BTreeMap<&'static str, i64> = NAMES.map(|name| (name, 0)).into();
        let mut classes = CLASSES.map(|of| (of, 0_i64, None::<Instant>));
        self.queue.survey(|task, of, since| {
            *depths.entry(QueueName::of(task, &self.index).name).or_default() += 1;
            if let Some((_, count, oldest)) = classes.iter_mut().find(|(known, ..)| *known == of) {
                *count += 1;
                *oldest = Some(oldest.map_or(since, |known| known.min(since)));
            }
        });
        let gauge = |encoder: &mut DescriptorEncoder<'_>, name, help, values: Vec<(QueueName, f64)>| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            values
                .into_iter()
                .try_for_each(|(label, value)| ConstGauge::new(value).encode(family.encode_family(&label)?))
        };
        let now = Instant::now();
        let running = self.running.0.lock().clone();
        let seconds = |name: &str| -> Vec<f64> {
            let of_name = running.iter().filter(|(of, _)| *of == name);
            of_name.map(|(_, begun)| now.saturating_duration_since(*begun).as_secs_f64()).collect()
        };
        let each =
            |value: &dyn Fn(&'static str) -> f64| NAMES.map(|name| (QueueName { name }, value(name))).into();
        let help = "Current depth of workqueue";
        let mut family = encoder.encode_descriptor("workqueue_depth", help, None, MetricType::Gauge)?;
        for (name, depth) in depths {
            ConstGauge::new(depth).encode(family.encode_family(&QueueName { name })?)?;
        }
        gauge(
            &mut encoder,
            "workqueue_unfinished_work_seconds",
            "How many seconds of work has done that is in progress and hasn't been observed by work_duration. Large values indicate stuck threads. One can deduce the number of stuck threads by observing the rate at which this increases",
            // The sum of nothing is -0.
            each(&|name| seconds(name).into_iter().fold(0.0, |sum, seconds| sum + seconds)),
        )?;
        gauge(
            &mut encoder,
            "workqueue_longest_running_processor_seconds",
            "How many seconds has the longest running processor for workqueue been running",
            each(&|name| seconds(name).into_iter().fold(0.0, f64::max)),
        )?;
        let help = "Keys that wait to be worked on, by their most urgent change";
        let mut family =
            encoder.encode_descriptor("callsign_controller_queue_depth", help, None, MetricType::Gauge)?;
        for (of, count, _) in classes {
            ConstGauge::new(count).encode(family.encode_family(&ClassLabel { class: class(of) })?)?;
        }
        let help = "How long the oldest change that waits has waited; 0 when none does";
        let mut family = encoder.encode_descriptor(
            "callsign_controller_queue_age_seconds",
            help,
            None,
            MetricType::Gauge,
        )?;
        for (of, _, oldest) in classes {
            let age = oldest.map_or(0.0, |since| now.saturating_duration_since(since).as_secs_f64());
            ConstGauge::new(age).encode(family.encode_family(&ClassLabel { class: class(of) })?)?;
        }
        let help = "Keys that are being worked on";
        let running =
            encoder.encode_descriptor("callsign_controller_in_flight", help, None, MetricType::Gauge)?;
        ConstGauge::new(signed(self.queue.running())).encode(running)?;
        let help = "1 when nothing waits to be written and nothing is being written";
        let settled =
            encoder.encode_descriptor("callsign_controller_settled", help, None, MetricType::Gauge)?;
        ConstGauge::new(i64::from(self.queue.is_idle())).encode(settled)
    }
}
