//! The objects: one counter of versions, one map a kind, one log a kind.
//!
//! All writes are serialised by one lock, under which an object is read, decided about and replaced; so there is
//! never a conflict inside the server, only with what a client knew. How a write is decided is in
//! [`write`](super::write) and [`delete`](super::delete).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::faults::{Faults, Gate};
use super::kind::{KINDS, Kind};
use super::log::{Batch, Change, Event, Log, Lost, Place};
use super::object::{Key, Object};
use super::rules::service_ip::Allocator;
use super::rules::value::set;

/// All objects of the server.
#[derive(Debug)]
pub struct Store {
    state: Mutex<State>,
    bells: Vec<watch::Sender<u64>>,
    any_bell: watch::Sender<u64>,
    faults: Arc<Faults>,
}

/// Where a list or a watch looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope<'a> {
    /// The whole cluster.
    All,
    /// One namespace.
    Namespace(&'a str),
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) version: u64,
    shelves: Vec<Shelf>,
    pub(super) allocator: Allocator,
}

#[derive(Debug)]
pub(super) struct Shelf {
    objects: BTreeMap<Key, Arc<Object>>,
    log: Log,
}

impl Store {
    pub(super) fn new(watch_window: usize, faults: Arc<Faults>) -> Self {
        let shelf = || Shelf { objects: BTreeMap::new(), log: Log::new(watch_window) };
        let shelves = KINDS.iter().map(|_| shelf()).collect();
        let state = State { version: 1, shelves, allocator: Allocator::new() };
        let bells = KINDS.iter().map(|_| watch::Sender::new(0)).collect();
        Self { state: Mutex::new(state), bells, any_bell: watch::Sender::new(0), faults }
    }

    /// The newest version.
    pub fn version(&self) -> u64 {
        self.lock().version
    }

