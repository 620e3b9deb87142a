//! Kubernetes Events: what upstream's controllers post, and one Warning for each thing that people hunt.
//!
//! ```text
//!   syncs ──look──▶ findings that hold ──after a while──▶ ┐
//!     └────────── failures, hints, mirroring ───────────▶ [ bounded queue ] ──limits──▶ events.k8s.io
//! ```
//!
//! | reason | on | by |
//! |---|---|---|
//! | `FailedToUpdateEndpointSlices` | Service | endpoint-slice-controller |
//! | `TopologyAwareHintsEnabled`, `TopologyAwareHintsDisabled` | Service | endpoint-slice-controller |
//! | `FailedToCreateEndpoint`, `FailedToUpdateEndpoint` | Endpoints | endpoint-controller |
//! | `TooManyAddressesToMirror`, `InvalidIPAddress` | Endpoints | endpoint-slice-mirroring-controller |
//! | `NoMatchingPods`, `NoReadyPods`, `TargetPortNotFound` | Service | callsign |
//! | `EndpointsWrittenByAnother` | Service | callsign |
//!
//! The first four rows are upstream's, in its words; where upstream posts with every sync, these are posted when the state
//! changes. The fifth row is told once for each time it comes to hold, and after it has held for a while.
//!
//! Events are worth less than writes: what does not fit into the queue or the limits is dropped and counted. Where they
//! are forbidden that is logged once, and they are not tried again for a while. While the gate is closed none is posted.

mod finding;
mod hints;
mod limit;
mod pending;
mod post;

use std::{collections::HashMap, sync::Arc, time::Duration};

