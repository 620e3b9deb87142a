//! The controller: takes changes from the index, and lets workers write what follows from them.
//!
//! ```text
//!   feed ──▶ queue of (Service, part) ──▶ workers ──▶ sync ──▶ API server
//!                     ▲                                  │
//!                     └──────── retry, look again ◀──────┘
//! ```
//!
//! Slices and Endpoints of a Service are two keys: Endpoints are for few readers and wait until slices are written.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use callsign_shared::{
    Index, Journal, Key, Name, ServiceView,
    index::{ChangeKey, Feed, Interest, Urgency},
    object::{EndpointSlice, Endpoints},
};
use dashmap::DashMap;
use parking_lot::{Mutex, RwLock};
use prometheus_client::registry::Registry;
use tokio::{task::JoinSet, time::Instant};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    events::Events,
    fuse::Inspector,
    gate::Gate,
    guard::{self, Guard},
    metrics::Metrics,
    pace::{Churn, Patience},
    plan::{Limits, Part, Role},
    queue::{Class, Lease, Queue},
    slices::Zones,
    sync::{Syncer, Verdict},
    write::{Limit, Throttle, Turn, Writer},
};

/// How many changes are taken from the feed at once.
const BATCH: usize = 1024;

/// How long writes in flight may take when the controller stops.
const GRACE: Duration = Duration::from_millis(500);

/// How the controller behaves.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Whether it writes.
    pub mode: Mode,
    /// Which Endpoints it writes.
    pub endpoints: EndpointsMode,
    /// How many keys are worked on at once.
    pub workers: usize,
    /// Bounds of what is written.
    pub limits: Limits,
    /// After a write of slices, changes of the same Service within this time are written together.
    pub slices_batch_period: Duration,
    /// The same for slices that are mirrored from Endpoints.
    pub mirror_batch_period: Duration,
    /// The same for Endpoints.
    pub endpoints_batch_period: Duration,
    /// How long changes that make no difference to traffic may wait for others.
    pub patience: Patience,
    /// How long a Service must be without endpoints before an Event tells of it; zero for no such Events, `None` for no
    /// Events at all. There are none in shadow mode.
    pub event_after: Option<Duration>,
    /// The limit of requests; `None` for no other limit than the API server's.
    pub limit: Option<Limit>,
    /// How other controllers are looked for; `None` for not at all. What only plans is not guarded.
    pub guard: Option<guard::Config>,
    /// The share of all ready endpoints, percent, that may be removed within ten seconds before it is looked at again; 0 for
    /// any.
    pub removal_fuse: u8,
}

/// Whether the controller writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It does.
    #[default]
    On,
    /// It plans, logs and counts what it would write, and writes nothing.
    Shadow,
}

/// Which Endpoints are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EndpointsMode {
    /// Those of every Service with a selector.
    #[default]
    On,
    /// Those that are there; no new ones.
    Existing,
    /// None.
    Off,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            endpoints: EndpointsMode::default(),
            workers: 16,
            limits: Limits::default(),
            slices_batch_period: Duration::ZERO,
            mirror_batch_period: Duration::ZERO,
            endpoints_batch_period: Duration::ZERO,
            patience: Patience::default(),
            event_after: None,
            limit: None,
            guard: None,
            removal_fuse: 0,
        }
    }
}

impl Config {
    /// The time within which changes of a part of a Service are written together.
    pub(crate) fn batch_period(&self, part: Part, view: Option<&ServiceView>) -> Duration {
        let mirrored = view.is_some_and(|view| matches!(Role::of(view), Role::Manual(_)));
        match part {
            Part::Slices if mirrored => self.mirror_batch_period,
            Part::Slices => self.slices_batch_period,
            Part::Endpoints => self.endpoints_batch_period,
        }
    }
}

/// What is worked on: one part of one Service.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Task {
    /// The Service.
    pub key: Key,
    /// Its slices or its Endpoints.
    pub part: Part,
}

/// The endpoint controllers. Clones are the same controller.
#[derive(Clone, Debug)]
pub struct Controller(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    syncer: Syncer,
    gate: Arc<Gate>,
    queue: Arc<Queue<Task>>,
    feed: Mutex<Option<Arc<Feed>>>,
    /// Changes are on their way from the feed to the queue.
    between: AtomicBool,
}

