//! All pods, by their keys.
//!
//! There are more pods than anything else. A map would hold each one's key a second time; this is a set of pods that is
//! asked by key, in shards, so that readers seldom meet the writer.

use std::{hash::BuildHasher, sync::Arc};

use foldhash::fast::RandomState;
use hashbrown::{HashTable, hash_table::Entry};
use parking_lot::RwLock;

use crate::{name::Key, object::Pod};

const SHARDS: usize = 16;

/// The pods.
#[derive(Default)]
pub(super) struct Pods {
    shards: [RwLock<HashTable<Arc<Pod>>>; SHARDS],
    hasher: RandomState,
}

impl Pods {
    pub(super) fn get(&self, key: &Key) -> Option<Arc<Pod>> {
        let (hash, shard) = self.place(key)?;
        shard.read().find(hash, |pod| pod.meta.key == *key).cloned()
    }

    /// Takes in a pod, and gives the one of the same key that it replaces.
    pub(super) fn insert(&self, pod: Arc<Pod>) -> Option<Arc<Pod>> {
        let (hash, shard) = self.place(&pod.meta.key)?;
        let mut shard = shard.write();
        let same = |known: &Arc<Pod>| known.meta.key == pod.meta.key;
        match shard.entry(hash, same, |known| self.hasher.hash_one(&known.meta.key)) {
            Entry::Occupied(mut known) => Some(std::mem::replace(known.get_mut(), pod)),
            Entry::Vacant(free) => {
                free.insert(pod);
                None
            }
        }
    }

    pub(super) fn remove(&self, key: &Key) -> Option<Arc<Pod>> {
        let (hash, shard) = self.place(key)?;
        let mut shard = shard.write();
        let removed = shard.find_entry(hash, |pod| pod.meta.key == *key).ok()?.remove().0;
        // Room is given back once three quarters of it are free, and half of it is kept for those that come.
        if shard.capacity() > shard.len().max(64) * 4 {
            let half = shard.len() * 2;
            shard.shrink_to(half, |known| self.hasher.hash_one(&known.meta.key));
        }
        Some(removed)
    }

    /// All of them, in no order.
    pub(super) fn all(&self) -> Vec<Arc<Pod>> {
        let mut all = Vec::with_capacity(self.len());
        self.shards.iter().for_each(|shard| all.extend(shard.read().iter().cloned()));
        all
    }

    /// Their keys, in no order.
    pub(super) fn keys(&self) -> Vec<Key> {
        let mut keys = Vec::with_capacity(self.len());
        self.shards.iter().for_each(|shard| keys.extend(shard.read().iter().map(|pod| pod.meta.key.clone())));
        keys
    }

    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().len()).sum()
    }

    fn place(&self, key: &Key) -> Option<(u64, &RwLock<HashTable<Arc<Pod>>>)> {
        let hash = self.hasher.hash_one(key);
        // A table itself places its values by the lowest and the highest bits of a hash.
        let shard = self.shards.get((hash >> 32) as usize % SHARDS)?;
        Some((hash, shard))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_found_by_its_key_and_replaced() {
        let pods = Pods::default();
        let pod = |name: &str| {
            let mut pod = Pod::default();
            pod.meta.key = Key::new("n", name);
            Arc::new(pod)
        };
        let names: Vec<String> = (0..2000).map(|number| format!("pods-tests-{number}")).collect();
        assert!(names.iter().all(|name| pods.insert(pod(name)).is_none()));
        let again = pod(&names[7]);
        assert!(pods.insert(Arc::clone(&again)).is_some());
        assert!(Arc::ptr_eq(&pods.get(&again.meta.key).unwrap(), &again));
        assert_eq!((pods.len(), pods.all().len(), pods.keys().len()), (2000, 2000, 2000));
        for name in &names[10..] {
            assert!(pods.remove(&Key::new("n", name)).is_some());
        }
        assert!(pods.remove(&Key::new("n", "pods-tests-10")).is_none());
        assert!(names[..10].iter().all(|name| pods.get(&Key::new("n", name)).is_some()));
        assert!(pods.shards.iter().all(|shard| shard.read().capacity() < 1000));
    }
}
