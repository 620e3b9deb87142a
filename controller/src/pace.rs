//! Pace: when a difference is written, and when it may wait to be written with others.
//!
//! Every write of a slice goes to every node of the cluster, so writes are worth saving; a ready endpoint that comes or
//! goes is worth a write. Four rules follow:
//!
//! * What changes nothing for traffic is [minor](Minor): an endpoint that was not ready and is not ready now, where
//!   others are. It waits for a write that its object gets anyway, up to [`Patience::calm`], or longer while the
//!   cluster churns: a rollout replaces pod upon pod, and the next change comes soon.
//! * The first change of a quiet Service is written at once. After that a [gap](Pace::wrote) opens between its writes; it
//!   doubles while changes keep coming, to [`Gaps::longest`], and closes when they cease.
//! * While the cluster churns, a new endpoint [waits a moment](Churn::gather) for the old one that it replaces: the two are
//!   one write. One that goes does not wait.
//! * No Service waits for another.
//!
//! ```text
//!   changes  |   |  | || |  | |||  | | |          |
//!   writes   |   |  |  |    |      |      |       |
//!            at once ─ gaps grow ─────────▶       at once
//! ```

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Gaps between writes of the same part of a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gaps {
    /// The first one, when a second change follows closely.
    pub first: Duration,
    /// None is longer.
    pub longest: Duration,
    /// How long an addition waits for a removal while the cluster churns.
    pub gather: Duration,
}

/// How long minor differences may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// While the cluster is calm. Zero: they do not wait at all.
    pub calm: Duration,
    /// While it churns.
    pub churning: Duration,
}

/// A write follows another closely if it comes within so many times the gap that was left then, or within
/// [`Gaps::longest`].
const CLOSELY: u32 = 8;

/// Slice writes a second, sustained, below which a cluster is calm, and above which it churns.
const CALM: f64 = 4.0;
const CHURNING: f64 = 12.0;

/// The time over which the rate of writes is taken. A burst that is shorter is not churn.
const SUSTAINED: f64 = 10.0;

/// More writes a second than this say no more about how long churn will last.
const COUNTED: f64 = 40.0;

impl Gaps {
    /// Of slices: with them a change of a busy Service is written within an eighth of a second.
    pub const SLICES: Self = Self {
        first: Duration::from_millis(10),
        longest: Duration::from_millis(125),
        gather: Duration::from_millis(50),
    };
    /// Of Endpoints: an object may be ten times as large as a slice, and few read it.
    pub const ENDPOINTS: Self = Self {
        first: Duration::from_millis(20),
        longest: Duration::from_secs(1),
        gather: Duration::from_millis(250),
    };
}

impl Default for Patience {
    fn default() -> Self {
        Self { calm: Duration::from_millis(300), churning: Duration::from_secs(6) }
    }
}

/// The pace of one part of one Service.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    last: Option<Instant>,
    gap: Duration,
    minor_since: Option<Instant>,
}

/// What to do about minor differences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Minor {
    /// They have waited long enough, or need not wait: write them.
    Due,
    /// Leave them for now, and look again after this time at the latest.
    After(Duration),
}

impl Pace {
    /// Something was written. Gives the gap until the next write.
    pub fn wrote(&mut self, now: Instant, gaps: Gaps) -> Duration {
        let close = self.last.is_some_and(|last| {
            now.saturating_duration_since(last) <= (self.gap * CLOSELY).max(gaps.longest)
        });
        self.last = Some(now);
        self.gap = if close { (self.gap * 2).clamp(gaps.first, gaps.longest) } else { Duration::ZERO };
        self.gap
    }

    /// There are minor differences: may they wait?
    pub fn minor(&mut self, now: Instant, patience: Duration) -> Minor {
        let since = *self.minor_since.get_or_insert(now);
        match patience.checked_sub(now.saturating_duration_since(since)) {
            Some(left) if !left.is_zero() => Minor::After(left),
            _ => Minor::Due,
        }
    }