impl Controller {
    /// A controller that reads `index` and writes through `client`. Nothing happens before [`run`](Self::run).
    /// It writes while `gate` is open.
    pub fn new(
        index: Arc<Index>,
        client: kube::Client,
        config: Config,
        gate: Arc<Gate>,
        registry: &mut Registry,
    ) -> Self {
        let queue = Arc::new(Queue::default());
        let writes = config.mode == Mode::On;
        let fuse = (writes && config.removal_fuse > 0).then(|| {
            let (index, gate) = (Arc::clone(&index), Arc::clone(&gate));
            Arc::new(Inspector::new(config.removal_fuse, index, gate, client.clone(), registry))
        });
        let throttle = Arc::new(Throttle::new(config.limit, config.workers));
        let events = config.event_after.filter(|_| config.mode == Mode::On).map(|after| {
            let (client, index, gate) = (client.clone(), Arc::clone(&index), Arc::clone(&gate));
            let most = config.limits.mirrored_per_subset;
            Arc::new(Events::new(client, index, gate, after, most, registry))
        });
        let guard = config.guard.clone().filter(|_| writes).map(|guard| {
            let (client, index, gate) = (client.clone(), Arc::clone(&index), Arc::clone(&gate));
            Arc::new(Guard::new(guard, index, gate, client, events.clone(), registry))
        });
        let syncer = Syncer {
            events,
            metrics: Metrics::register(registry, &index, &queue, &throttle),
            writer: Writer::new(client, throttle, Arc::clone(&gate)),
            journal: Arc::default(),
            zones: RwLock::new(None),
            states: DashMap::new(),
            guard,
            fuse,
            ending: Mutex::default(),
            churn: Churn::default(),
            index,
            config,
        };
        Self(Arc::new(Inner { syncer, gate, queue, feed: Mutex::new(None), between: AtomicBool::new(false) }))
    }

    /// Runs until `stop`. To be started when the index is synced: what an index does not know yet would be deleted.
    ///
    /// When it stops, no new write is begun, and writes in flight have half a second. It may be run again later, as a
    /// leader that comes back does.
    pub async fn run(&self, stop: CancellationToken) {
        let inner = &self.0;
        let feed = Arc::new(inner.syncer.index.subscribe(Interest { pods: false, nodes: true }));
        inner.weigh_zones();
        *inner.feed.lock() = Some(Arc::clone(&feed));
        let watchers = inner.watch_over(&stop);
        let mut telling = JoinSet::new();
        if let Some(events) = inner.syncer.events.clone() {
            events.forget();
            let stop = stop.clone();
            telling.spawn(async move { events.run(stop).await });
        }
        let mut workers = JoinSet::new();
        let start = |workers: &mut JoinSet<()>| workers.spawn(Arc::clone(inner).work(stop.clone()));
        for _ in 0..inner.syncer.config.workers.max(1) {
            start(&mut workers);
        }
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = feed.changed() => inner.take_in(&feed),
                keys = inner.freed() => inner.push(keys, Urgency::Edit, Instant::now()),
                Some(Err(error)) = workers.join_next() => {
                    // Its key went back to the queue when it fell.
                    tracing::error!(%error, "a worker of the controller failed; starting another");
                    start(&mut workers);
                }
            }
        }
        *inner.feed.lock() = None;
        while workers.join_next().await.is_some() {}
        for watcher in watchers {
            // A canary is taken back if that does not take long.
            let _ = tokio::time::timeout(GRACE, watcher).await;
        }
        while telling.join_next().await.is_some() {}
        // Whoever runs next looks at everything anew, and until then nothing is waiting for this replica.
        inner.queue.clear();
        inner.syncer.states.clear();
        inner.syncer.metrics.forget_sums();
    }

    /// Whether every change the index has told of is written: nothing waits and nothing is in flight.
    pub fn idle(&self) -> bool {
        let inner = &self.0;
        // In this order: a change is in the feed, then on its way, then in the queue.
        let Some(feed) = inner.feed.lock().clone() else { return false };
        feed.is_empty() && !inner.between.load(Ordering::SeqCst) && inner.queue.is_idle()
    }

    /// What was written, and why.
    pub fn journal(&self) -> &Arc<Journal> {
        &self.0.syncer.journal
    }

    /// How many keys wait to be worked on.
    pub fn depth(&self) -> usize {
        self.0.queue.len()
    }
}

impl Inner {
    /// Starts guard and fuse, which have the gate from before the first key is taken.
    fn watch_over(&self, stop: &CancellationToken) -> Vec<AbortOnDropHandle<()>> {
        let mut watchers = Vec::new();
        if let Some(fuse) = &self.syncer.fuse {
            fuse.begin();
            watchers.push(tokio::spawn(Arc::clone(fuse).run(stop.clone())));
        }
        if let Some(guard) = &self.syncer.guard {
            guard.begin();
            watchers.push(tokio::spawn(Arc::clone(guard).run(stop.clone())));
        }
        watchers.into_iter().map(AbortOnDropHandle::new).collect()
    }

