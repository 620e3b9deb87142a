//! `cache`: answers of others, kept for as long as they are true.
//!
//! ```text
//!   question ─▶ key ─▶ success, denial ─▶ fresh: the kept message, patched
//!                         │                 stale: the same with TTL 0, and got again
//!                         └ nothing ─▶ the rest of the chain ─▶ kind, lifetime ─▶ kept
//! ```
//!
//! A hit on the quick way is one lookup and one copy: an entry holds the message as it is sent, and knows where in it the
//! TTLs are ([`entry`]). What comes from a cluster's index is never kept, for the index is always there; only the bounds on
//! TTLs apply to it. What is true is a function of the time that the clock says.
//!
//! # Where this differs from CoreDNS
//! * The cluster's names are not kept, and not counted as questions to the cache.
//! * A kept answer has the AA bit that it came with, not always 1 (RFC 1035 4.1.1).
//! * A denial lives no longer than the SOA's MINIMUM says (RFC 2308 5).
//! * Class, CD and a client's network are part of what is looked up by (RFC 4035 3.2.2, RFC 7871 7.3).
//! * An answer that takes more than a KiB counts as several, so that the capacities bound memory. What has not been asked
//!   for lately makes room, rather than any.
//! * A failure to get a stale answer again does not replace it (RFC 8767 4), and is not repeated for as long as
//!   SERVFAIL is kept.

mod directive;
mod entry;
#[cfg(feature = "testing")]
pub mod exposed;
mod key;
mod kind;
mod metrics;
mod serve;
mod store;

use std::time::Duration;

pub(super) use directive::setup;
use serve::Cache;

use crate::{plugin::TtlBounds, plugins::reading::Zones};

const NAME: &str = "cache";

/// The directive.
#[derive(Clone, Debug)]
struct CacheConfig {
    /// The zones whose names are kept.
    zones: Zones,
    success: Part,
    denial: Part,
    prefetch: Option<Prefetch>,
    stale: Option<Stale>,
    /// How long failures are kept; zero for not at all.
    failures: Duration,
    /// TTLs do not count down.
    keep_ttl: bool,
}

/// One sort of answers.
#[derive(Clone, Debug)]
struct Part {
    /// Answers of ordinary size.
    capacity: usize,
    /// The longest and the shortest that they are kept, seconds.
    most: u32,
    least: u32,
    /// Zones whose names are not kept.
    disabled: Zones,
}

/// Getting answers again before they are over.
#[derive(Clone, Copy, Debug)]
struct Prefetch {
    /// Questions that make one popular.
    amount: u32,
    /// The longest time between two of them.
    gap: Duration,
    /// What is left of its life when it is got again.
    percentage: u32,
}

/// Answering with what was true once.
#[derive(Clone, Copy, Debug)]
struct Stale {
    /// How long ago that may be.
    within: Duration,
    /// It is tried to get a true answer first.
    verify: bool,
}

const CAPACITY: usize = 9984;

impl Default for CacheConfig {
    fn default() -> Self {
        let part = |most| Part { capacity: CAPACITY, most, least: 5, disabled: Zones::default() };
        Self {
            zones: Zones::default(),
            success: part(3600),
            denial: part(1800),
            prefetch: None,
            stale: None,
            failures: Duration::from_secs(5),
            keep_ttl: false,
        }
    }
}

impl CacheConfig {
    /// The bounds on TTLs: the most has the last word, as with CoreDNS.
    fn bounds(&self) -> TtlBounds {
        let pair = |part: &Part| (part.least.min(part.most), part.most);
        TtlBounds { positive: pair(&self.success), negative: pair(&self.denial) }
    }
}

/// What time it is. A test's clock runs ahead by as much as the test says.
#[derive(Clone, Debug, Default)]
struct Clock {
    #[cfg(test)]
    ahead: std::sync::Arc<std::sync::atomic::AtomicU64>,
}

impl Clock {
    #[cfg(not(test))]
    fn at(&self, instant: std::time::Instant) -> std::time::Instant {
        instant
    }

    #[cfg(test)]
    fn at(&self, instant: std::time::Instant) -> std::time::Instant {
        instant + Duration::from_millis(self.ahead.load(std::sync::atomic::Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests;
