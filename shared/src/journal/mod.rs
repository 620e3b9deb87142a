//! The journal: what was written, and why, for as long as there is room.
//!
//! ```text
//!   write acknowledged ──difference──▶ [ ring: the newest entries ] ──▶ GET /journal, explanations
//! ```
//!
//! An entry is about one write of one object: which versions it led from and to, how many endpoints there were and are,
//! and for each endpoint that came, went or changed the reason, in the words of [`Reason`](crate::Reason). What differs
//! is a plain function of two objects and a view ([`difference`]).
//!
//! The ring is bounded in entries and in bytes; the oldest go. Differences are computed outside of its lock.

mod difference;
mod listing;

#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use jiff::Timestamp;
use parking_lot::Mutex;
use serde::{Serialize, Serializer};

pub use self::{
    difference::{Counts, Difference, difference},
    listing::{Listed, Listing},
};
use crate::{
    ServiceView,
    name::{Key, Name},
    object::ResourceVersion,
};

/// How many entries are kept unless said otherwise.
pub const ENTRIES: usize = 4096;

/// How many bytes of entries are kept.
const BYTES: usize = 2 << 20;

/// What an entry takes besides its texts.
const FIXED: usize = 320;

/// The newest writes. Share it in an [`Arc`].
#[derive(Debug)]
pub struct Journal {
    most: usize,
    ring: Mutex<Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
    /// The number of the newest entry.
    newest: u64,
    /// The last entry of each object in the ring.
    last: HashMap<(&'static str, Key), Last>,
}

/// When an object was last written here.
#[derive(Debug)]
struct Last {
    seq: u64,
    version: ResourceVersion,
    time: Timestamp,
}

/// One write of one object.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// Its number; they count up from 1 while the process lives.
    pub seq: u64,
    /// When the API server had acknowledged it.
    pub time: Timestamp,
    /// The Service it is about.
    #[serde(serialize_with = "text")]
    pub service: Key,
    /// `EndpointSlice` or `Endpoints`
    pub kind: &'static str,
    /// The object's name.
    pub name: Name,
    /// `create`, `update` or `delete`
    pub verb: &'static str,
    /// It was not written: this is what would have been.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub shadow: bool,
    /// The version it replaced.
    #[serde(skip_serializing_if = "ResourceVersion::is_empty")]
    pub before: ResourceVersion,
    /// The version it led to.
    #[serde(skip_serializing_if = "ResourceVersion::is_empty")]
    pub after: ResourceVersion,
    /// How many endpoints there were and are.
    #[serde(flatten)]
    pub counts: Counts,
    /// Why, a line for each reason: first what is about the object, then its endpoints, at most so many and then how
    /// many more.
    #[serde(serialize_with = "lines")]
    pub why: Box<str>,
}

/// A write, to be recorded.
pub struct Wrote<'a, T> {
    /// The Service as it is known.
    pub view: &'a ServiceView,
    /// Whether there is a pod of this key.
    pub has_pod: &'a dyn Fn(&Key) -> bool,
    /// The object as it was.
    pub old: Option<&'a T>,
    /// The object as it is.
    pub new: Option<&'a T>,
    /// It was not written.
    pub shadow: bool,
}

/// Which entries are asked for.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Those of one Service.
    pub service: Option<Key>,
    /// Those of one namespace.
    pub namespace: Option<Name>,
    /// Those after this one.
    pub since: Option<u64>,
    /// No more than so many: the first after `since`, or else the last.
    pub limit: Option<usize>,
}

impl Default for Journal {
    fn default() -> Self {
        Self::new(ENTRIES)
    }
}

impl Journal {
    /// A journal of at most so many entries.
    pub fn new(most: usize) -> Self {
        Self { most: most.max(1), ring: Mutex::default() }
    }

    /// Records a write.
    pub fn record<T: Listing>(&self, wrote: &Wrote<'_, T>) {
        let Some(meta) = wrote.new.or(wrote.old).map(T::meta) else { return };
        let before = wrote.old.map(|old| old.meta().resource_version.clone()).unwrap_or_default();
        let known = (T::KIND, meta.key.clone());
        let edited = {
            let ring = self.ring.lock();
            let last = ring.last.get(&known).filter(|last| last.version != before && !wrote.shadow);
            last.map(|last| last.time)
        };
        let Difference { counts, why } = difference(wrote, edited);
        let after = match wrote.new {
            Some(new) if !wrote.shadow => new.meta().resource_version.clone(),
            _ => ResourceVersion::default(),
        };
        let verb = match (wrote.old, wrote.new) {
            (None, _) => "create",
            (Some(_), Some(_)) => "update",
            (Some(_), None) => "delete",
        };
        let mut entry = Entry {
            seq: 0,
            time: Timestamp::now(),
            service: wrote.view.key.clone(),
            kind: T::KIND,
            name: meta.key.name.clone(),
            verb,
            shadow: wrote.shadow,
            before,
            after,
            counts,
            why: why.into_boxed_str(),
        };
        tracing::debug!(
            target: "callsign::journal",
            service = %entry.service, kind = entry.kind, name = %entry.name, verb, shadow = entry.shadow,
            before = %entry.before, after = %entry.after, endpoints = entry.counts.endpoints,
            ready = entry.counts.ready, why = %entry.why.replace('\n', "; "),
        );
        let mut ring = self.ring.lock();
        ring.newest += 1;
        entry.seq = ring.newest;
        if verb == "delete" {
            ring.last.remove(&known);
        } else if !entry.shadow {
            let last = Last { seq: entry.seq, version: entry.after.clone(), time: entry.time };
            ring.last.insert(known, last);
        }
        ring.bytes += entry.size();
        ring.entries.push_back(Arc::new(entry));
        while ring.entries.len() > self.most || ring.bytes > BYTES && ring.entries.len() > 1 {
            ring.drop_oldest();
        }
    }

    /// Entries, the newest last.
    pub fn read(&self, query: &Query) -> Vec<Arc<Entry>> {
        let since = query.since.unwrap_or_default();
        let entries: Vec<_> = {
            let ring = self.ring.lock();
            ring.entries.iter().filter(|entry| entry.seq > since).cloned().collect()
        };
        let asked_for = |entry: &Arc<Entry>| {
            query.service.as_ref().is_none_or(|service| entry.service == *service)
                && query.namespace.as_ref().is_none_or(|namespace| entry.service.namespace == *namespace)
        };
        let mut entries: Vec<_> = entries.into_iter().filter(asked_for).collect();
        let most = query.limit.unwrap_or(usize::MAX);
        if query.since.is_some() {
            entries.truncate(most);
        } else {
            entries.drain(..entries.len().saturating_sub(most));
        }
        entries
    }
}

impl Ring {
    fn drop_oldest(&mut self) {
        let Some(oldest) = self.entries.pop_front() else { return };
        self.bytes = self.bytes.saturating_sub(oldest.size());
        let key = Key { namespace: oldest.service.namespace.clone(), name: oldest.name.clone() };
        let object = (oldest.kind, key);
        if self.last.get(&object).is_some_and(|last| last.seq == oldest.seq) {
            self.last.remove(&object);
        }
    }
}

impl Entry {
    fn size(&self) -> usize {
        FIXED + self.why.len() + self.service.namespace.len() + self.service.name.len() + 2 * self.name.len()
    }
}

fn text<S: Serializer>(key: &Key, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(key)
}

fn lines<S: Serializer>(why: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(why.lines())
}
