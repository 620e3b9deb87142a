//! The work queue: which key is worked on next, and that no key is worked on twice at once.
//!
//! ```text
//!            push                  take                     done
//!   (none) ───────▶ ready ─────────────────▶ running ──────────────────▶ (none), or resting
//!                     ▲                        │ ▲ push: again when done
//!                     └──────── waiting ◀──────┘ retry
//! ```
//!
//! * A key is in one place only. What is pushed while it waits is merged into it; what is pushed while it runs makes it
//!   run again. Nothing is ever dropped: whoever takes a key and vanishes gives it back.
//! * The most urgent [`Class`] goes first, within a class the key that came first. Every eighth time the oldest key goes
//!   first whatever its class, so that a storm of urgent ones starves nobody.
//! * A failure waits for a moment that doubles, from milliseconds to half a minute, with jitter. A new change of the key
//!   ends that wait: it may be what mends it. A pause that the API server asked for is not cut short.
//! * After a success a key may rest: changes that come before the rest is over are done together when it is. What was
//!   put off is work that waits for a change to ride along with.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    sync::Arc,
    time::Duration,
};

use callsign_shared::index::Urgency;
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use crate::plan::Part;

/// The wait after a first failure.
const FIRST_WAIT: Duration = Duration::from_millis(5);

/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// How often the oldest key goes first.
const TURN_OF_THE_OLDEST: u64 = 8;

/// How urgent a key is, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Slices must lose a ready endpoint: traffic is sent where nobody answers.
    Removal,
    /// Slices must gain one.
    Addition,
    /// Labels, zones, hints, endpoints that are not ready.
    Edit,
    /// A slice or an Endpoints object changed, mostly because it was written here.
    Echo,
    /// Endpoints, which few read.
    Endpoints,
    /// What was there at the start: mostly nothing is to be done.
    Startup,
}

impl Class {
    /// The class of a change for one part.
    pub fn of(urgency: Urgency, part: Part) -> Self {
        match (urgency, part) {
            (Urgency::Startup, _) => Self::Startup,
            (_, Part::Endpoints) => Self::Endpoints,
            (Urgency::Removal, Part::Slices) => Self::Removal,
            (Urgency::Addition, Part::Slices) => Self::Addition,
            (Urgency::Edit, Part::Slices) => Self::Edit,
            (Urgency::Echo, Part::Slices) => Self::Echo,
        }
    }
}

/// A queue of keys. Share it in an [`Arc`].
#[derive(Debug)]
pub struct Queue<K: Key> {
    state: Mutex<State<K>>,
    filled: Notify,
}

/// What can be queued.
pub trait Key: Clone + Eq + Hash + Ord {}

impl<T: Clone + Eq + Hash + Ord> Key for T {}

/// A key that was taken to be worked on. Dropping it without a word is a failure: the key is tried again.
#[derive(Debug)]
pub struct Lease<K: Key> {
    queue: Arc<Queue<K>>,
    /// The key.
    pub key: K,
    /// The most urgent of the changes that are done now.
    pub class: Class,
    /// When the oldest of them happened.
    pub since: Instant,
    /// How often it has failed in a row.
    pub failures: u32,
    returned: bool,
}

/// What happens to a key after a success.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rest {
    /// Changes within this time are done together at its end.
    pub quiet: Duration,
    /// There is more to do after this time. A change of the key brings that forward, though not into the quiet time.
    pub work_after: Option<Duration>,
    /// Look again after this time even if nothing changes.
    pub look_again: Option<Duration>,
}

#[derive(Debug)]
struct State<K> {
    entries: HashMap<K, Entry>,
    ready: BTreeMap<(Class, u64), K>,
    timed: BTreeMap<(Instant, u64), K>,
    /// Numbers entries in the order in which they became ready.
    next: u64,
    taken: u64,
    running: usize,
    /// Keys that wait with work to do.
    waiting: usize,
}

#[derive(Debug)]
struct Entry {
    place: Place,
    class: Class,
    since: Instant,
    failures: u32,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// In `ready`.
    Ready { number: u64 },
    /// In `timed`, with work to do then. A push brings that forward, to `earliest` at most.
    Waiting { until: Instant, number: u64, earliest: Instant },
    /// In `timed`, with nothing to do. A push waits until `quiet`; at the end the key is looked at again if so wished.
    Resting { until: Instant, number: u64, quiet: Instant, look: bool },
    /// Taken. `again` is what was pushed since.
    Running { again: Option<(Class, Instant)> },
}

impl<K: Key> Default for Queue<K> {
    fn default() -> Self {
        let state = State {
            entries: HashMap::new(),
            ready: BTreeMap::new(),
            timed: BTreeMap::new(),
            next: 0,
            taken: 0,
            running: 0,
            waiting: 0,
        };
        Self { state: Mutex::new(state), filled: Notify::new() }
    }
}

impl<K: Key> Queue<K> {
    /// Adds changes of keys, with the time when each happened.
    pub fn push(&self, changes: impl IntoIterator<Item = (K, Class, Instant)>) {
        self.push_and_tell(changes, |_, _| {});
    }

