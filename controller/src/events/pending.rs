//! Which findings are to be told, and when: those that have held for a while, once each.
//!
//! The syncs that look at a Service anyway say what they found. What is new becomes due after a time; what has healed by
//! then, or later, is forgotten, and is new when it comes back. Only Services with a finding take any memory.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use callsign_shared::Key;
use tokio::time::Instant;

use super::finding::Cause;

/// When a finding that cannot be told now is looked at again.
const AGAIN: Duration = Duration::from_secs(10);

/// Findings that hold.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    known: HashMap<Key, Vec<(Cause, State)>>,
    due: BTreeMap<(Instant, u64), (Key, Cause)>,
    number: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Its place in `due`.
    Waiting(Instant, u64),
    Told,
}

impl Pending {
    /// A Service was looked at, and this was found. Says whether something became pending.
    pub(crate) fn look(
        &mut self,
        key: &Key,
        found: impl Iterator<Item = Cause>,
        now: Instant,
        after: Duration,
    ) -> bool {
        let before = self.known.remove(key).unwrap_or_default();
        let mut known = Vec::new();
        let mut new = false;
        for cause in found {
            let state = match before.iter().find(|(earlier, _)| *earlier == cause) {
                Some((_, state)) => *state,
                None => {
                    new = true;
                    self.wait(key, cause, now + after)
                }
            };
            known.push((cause, state));
        }
        for (cause, state) in before {
            if let (State::Waiting(at, number), false) =
                (state, known.iter().any(|(still, _)| *still == cause))
            {
                self.due.remove(&(at, number));
            }
        }
        if !known.is_empty() {
            self.known.insert(key.clone(), known);
        }
        new
    }

    /// When the next one is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes one that is due. It counts as told until it has healed.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<(Key, Cause)> {
        let first = self.due.first_entry().filter(|first| first.key().0 <= now)?;
        let (key, cause) = first.remove();
        self.set(&key, cause, State::Told);
        Some((key, cause))
    }

    /// One that was taken could not be told.
    pub(crate) fn put_back(&mut self, key: &Key, cause: Cause, now: Instant) {
        let state = self.wait(key, cause, now + AGAIN);
        self.set(key, cause, state);
    }

    fn wait(&mut self, key: &Key, cause: Cause, at: Instant) -> State {
        self.number += 1;
        self.due.insert((at, self.number), (key.clone(), cause));
        State::Waiting(at, self.number)
    }

    fn set(&mut self, key: &Key, cause: Cause, to: State) {
        let known = self.known.entry(key.clone()).or_default();
        match known.iter_mut().find(|(earlier, _)| *earlier == cause) {
            Some((_, state)) => *state = to,
            None => known.push((cause, to)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_finding_is_told_once_after_it_has_held() {
        let mut pending = Pending::default();
        let (key, start) = (Key::new("n", "web"), Instant::now());
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let none: [Cause; 0] = [];
        assert!(pending.look(&key, [Cause::NoPods].into_iter(), at(0), AFTER));
        assert!(!pending.look(&key, [Cause::NoPods].into_iter(), at(10), AFTER), "it is known");
        assert_eq!(pending.next(), Some(at(30)), "from when it began");
        assert_eq!(pending.take_due(at(29)), None);
        assert_eq!(pending.take_due(at(30)), Some((key.clone(), Cause::NoPods)));
        assert!(!pending.look(&key, [Cause::NoPods].into_iter(), at(40), AFTER), "not again while it lasts");
        assert_eq!(pending.next(), None);
        assert!(!pending.look(&key, none.into_iter(), at(50), AFTER), "healed");
        assert!(pending.known.is_empty());
        assert!(pending.look(&key, [Cause::NoPods].into_iter(), at(60), AFTER), "back, and so new");
        assert_eq!(pending.take_due(at(90)), Some((key, Cause::NoPods)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_heals_in_time_is_never_told() {
        let mut pending = Pending::default();
        let (key, now) = (Key::new("n", "web"), Instant::now());
        pending.look(&key, [Cause::NoneReady, Cause::PortMissing].into_iter(), now, AFTER);
        pending.look(&key, [Cause::PortMissing].into_iter(), now + Duration::from_secs(5), AFTER);
        assert_eq!(pending.take_due(now + AFTER), Some((key.clone(), Cause::PortMissing)));
        assert_eq!(pending.take_due(now + AFTER), None);
        pending.put_back(&key, Cause::PortMissing, now + AFTER);
        assert_eq!(pending.take_due(now + AFTER), None);
        assert_eq!(pending.take_due(now + AFTER + AGAIN), Some((key, Cause::PortMissing)));
    }
}