    /// There are none, or they are being written.
    pub fn nothing_minor(&mut self) {
        self.minor_since = None;
    }
}

/// How many slices the whole cluster has been written, a second, lately.
#[derive(Debug, Default)]
pub struct Churn(Mutex<Rate>);

#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    at: Option<Instant>,
    rate: f64,
}

impl Churn {
    /// A slice was written.
    pub fn wrote(&self, now: Instant) {
        let mut rate = self.0.lock();
        let since = rate.at.map_or(f64::INFINITY, |at| now.saturating_duration_since(at).as_secs_f64());
        rate.rate = rate.rate * (-since / SUSTAINED).exp() + (since * COUNTED).min(1.0) / SUSTAINED;
        rate.at = Some(now);
    }

    /// How long minor differences may wait now.
    pub fn patience(&self, now: Instant, patience: Patience) -> Duration {
        if patience.calm.is_zero() {
            return Duration::ZERO;
        }
        patience.calm + patience.churning.saturating_sub(patience.calm).mul_f64(self.share(now))
    }

    /// How long additions wait for removals now. Zero in a calm cluster.
    pub fn gather(&self, now: Instant, gaps: Gaps) -> Duration {
        gaps.gather.mul_f64(self.share(now))
    }

    /// From 0, calm, to 1, churning.
    fn share(&self, now: Instant) -> f64 {
        let Rate { at, rate } = *self.0.lock();
        let since = at.map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64());
        let rate = rate * (-since / SUSTAINED).exp();
        ((rate - CALM) / (CHURNING - CALM)).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn the_gap_grows_while_changes_keep_coming() {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        let mut gaps = Vec::new();
        for _ in 0..7 {
            now += 50 * MS;
            let gap = pace.wrote(now, Gaps::SLICES);
            gaps.push(gap.as_millis());
            now += gap;
        }
        assert_eq!(gaps, [0, 10, 20, 40, 80, 125, 125]);
        assert_eq!(pace.wrote(now + 7 * 125 * MS, Gaps::SLICES), 125 * MS);
        assert_eq!(pace.wrote(now + 3000 * MS, Gaps::SLICES), Duration::ZERO, "quiet again");
    }

    #[tokio::test(start_paused = true)]
    async fn minor_differences_wait_from_the_first_of_them() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        assert_eq!(pace.minor(now, 300 * MS), Minor::After(300 * MS));
        assert_eq!(pace.minor(now + 200 * MS, 300 * MS), Minor::After(100 * MS), "another one later");
        assert_eq!(pace.minor(now + 300 * MS, 300 * MS), Minor::Due);
        pace.nothing_minor();
        assert_eq!(pace.minor(now + 400 * MS, 300 * MS), Minor::After(300 * MS));
        assert_eq!(pace.minor(now + 400 * MS, Duration::ZERO), Minor::Due);
    }

    #[tokio::test(start_paused = true)]
    async fn patience_is_for_churn_that_lasts() {
        let (churn, patience, mut now) = (Churn::default(), Patience::default(), Instant::now());
        assert_eq!(churn.patience(now, patience), patience.calm);
        for _ in 0..4000 {
            now += MS / 4;
            churn.wrote(now);
        }
        assert_eq!(churn.patience(now, patience), patience.calm, "a burst of a second");
        assert_eq!(churn.gather(now, Gaps::SLICES), Duration::ZERO);
        for _ in 0..400 {
            now += 25 * MS;
            churn.wrote(now);
        }
        assert_eq!(churn.patience(now, patience), patience.churning, "ten seconds of forty a second");
        assert_eq!(churn.gather(now, Gaps::SLICES), Gaps::SLICES.gather);
        assert_eq!(churn.patience(now + 20_000 * MS, patience), patience.calm, "over");
        let at_once = Patience { calm: Duration::ZERO, ..patience };
        assert_eq!(churn.patience(now, at_once), Duration::ZERO);
    }
}