    /// Adds changes of keys, and tells of each whether it joined one that waits already.
    pub fn push_and_tell(
        &self,
        changes: impl IntoIterator<Item = (K, Class, Instant)>,
        mut tell: impl FnMut(&K, bool),
    ) {
        let mut state = self.state.lock();
        for (key, class, since) in changes {
            tell(&key, state.has_change(&key));
            state.push(key, class, since);
        }
        drop(state);
        self.filled.notify_one();
    }

    /// Takes the key that is to be worked on next, when there is one. Cancelling loses nothing.
    pub async fn take(self: &Arc<Self>) -> Lease<K> {
        loop {
            let filled = self.filled.notified();
            let next = {
                let mut state = self.state.lock();
                state.wake_due(Instant::now());
                if let Some((key, class, since, failures)) = state.take() {
                    if !state.ready.is_empty() {
                        // One notification may stand for many keys: pass it on.
                        self.filled.notify_one();
                    }
                    return Lease { queue: Arc::clone(self), key, class, since, failures, returned: false };
                }
                state.timed.first_key_value().map(|((until, _), _)| *until)
            };
            match next {
                Some(until) => tokio::select! {
                    () = filled => {}
                    () = tokio::time::sleep_until(until) => {}
                },
                None => filled.await,
            }
        }
    }

    /// How many keys have work to do and are not being worked on.
    pub fn len(&self) -> usize {
        let state = self.state.lock();
        state.ready.len() + state.waiting
    }

    /// Shows each of them, with its class and the time of its oldest change.
    pub fn survey(&self, mut show: impl FnMut(&K, Class, Instant)) {
        let state = self.state.lock();
        let waits = |entry: &Entry| matches!(entry.place, Place::Ready { .. } | Place::Waiting { .. });
        for (key, entry) in state.entries.iter().filter(|(_, entry)| waits(entry)) {
            show(key, entry.class, entry.since);
        }
    }

    /// Forgets every key that is not being worked on.
    pub fn clear(&self) {
        let mut state = self.state.lock();
        state.entries.retain(|_, entry| matches!(entry.place, Place::Running { .. }));
        state.ready.clear();
        state.timed.clear();
        state.waiting = 0;
    }

    /// How many keys are being worked on.
    pub fn running(&self) -> usize {
        self.state.lock().running
    }

    /// Whether nothing is to be done and nothing is being done.
    pub fn is_idle(&self) -> bool {
        let state = self.state.lock();
        state.ready.is_empty() && state.waiting == 0 && state.running == 0
    }

    /// Whether no key has work to do.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K: Key> Lease<K> {
    /// The work is done.
    pub fn done(mut self, rest: Rest) {
        self.returned = true;
        self.queue.state.lock().done(&self.key, rest, Instant::now());
        // A worker that sleeps has to know of a new deadline, or of the key being there again.
        self.queue.filled.notify_one();
    }

    /// Not yet: the work is to be done after this time. A change of the key brings it forward.
    pub fn wait(mut self, left: Duration) {
        self.returned = true;
        self.queue.state.lock().not_yet(&self.key, (self.class, self.since), left, Instant::now());
        self.queue.filled.notify_one();
    }

    /// The work failed: try again after a moment, or after the pause that the API server asked for.
    pub fn retry(mut self, pause: Option<Duration>) {
        self.give_back(pause);
    }

    fn give_back(&mut self, pause: Option<Duration>) {
        self.returned = true;
        self.queue.state.lock().retry(&self.key, (self.class, self.since), pause, Instant::now());
        self.queue.filled.notify_one();
    }
}

impl<K: Key> Drop for Lease<K> {
    fn drop(&mut self) {
        if !self.returned {
            self.give_back(None);
        }
    }
}

impl<K: Key> State<K> {
    /// Whether a change of the key waits to be worked on.
    fn has_change(&self, key: &K) -> bool {
        self.entries.get(key).is_some_and(|entry| match entry.place {
            Place::Ready { .. } | Place::Waiting { .. } => true,
            Place::Running { again } => again.is_some(),
            Place::Resting { .. } => false,
        })
    }

    fn push(&mut self, key: K, class: Class, since: Instant) {
        let Some(entry) = self.entries.get_mut(&key) else {
            let entry = Entry { place: Place::Running { again: None }, class, since, failures: 0 };
            self.entries.insert(key.clone(), entry);
            return self.make_ready(key);
        };
        match entry.place {
            Place::Running { again } => {
                let merged = again.map_or((class, since), |(c, s)| (c.min(class), s.min(since)));
                entry.place = Place::Running { again: Some(merged) };
            }
            Place::Ready { number } => {
                entry.since = entry.since.min(since);
                if class < entry.class {
                    self.ready.remove(&(entry.class, number));
                    entry.class = class;
                    self.ready.insert((class, number), key);
                }
            }
            Place::Waiting { until, number, earliest } => {
                entry.class = entry.class.min(class);
                entry.since = entry.since.min(since);
                if earliest < until {
                    self.timed.remove(&(until, number));
                    self.waiting -= 1;
                    self.wait(key, earliest, earliest);
                }
            }
            Place::Resting { until, number, quiet, .. } => {
                (entry.class, entry.since) = (class, since);
                self.timed.remove(&(until, number));
                self.wait(key, quiet, quiet);
            }
        }
    }

