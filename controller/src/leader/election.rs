//! The rules of an election: what a candidate does next, given the Lease as it saw it, and the time. No clock, no socket.
//!
//! ```text
//!             ┌─ empty, run out, or its holder is dead ─▶ write ourselves into it
//!   the Lease ┼─ ours ─▶ renew each retry period; over, one renew deadline after the last renewal was begun
//!             └─ another's ─▶ wait, and look
//! ```
//!
//! They are client-go's, with these differences, each towards safety:
//!
//! * A term ends one renew deadline after the *start* of the request that renewed it last. Others count from when they saw
//!   the Lease change, which is later than that, and wait longer.
//! * Ours is what this process wrote, not what carries our name: two processes under one name do not both lead.
//! * A Lease that somebody deletes stays its holder's for the time it had.
//!
//! Nobody's clock is trusted but our own, and of that only the steady one. Times in the Lease are for people.

use std::{collections::VecDeque, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use tokio::time::Instant;

/// client-go's: the renew deadline is more than this times the retry period.
pub const JITTER: f64 = 1.2;

/// Of how many tries to take the Lease it is remembered that they may have succeeded.
const TRIES: usize = 8;

/// A refused write is tried again after this part of the retry period.
const CONFLICT_PART: u32 = 10;

/// How long a Lease is another's after it was released: the shortest there is.
const RELEASED_SECONDS: i32 = 1;

/// The three times of leader election. `lease` is longer than `renew`, `renew` longer than [`JITTER`] times `retry`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long others wait since they saw the last renewal, before they take the Lease. In the Lease as whole seconds,
    /// rounded up.
    pub lease: Duration,
    /// How long a leader writes after the start of its last renewal.
    pub renew: Duration,
    /// How often a leader renews, and others look.
    pub retry: Duration,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Read the Lease and tell what was [seen](Election::saw).
    Look,
    /// Write it, and tell whether it was [written](Election::wrote). One without a resource version is to be created.
    Write(Box<Lease>),
    /// Nothing before this moment, unless the Lease changes.
    Wait(Instant),
}

/// A candidate's part in an election.
#[derive(Debug)]
pub struct Election {
    name: String,
    timing: Timing,
    blank: Lease,
    sight: Option<Sight>,
    /// What was seen may be out of date.
    doubt: bool,
    term: Option<Term>,
    /// The acquire times we wrote, or tried to: a Lease with our name and one of them is ours.
    tries: VecDeque<Timestamp>,
    /// Nothing is asked of the API server before.
    pause: Option<Instant>,
}

/// The Lease as it was last seen.
#[derive(Debug)]
struct Sight {
    /// `None` when it was deleted.
    lease: Option<Lease>,
    /// What it said last.
    spec: LeaseSpec,
    /// When it was first seen to say so.
    since: Instant,
    /// When it was last seen.
    heard: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Term {
    since: Instant,
    renewed: Instant,
    until: Instant,
}

impl Election {
    /// A candidate of this name for the Lease `blank` names.
    pub fn new(name: impl Into<String>, timing: Timing, blank: Lease) -> Self {
        Self {
            name: name.into(),
            timing,
            blank,
            sight: None,
            doubt: false,
            term: None,
            tries: VecDeque::new(),
            pause: None,
        }
    }

    /// What to do at `now`, which is `wall` for people. `listening` says that changes of the Lease are told as they happen;
    /// `is_dead`, that a holder certainly is.
    pub fn next(
        &mut self,
        now: Instant,
        wall: Timestamp,
        listening: bool,
        is_dead: impl FnOnce(&str) -> bool,
    ) -> Action {
        let Timing { retry, .. } = self.timing;
        if self.term.is_some_and(|term| now >= term.until) {
            self.term = None;
        }
        let before = |moment: Instant, term: Option<Term>| {
            Action::Wait(term.map_or(moment, |term| moment.min(term.until)))
        };
        if let Some(pause) = self.pause.filter(|pause| now < *pause) {
            return before(pause, self.term);
        }
        let Some(sight) = self.sight.as_ref().filter(|_| !self.doubt) else { return Action::Look };
        if let Some(term) = self.term {
            let due = term.renewed + retry;
            return if now < due { before(due, Some(term)) } else { self.renew(wall) };
        }
        if self.holds() {
            // A write whose answer was lost, or a term that was not renewed in time and that nobody else has taken.
            return self.renew(wall);
        }
        let free = match self.holder() {
            None => now,
            Some(holder) if is_dead(holder) => now,
            Some(_) => sight.since + self.duration(&sight.spec),
        };
        if now >= free {
            return self.acquire(wall);
        }
        // A leader renews each retry period; when two are silent, the watch may be.
        let look = sight.heard + if listening { retry * 2 } else { retry };
        if now >= look { Action::Look } else { Action::Wait(free.min(look).min(now + retry)) }
    }

    /// The Lease was seen, or not to be there.
    pub fn saw(&mut self, lease: Option<Lease>, now: Instant) {
        self.doubt = false;
        let known = self.sight.take();
        let said = lease.as_ref().map(|lease| lease.spec.clone().unwrap_or_default());
        let (spec, since) = match (said, known) {
            (Some(said), Some(known)) if said == known.spec => (said, known.since),
            (Some(said), _) => (said, now),
            (None, Some(known)) => (known.spec, known.since),
            (None, None) => (LeaseSpec::default(), now),
        };
        self.sight = Some(Sight { lease, spec, since, heard: now });
        if !self.is_ours() {
            self.term = None;
        }
    }

