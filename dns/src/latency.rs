//! How long a change takes to be answered.
//!
//! `callsign_dns_change_to_answer_seconds` runs from the moment the index has a change to the moment a question finds it,
//! by how urgent the change is. `coredns_kubernetes_dns_programming_duration_seconds` is the DNS programming latency of
//! the Kubernetes SLIs, as CoreDNS has it (`plugin/kubernetes/object/metrics.go`): for headless Services with a selector,
//! from the trigger time of a change. That is the Ready transition of a pod where endpoints are answered from
//! memberships, and the annotation of a slice where they are answered from slices. Both have a resolution of one second.

use std::{collections::HashMap, sync::Arc};

use callsign_shared::{
    Change, ChangeKey, Index, Key, ServiceView,
    index::{Source, Urgency},
    object::well_known,
};
use jiff::Timestamp;
use parking_lot::Mutex;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use crate::{Zone, plugin::Meter};

/// The histograms.
#[derive(Debug)]
pub struct LatencyMeter {
    change_to_answer: Family<ClassLabel, Histogram>,
    programming: Family<KindLabel, Histogram>,
}

/// The histograms for one zone, and the trigger times that have been counted.
#[derive(Debug)]
pub struct Latency {
    index: Arc<Index>,
    meter: Arc<LatencyMeter>,
    /// The newest trigger time of each headless Service with a selector.
    counted: Mutex<HashMap<Key, Timestamp>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClassLabel {
    class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    service_kind: &'static str,
}

impl Meter for LatencyMeter {
    fn register(registry: &mut Registry) -> Self {
        let new = Self {
            change_to_answer: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.000_1, 2.0, 20))
            }),
            programming: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.0, 20))),
        };
        registry.register(
            "callsign_dns_change_to_answer_seconds",
            "From a change being applied to the index to its being answered, by the class of the change",
            new.change_to_answer.clone(),
        );
        registry.register(
            "coredns_kubernetes_dns_programming_duration_seconds",
            "Histogram of the time (in seconds) it took to program a dns instance.",
            new.programming.clone(),
        );
        new
    }
}

impl Latency {
    /// Counts the changes of `index`.
    pub fn new(meter: Arc<LatencyMeter>, index: Arc<Index>) -> Self {
        Self { index, meter, counted: Mutex::default() }
    }

    /// Applies changes to the zone, and counts how long they took. What is applied before the zone is synced is the
    /// state that was there, and no change.
    pub fn apply(&self, zone: &Zone, changes: &[Change]) {
        zone.apply(changes);
        let synced = zone.is_synced();
        let now = Timestamp::now();
        for change in changes {
            if synced {
                let class = ClassLabel { class: class(change.urgency) };
                self.meter
                    .change_to_answer
                    .get_or_create(&class)
                    .observe(change.since.elapsed().as_secs_f64());
            }
            if let ChangeKey::Service(key) = &change.key {
                let triggered = self.index.view(key).and_then(|view| trigger(&view, zone.config().source));
                if let Some(seconds) = self.moved(key, triggered, now).filter(|_| synced) {
                    let kind = KindLabel { service_kind: "headless_with_selector" };
                    self.meter.programming.get_or_create(&kind).observe(seconds);
                }
            }
        }
    }

    /// The seconds since the trigger time of a Service, if that is newer than the last one.
    fn moved(&self, key: &Key, triggered: Option<Timestamp>, now: Timestamp) -> Option<f64> {
        let mut counted = self.counted.lock();
        let Some(triggered) = triggered else {
            counted.remove(key);
            return None;
        };
        match counted.get_mut(key) {
            Some(known) if *known >= triggered => return None,
            Some(known) => *known = triggered,
            None => {
                counted.insert(key.clone(), triggered);
            }
        }
        Some(now.duration_since(triggered).as_secs_f64().max(0.0))
    }
}

/// The newest trigger time of a headless Service with a selector.
fn trigger(view: &ServiceView, source: Source) -> Option<Timestamp> {
    view.service.as_ref().filter(|service| service.selects() && service.is_headless())?;
    match source {
        Source::Memberships => {
            view.members.iter().filter_map(|member| member.pod.readiness.since).max().map(Timestamp::from)
        }
        Source::Slices => {
            let time = |text: &callsign_shared::Name| text.parse().ok();
            let slices = view.slices.iter();
            slices
                .filter_map(|s| s.annotations.get(well_known::LAST_CHANGE_TRIGGER_TIME).and_then(time))
                .max()
        }
    }
}

fn class(urgency: Urgency) -> &'static str {
    match urgency {
        Urgency::Removal => "removal",
        Urgency::Addition => "addition",
        Urgency::Edit => "edit",
        Urgency::Echo => "echo",
        Urgency::Startup => "startup",
    }
}

#[cfg(test)]
mod tests {
    use callsign_shared::{
        Feed,
        index::Interest,
        object::{Decode, Node, Pod, Service},
    };

    use super::*;
    use crate::ZoneConfig;

    fn pod(name: &str, ready_since: Timestamp) -> Pod {
        let text = format!(
            r#"{{"metadata":{{"name":"{name}","namespace":"n","labels":{{"app":"w"}}}},"spec":{{"nodeName":"a"}},"status":{{"podIP":"10.0.0.1",
                "conditions":[{{"type":"Ready","status":"True","lastTransitionTime":"{ready_since}"}}]}}}}"#
        );
        Pod::decode(&text).unwrap()
    }

    #[test]
    fn a_trigger_time_counts_once_and_not_before_the_first_sync() {
        let index = Arc::new(Index::new());
        let mut registry = Registry::default();
        let latency = Latency::new(Arc::new(LatencyMeter::register(&mut registry)), Arc::clone(&index));
        let mut config = ZoneConfig::cluster("cluster.local").unwrap();
        config.source = Source::Memberships;
        let zone = Zone::new(config, Arc::clone(&index));
        let feed = index.subscribe(Interest::default());
        let apply = |feed: &Feed| latency.apply(&zone, &feed.take(100));
        let counts = || {
            let mut page = String::new();
            prometheus_client::encoding::text::encode(&mut page, &registry).unwrap();
            let count = |start: &str| {
                let line = page.lines().find_map(|line| line.strip_prefix(start));
                line.map_or(0, |count| count.trim().parse().unwrap())
            };
            [
                count("callsign_dns_change_to_answer_seconds_count{class=\"addition\"}"),
                count(
                    "coredns_kubernetes_dns_programming_duration_seconds_count{service_kind=\"headless_with_selector\"}",
                ),
            ]
        };
        let service = |name: &str, ip: &str| {
            let text = format!(
                r#"{{"metadata":{{"name":"{name}","namespace":"n"}},"spec":{{"selector":{{"app":"w"}},"clusterIP":"{ip}"}}}}"#
            );
            Service::decode(&text).unwrap()
        };
        index.apply(Node::decode(r#"{"metadata":{"name":"a"}}"#).unwrap());
        index.apply(service("headless", "None"));
        index.apply(service("normal", "10.96.0.9"));
        index.apply(pod("a", Timestamp::now() - jiff::SignedDuration::from_secs(60)));
        apply(&feed);
        zone.set_synced();
        assert_eq!(counts(), [0, 0]);
        index.apply(pod("b", Timestamp::now()));
        apply(&feed);
        assert_eq!(counts(), [2, 1], "both Services have it, one is headless");
        let mut same = pod("b", Timestamp::now() - jiff::SignedDuration::from_secs(30));
        same.ips.push("fd00::1".parse().unwrap());
        index.apply(same);
        apply(&feed);
        assert_eq!(counts()[1], 1, "no newer trigger time");
    }
}
