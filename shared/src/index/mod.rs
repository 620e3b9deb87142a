//! The index: every watched object, joined, under readers that never wait for a writer.
//!
//! ```text
//!   apply / delete ──▶ [ writer lock: who selects whom, which pods are on which node ]
//!                                      │ replaces whole values
//!                                      ▼
//!            services: Key → Arc<ServiceView>      pods · nodes · namespaces
//!                                      │ marks
//!                                      ▼
//!            feeds: one queue of changed keys for each reader, each key once
//! ```
//!
//! Events come from several watches at once and join (a pod with its Services and its Node), so writers take turns
//! behind one lock; an event is a few map operations. Readers go to sharded maps and get an [`Arc`] of a whole
//! [`ServiceView`], old or new, never half of one.
//!
//! A relist is a diff: objects are applied as they come, and those of [`Index::keys`] that the list did not name are then
//! deleted. No reader sees a gap, and an object that could not be read keeps its last good form.
//!
//! The state is a function of the objects, not of the order in which they came; a property test holds that.

mod counts;
mod feed;
mod pods;
mod selectors;
mod serial;
mod view;
mod writer;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use dashmap::DashMap;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

pub use feed::{Change, ChangeKey, Feed, Interest, Urgency};
pub use view::{Published, ServiceView, Source};

use crate::{
    membership::Standing,
    name::{Key, Name},
    object::{AnsweredSlice, Decode, EndpointSlice, Endpoints, Namespace, Node, Pod, Service},
};

/// The index. Share it in an [`Arc`].
#[derive(Default)]
pub struct Index {
    services: DashMap<Key, Arc<ServiceView>>,
    pods: pods::Pods,
    nodes: DashMap<Name, Arc<Node>>,
    namespaces: DashMap<Name, Arc<Namespace>>,
    writer: Mutex<writer::Writer>,
    counts: counts::Counts,
    feeds: RwLock<Vec<feed::Sender>>,
    newest: [AtomicU64; 6],
    doubts: [Notify; 6],
}

/// A kind of object the index holds.
pub trait Indexed: Decode {
    /// The kind's plural in lower case, for logs and readiness.
    const PLURAL: &'static str;
    #[doc(hidden)]
    const SLOT: usize;

    #[doc(hidden)]
    fn apply(self, index: &Index);
    #[doc(hidden)]
    fn delete(index: &Index, key: &Key);
    #[doc(hidden)]
    fn keys(index: &Index) -> Vec<Key>;
}

impl Index {
    /// An empty index.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in an object, new or changed. The same object again changes nothing.
    pub fn apply<T: Indexed>(&self, object: T) {
        object.apply(self);
    }

    /// Removes an object. One that is not there changes nothing.
    pub fn delete<T: Indexed>(&self, key: &Key) {
        T::delete(self, key);
    }

    /// The keys of all objects of a kind, in no order.
    pub fn keys<T: Indexed>(&self) -> Vec<Key> {
        T::keys(self)
    }

    /// Everything about the Service of this key. There is a view as long as there is a Service, a slice that names it
    /// or Endpoints of its name.
    pub fn view(&self, key: &Key) -> Option<Arc<ServiceView>> {
        self.services.get(key).map(|view| Arc::clone(&view))
    }

    /// All views, in no order.
    pub fn views(&self) -> Vec<Arc<ServiceView>> {
        self.services.iter().map(|view| Arc::clone(&view)).collect()
    }

    /// The pod of this key.
    pub fn pod(&self, key: &Key) -> Option<Arc<Pod>> {
        self.pods.get(key)
    }

    /// All pods, in no order.
    pub fn pods(&self) -> Vec<Arc<Pod>> {
        self.pods.all()
    }

    /// The Node of this name.
    pub fn node(&self, name: &str) -> Option<Arc<Node>> {
        self.nodes.get(name).map(|node| Arc::clone(&node))
    }

    /// All Nodes, in no order.
    pub fn nodes(&self) -> Vec<Arc<Node>> {
        self.nodes.iter().map(|node| Arc::clone(&node)).collect()
    }

    /// The Namespace of this name.
    pub fn namespace(&self, name: &str) -> Option<Arc<Namespace>> {
        self.namespaces.get(name).map(|namespace| Arc::clone(&namespace))
    }

    /// All Namespaces, in no order.
    pub fn namespaces(&self) -> Vec<Arc<Namespace>> {
        self.namespaces.iter().map(|namespace| Arc::clone(&namespace)).collect()
    }

    /// How many objects of a kind there are. Slices that name no Service are none.
    pub fn count<T: Indexed>(&self) -> usize {
        self.counts.objects(T::SLOT)
    }

