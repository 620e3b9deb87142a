//! How far the watches are: what readiness reports and what nothing may be answered before.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::{
    contact::{Contact, Contacts},
    failure::WatchFailure,
};

/// The state of all watches. A kind counts as synced from its first complete list on, for good: what is known stays
/// known while a watch is down.
#[derive(Debug)]
pub struct SyncState {
    kinds: Vec<(&'static str, Arc<Progress>)>,
    changed: watch::Sender<()>,
}

/// A kind that has not been listed completely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsynced {
    /// Its plural: `services`.
    pub kind: &'static str,
    /// How many objects have arrived.
    pub listed: usize,
    /// The last error, if there was one since.
    pub error: Option<String>,
}

/// What is to be told of one watch.
#[derive(Clone, Debug)]
pub struct Watching {
    /// The kind's plural.
    pub kind: &'static str,
    /// Whether it has been listed completely, once.
    pub synced: bool,
    /// How far behind what is known of it may be.
    pub lag: Duration,
    /// Complete lists.
    pub lists: u64,
    /// Changes that the watch told of.
    pub events: u64,
    /// Errors, each kind once.
    pub failures: [(WatchFailure, u64); WatchFailure::ALL.len()],
    /// Objects that cannot be read.
    pub unreadable: usize,
    /// Objects that are kept though the last list lacks them, because that list is not believed yet.
    pub doubted: usize,
}

/// The state of one watch.
#[derive(Debug)]
pub(super) struct Progress {
    synced: AtomicBool,
    listed: AtomicUsize,
    /// Objects that are kept though the last list lacks them.
    doubted: AtomicUsize,
    unreadable: AtomicUsize,
    lists: AtomicU64,
    events: AtomicU64,
    failures: [AtomicU64; WatchFailure::ALL.len()],
    contact: Arc<Contact>,
    error: Mutex<Option<String>>,
    changed: watch::Sender<()>,
}

impl Default for SyncState {
    fn default() -> Self {
        Self { kinds: Vec::new(), changed: watch::Sender::new(()) }
    }
}

impl SyncState {
    pub(super) fn add(&mut self, kind: &'static str, contacts: &Contacts) -> Arc<Progress> {
        let progress = Arc::new(Progress {
            synced: AtomicBool::new(false),
            listed: AtomicUsize::new(0),
            doubted: AtomicUsize::new(0),
            unreadable: AtomicUsize::new(0),
            lists: AtomicU64::new(0),
            events: AtomicU64::new(0),
            failures: [const { AtomicU64::new(0) }; WatchFailure::ALL.len()],
            contact: contacts.of(kind).cloned().unwrap_or_default(),
            error: Mutex::default(),
            changed: self.changed.clone(),
        });
        self.kinds.push((kind, Arc::clone(&progress)));
        progress
    }

    /// The kinds that are not synced, in the order in which their watches were started.
    pub fn unsynced(&self) -> Vec<Unsynced> {
        let waiting = self.kinds.iter().filter(|(_, progress)| !progress.synced.load(Ordering::Acquire));
        waiting
            .map(|(kind, progress)| Unsynced {
                kind,
                listed: progress.listed.load(Ordering::Relaxed),
                error: progress.error.lock().clone(),
            })
            .collect()
    }

    /// What is to be told of each watch.
    pub fn watching(&self) -> impl Iterator<Item = Watching> + '_ {
        self.kinds.iter().map(|(kind, progress)| progress.tell(kind))
    }

    /// Whether every kind has been listed.
    pub fn is_synced(&self) -> bool {
        self.kinds.iter().all(|(_, progress)| progress.synced.load(Ordering::Acquire))
    }

    /// Waits until every kind has been listed.
    pub async fn wait(&self) {
        let mut changes = self.changed.subscribe();
        // The sender lives in `self`: waiting cannot fail.
        while !self.is_synced() && changes.changed().await.is_ok() {}
    }
}

impl Progress {
    pub(super) fn listing(&self, objects: usize) {
        self.listed.store(objects, Ordering::Relaxed);
    }

    pub(super) fn doubted(&self, objects: usize) {
        self.doubted.store(objects, Ordering::Relaxed);
    }

    pub(super) fn unreadable(&self, objects: usize) {
        self.unreadable.store(objects, Ordering::Relaxed);
    }

    pub(super) fn event(&self) {
        self.events.fetch_add(1, Ordering::Relaxed);
    }

    /// A list is complete.
    pub(super) fn synced(&self) {
        self.lists.fetch_add(1, Ordering::Relaxed);
        self.error.lock().take();
        if !self.synced.swap(true, Ordering::AcqRel) {
            self.changed.send_replace(());
        }
    }

    /// Notes an error. True when it is another one than the last.
    pub(super) fn failed(&self, failure: WatchFailure, error: &str) -> bool {
        if let Some(count) = self.failures.get(failure as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let mut last = self.error.lock();
        if last.as_deref() == Some(error) {
            return false;
        }
        *last = Some(error.to_owned());
        true
    }

    fn tell(&self, kind: &'static str) -> Watching {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Watching {
            kind,
            synced: self.synced.load(Ordering::Acquire),
            lag: self.contact.lag(),
            lists: count(&self.lists),
            events: count(&self.events),
            failures: WatchFailure::ALL
                .map(|failure| (failure, self.failures.get(failure as usize).map_or(0, count))),
            unreadable: self.unreadable.load(Ordering::Relaxed),
            doubted: self.doubted.load(Ordering::Relaxed),
        }
    }
}

impl std::fmt::Display for Unsynced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} listed", self.kind, self.listed)?;
        match &self.error {
            Some(error) => write!(f, ", {error}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waits_for_every_kind_and_names_those_that_miss() {
        let mut state = SyncState::default();
        let contacts = Contacts::default();
        let (services, pods) = (state.add("services", &contacts), state.add("pods", &contacts));
        services.synced();
        pods.listing(7);
        let forbidden = WatchFailure::Forbidden;
        assert!(pods.failed(forbidden, "403") && !pods.failed(forbidden, "403"));
        let unsynced: Vec<String> = state.unsynced().iter().map(ToString::to_string).collect();
        assert_eq!(unsynced, ["pods: 7 listed, 403"]);
        let state = Arc::new(state);
        let waiting = tokio::spawn({
            let state = Arc::clone(&state);
            async move { state.wait().await }
        });
        tokio::task::yield_now().await;
        pods.synced();
        waiting.await.unwrap();
        assert!(state.is_synced());
    }

    #[test]
    fn what_is_counted_is_told() {
        let mut state = SyncState::default();
        let pods = state.add("pods", &Contacts::default());
        pods.failed(WatchFailure::Connection, "refused");
        pods.failed(WatchFailure::Connection, "refused");
        pods.event();
        pods.unreadable(3);
        pods.synced();
        pods.synced();
        let told: Vec<Watching> = state.watching().collect();
        let [it] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!((it.kind, it.synced, it.lists, it.events, it.unreadable), ("pods", true, 2, 1, 3));
        for (failure, count) in it.failures {
            assert_eq!(count, if failure == WatchFailure::Connection { 2 } else { 0 }, "{failure:?}");
        }
    }
}