    /// The Lease was written by a request that began at `started`, and is now as the answer says.
    pub fn wrote(&mut self, lease: Lease, started: Instant, now: Instant) {
        self.saw(Some(lease), now);
        self.pause = None;
        if self.is_ours() {
            let since = self.term.map_or(now, |term| term.since);
            self.term = Some(Term { since, renewed: started, until: started + self.timing.renew });
            let acquired = self.sight.as_ref().and_then(|sight| sight.spec.acquire_time.as_ref());
            let acquired = acquired.map(|time| time.0);
            self.tries.retain(|try_| Some(*try_) == acquired);
        }
    }

    /// A write was refused because the Lease has changed.
    pub fn conflicted(&mut self, now: Instant) {
        self.doubt = true;
        // A server that always says so is not to be asked without end.
        self.pause = Some(now + self.timing.retry / CONFLICT_PART);
    }

    /// A request that began at `started` failed; whether it was done is not known.
    pub fn failed(&mut self, started: Instant) {
        self.doubt = true;
        self.pause = Some(started + self.timing.retry);
    }

    /// Since when this candidate has led without a break, if it leads at `now`.
    pub fn leading_since(&self, now: Instant) -> Option<Instant> {
        self.term.filter(|term| now < term.until).map(|term| term.since)
    }

    /// Until when it may write.
    pub fn until(&self) -> Option<Instant> {
        self.term.map(|term| term.until)
    }

    /// Who was last seen to hold the Lease.
    pub fn holder(&self) -> Option<&str> {
        let spec = &self.sight.as_ref()?.spec;
        spec.holder_identity.as_deref().filter(|holder| !holder.is_empty())
    }

    /// Whether another holds the Lease, and has time left.
    pub fn is_anothers(&self, now: Instant) -> bool {
        let held = |sight: &Sight| now < sight.since + self.duration(&sight.spec);
        self.holder().is_some() && !self.is_ours() && self.sight.as_ref().is_some_and(held)
    }

    /// The version that was last seen, while the Lease is there.
    pub fn version(&self) -> Option<&str> {
        let lease = self.sight.as_ref().filter(|_| !self.doubt)?.lease.as_ref()?;
        lease.metadata.resource_version.as_deref()
    }

    /// How long a request may take.
    pub fn patience(&self, now: Instant) -> Duration {
        let most = self.timing.renew / 2;
        self.term.map_or(most, |term| most.min(term.until.saturating_duration_since(now)))
    }

    /// The Lease as nobody's, for whoever comes next; `None` when it is not ours.
    pub fn release(&mut self, wall: Timestamp) -> Option<Lease> {
        if !self.holds() {
            return None;
        }
        self.term = None;
        let now = micros(wall);
        let spec = LeaseSpec {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(RELEASED_SECONDS),
            acquire_time: Some(MicroTime(now)),
            renew_time: Some(MicroTime(now)),
            ..self.spec()
        };
        Some(self.with(spec))
    }

    /// Whether the Lease is there and is ours.
    fn holds(&self) -> bool {
        self.is_ours() && self.sight.as_ref().is_some_and(|sight| sight.lease.is_some())
    }

    /// Whether what the Lease said last is what we wrote.
    fn is_ours(&self) -> bool {
        let acquired = self.sight.as_ref().and_then(|sight| sight.spec.acquire_time.as_ref());
        self.holder() == Some(&self.name) && acquired.is_some_and(|time| self.tries.contains(&time.0))
    }

    fn acquire(&mut self, wall: Timestamp) -> Action {
        let now = micros(wall);
        if self.tries.len() == TRIES {
            self.tries.pop_front();
        }
        self.tries.push_back(now);
        let old = self.spec();
        let there = self.sight.as_ref().is_some_and(|sight| sight.lease.is_some());
        let transitions = if there { old.lease_transitions.unwrap_or(0).saturating_add(1) } else { 0 };
        let spec = LeaseSpec {
            holder_identity: Some(self.name.clone()),
            lease_duration_seconds: Some(seconds(self.timing.lease)),
            acquire_time: Some(MicroTime(now)),
            renew_time: Some(MicroTime(now)),
            lease_transitions: Some(transitions),
            ..old
        };
        Action::Write(Box::new(self.with(spec)))
    }

    fn renew(&self, wall: Timestamp) -> Action {
        let spec = LeaseSpec {
            lease_duration_seconds: Some(seconds(self.timing.lease)),
            renew_time: Some(MicroTime(micros(wall))),
            ..self.spec()
        };
        Action::Write(Box::new(self.with(spec)))
    }

    fn spec(&self) -> LeaseSpec {
        self.sight.as_ref().map(|sight| sight.spec.clone()).unwrap_or_default()
    }

    /// The Lease with all that others put into it.
    fn with(&self, spec: LeaseSpec) -> Lease {
        let lease = self.sight.as_ref().and_then(|sight| sight.lease.as_ref()).unwrap_or(&self.blank);
        Lease { metadata: lease.metadata.clone(), spec: Some(spec) }
    }

    /// How long the holder said that it is to be waited for.
    fn duration(&self, spec: &LeaseSpec) -> Duration {
        let said = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        said.filter(|seconds| *seconds > 0).map_or(self.timing.lease, Duration::from_secs)
    }
}

/// What a `MicroTime` can hold, so that what was written compares equal to what is read.
fn micros(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}

fn seconds(duration: Duration) -> i32 {
    let up = u64::from(duration.subsec_nanos() > 0);
    i32::try_from(duration.as_secs().saturating_add(up)).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
