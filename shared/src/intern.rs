//! Interning: of equal texts and label sets one is in memory, however many objects carry it.
//!
//! A cluster repeats itself: every pod carries its namespace and its Node, all pods of a template carry the same labels, a
//! pod's name is in its slice and in its Endpoints. What is decoded is looked up here first, and what is known is shared.
//!
//! ```text
//!   decode ──text──▶ shard of the table ──known──▶ another handle       last handle dropped ──▶ taken out of the table
//!                          └─────────────new──▶ made, kept, handed out
//! ```
//!
//! Nothing stays because of the table: the last handle takes its value out when it goes. Two handles that go at the very
//! same time may each take the other for the last; what they leave is found when its shard next grows to twice of what
//! was in use, so it is bounded by what is alive.

use std::{
    fmt,
    hash::{BuildHasher, Hash},
};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use parking_lot::Mutex;

/// So many that threads that decode at the same time seldom meet in one.
const SHARDS: usize = 64;

/// A shard of fewer values is not looked through for what is no longer used.
const SMALL: usize = 32;

/// A reference-counted handle of a value.
pub(crate) trait Handle: Clone {
    /// What is compared.
    type Value: ?Sized + Hash + Eq;

    /// Makes a value of its own.
    fn make(value: &Self::Value) -> Self;

    /// The value.
    fn value(&self) -> &Self::Value;

    /// How many handles there are, the table's among them.
    fn holders(&self) -> usize;

    /// Whether both are handles of one value in memory.
    fn is(&self, other: &Self) -> bool;
}

/// A table of values in use.
pub(crate) struct Interner<T> {
    shards: [Mutex<Shard<T>>; SHARDS],
    hasher: RandomState,
}

struct Shard<T> {
    values: HashTable<T>,
    /// How many values there may be before it is looked through.
    sweep_at: usize,
}

impl<T: Handle> Interner<T> {
    pub(crate) fn new() -> Self {
        let shard = |_| Mutex::new(Shard { values: HashTable::new(), sweep_at: SMALL });
        Self { shards: std::array::from_fn(shard), hasher: RandomState::default() }
    }

    /// A handle of the value that equals `value`.
    pub(crate) fn get(&self, value: &T::Value) -> T {
        let hash = self.hasher.hash_one(value);
        let Some(shard) = self.shards.get(shard_of(hash)) else { return T::make(value) };
        let mut shard = shard.lock();
        if let Some(known) = shard.values.find(hash, |known| known.value() == value) {
            return known.clone();
        }
        if shard.values.len() >= shard.sweep_at {
            shard.sweep(&self.hasher);
        }
        let made = T::make(value);
        shard.values.insert_unique(hash, made.clone(), |known| self.hasher.hash_one(known.value()));
        made
    }

    /// To be called before `last` is dropped when its holders are it and the table: takes the value out of the table, if
    /// nobody has asked for it since.
    #[cold]
    pub(crate) fn release(&self, last: &T) {
        let hash = self.hasher.hash_one(last.value());
        let Some(shard) = self.shards.get(shard_of(hash)) else { return };
        let mut shard = shard.lock();
        // Under the lock nobody gets another handle, so two holders are the caller and the table.
        if last.holders() != 2 {
            return;
        }
        let entry = shard.values.find_entry(hash, |known| known.is(last)).ok();
        let taken = entry.map(|entry| entry.remove().0);
        shard.shrink(&self.hasher);
        drop(shard);
        drop(taken);
    }

    /// How many values there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().values.len()).sum()
    }

    /// Whether there is such a value.
    #[cfg(test)]
    pub(crate) fn contains(&self, value: &T::Value) -> bool {
        let hash = self.hasher.hash_one(value);
        self.shards[shard_of(hash)].lock().values.find(hash, |known| known.value() == value).is_some()
    }
}

impl<T: Handle> Shard<T> {
    /// Drops what only the table holds.
    fn sweep(&mut self, hasher: &RandomState) {
        self.values.retain(|known| known.holders() > 1);
        self.sweep_at = (self.values.len() * 2).max(SMALL);
        self.shrink(hasher);
    }

    /// Gives back room after many values have gone.
    fn shrink(&mut self, hasher: &RandomState) {
        let used = self.values.len().max(SMALL);
        if self.values.capacity() > used * 4 {
            self.values.shrink_to(used * 2, |known| hasher.hash_one(known.value()));
        }
    }
}

impl<T> fmt::Debug for Interner<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interner").finish_non_exhaustive()
    }
}

/// The table itself places values by the lowest and the highest bits of a hash.
fn shard_of(hash: u64) -> usize {
    (hash >> 32) as usize % SHARDS
}
