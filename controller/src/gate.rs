//! The gate: whether the controller may write now, and who says why not.
//!
//! ```text
//!   lease ──▶ ┌──────┐
//!   guard ──▶ │ gate │ ──check──▶ right before each request that writes
//!   fuse  ──▶ └──────┘ ──opened─▶ workers, before they take a key
//! ```
//!
//! Several parts may keep the controller from writing at the same time, each for a reason of its own; it writes when none
//! does. A closed gate loses nothing: keys wait in the queue, and are planned from the newest state when it opens.
//!
//! The lease does not only open and close: it opens [until a moment](Gate::open_until). A process that was stopped and
//! wakes up after that moment finds the gate closed before anything in it could have noticed. The moment is kept on the
//! steady clock, which goes on while a process is stopped, and on the wall clock, which goes on while a machine sleeps;
//! the gate closes by whichever is first.
//!
//! Closing stops what is not begun; what is on its way may arrive. When the lease is [lost](Gate::lose), or its moment
//! passes, it [may not](Gate::is_lost) either: a request may still wait for a connection.

use std::{collections::BTreeMap, time::SystemTime};

use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};

/// Who may keep the gate closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holder {
    /// Leader election: another replica writes, or may.
    Lease,
    /// Another controller writes the same objects, or that is not known yet.
    Guard,
    /// So much would be removed at once that it is looked at again first.
    Fuse,
}

/// Whether the controller may write. Share it in an [`Arc`](std::sync::Arc).
#[derive(Debug)]
pub struct Gate {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    closed: BTreeMap<Holder, String>,
    /// Open no longer than this.
    until: Option<Until>,
}

/// A moment on both clocks.
#[derive(Clone, Copy, Debug)]
struct Until {
    steady: Instant,
    wall: Option<SystemTime>,
}

/// Why nothing may be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Closed {
    /// Who closed it. The first in their order, when several did.
    pub by: Holder,
    /// Why, for people.
    pub reason: String,
}

impl Default for Gate {
    /// An open gate.
    fn default() -> Self {
        Self { state: Mutex::default(), changed: watch::Sender::new(()) }
    }
}

impl Until {
    fn new(steady: Instant) -> Self {
        let left = steady.saturating_duration_since(Instant::now());
        Self { steady, wall: SystemTime::now().checked_add(left) }
    }

    fn is_past(self) -> bool {
        Instant::now() >= self.steady || self.wall.is_some_and(|wall| SystemTime::now() >= wall)
    }
}

impl Gate {
    /// Keeps it closed until the same holder [opens](Self::open) it, for this reason. A newer reason takes the place of
    /// the holder's earlier one.
    pub fn close(&self, holder: Holder, reason: impl Into<String>) {
        self.state.lock().closed.insert(holder, reason.into());
        self.changed.send_replace(());
    }

    /// Takes the holder's reason away, and with [`Holder::Lease`] any [moment](Self::open_until) it ended at.
    pub fn open(&self, holder: Holder) {
        let mut state = self.state.lock();
        state.closed.remove(&holder);
        if holder == Holder::Lease {
            state.until = None;
        }
        drop(state);
        self.changed.send_replace(());
    }

    /// Opens it as far as the lease is concerned, until `deadline`, unless this is called again before.
    pub fn open_until(&self, deadline: Instant) {
        let mut state = self.state.lock();
        state.closed.remove(&Holder::Lease);
        state.until = Some(Until::new(deadline));
        drop(state);
        self.changed.send_replace(());
    }

    /// Closes it because the lease is lost: also what was let through and is not sent yet must stay.
    pub fn lose(&self, reason: impl Into<String>) {
        let mut state = self.state.lock();
        state.closed.insert(Holder::Lease, reason.into());
        state.until = Some(Until { steady: Instant::now(), wall: None });
        drop(state);
        self.changed.send_replace(());
    }

    /// Whether there was a lease and it is over. Not so when the gate was merely closed.
    pub fn is_lost(&self) -> bool {
        self.state.lock().until.is_some_and(Until::is_past)
    }

    /// Whether a write may be sent now.
    ///
    /// # Errors
    /// When it may not; with the reason.
    pub fn check(&self) -> Result<(), Closed> {
        let state = self.state.lock();
        if let Some((by, reason)) = state.closed.first_key_value() {
            return Err(Closed { by: *by, reason: reason.clone() });
        }
        if state.until.is_some_and(Until::is_past) {
            return Err(Closed { by: Holder::Lease, reason: "the lease was not renewed in time".to_owned() });
        }
        Ok(())
    }

    /// What this holder says, while it keeps the gate closed.
    pub fn reason(&self, holder: Holder) -> Option<String> {
        self.state.lock().closed.get(&holder).cloned()
    }

    /// Waits until a write may be sent. Cancelling loses nothing.
    pub async fn opened(&self) {
        let mut changed = self.changed.subscribe();
        while self.check().is_err() {
            // The sender lives as long as the gate.
            let _ = changed.changed().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_opens_when_nobody_keeps_it_closed() {
        let gate = Arc::new(Gate::default());
        gate.check().unwrap();
        gate.close(Holder::Guard, "somebody writes");
        gate.close(Holder::Lease, "another leads");
        assert_eq!(gate.check().unwrap_err().by, Holder::Lease);
        gate.open(Holder::Lease);
        assert_eq!(gate.check().unwrap_err().to_string(), "somebody writes");
        let waiting = tokio::spawn({
            let gate = Arc::clone(&gate);
            async move { gate.opened().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        gate.open(Holder::Guard);
        waiting.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_not_renewed_closes_it() {
        let gate = Gate::default();
        gate.open_until(Instant::now() + Duration::from_secs(2));
        gate.check().unwrap();
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(gate.check().unwrap_err().by, Holder::Lease);
        gate.open_until(Instant::now() + Duration::from_secs(2));
        gate.check().unwrap();
        gate.close(Holder::Lease, "ending");
        assert!(gate.check().is_err() && !gate.is_lost(), "what is on its way may arrive");
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(gate.is_lost());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_lease_stops_what_is_on_its_way() {
        let gate = Gate::default();
        assert!(!gate.is_lost());
        gate.open_until(Instant::now() + Duration::from_secs(2));
        gate.lose("another leads");
        assert!(gate.is_lost());
        assert_eq!(gate.check().unwrap_err().to_string(), "another leads");
        gate.open_until(Instant::now() + Duration::from_secs(2));
        assert!(!gate.is_lost());
        gate.check().unwrap();
        gate.lose("again");
        gate.open(Holder::Lease);
        assert!(!gate.is_lost(), "no lease, nothing to lose");
    }

    /// A machine that slept: its steady clock stood still.
    #[tokio::test(start_paused = true)]
    async fn the_wall_clock_closes_it_too() {
        let gate = Gate::default();
        gate.open_until(Instant::now() + Duration::from_millis(20));
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!(gate.check().unwrap_err().by, Holder::Lease);
        assert!(gate.is_lost());
    }
}
