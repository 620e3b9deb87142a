//! The structures that are compared, each from a name to a value that is replaced as a whole.

use std::{
    collections::HashMap,
    hash::BuildHasher,
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use compact_str::CompactString as Text;
use dashmap::DashMap;
use foldhash::fast::RandomState;
use hashbrown::HashTable;

/// Of the size of a Service's prepared names without what they point to.
pub(crate) struct Value {
    pub(crate) answer: u64,
    _rest: [u64; 23],
}

impl Value {
    pub(crate) fn new(answer: u64) -> Arc<Self> {
        Arc::new(Self { answer, _rest: [answer; 23] })
    }
}

/// A structure.
pub(crate) trait Table: Sync {
    /// What each thread has for itself.
    type Local;

    fn new() -> Self;
    fn local(&self) -> Self::Local;
    /// Finds a name and reads from its value, as an answer is written from it.
    fn get(&self, local: &mut Self::Local, name: &str) -> Option<u64>;
    /// There is one writer.
    fn insert(&self, name: &Text, value: Arc<Value>);
}

/// A sharded map; the value is shared with its reader, who writes after the look-up.
pub(crate) struct Cloned<const SHARDS: usize>(DashMap<Text, Arc<Value>, RandomState>);

/// The same map; its reader writes under the shard's lock.
pub(crate) struct Guarded<const SHARDS: usize>(DashMap<Text, Arc<Value>, RandomState>);

/// A map without locks.
pub(crate) struct LockFree(papaya::HashMap<Text, Arc<Value>, RandomState>);

/// Small maps that are never changed, but replaced.
pub(crate) struct Snapshots<const SHARDS: usize> {
    shards: Box<[ArcSwap<Shard>]>,
    hasher: RandomState,
}

type Shard = HashMap<Text, Arc<Value>, RandomState>;

/// The same with tables that are given the hash by which the snapshot was chosen; the value is shared with its reader or
/// read under the guard that keeps the snapshot.
pub(crate) struct HashedOnce<const SHARDS: usize, const SHARED: bool> {
    shards: Box<[ArcSwap<HashTable<Entry>>]>,
    hasher: RandomState,
}

type Entry = (Text, Arc<Value>);

/// A sharded map behind a cache of each thread, which knows by a number for each shard whether what it has is the newest.
pub(crate) struct Cached<const SLOTS: usize> {
    map: DashMap<Text, Arc<Value>, RandomState>,
    generations: Box<[AtomicU64]>,
    hasher: RandomState,
    slots: PhantomData<[(); SLOTS]>,
}

/// A thread's own: the name's hash, the name, the generation, the value.
pub(crate) type Slots = Box<[Option<(u64, Text, u64, Arc<Value>)>]>;

fn dashmap(shards: usize) -> DashMap<Text, Arc<Value>, RandomState> {
    match shards {
        0 => DashMap::default(),
        _ => DashMap::with_hasher_and_shard_amount(RandomState::default(), shards),
    }
}

impl<const SHARDS: usize> Table for Cloned<SHARDS> {
    type Local = ();

    fn new() -> Self {
        Self(dashmap(SHARDS))
    }

    fn local(&self) {}

    fn get(&self, (): &mut (), name: &str) -> Option<u64> {
        let value = self.0.get(name).map(|value| Arc::clone(&value))?;
        Some(value.answer)
    }

    fn insert(&self, name: &Text, value: Arc<Value>) {
        self.0.insert(name.clone(), value);
    }
}

impl<const SHARDS: usize> Table for Guarded<SHARDS> {
    type Local = ();

    fn new() -> Self {
        Self(dashmap(SHARDS))
    }

    fn local(&self) {}

    fn get(&self, (): &mut (), name: &str) -> Option<u64> {
        self.0.get(name).map(|value| value.answer)
    }

    fn insert(&self, name: &Text, value: Arc<Value>) {
        self.0.insert(name.clone(), value);
    }
}

impl Table for LockFree {
    type Local = ();

    fn new() -> Self {
        Self(papaya::HashMap::with_hasher(RandomState::default()))
    }

    fn local(&self) {}

    fn get(&self, (): &mut (), name: &str) -> Option<u64> {
        self.0.pin().get(name).map(|value| value.answer)
    }

    fn insert(&self, name: &Text, value: Arc<Value>) {
        self.0.pin().insert(name.clone(), value);
    }
}

impl<const SHARDS: usize> Snapshots<SHARDS> {
    fn shard(&self, name: &str) -> Option<&ArcSwap<Shard>> {
        self.shards.get((self.hasher.hash_one(name) >> 32) as usize % SHARDS)
    }
}

impl<const SHARDS: usize> Table for Snapshots<SHARDS> {
    type Local = ();

    fn new() -> Self {
        let hasher = RandomState::default();
        let shard = |_| ArcSwap::from_pointee(Shard::with_hasher(hasher.clone()));
        Self { shards: (0..SHARDS).map(shard).collect(), hasher }
    }

    fn local(&self) {}

    fn get(&self, (): &mut (), name: &str) -> Option<u64> {
        self.shard(name)?.load().get(name).map(|value| value.answer)
    }

    fn insert(&self, name: &Text, value: Arc<Value>) {
        let Some(shard) = self.shard(name) else { return };
        let mut next = Shard::clone(&shard.load());
        next.insert(name.clone(), value);
        shard.store(Arc::new(next));
    }
}

impl<const SHARDS: usize, const SHARED: bool> HashedOnce<SHARDS, SHARED> {
    fn shard(&self, hash: u64) -> Option<&ArcSwap<HashTable<Entry>>> {
        // A table itself places its values by the lowest and the highest bits of a hash.
        self.shards.get((hash >> 32) as usize % SHARDS)
    }
}

impl<const SHARDS: usize, const SHARED: bool> Table for HashedOnce<SHARDS, SHARED> {
    type Local = ();

    fn new() -> Self {
        let shard = |_| ArcSwap::from_pointee(HashTable::new());
        Self { shards: (0..SHARDS).map(shard).collect(), hasher: RandomState::default() }
    }

    fn local(&self) {}

    fn get(&self, (): &mut (), name: &str) -> Option<u64> {
        let hash = self.hasher.hash_one(name);
        let shard = self.shard(hash)?.load();
        let (_, value) = shard.find(hash, |(known, _)| known == name)?;
        if !SHARED {
            return Some(value.answer);
        }
        let value = Arc::clone(value);
        drop(shard);
        Some(value.answer)
    }

    fn insert(&self, name: &Text, value: Arc<Value>) {
        let hash = self.hasher.hash_one(name.as_str());
        let Some(shard) = self.shard(hash) else { return };
        let mut next = HashTable::clone(&shard.load());
        match next.entry(hash, |(known, _)| known == name, |(known, _)| self.hasher.hash_one(known.as_str()))
        {
            hashbrown::hash_table::Entry::Occupied(mut entry) => entry.get_mut().1 = value,
            hashbrown::hash_table::Entry::Vacant(entry) => {
                entry.insert((name.clone(), value));
            }
        }
        shard.store(Arc::new(next));
    }
}

/// How many generations there are.
const GENERATIONS: usize = 1024;

impl<const SLOTS: usize> Cached<SLOTS> {
    fn generation(&self, hash: u64) -> Option<&AtomicU64> {
        self.generations.get((hash >> 32) as usize % GENERATIONS)
    }
}

impl<const SLOTS: usize> Table for Cached<SLOTS> {
    type Local = Slots;

    fn new() -> Self {
        Self {
            map: dashmap(0),
            generations: (0..GENERATIONS).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::default(),
            slots: PhantomData,
        }
    }

    fn local(&self) -> Slots {
        (0..SLOTS).map(|_| None).collect()
    }

    fn get(&self, local: &mut Slots, name: &str) -> Option<u64> {
        let hash = self.hasher.hash_one(name);
        // Read before the map: what is stored then is at least as new as this number says.
        let generation = self.generation(hash)?.load(Ordering::Acquire);
        let slot = local.get_mut(hash as usize % SLOTS)?;
        if let Some((known, text, made, value)) = slot
            && *known == hash
            && *made == generation
            && text == name
        {
            return Some(value.answer);
        }
        let value = self.map.get(name).map(|value| Arc::clone(&value))?;
        let answer = value.answer;
        *slot = Some((hash, name.into(), generation, value));
        Some(answer)
    }

    fn insert(&self, name: &Text, value: Arc<Value>) {
        self.map.insert(name.clone(), value);
        if let Some(generation) = self.generation(self.hasher.hash_one(name.as_str())) {
            generation.fetch_add(1, Ordering::Release);
        }
    }
}
