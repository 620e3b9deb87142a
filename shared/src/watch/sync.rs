//! How far the watches are: what readiness reports and what nothing may be answered before.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use parking_lot::Mutex;
use tokio::sync::watch;

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

/// The state of one watch.
#[derive(Debug)]
pub(super) struct Progress {
    synced: AtomicBool,
    listed: AtomicUsize,
    /// Objects that are kept though the last list lacks them.
    doubted: AtomicUsize,
    error: Mutex<Option<String>>,
    changed: watch::Sender<()>,
}

impl Default for SyncState {
    fn default() -> Self {
        Self { kinds: Vec::new(), changed: watch::Sender::new(()) }
    }
}

impl SyncState {
    pub(super) fn add(&mut self, kind: &'static str) -> Arc<Progress> {
        let progress = Arc::new(Progress {
            synced: AtomicBool::new(false),
            listed: AtomicUsize::new(0),
            doubted: AtomicUsize::new(0),
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

    /// For each kind how many objects are kept though its last list lacks them, because that list is not believed yet.
    pub fn doubted(&self) -> impl Iterator<Item = (&'static str, usize)> + '_ {
        self.kinds.iter().map(|(kind, progress)| (*kind, progress.doubted.load(Ordering::Relaxed)))
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

    pub(super) fn synced(&self) {
        self.error.lock().take();
        if !self.synced.swap(true, Ordering::AcqRel) {
            self.changed.send_replace(());
        }
    }

    /// Notes an error. True when it is another one than the last.
    pub(super) fn failed(&self, error: &str) -> bool {
        let mut last = self.error.lock();
        if last.as_deref() == Some(error) {
            return false;
        }
        *last = Some(error.to_owned());
        true
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
        let (services, pods) = (state.add("services"), state.add("pods"));
        services.synced();
        pods.listing(7);
        assert!(pods.failed("403") && !pods.failed("403"));
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
}
