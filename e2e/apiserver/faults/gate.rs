//! What stands between a kind's events and its watches.

use std::time::{Duration, Instant};

/// The state of the switches for one kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate {
    /// Nothing newer than this version passes.
    pub(crate) held_at: Option<u64>,
    /// Events pass this late.
    pub(crate) delay: Duration,
    /// How often all watches were dropped, in order and abruptly.
    pub(crate) drops: Drops,
}

/// Counts a watch compares with those of its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Drops {
    /// Orderly ends.
    pub(crate) orderly: u64,
    /// Cuts.
    pub(crate) abrupt: u64,
}

impl Gate {
    /// Whether an event of this version, committed at this time, may pass now.
    pub(crate) fn lets_pass(&self, version: u64, committed: Instant, now: Instant) -> bool {
        self.held_at.is_none_or(|held| version <= held) && committed + self.delay <= now
    }

    /// Whether the gate is wide open.
    pub(crate) fn is_open(&self) -> bool {
        self.held_at.is_none() && self.delay.is_zero()
    }

    pub(super) fn drop_watches(&mut self, abrupt: bool) {
        if abrupt {
            self.drops.abrupt += 1;
        } else {
            self.drops.orderly += 1;
        }
    }
}
