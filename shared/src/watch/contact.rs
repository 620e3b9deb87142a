//! Whether the API server is heard: when it last said anything about a kind, and whether a watch of it is open.
//!
//! A watch tells nothing of itself while nothing happens: the bookmarks of a quiet cluster are no events, and a connection that
//! was taken up again is none either. So whoever makes the requests notes what comes back, byte by byte, and this is what it
//! notes it in.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    index::Indexed,
    object::{EndpointSlice, Endpoints, Namespace, Node, Pod, Service},
};

/// The contact of each kind. Clones are the same.
#[derive(Clone, Debug)]
pub struct Contacts(Arc<[(&'static str, Arc<Contact>); 6]>);

/// When the API server was last heard about one kind.
#[derive(Debug)]
pub struct Contact {
    since: Instant,
    /// Milliseconds after `since`.
    heard: AtomicU64,
    open: AtomicUsize,
}

/// A watch that is open, until this is dropped.
#[derive(Debug)]
pub struct Open(Arc<Contact>);

impl Default for Contacts {
    fn default() -> Self {
        let kinds = [
            Namespace::PLURAL,
            Node::PLURAL,
            Pod::PLURAL,
            Service::PLURAL,
            Endpoints::PLURAL,
            EndpointSlice::PLURAL,
        ];
        Self(Arc::new(kinds.map(|kind| (kind, Arc::default()))))
    }
}

impl Contacts {
    /// That of a kind, by its plural.
    pub fn of(&self, plural: &str) -> Option<&Arc<Contact>> {
        self.0.iter().find(|(kind, _)| *kind == plural).map(|(_, contact)| contact)
    }
}

impl Default for Contact {
    fn default() -> Self {
        Self { since: Instant::now(), heard: AtomicU64::new(0), open: AtomicUsize::new(0) }
    }
}

impl Contact {
    /// The API server said something.
    pub fn heard(&self) {
        let now = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard.fetch_max(now, Ordering::Relaxed);
    }

    /// It accepted a watch.
    pub fn opened(self: &Arc<Self>) -> Open {
        self.heard();
        self.open.fetch_add(1, Ordering::Relaxed);
        Open(Arc::clone(self))
    }

    /// How far behind what is known of the kind may be: nothing while a watch is open, else the time since anything was
    /// heard. A connection that died without a word counts as open until its watch gives it up, after 65 seconds.
    pub fn lag(&self) -> Duration {
        if self.open.load(Ordering::Relaxed) > 0 {
            return Duration::ZERO;
        }
        self.since.elapsed().saturating_sub(Duration::from_millis(self.heard.load(Ordering::Relaxed)))
    }
}

impl Open {
    /// Something came over it.
    pub fn heard(&self) {
        self.0.heard();
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lag_begins_with_the_last_word_and_ends_with_a_watch() {
        let contacts = Contacts::default();
        let contact = contacts.of("services").unwrap();
        assert!(contacts.of("secrets").is_none());
        let pause = Duration::from_millis(30);
        std::thread::sleep(pause);
        assert!(contact.lag() >= pause, "never heard");
        let first = contact.opened();
        let second = contact.opened();
        drop(first);
        std::thread::sleep(pause);
        assert_eq!(contact.lag(), Duration::ZERO, "one is open");
        second.heard();
        drop(second);
        assert!(contact.lag() < pause, "heard a moment ago");
        std::thread::sleep(pause);
        assert!(contact.lag() >= pause);
        contact.heard();
        assert!(contact.lag() < pause, "a page of a list came");
        assert_eq!(contacts.of("pods").unwrap().open.load(Ordering::Relaxed), 0);
    }
}
