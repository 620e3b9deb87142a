//! Where answers are kept: what there is, and what there is not, each with room of its own.
//!
//! Both are sharded; a hit takes the read lock of one shard. An answer counts once for each KiB that it takes, so that
//! room for so many answers is a bound on memory too. What has not been asked for lately goes first.

use std::{sync::Arc, time::Instant};

use quick_cache::{DefaultHashBuilder, Lifecycle, Weighter, sync::Cache};

use super::{entry::Entry, key::Key};

/// Both stores.
pub(super) struct Store {
    success: Half,
    denial: Half,
}

type Half = Cache<Key, Arc<Entry>, Size, DefaultHashBuilder, Evictions>;

/// What was found.
#[derive(Clone, Debug)]
pub(super) enum Found {
    /// True yet, for so many seconds.
    Fresh(Arc<Entry>, u32),
    /// Not any more.
    Stale(Arc<Entry>),
    /// Nothing.
    Nothing,
}

/// Bytes that an answer of ordinary size is within.
const ORDINARY: usize = 1024;
/// The least room that there is (`coredns` `plugin/pkg/cache`).
const LEAST: usize = 1024;
/// The most: a wrong number must not be a promise of all memory.
const MOST: usize = 16 << 20;

#[derive(Clone, Copy, Debug)]
struct Size;

impl Weighter<Key, Arc<Entry>> for Size {
    fn weight(&self, key: &Key, entry: &Arc<Entry>) -> u64 {
        u64::try_from((key.len() + entry.size()).div_ceil(ORDINARY)).unwrap_or(u64::MAX).max(1)
    }
}

/// Counts what had to go.
#[derive(Clone, Copy, Debug)]
struct Evictions;

impl Lifecycle<Key, Arc<Entry>> for Evictions {
    type RequestState = u64;

    fn on_evict(&self, count: &mut u64, _: Key, _: Arc<Entry>) {
        *count += 1;
    }
}

impl Store {
    /// Room for so many answers of each sort, of ordinary size.
    pub(super) fn new(success: usize, denial: usize) -> Self {
        Self { success: half(success), denial: half(denial) }
    }

    /// What is known now. Of two answers the one that is true counts.
    pub(super) fn get(&self, key: &Key, now: Instant) -> Found {
        let mut stale = None;
        for half in [&self.success, &self.denial] {
            let Some(entry) = half.get(key) else { continue };
            match u32::try_from(entry.remaining(now)) {
                Ok(seconds) if seconds > 0 => return Found::Fresh(entry, seconds),
                _ => stale = stale.or(Some(entry)),
            }
        }
        stale.map_or(Found::Nothing, Found::Stale)
    }

    /// Keeps an answer instead of what was known; how many others had to go.
    pub(super) fn put(&self, key: Key, entry: Arc<Entry>) -> u64 {
        let (half, other) = match entry.kind.is_denial() {
            true => (&self.denial, &self.success),
            false => (&self.success, &self.denial),
        };
        other.remove(&key);
        let mut evicted = 0;
        half.insert_with_lifecycle(key, entry, &mut evicted);
        evicted
    }

    /// How many answers there are: what there is, and what there is not.
    pub(super) fn len(&self) -> (usize, usize) {
        (self.success.len(), self.denial.len())
    }
}

fn half(room: usize) -> Half {
    let room = room.clamp(LEAST, MOST);
    let weight = u64::try_from(room).unwrap_or(u64::MAX);
    Cache::with(room, weight, Size, DefaultHashBuilder::default(), Evictions)
}