    /// Services that somebody else wrote and that may be written again.
    async fn freed(&self) -> Vec<Key> {
        match &self.syncer.guard {
            Some(guard) => guard.freed().await,
            None => std::future::pending().await,
        }
    }

    /// Moves changes from the feed to the queue.
    fn take_in(&self, feed: &Feed) {
        self.between.store(true, Ordering::SeqCst);
        let mut nodes = false;
        let mut namespaces = BTreeSet::new();
        for change in feed.take(BATCH) {
            match change.key {
                ChangeKey::Service(key) => self.push([key], change.urgency, change.since.into()),
                ChangeKey::Node(_) => nodes = true,
                ChangeKey::Namespace(name) => {
                    namespaces.extend(Some(name).filter(|name| self.is_another(name)));
                }
                ChangeKey::Pod(_) => {}
            }
        }
        if !namespaces.is_empty() {
            let views = self.syncer.index.views();
            let inside = views.iter().filter(|view| namespaces.contains(&view.key.namespace));
            self.push(inside.map(|view| view.key.clone()), Urgency::Addition, Instant::now());
        }
        if nodes && self.weigh_zones() {
            let views = self.syncer.index.views();
            let auto = views
                .iter()
                .filter(|view| view.service.as_ref().is_some_and(|service| service.topology_auto));
            self.push(auto.map(|view| view.key.clone()), Urgency::Edit, Instant::now());
        }
        self.between.store(false, Ordering::SeqCst);
    }

    /// Whether nothing was made in a namespace of this name because it was being deleted, and it no longer is.
    fn is_another(&self, name: &Name) -> bool {
        let index = &self.syncer.index;
        index.namespace(name).is_none_or(|namespace| !namespace.meta.deleting)
            && self.syncer.ending.lock().remove(name)
    }

    fn push(&self, keys: impl IntoIterator<Item = Key>, urgency: Urgency, since: Instant) {
        let parts: &[Part] = match self.syncer.config.endpoints {
            EndpointsMode::Off => &[Part::Slices],
            EndpointsMode::On | EndpointsMode::Existing => &[Part::Slices, Part::Endpoints],
        };
        let tasks = keys.into_iter().flat_map(|key| {
            parts
                .iter()
                .map(move |part| (Task { key: key.clone(), part: *part }, Class::of(urgency, *part), since))
        });
        self.queue.push_and_tell(tasks, |task, joined| self.syncer.metrics.pushed(task, joined));
    }

    /// Computes the zones' shares anew, and tells whether they changed.
    fn weigh_zones(&self) -> bool {
        let nodes = self.syncer.index.nodes();
        let zones = Zones::of(nodes.iter().map(AsRef::as_ref)).map(Arc::new);
        let changed = *self.syncer.zones.read() != zones;
        if changed {
            *self.syncer.zones.write() = zones;
        }
        changed
    }

    async fn work(self: Arc<Self>, stop: CancellationToken) {
        let abandon = async {
            stop.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::pin!(abandon);
        loop {
            let (turn, lease) = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                next = self.next() => next,
            };
            tokio::select! {
                biased;
                () = &mut abandon => return,
                () = self.work_on(lease, &stop) => {}
            }
            drop(turn);
        }
    }

    /// The next key, when something may be written. What shadow mode does needs no permission.
    async fn next(&self) -> (Turn, Lease<Task>) {
        if self.syncer.config.mode == Mode::On {
            self.gate.opened().await;
        }
        let turn = self.syncer.writer.enter().await;
        (turn, self.queue.take().await)
    }

    async fn work_on(&self, lease: Lease<Task>, stop: &CancellationToken) {
        if let Some(left) = self.syncer.gather(&lease) {
            return lease.wait(left);
        }
        let part = lease.key.part;
        let work = self.syncer.metrics.begin(&lease);
        let verdict = match part {
            Part::Slices => self.syncer.sync::<EndpointSlice>(&lease, stop).await,
            Part::Endpoints => self.syncer.sync::<Endpoints>(&lease, stop).await,
        };
        self.syncer.metrics.ended(&lease.key, &work, &verdict);
        drop(work);
        match verdict {
            Verdict::Done(rest) => lease.done(rest),
            Verdict::Retry { pause } => {
                lease.retry(pause);
            }
        }
    }
}

#[cfg(test)]
mod tests;
