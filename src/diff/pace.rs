//! So many questions a second and no more: the servers have others to answer.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Turns at even distances.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Between two turns; zero for no limit.
    gap: Duration,
    next: Mutex<Option<Instant>>,
}

impl Pace {
    /// At most this many turns a second; 0 for as many as are wanted.
    pub(crate) fn new(rate: u32) -> Self {
        let gap = Duration::from_secs(1).checked_div(rate).unwrap_or_default();
        Self { gap, next: Mutex::default() }
    }

    /// Waits for the next turn.
    pub(crate) async fn turn(&self) {
        if self.gap.is_zero() {
            return;
        }
        let at = {
            let mut next = self.next.lock();
            let now = Instant::now();
            // A pause is no reason to hurry afterwards.
            let at = next.map_or(now, |next| next.max(now));
            *next = Some(at + self.gap);
            at
        };
        tokio::time::sleep_until(at).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn turns(pace: &Pace, count: u32) -> Duration {
        let started = Instant::now();
        for _ in 0..count {
            pace.turn().await;
        }
        started.elapsed()
    }

    #[tokio::test]
    async fn turns_come_at_the_rate() {
        let pace = Pace::new(500);
        assert!(turns(&pace, 101).await >= Duration::from_millis(200));
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(turns(&pace, 51).await >= Duration::from_millis(100), "no burst after a pause");
        // Ten thousand at that rate would take twenty seconds.
        assert!(turns(&Pace::new(0), 10_000).await < Duration::from_secs(10));
    }
}
