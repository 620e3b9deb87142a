//! Read your writes: what was acknowledged counts before the watch has told of it.
//!
//! Between the API server's answer to a write and its echo on the watch, the index is behind. A plan made from it would
//! repeat the write and run into a conflict. Upstream notices that its cache is stale and waits a second or more, and
//! has lost track of itself that way (kubernetes/kubernetes#125638, #141592). Here acknowledged objects are laid over
//! what the index has, by version, until the index has them:
//!
//! | acknowledged | the index has | counts |
//! |---|---|---|
//! | written at version v | the name at v or later | the index: the echo came |
//! | | the name before v | the acknowledged object |
//! | | nothing, and nothing as new as v of the kind | the acknowledged object |
//! | | nothing, but something as new as v of the kind | nothing: it came and was deleted |
//! | deleted, uid u | the name with uid u | nothing |
//! | | anything else | the index: the echo came |
//!
//! The last-but-two row needs [`Index::newest`](callsign_shared::Index::newest). Should the index miss both the object
//! and its deletion, between two lists, an entry is [forgotten](LIFETIME) after a while. All writes name the version
//! they replace, and names of new objects are deterministic, so an entry that is forgotten too early costs a refused
//! request, never a wrong one.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use callsign_shared::{
    Name,
    object::{Decode, Uid},
};
use tokio::time::Instant;

/// How long the echo of a write may take.
pub const LIFETIME: Duration = Duration::from_secs(5);

/// Acknowledged writes of one Service and kind that the index has not told of.
#[derive(Clone, Debug)]
pub struct Overlay<T> {
    acknowledged: BTreeMap<Name, (Acknowledged<T>, Instant)>,
}

#[derive(Clone, Debug)]
enum Acknowledged<T> {
    Written(Arc<T>),
    Deleted { uid: Uid },
}

impl<T> Default for Overlay<T> {
    fn default() -> Self {
        Self { acknowledged: BTreeMap::new() }
    }
}

impl<T: Decode> Overlay<T> {
    /// The API server has this object in this form.
    pub fn written(&mut self, object: Arc<T>, now: Instant) {
        self.acknowledged.insert(object.meta().key.name.clone(), (Acknowledged::Written(object), now));
    }

    /// The API server no longer has the object.
    pub fn deleted(&mut self, object: &T, now: Instant) {
        let meta = object.meta();
        self.acknowledged
            .insert(meta.key.name.clone(), (Acknowledged::Deleted { uid: meta.uid.clone() }, now));
    }

    /// Whether the index has told of everything, as of the last [`over`](Self::over).
    pub fn is_empty(&self) -> bool {
        self.acknowledged.is_empty()
    }

    /// What counts: `seen` by the index, in the order of names, with what it has not told of laid over it. Forgets what
    /// it has told of. `newest` is the index's newest version of the kind, read before `seen`.
    pub fn over(&mut self, seen: &[Arc<T>], newest: u64, now: Instant) -> Vec<Arc<T>> {
        let mut merged: BTreeMap<&Name, &Arc<T>> =
            seen.iter().map(|object| (&object.meta().key.name, object)).collect();
        self.acknowledged.retain(|name, (acknowledged, at)| {
            let known = merged.get(name).map(|object| object.meta());
            now.duration_since(*at) < LIFETIME
                && match acknowledged {
                    Acknowledged::Deleted { uid } => known.is_some_and(|known| known.uid == *uid),
                    Acknowledged::Written(object) => {
                        let version = object.meta().version();
                        known.map_or(newest, |known| known.version().unwrap_or_default())
                            < version.unwrap_or_default()
                    }
                }
        });
        for (name, (acknowledged, _)) in &self.acknowledged {
            match acknowledged {
                Acknowledged::Written(object) => merged.insert(name, object),
                Acknowledged::Deleted { .. } => merged.remove(name),
            };
        }
        merged.into_values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use callsign_shared::{Key, object::EndpointSlice};

    use super::*;

    fn slice(name: &str, uid: &str, version: u64) -> Arc<EndpointSlice> {
        let mut slice = EndpointSlice::default();
        slice.meta.key = Key::new("n", name);
        slice.meta.uid = uid.into();
        slice.meta.resource_version = version.to_string().into();
        Arc::new(slice)
    }

    fn over(overlay: &mut Overlay<EndpointSlice>, seen: &[Arc<EndpointSlice>], newest: u64) -> Vec<String> {
        let merged = overlay.over(seen, newest, Instant::now());
        merged.iter().map(|s| format!("{}@{}", s.meta.key.name, s.meta.resource_version)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_newer_counts_until_the_echo() {
        let mut overlay = Overlay::default();
        overlay.written(slice("a", "u", 10), Instant::now());
        assert_eq!(over(&mut overlay, &[slice("a", "u", 5), slice("b", "v", 6)], 9), ["a@10", "b@6"]);
        assert_eq!(over(&mut overlay, &[slice("a", "u", 12)], 12), ["a@12"], "somebody wrote after us");
        assert!(overlay.is_empty());
        assert_eq!(over(&mut overlay, &[], 12), [""; 0], "no ghost");
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_object_counts_until_the_index_must_have_seen_it() {
        let mut overlay = Overlay::default();
        overlay.written(slice("a", "u", 10), Instant::now());
        assert_eq!(over(&mut overlay, &[], 9), ["a@10"]);
        assert_eq!(over(&mut overlay, &[], 11), [""; 0], "created, seen and deleted before we looked");
        assert!(overlay.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_deletion_is_by_uid() {
        let mut overlay: Overlay<EndpointSlice> = Overlay::default();
        overlay.deleted(&slice("a", "u", 10), Instant::now());
        assert_eq!(over(&mut overlay, &[slice("a", "u", 10)], 10), [""; 0]);
        assert_eq!(
            over(&mut overlay, &[slice("a", "u", 14)], 14),
            [""; 0],
            "an earlier update still arrives"
        );
        assert_eq!(over(&mut overlay, &[slice("a", "w", 15)], 15), ["a@15"], "another object of this name");
        assert!(overlay.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_never_echoed_is_forgotten() {
        let mut overlay = Overlay::default();
        overlay.written(slice("a", "u", 10), Instant::now());
        tokio::time::advance(LIFETIME).await;
        assert_eq!(over(&mut overlay, &[], 0), [""; 0]);
        assert!(overlay.is_empty());
    }
}