    /// An object, if it is there.
    pub fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.lock().get(kind, &Key::new(namespace, name)).cloned()
    }

    /// The objects of a kind in the order of their keys, and the version at which this was all.
    pub fn list(&self, kind: Kind, scope: Scope<'_>) -> (Vec<Arc<Object>>, u64) {
        let state = self.lock();
        (state.range(kind, scope).cloned().collect(), state.version)
    }

    /// The objects as they were at a version.
    ///
    /// # Errors
    /// [`Lost`] when the log no longer reaches back so far.
    pub(super) fn list_at(
        &self,
        kind: Kind,
        scope: Scope<'_>,
        version: u64,
    ) -> Result<Vec<Arc<Object>>, Lost> {
        let state = self.lock();
        if version < self.faults.floor() {
            return Err(Lost);
        }
        let mut changed: BTreeMap<&Key, Option<&Arc<Object>>> = BTreeMap::new();
        for event in state.shelf(kind).log.since(version)? {
            changed.insert(&event.object.key, event.previous.as_ref());
        }
        if changed.is_empty() {
            return Ok(state.range(kind, scope).cloned().collect());
        }
        let mut objects: BTreeMap<&Key, &Arc<Object>> =
            state.range(kind, scope).map(|it| (&it.key, it)).collect();
        for (key, then) in changed.into_iter().filter(|(key, _)| scope.holds(key)) {
            match then {
                Some(object) => drop(objects.insert(key, object)),
                None => drop(objects.remove(key)),
            }
        }
        Ok(objects.into_values().cloned().collect())
    }

    /// A place from which a watch of a kind sees everything newer than a version.
    ///
    /// # Errors
    /// [`Lost`] when the version is too old.
    pub(super) fn place_after(&self, kind: Kind, version: u64) -> Result<Place, Lost> {
        let state = self.lock();
        if version < self.faults.floor() {
            return Err(Lost);
        }
        state.shelf(kind).log.after(version)
    }

    /// The objects there are, their version, and the place from which a watch sees everything after them.
    pub(super) fn list_and_place(&self, kind: Kind, scope: Scope<'_>) -> (Vec<Arc<Object>>, u64, Place) {
        let state = self.lock();
        let objects = state.range(kind, scope).cloned().collect();
        (objects, state.version, state.shelf(kind).log.end())
    }

    /// Reads on from a place; see [`Log::read`].
    pub(super) fn read(
        &self,
        kind: Kind,
        place: &mut Place,
        most: usize,
        gate: &Gate,
    ) -> Result<Batch, Lost> {
        let state = self.lock();
        state.shelf(kind).log.read(place, most, gate, state.version)
    }

    /// The version of the newest commit of a kind; 0 before the first.
    #[expect(clippy::indexing_slicing, reason = "there is one bell for each kind")]
    pub(super) fn newest_of(&self, kind: Kind) -> u64 {
        *self.bells[kind as usize].borrow()
    }

    /// Rings at every commit of a kind.
    #[expect(clippy::indexing_slicing, reason = "there is one bell for each kind")]
    pub(super) fn bell(&self, kind: Kind) -> watch::Receiver<u64> {
        self.bells[kind as usize].subscribe()
    }

    /// Rings at every commit.
    pub(super) fn any_bell(&self) -> watch::Receiver<u64> {
        self.any_bell.subscribe()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock();
        // Expired versions end one above the newest, so that a client that lists again gets past them.
        state.version = state.version.max(self.faults.floor());
        state
    }

    /// Puts a new version of an object in place and tells the watches.
    pub(super) fn put(&self, state: &mut State, kind: Kind, mut value: Value) -> Arc<Object> {
        state.version += 1;
        set(&mut value, &["metadata", "resourceVersion"], json!(state.version.to_string()));
        let object = Arc::new(Object::new(kind, state.version, value));
        let previous = state.shelf_mut(kind).objects.insert(object.key.clone(), Arc::clone(&object));
        let change = if previous.is_some() { Change::Modified } else { Change::Added };
        self.tell(state, change, Arc::clone(&object), previous);
        object
    }

    /// Takes an object out and tells the watches. What it was last comes back, with the version of the deletion.
    pub(super) fn take(&self, state: &mut State, object: &Arc<Object>) -> Arc<Object> {
        state.version += 1;
        let mut last = object.value.clone();
        set(&mut last, &["metadata", "resourceVersion"], json!(state.version.to_string()));
        let gone = Arc::new(Object::new(object.kind, state.version, last));
        let previous = state.shelf_mut(object.kind).objects.remove(&object.key);
        self.tell(state, Change::Deleted, Arc::clone(&gone), previous);
        gone
    }

    #[expect(clippy::indexing_slicing, reason = "there is one bell for each kind")]
    fn tell(&self, state: &mut State, change: Change, object: Arc<Object>, previous: Option<Arc<Object>>) {
        let (kind, version) = (object.kind, object.version);
        let lost = self.faults.on_commit(kind, version);
        state.shelf_mut(kind).log.push(Event { change, object, previous, at: Instant::now(), lost });
        self.bells[kind as usize].send_replace(version);
        self.any_bell.send_replace(version);
    }
}

impl Scope<'_> {
    fn holds(self, key: &Key) -> bool {
        match self {
            Self::All => true,
            Self::Namespace(namespace) => &*key.namespace == namespace,
        }
    }
}

impl State {
    pub(super) fn get(&self, kind: Kind, key: &Key) -> Option<&Arc<Object>> {
        self.shelf(kind).objects.get(key)
    }

    pub(super) fn range(&self, kind: Kind, scope: Scope<'_>) -> impl Iterator<Item = &Arc<Object>> {
        let start = match scope {
            Scope::All => Key::new("", ""),
            Scope::Namespace(namespace) => Key::new(namespace, ""),
        };
        let objects = self.shelf(kind).objects.range(start..);
        objects.take_while(move |(key, _)| scope.holds(key)).map(|(_, object)| object)
    }

    #[expect(clippy::indexing_slicing, reason = "there is one shelf for each kind")]
    pub(super) fn shelf(&self, kind: Kind) -> &Shelf {
        &self.shelves[kind as usize]
    }

    #[expect(clippy::indexing_slicing, reason = "there is one shelf for each kind")]
    fn shelf_mut(&mut self, kind: Kind) -> &mut Shelf {
        &mut self.shelves[kind as usize]
    }
}

#[cfg(test)]
mod tests;
