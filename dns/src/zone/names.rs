//! Every Service's names, by `service.namespace`: the map that nearly every question looks into.
//!
//! ```text
//!   hash of the name ──▶ one of 1024 snapshots: a small table that is never changed, but replaced
//! ```
//!
//! What was measured (`cargo bench --bench reads`) decided for it: a look-up costs the same however many threads look up
//! the same name, because they write to nothing that they share. In a sharded map with locks each look-up writes to its
//! shard's lock and to the counter of what it found, and two cores pay three times for both. The price is the writer's: a
//! change copies the ten entries or so that are beside it.
//!
//! No answering thread frees what was replaced. The names of a Service of thousands of endpoints take a while to free, so
//! the writer keeps them until no reader has them any more, and looks at the next change.

use std::{
    hash::BuildHasher,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use arc_swap::{ArcSwap, Guard};
use compact_str::CompactString as Text;
use hashbrown::{HashTable, hash_table::Entry};
use parking_lot::Mutex;

use super::{Hasher, service::ServiceNames};

/// How many snapshots there are. With 10,000 Services one has ten entries.
const SNAPSHOTS: usize = 1024;

/// The Services with names. Writers take turns, readers never wait.
#[derive(Debug)]
pub(super) struct Names {
    snapshots: Box<[ArcSwap<Snapshot>]>,
    hasher: Hasher,
    count: AtomicUsize,
    /// Endpoints of all of them.
    endpoints: AtomicUsize,
    /// What was replaced and may still be read. It is the writers' lock, too.
    replaced: Mutex<Vec<Arc<ServiceNames>>>,
}

type Snapshot = HashTable<(Text, Arc<ServiceNames>)>;

impl Default for Names {
    fn default() -> Self {
        // All empty ones are the same.
        let empty = Arc::new(Snapshot::new());
        let snapshot = |_| ArcSwap::new(Arc::clone(&empty));
        Self {
            snapshots: (0..SNAPSHOTS).map(snapshot).collect(),
            hasher: Hasher::default(),
            count: AtomicUsize::new(0),
            endpoints: AtomicUsize::new(0),
            replaced: Mutex::default(),
        }
    }
}

impl Names {
    /// The names of a Service: as they were or as they are now, never half of each.
    pub(super) fn get(&self, key: &str) -> Option<Arc<ServiceNames>> {
        self.read(key, |names| names.cloned())
    }

    /// Reads the names of a Service where they are: nothing is written to that other threads read.
    pub(super) fn read<R>(&self, key: &str, read: impl FnOnce(Option<&Arc<ServiceNames>>) -> R) -> R {
        let hash = self.hasher.hash_one(key);
        let snapshot: Option<Guard<Arc<Snapshot>>> = self.place(hash).map(ArcSwap::load);
        let entry = snapshot.as_ref().and_then(|snapshot| snapshot.find(hash, |(known, _)| known == key));
        read(entry.map(|(_, names)| names))
    }

    /// Replaces a Service's names.
    pub(super) fn insert(&self, key: Text, names: Arc<ServiceNames>) {
        self.endpoints.fetch_add(names.endpoints(), Ordering::Relaxed);
        self.edit(&key, |snapshot, hash| {
            match snapshot.entry(hash, |(known, _)| *known == key, |(known, _)| self.hash(known)) {
                Entry::Occupied(mut entry) => Some(std::mem::replace(&mut entry.get_mut().1, names)),
                Entry::Vacant(entry) => {
                    entry.insert((key.clone(), names));
                    self.count.fetch_add(1, Ordering::Relaxed);
                    None
                }
            }
        });
    }

    /// Forgets a Service.
    pub(super) fn remove(&self, key: &str) {
        self.edit(key, |snapshot, hash| {
            let (_, names) = snapshot.find_entry(hash, |(known, _)| known == key).ok()?.remove().0;
            snapshot.shrink_to(snapshot.len(), |(known, _)| self.hash(known));
            self.count.fetch_sub(1, Ordering::Relaxed);
            Some(names)
        });
    }

    /// All of them, in no order.
    pub(super) fn all(&self) -> Vec<Arc<ServiceNames>> {
        let mut all = Vec::with_capacity(self.len());
        for snapshot in &self.snapshots {
            all.extend(snapshot.load().iter().map(|(_, names)| Arc::clone(names)));
        }
        all
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// How many endpoints they have.
    pub(super) fn endpoints(&self) -> usize {
        self.endpoints.load(Ordering::Relaxed)
    }

    /// Frees what was replaced and nobody reads any more. For the writer, after its changes.
    pub(super) fn tidy(&self) {
        self.replaced.lock().retain(|names| Arc::strong_count(names) > 1);
    }

    /// Replaces a snapshot by a changed copy. `edit` gives what it took out.
    fn edit(&self, key: &str, edit: impl FnOnce(&mut Snapshot, u64) -> Option<Arc<ServiceNames>>) {
        let hash = self.hash(key);
        let Some(place) = self.place(hash) else { return };
        let mut replaced = self.replaced.lock();
        let mut snapshot = Snapshot::clone(&place.load());
        // Kept before the old snapshot goes, so that no reader of it is the last to have them.
        let old = edit(&mut snapshot, hash);
        self.endpoints.fetch_sub(old.as_ref().map_or(0, |names| names.endpoints()), Ordering::Relaxed);
        replaced.extend(old);
        place.store(Arc::new(snapshot));
    }

    fn hash(&self, key: &str) -> u64 {
        self.hasher.hash_one(key)
    }

    fn place(&self, hash: u64) -> Option<&ArcSwap<Snapshot>> {
        // A table itself places its entries by the lowest and the highest bits of a hash.
        self.snapshots.get((hash >> 32) as usize % SNAPSHOTS)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, thread};

    use proptest::prelude::*;

    use super::*;
    use crate::testing;

    /// The names of Services of the small cluster, under any key.
    fn some() -> Vec<Arc<ServiceNames>> {
        testing::zone().all_services()
    }

    proptest! {
        #[test]
        fn it_is_a_map(edits in prop::collection::vec((0..40_usize, 0..12_usize), 0..200)) {
            let some = some();
            let (names, mut model) = (Names::default(), HashMap::new());
            for (key, what) in edits {
                let key = Text::from(format!("s{key}.ns"));
                match some.get(what) {
                    Some(new) => {
                        names.insert(key.clone(), Arc::clone(new));
                        model.insert(key, Arc::clone(new));
                    }
                    None => {
                        names.remove(&key);
                        model.remove(&key);
                    }
                }
                names.tidy();
            }
            prop_assert_eq!((names.len(), names.all().len()), (model.len(), model.len()));
            let endpoints: usize = model.values().map(|names| names.endpoints()).sum();
            prop_assert_eq!(names.endpoints(), endpoints);
            for key in 0..40 {
                let key = format!("s{key}.ns");
                let known = names.get(&key);
                prop_assert_eq!(known.as_ref().map(Arc::as_ptr), model.get(key.as_str()).map(Arc::as_ptr));
            }
        }
    }

    #[test]
    fn what_was_replaced_is_freed_by_the_writer() {
        let some = some();
        let fresh = || Arc::new(some[0].as_ref().clone());
        let names = Names::default();
        names.insert("a.ns".into(), fresh());
        let (held, watched) = (names.get("a.ns").unwrap(), Arc::downgrade(&names.get("a.ns").unwrap()));
        names.insert("a.ns".into(), fresh());
        names.tidy();
        assert!(watched.upgrade().is_some(), "it is being read");
        drop(held);
        assert!(watched.upgrade().is_some(), "its last reader has not freed it");
        names.tidy();
        assert!(watched.upgrade().is_none());
        names.remove("a.ns");
        names.tidy();
        assert!(names.replaced.lock().is_empty());
        assert_eq!(names.len(), 0);
    }

    #[test]
    fn a_name_that_stays_is_found_whatever_happens_beside_it() {
        let (some, names) = (some(), Names::default());
        let add = |key: &str| names.insert(key.into(), Arc::clone(&some[0]));
        add("stays.ns");
        thread::scope(|scope| {
            let reader = scope.spawn(|| (0..200_000).all(|_| names.get("stays.ns").is_some()));
            let mut number = 0;
            while !reader.is_finished() {
                add("stays.ns");
                add(&format!("s{number}.ns"));
                names.remove(&format!("s{number}.ns"));
                names.tidy();
                number = (number + 1) % 5000;
            }
            assert!(reader.join().unwrap());
        });
    }
}
