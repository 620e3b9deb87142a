//! The window: how many requests may be under way at once. It is halved when the API server is too busy and grows by one
//! when a window's worth of requests went well, as TCP's does (additive increase, multiplicative decrease).

use std::time::Duration;

use tokio::time::Instant;

/// An answer that takes so many times as long as usual is a sign of a server that is too busy,
const FAR_ABOVE: u32 = 8;

/// if it takes this long at least.
const SLOW: Duration = Duration::from_secs(1);

/// The weight of one answer in what is usual.
const WEIGHT: f64 = 1.0 / 16.0;

/// How a request went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// There was an answer: whatever it said, the server had the time.
    Given,
    /// The server has too much to do.
    Overloaded,
    /// There was none in time.
    None,
}

/// How many requests may be under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    size: f64,
    most: f64,
    usual: Option<Duration>,
    cut: Option<Instant>,
}

impl Window {
    /// A window that is open as far as it goes.
    pub(super) fn new(most: usize) -> Self {
        // Far below 2^52.
        let most = most.max(1) as f64;
        Self { size: most, most, usual: None, cut: None }
    }

    /// How many, one at least.
    pub(super) fn size(&self) -> usize {
        // At least 1 and at most `most`, which was a usize.
        self.size as usize
    }

    /// A request that was sent at this time has ended.
    pub(super) fn ended(&mut self, sent: Instant, now: Instant, answer: Answer) {
        let took = now.saturating_duration_since(sent);
        let slow = self.usual.is_some_and(|usual| took > SLOW.max(usual.saturating_mul(FAR_ABOVE)));
        match answer {
            Answer::Given if !slow => {
                self.size = (self.size + self.size.recip()).min(self.most);
            }
            // What was sent before the last cut tells nothing new.
            _ if self.cut.is_some_and(|cut| sent < cut) => {}
            _ => {
                self.size = (self.size / 2.0).max(1.0);
                self.cut = Some(now);
            }
        }
        if answer == Answer::Given {
            let usual = self.usual.unwrap_or(took);
            // One slow answer does not become the rule, many do.
            let counted = took.min(usual.saturating_mul(FAR_ABOVE).max(SLOW));
            self.usual = Some(usual.mul_f64(1.0 - WEIGHT) + counted.mul_f64(WEIGHT));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Duration = Duration::from_millis(10);

    #[tokio::test(start_paused = true)]
    async fn it_is_halved_once_for_what_was_under_way_and_grows_back_slowly() {
        let start = Instant::now();
        let mut window = Window::new(16);
        let now = start + FAST;
        for _ in 0..16 {
            window.ended(start, now, Answer::Overloaded);
        }
        assert_eq!(window.size(), 8, "one cut for all that was sent before it");
        for _ in 0..9 {
            window.ended(now, now + FAST, Answer::Given);
        }
        assert_eq!(window.size(), 9, "one more for a window's worth");
        for round in 1..20_u32 {
            let sent = now + FAST * round;
            window.ended(sent, sent + FAST, Answer::Overloaded);
        }
        assert_eq!(window.size(), 1, "never none");
        for _ in 0..1000 {
            window.ended(now, now + FAST, Answer::Given);
        }
        assert_eq!(window.size(), 16, "never more");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_and_slowness_count_as_well() {
        let mut window = Window::new(16);
        let mut now = Instant::now();
        let mut go = |window: &mut Window, took: Duration, answer| {
            let sent = now;
            now += took;
            window.ended(sent, now, answer);
            window.size()
        };
        assert_eq!(go(&mut window, FAST, Answer::Given), 16);
        assert_eq!(go(&mut window, Duration::from_millis(900), Answer::Given), 16, "slow, but not very");
        assert_eq!(go(&mut window, Duration::from_secs(2), Answer::Given), 8);
        assert_eq!(go(&mut window, Duration::from_secs(30), Answer::None), 4);
        for _ in 0..200 {
            go(&mut window, Duration::from_secs(2), Answer::Given);
        }
        assert_eq!(window.size(), 16, "what is always slow is usual");
    }
}