    /// The same for each kind, by its plural.
    pub fn counts(&self) -> [(&'static str, usize); 6] {
        [
            (Namespace::PLURAL, self.count::<Namespace>()),
            (Node::PLURAL, self.count::<Node>()),
            (Pod::PLURAL, self.count::<Pod>()),
            (Service::PLURAL, self.count::<Service>()),
            (Endpoints::PLURAL, self.count::<Endpoints>()),
            (EndpointSlice::PLURAL, self.count::<EndpointSlice>()),
        ]
    }

    /// How many memberships there are of each standing: pods, each as often as there are Services that select it.
    pub fn standings(&self) -> [(Standing, usize); Standing::ALL.len()] {
        self.counts.standings()
    }

    /// The zone's serial for this state: the same wherever the same Services, slices and Namespaces have been seen.
    /// See the module `serial` for how it moves.
    pub fn serial(&self) -> u32 {
        self.writer.lock().serial()
    }

    /// The highest resource version among the objects of the kind that were applied. Whoever wrote an object and does not
    /// find it here, though this is not below its version, knows that it is gone again. Read this first, then the object.
    pub fn newest<T: Indexed>(&self) -> u64 {
        self.newest.get(T::SLOT).map_or(0, |newest| newest.load(Ordering::Acquire))
    }

    /// Says that what is known of a kind seems to be wrong: its watch lists it anew.
    pub fn doubt<T: Indexed>(&self) {
        if let Some(doubts) = self.doubts.get(T::SLOT) {
            doubts.notify_one();
        }
    }

    /// Waits until somebody [doubts](Self::doubt) what is known of a kind. For its watch.
    pub async fn doubted<T: Indexed>(&self) {
        match self.doubts.get(T::SLOT) {
            Some(doubts) => doubts.notified().await,
            None => std::future::pending().await,
        }
    }

    /// A feed of what changes from now on. Everything that is there already is in it as [`Urgency::Startup`].
    pub fn subscribe(&self, interest: Interest) -> Feed {
        let (sender, feed) = feed::channel(interest);
        // Registered first, filled second: a change in between is marked twice and delivered once.
        self.feeds.write().push(sender.clone());
        let mark = |key| sender.mark(key, Urgency::Startup);
        self.namespaces.iter().for_each(|entry| mark(ChangeKey::Namespace(entry.key().clone())));
        self.nodes.iter().for_each(|entry| mark(ChangeKey::Node(entry.key().clone())));
        if interest.pods {
            self.pods.keys().into_iter().for_each(|key| mark(ChangeKey::Pod(key)));
        }
        self.services.iter().for_each(|entry| mark(ChangeKey::Service(entry.key().clone())));
        feed
    }

    /// Tells every feed; forgets feeds whose reader is gone.
    fn mark(&self, key: &ChangeKey, urgency: Urgency) {
        let mut gone = false;
        for feed in self.feeds.read().iter() {
            if feed.is_closed() {
                gone = true;
            } else {
                feed.mark(key.clone(), urgency);
            }
        }
        if gone {
            self.feeds.write().retain(|feed| !feed.is_closed());
        }
    }
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index")
            .field("services", &self.services.len())
            .field("pods", &self.pods.len())
            .field("nodes", &self.nodes.len())
            .field("namespaces", &self.namespaces.len())
            .finish_non_exhaustive()
    }
}

macro_rules! indexed {
    ($($slot:literal, $kind:ty, $plural:literal, $apply:ident, $delete:ident, $keys:ident;)*) => {$(
        impl Indexed for $kind {
            const PLURAL: &'static str = $plural;
            const SLOT: usize = $slot;

            fn apply(self, index: &Index) {
                let version = self.meta().version().unwrap_or_default();
                index.writer.lock().$apply(index, self);
                if let Some(newest) = index.newest.get(Self::SLOT) {
                    newest.fetch_max(version, Ordering::Release);
                }
            }

            fn delete(index: &Index, key: &Key) {
                index.writer.lock().$delete(index, key);
            }

            fn keys(index: &Index) -> Vec<Key> {
                index.writer.lock().$keys(index)
            }
        }
    )*};
}

indexed! {
    0, Namespace, "namespaces", apply_namespace, delete_namespace, namespace_keys;
    1, Node, "nodes", apply_node, delete_node, node_keys;
    2, Pod, "pods", apply_pod, delete_pod, pod_keys;
    3, Service, "services", apply_service, delete_service, service_keys;
    4, Endpoints, "endpoints", apply_endpoints, delete_endpoints, endpoints_keys;
    5, EndpointSlice, "endpointslices", apply_slice, delete_slice, slice_keys;
}

/// The same slices, of which only what is answered is kept.
impl<const TARGETS: bool> Indexed for AnsweredSlice<TARGETS> {
    const PLURAL: &'static str = EndpointSlice::PLURAL;
    const SLOT: usize = EndpointSlice::SLOT;

    fn apply(self, index: &Index) {
        EndpointSlice::from(self).apply(index);
    }

    fn delete(index: &Index, key: &Key) {
        EndpointSlice::delete(index, key);
    }

    fn keys(index: &Index) -> Vec<Key> {
        EndpointSlice::keys(index)
    }
}

#[cfg(test)]
mod tests;