    fn take(&mut self) -> Option<(K, Class, Instant, u32)> {
        self.taken += 1;
        let place = if self.taken.is_multiple_of(TURN_OF_THE_OLDEST) {
            self.oldest()?
        } else {
            *self.ready.first_key_value()?.0
        };
        let key = self.ready.remove(&place)?;
        let entry = self.entries.get_mut(&key)?;
        entry.place = Place::Running { again: None };
        self.running += 1;
        Some((key, entry.class, entry.since, entry.failures))
    }

    /// The place of the key that has been ready for the longest time: the first of one of the classes.
    fn oldest(&self) -> Option<(Class, u64)> {
        use Class::{Addition, Echo, Edit, Endpoints, Removal, Startup};
        let first = |class| self.ready.range((class, 0)..=(class, u64::MAX)).next().map(|(place, _)| *place);
        let firsts = [Removal, Addition, Edit, Echo, Endpoints, Startup].into_iter().filter_map(first);
        firsts.min_by_key(|(_, number)| *number)
    }

    fn done(&mut self, key: &K, rest: Rest, now: Instant) {
        self.running -= 1;
        let Some(entry) = self.entries.get_mut(key) else { return };
        let Place::Running { again } = entry.place else { return };
        entry.failures = 0;
        let quiet = now + rest.quiet;
        let until = rest.look_again.map_or(quiet, |after| quiet.max(now + after));
        if let Some((class, since)) = again {
            (entry.class, entry.since) = (class, since);
            self.wait(key.clone(), quiet, quiet);
        } else if let Some(after) = rest.work_after {
            // It counts from when it is due, unless a change comes first.
            let due = quiet.max(now + after);
            (entry.class, entry.since) = (entry.class.max(Class::Edit), due);
            self.wait(key.clone(), due, quiet);
        } else if until > now {
            self.next += 1;
            let number = self.next;
            entry.place = Place::Resting { until, number, quiet, look: rest.look_again.is_some() };
            self.timed.insert((until, number), key.clone());
        } else {
            self.entries.remove(key);
        }
    }

    fn retry(&mut self, key: &K, done: (Class, Instant), pause: Option<Duration>, now: Instant) {
        self.running -= 1;
        let Some(entry) = self.entries.get_mut(key) else { return };
        let Place::Running { again } = entry.place else { return };
        let (class, since) = again.unwrap_or(done);
        (entry.class, entry.since) = (class.min(done.0), since.min(done.1));
        entry.failures = entry.failures.saturating_add(1);
        let until = now + pause.unwrap_or_else(|| jittered(entry.failures));
        self.wait(key.clone(), until, if pause.is_some() { until } else { now });
    }

    fn not_yet(&mut self, key: &K, taken: (Class, Instant), left: Duration, now: Instant) {
        self.running -= 1;
        let Some(entry) = self.entries.get_mut(key) else { return };
        let Place::Running { again } = entry.place else { return };
        let (class, since) = again.unwrap_or(taken);
        (entry.class, entry.since) = (class.min(taken.0), since.min(taken.1));
        let until = if again.is_some() { now } else { now + left };
        self.wait(key.clone(), until, now);
    }

    fn wait(&mut self, key: K, until: Instant, earliest: Instant) {
        if until <= Instant::now() {
            return self.make_ready(key);
        }
        self.next += 1;
        let number = self.next;
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.place = Place::Waiting { until, number, earliest };
            self.timed.insert((until, number), key);
            self.waiting += 1;
        }
    }

    fn make_ready(&mut self, key: K) {
        self.next += 1;
        let number = self.next;
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.place = Place::Ready { number };
            self.ready.insert((entry.class, number), key);
        }
    }

    fn wake_due(&mut self, now: Instant) {
        while let Some(first) = self.timed.first_entry().filter(|first| first.key().0 <= now) {
            let key = first.remove();
            match self.entries.get_mut(&key) {
                Some(Entry { place: Place::Waiting { .. }, .. }) => {
                    self.waiting -= 1;
                    self.make_ready(key);
                }
                Some(entry @ Entry { place: Place::Resting { look: true, .. }, .. }) => {
                    (entry.class, entry.since) = (Class::Startup, now);
                    self.make_ready(key);
                }
                _ => {
                    self.entries.remove(&key);
                }
            }
        }
    }
}

/// The wait after so many failures: doubled each time, somewhere in its upper half.
fn jittered(failures: u32) -> Duration {
    let wait = FIRST_WAIT.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_WAIT);
    wait.mul_f64(0.5 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests;
