//! Feeds: what the index tells its readers.
//!
//! A feed is a set of changed keys in the order in which they first changed. A key that changes again before its reader
//! has taken it is still one entry, so a feed never grows past the number of things there are, loses nothing and needs no
//! policy for slow readers: whoever takes the key reads the newest state from the index.

use std::{
    sync::{Arc, Weak},
    time::Instant,
};

use indexmap::{IndexMap, map::Entry};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::name::{Key, Name};

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ChangeKey {
    /// A Service, its members, its slices or its Endpoints, by the Service's key.
    Service(Key),
    /// A Namespace.
    Namespace(Name),
    /// A Pod. Only in feeds that asked for pods.
    Pod(Key),
    /// A Node. Only in feeds that asked for nodes.
    Node(Name),
}

/// How much a change matters to those who wait for it, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Urgency {
    /// An address that was answered or sent traffic no longer may be.
    Removal,
    /// An address may be used now, or the Service itself changed.
    Addition,
    /// Something else about an endpoint: a label, a zone, a pod that is not ready yet.
    Edit,
    /// An EndpointSlice or Endpoints object changed: mostly the echo of our own write.
    Echo,
    /// It was there when the reader came.
    Startup,
}

/// A changed key with how urgent it is and since when it waits.
#[derive(Clone, Debug)]
pub struct Change {
    /// What changed.
    pub key: ChangeKey,
    /// The most urgent of the changes that were merged.
    pub urgency: Urgency,
    /// When the oldest of them was applied.
    pub since: Instant,
}

/// Which keys a feed carries besides Services and Namespaces.
#[derive(Clone, Copy, Debug, Default)]
pub struct Interest {
    /// Pods, for pod names.
    pub pods: bool,
    /// Nodes, for topology hints.
    pub nodes: bool,
}

#[derive(Debug)]
struct Shared {
    interest: Interest,
    queue: Mutex<IndexMap<ChangeKey, (Urgency, Instant)>>,
    filled: Notify,
}

/// The reader's end of a feed. Dropping it ends the feed.
#[derive(Debug)]
pub struct Feed(Arc<Shared>);

/// The index's end.
#[derive(Clone, Debug)]
pub(super) struct Sender(Weak<Shared>);

pub(super) fn channel(interest: Interest) -> (Sender, Feed) {
    let shared = Arc::new(Shared { interest, queue: Mutex::default(), filled: Notify::new() });
    (Sender(Arc::downgrade(&shared)), Feed(shared))
}

impl Feed {
    /// Waits until there is something to take. Cancelling loses nothing.
    pub async fn changed(&self) {
        loop {
            let filled = self.0.filled.notified();
            if !self.is_empty() {
                return;
            }
            filled.await;
        }
    }

    /// Takes up to `most` changes, oldest first.
    pub fn take(&self, most: usize) -> Vec<Change> {
        let mut queue = self.0.queue.lock();
        let count = most.min(queue.len());
        queue.drain(..count).map(|(key, (urgency, since))| Change { key, urgency, since }).collect()
    }

    /// Whether there is nothing to take.
    pub fn is_empty(&self) -> bool {
        self.0.queue.lock().is_empty()
    }

    /// How many keys wait.
    pub fn len(&self) -> usize {
        self.0.queue.lock().len()
    }
}

impl Sender {
    pub(super) fn is_closed(&self) -> bool {
        self.0.strong_count() == 0
    }

    pub(super) fn mark(&self, key: ChangeKey, urgency: Urgency) {
        let Some(shared) = self.0.upgrade() else { return };
        let wanted = match key {
            ChangeKey::Service(_) | ChangeKey::Namespace(_) => true,
            ChangeKey::Pod(_) => shared.interest.pods,
            ChangeKey::Node(_) => shared.interest.nodes,
        };
        if !wanted {
            return;
        }
        match shared.queue.lock().entry(key) {
            Entry::Occupied(mut entry) => {
                let (known, _) = entry.get_mut();
                *known = (*known).min(urgency);
            }
            Entry::Vacant(entry) => {
                entry.insert((urgency, Instant::now()));
            }
        }
        shared.filled.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_delivered_once_with_its_highest_urgency() {
        let (sender, feed) = channel(Interest::default());
        let key = |name: &str| ChangeKey::Service(Key::new("n", name));
        sender.mark(key("a"), Urgency::Echo);
        sender.mark(key("b"), Urgency::Edit);
        sender.mark(key("a"), Urgency::Removal);
        sender.mark(ChangeKey::Pod(Key::new("n", "p")), Urgency::Edit);
        let taken: Vec<_> = feed.take(10).into_iter().map(|change| (change.key, change.urgency)).collect();
        assert_eq!(taken, [(key("a"), Urgency::Removal), (key("b"), Urgency::Edit)]);
        assert!(feed.is_empty());
    }

    #[tokio::test]
    async fn a_mark_wakes_the_reader() {
        let (sender, feed) = channel(Interest::default());
        let waiting = tokio::spawn(async move {
            feed.changed().await;
            feed.take(1).len()
        });
        tokio::task::yield_now().await;
        sender.mark(ChangeKey::Namespace("n".into()), Urgency::Addition);
        assert_eq!(waiting.await.unwrap(), 1);
    }

    #[test]
    fn a_feed_without_reader_is_closed() {
        let (sender, feed) = channel(Interest::default());
        assert!(!sender.is_closed());
        drop(feed);
        assert!(sender.is_closed());
    }
}
