//! The pace of all requests together: our own limit, and the pauses the API server asks for.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// `--kube-api-qps` and `--kube-api-burst`: so many requests a second in the long run, so many at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// Requests a second.
    pub per_second: f64,
    /// Requests at once.
    pub burst: u32,
}

/// Lets requests through at the pace that is allowed.
#[derive(Debug)]
pub struct Throttle {
    limit: Option<Limit>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The next request that the limit allows, if every one came as early as it may. In the past when there is room.
    next: Option<Instant>,
    held_until: Option<Instant>,
}

impl Throttle {
    /// Without a limit only the API server's pauses count.
    pub fn new(limit: Option<Limit>) -> Self {
        let limit = limit.filter(|limit| limit.per_second > 0.0);
        Self { limit, state: Mutex::default() }
    }

    /// Waits for the turn of a request.
    pub async fn admit(&self) {
        if let Some(turn) = self.turn(Instant::now()) {
            tokio::time::sleep_until(turn).await;
        }
        // A pause may have begun in the meantime, and be made longer while it lasts.
        while let Some(until) = self.held(Instant::now()) {
            tokio::time::sleep_until(until).await;
        }
    }

    /// Sends nothing for so long.
    pub fn hold(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let mut state = self.state.lock();
        state.held_until = Some(state.held_until.map_or(until, |known| known.max(until)));
    }

    fn held(&self, now: Instant) -> Option<Instant> {
        self.state.lock().held_until.filter(|until| *until > now)
    }

    fn turn(&self, now: Instant) -> Option<Instant> {
        let limit = self.limit?;
        let gap = Duration::from_secs_f64(limit.per_second.recip());
        let room = gap.saturating_mul(limit.burst.saturating_sub(1));
        let mut state = self.state.lock();
        // No more than a burst is saved up, and the first request finds all of it.
        let earliest = now.checked_sub(room).unwrap_or(now);
        let next = state.next.map_or(earliest, |next| next.max(earliest));
        state.next = Some(next + gap);
        (next > now).then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_and_then_the_pace() {
        tokio::time::advance(Duration::from_secs(60)).await;
        let throttle = Throttle::new(Some(Limit { per_second: 10.0, burst: 3 }));
        let start = Instant::now();
        let mut times = Vec::new();
        for _ in 0..6 {
            throttle.admit().await;
            times.push(start.elapsed().as_millis() / 10 * 10);
        }
        assert_eq!(times, [0, 0, 0, 100, 200, 300]);
        tokio::time::advance(Duration::from_secs(10)).await;
        let start = Instant::now();
        for _ in 0..4 {
            throttle.admit().await;
        }
        assert_eq!(start.elapsed().as_millis() / 10 * 10, 100, "no more than a burst is saved up");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_holds_everybody() {
        let throttle = Throttle::new(None);
        throttle.admit().await;
        throttle.hold(Duration::from_secs(2));
        throttle.hold(Duration::from_secs(1));
        let start = Instant::now();
        throttle.admit().await;
        assert_eq!(start.elapsed().as_secs(), 2);
    }
}
