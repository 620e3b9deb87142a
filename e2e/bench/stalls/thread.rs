//! What the kernel knows of the thread that asks.

use std::time::Duration;

use anyhow::{Context, Result};
use nix::time::{ClockId, clock_gettime};

/// How often a thread stopped running.
#[derive(Clone, Copy, Default)]
pub(crate) struct Switches {
    /// Because it waited: for a lock, as nothing here waits for anything else.
    pub(crate) waited: u64,
    /// Because another had its turn.
    pub(crate) preempted: u64,
}

impl Switches {
    pub(crate) fn since(self, before: Self) -> Self {
        Self { waited: self.waited - before.waited, preempted: self.preempted - before.preempted }
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self { waited: self.waited + other.waited, preempted: self.preempted + other.preempted }
    }
}

/// How often this thread stopped running so far.
pub(crate) fn switches() -> Result<Switches> {
    let status = std::fs::read_to_string("/proc/thread-self/status")?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).context("a line of the status")?;
        Ok::<u64, anyhow::Error>(line.trim().parse()?)
    };
    Ok(Switches {
        waited: field("voluntary_ctxt_switches:")?,
        preempted: field("nonvoluntary_ctxt_switches:")?,
    })
}

/// The CPU time of this thread so far.
pub(crate) fn cpu() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}
