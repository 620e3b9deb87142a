//! What leader election tells: upstream's gauge under upstream's name, and what upstream does not tell.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

#[derive(Clone, Debug)]
pub(super) struct Metrics {
    lease: String,
    master: Family<NameLabel, Gauge>,
    holder: Family<HolderLabel, Gauge>,
    transitions: Family<ToLabel, Counter>,
    requests: Family<ResultLabel, Counter>,
    start: Histogram,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NameLabel {
    name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HolderLabel {
    name: String,
    holder: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ToLabel {
    to: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

impl Metrics {
    pub(super) fn register(registry: &mut Registry, lease: &str) -> Self {
        let new = Self {
            lease: lease.to_owned(),
            master: Family::default(),
            holder: Family::default(),
            transitions: Family::default(),
            requests: Family::default(),
            start: Histogram::new(exponential_buckets(0.000_25, 2.0, 18)),
        };
        registry.register(
            "leader_election_master_status",
            "1 while this replica holds the Lease, else 0",
            new.master.clone(),
        );
        registry.register("callsign_leader_info", "Who was last seen to hold the Lease", new.holder.clone());
        registry.register(
            "callsign_leader_transitions",
            "How often this replica became the leader, or ceased to be",
            new.transitions.clone(),
        );
        registry.register(
            "callsign_leader_requests",
            "Requests to the API server about the Lease, by what came of them",
            new.requests.clone(),
        );
        registry.register(
            "callsign_leader_start_seconds",
            "From gaining the Lease to the controllers running",
            new.start.clone(),
        );
        new.master.get_or_create(&new.name()).set(0);
        new
    }

    fn name(&self) -> NameLabel {
        NameLabel { name: self.lease.clone() }
    }

    pub(super) fn became(&self, leader: bool) {
        self.master.get_or_create(&self.name()).set(i64::from(leader));
        let to = if leader { "leader" } else { "follower" };
        self.transitions.get_or_create(&ToLabel { to }).inc();
    }

    pub(super) fn saw(&self, holder: Option<&str>) {
        self.holder.clear();
        if let Some(holder) = holder {
            let label = HolderLabel { name: self.lease.clone(), holder: holder.to_owned() };
            self.holder.get_or_create(&label).set(1);
        }
    }

    pub(super) fn asked(&self, result: &'static str) {
        self.requests.get_or_create(&ResultLabel { result }).inc();
    }

    pub(super) fn started(&self, after: Duration) {
        self.start.observe(after.as_secs_f64());
    }
}
