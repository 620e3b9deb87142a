//! Which set of counters a thread counts in.
//!
//! A thread that answers datagrams takes a place, and is then the only one that writes the set of that number: its
//! additions are a load and a store, where one among many needs a locked instruction for each. Everyone else shares the
//! last set. A place is given back when its thread ends, and the next thread goes on from what is there.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;

/// How many sets there are.
pub(super) const SHARDS: usize = 16;
/// The set of those who have no place.
const SHARED: usize = SHARDS - 1;

/// Which places are taken.
static TAKEN: Mutex<[bool; SHARED]> = Mutex::new([false; SHARED]);

thread_local! {
    static MINE: Cell<usize> = const { Cell::new(SHARED) };
}

/// A thread's place. It does not leave its thread.
#[derive(Debug)]
pub(in crate::server) struct Place {
    at: usize,
    of_this_thread: std::marker::PhantomData<*const ()>,
}

impl Place {
    /// Takes a place for this thread; `None` when all are taken.
    pub(in crate::server) fn take() -> Option<Self> {
        let mut taken = TAKEN.lock();
        let at = taken.iter().position(|taken| !taken)?;
        *taken.get_mut(at)? = true;
        MINE.set(at);
        Some(Self { at, of_this_thread: std::marker::PhantomData })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        MINE.set(SHARED);
        if let Some(taken) = TAKEN.lock().get_mut(self.at) {
            *taken = false;
        }
    }
}

/// How this thread counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counting {
    /// The set.
    pub(super) shard: usize,
    alone: bool,
}

impl Counting {
    pub(super) fn here() -> Self {
        let shard = MINE.get();
        Self { shard, alone: shard != SHARED }
    }

    #[inline]
    pub(super) fn add(self, counter: &AtomicU64, value: u64) {
        if self.alone {
            counter.store(counter.load(Ordering::Relaxed).wrapping_add(value), Ordering::Relaxed);
        } else {
            counter.fetch_add(value, Ordering::Relaxed);
        }
    }

    #[inline]
    pub(super) fn add_one(self, counter: &AtomicU64) {
        self.add(counter, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_have_places_of_their_own() {
        let counter = AtomicU64::new(0);
        let shards: Vec<usize> = std::thread::scope(|scope| {
            let count = || {
                let place = Place::take();
                let counting = Counting::here();
                assert_eq!(counting.alone, place.is_some());
                if place.is_none() {
                    counting.add_one(&counter);
                }
                // All at once.
                std::thread::sleep(std::time::Duration::from_millis(200));
                counting.shard
            };
            let threads: Vec<_> = (0..SHARDS + 3).map(|_| scope.spawn(count)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let mut own: Vec<usize> = shards.iter().copied().filter(|shard| *shard != SHARED).collect();
        own.sort_unstable();
        let count = own.len();
        own.dedup();
        assert_eq!(own.len(), count, "{shards:?}");
        assert!(count >= 1 && shards.len() - count >= 4);
        assert_eq!(counter.load(Ordering::Relaxed), (shards.len() - count) as u64);
        // Given back.
        assert!(Place::take().is_some());
        assert_eq!(Counting::here().shard, SHARED);
    }
}