use callsign_shared::{
    Index, Key, ServiceView,
    object::{Family, Meta, Uid},
};
use kube::Client;
use parking_lot::Mutex;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family as MetricFamily},
    registry::Registry,
};
use tokio::{
    sync::{Mutex as AsyncMutex, Notify, mpsc},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use self::{
    pending::Pending,
    post::{Poster, Source},
};
use crate::{
    controller::Task,
    gate::Gate,
    plan::{Part, Role, Tally},
    queue::Lease,
    slices::Zones,
    sync::Syncer,
    synced::Synced,
    write::Failure,
};

/// How many Events wait to be posted.
const QUEUE: usize = 256;

/// Posts Events.
#[derive(Debug)]
pub(crate) struct Events {
    index: Arc<Index>,
    gate: Arc<Gate>,
    /// How long a finding must hold; zero for no Events of findings.
    after: Duration,
    most_mirrored: usize,
    state: Mutex<State>,
    sooner: Notify,
    sender: mpsc::Sender<Post>,
    poster: AsyncMutex<Poster>,
    counts: MetricFamily<EventLabels, Counter>,
}

#[derive(Debug, Default)]
struct State {
    pending: Pending,
    /// Whether hints are given, of Services that ask for them by annotation.
    hints: HashMap<(Key, Family), bool>,
    /// How many addresses were left out of mirrored slices, and how many of them were none.
    skipped: HashMap<Key, (usize, usize)>,
}

/// An Event to be posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Post {
    pub(crate) source: Source,
    /// `Service` or `Endpoints`
    pub(crate) kind: &'static str,
    pub(crate) key: Key,
    pub(crate) uid: Uid,
    pub(crate) warning: bool,
    pub(crate) reason: &'static str,
    pub(crate) note: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EventLabels {
    reason: &'static str,
    result: &'static str,
}

impl Events {
    pub(crate) fn new(
        client: Client,
        index: Arc<Index>,
        gate: Arc<Gate>,
        after: Duration,
        most_mirrored: usize,
        registry: &mut Registry,
    ) -> Self {
        let counts = MetricFamily::default();
        registry.register(
            "callsign_controller_events",
            "Kubernetes Events by what came of them: posted, dropped, over the limit of an object, forbidden, failed",
            counts.clone(),
        );
        let (sender, receiver) = mpsc::channel(QUEUE);
        Self {
            index,
            gate,
            after,
            most_mirrored,
            state: Mutex::default(),
            sooner: Notify::new(),
            sender,
            poster: AsyncMutex::new(Poster::new(client, receiver)),
            counts,
        }
    }

    /// A sync of slices has ended well: looks at the Service as it is now.
    pub(crate) fn look(&self, key: &Key, zones: Option<&Zones>, tally: &Tally) {
        let view = self.index.view(key);
        let view = view.as_deref();
        if !self.after.is_zero() {
            let found = view.into_iter().flat_map(finding::causes);
            if self.state.lock().pending.look(key, found, Instant::now(), self.after) {
                self.sooner.notify_one();
            }
        }
        self.look_at_hints(key, view, zones);
        self.look_at_mirror(key, view, tally);
    }

    /// Bringing a part of a Service up to date has failed.
    pub(crate) fn failed(&self, key: &Key, part: Part, failure: &Failure) {
        if matches!(failure, Failure::Closed(_) | Failure::Overloaded { .. } | Failure::Paused { .. }) {
            return;
        }
        let Some(view) = self.index.view(key) else { return };
        let Role::Selecting(service) = Role::of(&view) else { return };
        match (part, &view.endpoints) {
            (Part::Slices, _) => self.post(of_service(
                &service.meta,
                true,
                "FailedToUpdateEndpointSlices",
                format!("Error updating Endpoint Slices for Service {key}: {failure}"),
            )),
            (Part::Endpoints, None) => self.post(Post {
                source: Source::Endpoints,
                kind: "Endpoints",
                key: key.clone(),
                uid: Uid::default(),
                warning: true,
                reason: "FailedToCreateEndpoint",
                note: format!("Failed to create endpoint for service {key}: {failure}"),
            }),
            (Part::Endpoints, Some(endpoints)) => self.post(Post {
                source: Source::Endpoints,
                kind: "Endpoints",
                key: key.clone(),
                uid: endpoints.meta.uid.clone(),
                warning: true,
                reason: "FailedToUpdateEndpoint",
                note: format!("Failed to update endpoint {key}: {failure}"),
            }),
        }
    }

    /// Somebody else writes a Service's objects, and it is left alone.
    pub(crate) fn left_alone(&self, key: &Key, note: String) {
        let view = self.index.view(key);
        if let Some(service) = view.as_ref().and_then(|view| view.service.as_ref()) {
            let post = of_service(&service.meta, true, "EndpointsWrittenByAnother", note);
            self.post(Post { source: Source::Callsign, ..post });
        }
    }

    /// Forgets what is known, as a controller does that starts: its first syncs find again what holds.
    pub(crate) fn forget(&self) {
        *self.state.lock() = State::default();
    }

    /// Posts until `stop`.
    pub(crate) async fn run(&self, stop: CancellationToken) {
        let mut poster = self.poster.lock().await;
        let posting = async {
            loop {
                let sooner = self.sooner.notified();
                let next = self.state.lock().pending.next();
                let due = async {
                    match next {
                        Some(at) => tokio::time::sleep_until(at).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = due => self.tell_due(),
                    () = sooner => {}
                    post = poster.next() => {
                        let result = poster.post(&post, &self.gate).await;
                        self.count(post.reason, result);
                    }
                }
            }
        };
        stop.run_until_cancelled(posting).await;
        poster.forget();
    }

    fn tell_due(&self) {
        let now = Instant::now();
        loop {
            let Some((key, cause)) = self.state.lock().pending.take_due(now) else { return };
            if self.gate.check().is_err() {
                self.state.lock().pending.put_back(&key, cause, now);
                continue;
            }
            let Some(view) = self.index.view(&key) else { continue };
            if let (Some(note), Some(service)) = (finding::note(&view, cause), &view.service) {
                let post = of_service(&service.meta, true, cause.reason(), note);
                self.post(Post { source: Source::Callsign, ..post });
            }
        }
    }

    fn look_at_hints(&self, key: &Key, view: Option<&ServiceView>, zones: Option<&Zones>) {
        let service = view.and_then(|view| view.service.as_ref());
        let asks = service.filter(|service| service.topology_auto && service.selects());
        if asks.is_none() && self.state.lock().hints.is_empty() {
            return;
        }
        for family in [Family::V4, Family::V6] {
            let place = (key.clone(), family);
            let asks = asks.filter(|service| service.slice_families().contains(&family));
            let mut state = self.state.lock();
            let (Some(service), Some(view)) = (asks, view) else {
                let was = state.hints.remove(&place);
                drop(state);
                if let (Some(true), Some(service)) = (was, service) {
                    self.post(of_hints(&service.meta, false, hints::DISABLED, family));
                }
                continue;
            };
            let nodes = || hints::lack_information(self.index.nodes().iter().map(AsRef::as_ref));
            let given = hints::given(view, family, zones, nodes);
            let was = state.hints.insert(place, given.is_ok());
            drop(state);
            if was != Some(given.is_ok()) {
                let message = given.err().unwrap_or(hints::ENABLED);
                self.post(of_hints(&service.meta, given.is_ok(), message, family));
            }
        }
    }

    fn look_at_mirror(&self, key: &Key, view: Option<&ServiceView>, tally: &Tally) {
        let now = (tally.skipped, tally.invalid);
        let mut state = self.state.lock();
        let was = if tally.mirrored && tally.skipped > 0 {
            state.skipped.insert(key.clone(), now)
        } else {
            state.skipped.remove(key);
            return;
        };
        drop(state);
        let Some(endpoints) = view.and_then(|view| view.endpoints.as_ref()).filter(|_| was != Some(now))
        else {
            return;
        };
        let post = |reason, note| {
            self.post(Post {
                source: Source::Mirroring,
                kind: "Endpoints",
                key: key.clone(),
                uid: endpoints.meta.uid.clone(),
                warning: true,
                reason,
                note,
            });
        };
        if tally.invalid > 0 {
            post(
                "InvalidIPAddress",
                format!("Skipped {} invalid IP addresses when mirroring to EndpointSlices", tally.invalid),
            );
        }
        if tally.skipped > tally.invalid {
            post(
                "TooManyAddressesToMirror",
                format!(
                    "A max of {} addresses can be mirrored to EndpointSlices per Endpoints subset. {} addresses were skipped",
                    self.most_mirrored, tally.skipped
                ),
            );
        }
    }

    fn post(&self, post: Post) {
        let reason = post.reason;
        if self.sender.try_send(post).is_err() {
            self.count(reason, "dropped");
        }
    }

    fn count(&self, reason: &'static str, result: &'static str) {
        self.counts.get_or_create(&EventLabels { reason, result }).inc();
    }
}

impl Syncer {
    /// A sync of a part has ended well.
    pub(crate) fn look<T: Synced>(&self, key: &Key) {
        if let (Some(events), Part::Slices) = (&self.events, T::PART) {
            let tally = self.states.get(key).map(|state| state.slices.tally).unwrap_or_default();
            let zones = self.zones.read().clone();
            events.look(key, zones.as_deref(), &tally);
        }
    }

    /// A sync has failed: tells the first time, and then ever more rarely.
    pub(crate) fn tell_failure(&self, work: &Lease<Task>, failure: &Failure) {
        if let Some(events) = &self.events
            && (work.failures == 0 || work.failures.is_power_of_two())
        {
            events.failed(&work.key.key, work.key.part, failure);
        }
    }
}

fn of_service(meta: &Meta, warning: bool, reason: &'static str, note: String) -> Post {
    let (key, uid) = (meta.key.clone(), meta.uid.clone());
    Post { source: Source::Slices, kind: "Service", key, uid, warning, reason, note }
}

fn of_hints(meta: &Meta, given: bool, message: &str, family: Family) -> Post {
    let reason = if given { "TopologyAwareHintsEnabled" } else { "TopologyAwareHintsDisabled" };
    let family = callsign_shared::object::AddressType::from(family).as_str();
    of_service(meta, !given, reason, format!("{message}, addressType: {family}"))
}
