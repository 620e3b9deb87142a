//! The bounded log of a kind's events: where watches read, each at its own pace.
//!
//! Nobody is sent anything: a watch holds a place in the log and reads on from it. So a slow watch costs nothing and
//! loses nothing silently: when the log has moved past its place it is told so, and ends.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::faults::Gate;
use super::object::Object;

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It came to be.
    Added,
    /// It has a new version.
    Modified,
    /// It is gone; its last state carries the version of the deletion.
    Deleted,
}

/// One commit.
#[derive(Clone, Debug)]
pub(super) struct Event {
    /// What happened.
    pub(super) change: Change,
    /// The object after it; for a deletion, its last state.
    pub(super) object: Arc<Object>,
    /// The object before it.
    pub(super) previous: Option<Arc<Object>>,
    /// When.
    pub(super) at: Instant,
    /// Hidden from watches by a fault.
    pub(super) lost: bool,
}

/// A place in the log: everything before it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(u64);

/// What a read found.
#[derive(Debug)]
pub(super) struct Batch {
    /// The events, in order.
    pub(super) events: Vec<Event>,
    /// The version up to which everything is now known; `None` when there was more than asked for.
    pub(super) known: Option<u64>,
}

/// The place is no longer in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lost;

#[derive(Debug)]
pub(super) struct Log {
    events: VecDeque<Event>,
    /// The place of the first event.
    first: u64,
    capacity: usize,
    /// The version of the newest event that was dropped.
    forgotten: u64,
}

impl Change {
    /// As a watch says it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

impl Log {
    pub(super) fn new(capacity: usize) -> Self {
        Self { events: VecDeque::new(), first: 0, capacity: capacity.max(1), forgotten: 0 }
    }

    pub(super) fn push(&mut self, event: Event) {
        if self.events.len() >= self.capacity
            && let Some(dropped) = self.events.pop_front()
        {
            self.first += 1;
            self.forgotten = dropped.object.version;
        }
        self.events.push_back(event);
    }

    /// The place behind the newest event.
    pub(super) fn end(&self) -> Place {
        Place(self.first + self.events.len() as u64)
    }

    /// The place behind the last event that is not newer than this version.
    pub(super) fn after(&self, version: u64) -> Result<Place, Lost> {
        if version < self.forgotten {
            return Err(Lost);
        }
        let at = self.events.partition_point(|event| event.object.version <= version);
        Ok(Place(self.first + at as u64))
    }

    /// Reads on from a place as far as the gate allows, at most so many events, and moves the place. `newest` is the
    /// version of the store.
    pub(super) fn read(
        &self,
        place: &mut Place,
        most: usize,
        gate: &Gate,
        newest: u64,
    ) -> Result<Batch, Lost> {
        let skip = place.0.checked_sub(self.first).ok_or(Lost)?;
        let now = Instant::now();
        let mut events = Vec::new();
        for event in self.events.iter().skip(usize::try_from(skip).unwrap_or(usize::MAX)) {
            if events.len() == most || !gate.lets_pass(event.object.version, event.at, now) {
                return Ok(Batch { events, known: None });
            }
            place.0 += 1;
            events.push(event.clone());
        }
        Ok(Batch { events, known: Some(newest) })
    }

    /// The events newer than a version, newest first.
    pub(super) fn since(&self, version: u64) -> Result<impl Iterator<Item = &Event>, Lost> {
        if version < self.forgotten {
            return Err(Lost);
        }
        Ok(self.events.iter().rev().take_while(move |event| event.object.version > version))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::apiserver::kind::Kind;

    fn log(versions: &[u64], capacity: usize) -> Log {
        let mut log = Log::new(capacity);
        for version in versions {
            let object = Object::new(Kind::Pod, *version, json!({"metadata": {"name": "a"}}));
            let object = Arc::new(object);
            log.push(Event {
                change: Change::Modified,
                object,
                previous: None,
                at: Instant::now(),
                lost: false,
            });
        }
        log
    }

    fn versions(batch: &Batch) -> Vec<u64> {
        batch.events.iter().map(|event| event.object.version).collect()
    }

    #[test]
    fn a_reader_gets_every_event_once_and_in_order() {
        let mut log = log(&[2, 5, 9], 10);
        let mut place = log.after(2).unwrap();
        let batch = log.read(&mut place, 1, &Gate::default(), 9).unwrap();
        assert_eq!((versions(&batch), batch.known), (vec![5], None));
        let batch = log.read(&mut place, 10, &Gate::default(), 9).unwrap();
        assert_eq!((versions(&batch), batch.known), (vec![9], Some(9)));
        assert_eq!(place, log.end());
        let object = Arc::new(Object::new(Kind::Pod, 12, json!({})));
        log.push(Event { change: Change::Added, object, previous: None, at: Instant::now(), lost: false });
        assert_eq!(versions(&log.read(&mut place, 10, &Gate::default(), 12).unwrap()), [12]);
    }

    #[test]
    fn a_place_that_was_forgotten_is_lost_and_not_skipped() {
        let log = log(&[1, 2, 3, 4], 2);
        assert_eq!(log.after(1), Err(Lost));
        let mut place = log.after(2).unwrap();
        assert_eq!(versions(&log.read(&mut place, 10, &Gate::default(), 4).unwrap()), [3, 4]);
        assert_eq!(log.read(&mut Place(1), 10, &Gate::default(), 4).unwrap_err(), Lost);
        assert!(log.since(1).is_err());
        assert_eq!(log.since(2).unwrap().count(), 2);
    }

    #[test]
    fn a_held_gate_ends_the_read_without_losing_the_place() {
        let log = log(&[1, 2, 3], 10);
        let mut place = log.after(0).unwrap();
        let gate = Gate { held_at: Some(2), ..Gate::default() };
        let batch = log.read(&mut place, 10, &gate, 3).unwrap();
        assert_eq!((versions(&batch), batch.known), (vec![1, 2], None));
        assert_eq!(versions(&log.read(&mut place, 10, &Gate::default(), 3).unwrap()), [3]);
    }
}
