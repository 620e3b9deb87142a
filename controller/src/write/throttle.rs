//! The pace of all requests together: our own limit, the pauses the API server asks for, and how many requests it takes
//! at once.
//!
//! ```text
//!   worker ──enter──▶ [ pause over · window open · limit ] ──▶ takes the most urgent key ──admit──▶ request
//!                                                                                                     │
//!                      window: halved by 429, silence and slowness; +1 for a window's worth ◀─────────┘
//! ```
//!
//! A worker waits before it takes a key, not with a key in its hands: what becomes urgent in the meantime goes first.
//! Those that waited for the same pause come back one after the other, not all at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use super::{
    failure::{Failure, Overload},
    window::{Answer, Window},
};

/// A pause this short is waited for with a key in hand.
const SHORT: Duration = Duration::from_millis(50);

/// Those who waited for a pause come back within this time after it, or half as long as it lasted.
const SPREAD: Duration = Duration::from_secs(1);

/// How often the log says who turns requests away.
const COMPLAINTS: Duration = Duration::from_secs(60);

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
    changed: Notify,
    throttled: [AtomicU64; 3],
}

#[derive(Debug)]
struct State {
    /// The next request that the limit allows, if every one came as early as it may. In the past when there is room.
    next: Option<Instant>,
    held_until: Option<Instant>,
    /// Over how long those who wait for the pause come back.
    spread: Duration,
    window: Window,
    /// Turns that are taken.
    entered: usize,
    /// Those of them with which nothing has been sent.
    unused: usize,
    complained: Option<Instant>,
}

/// The right to work on a key, until it is dropped.
#[derive(Debug)]
pub struct Turn(Arc<Throttle>);

/// Why a request was held back or turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The API server's priority and fairness.
    PriorityAndFairness,
    /// The API server, or something before it.
    Server,
    /// `--kube-api-qps`
    OwnLimit,
}

impl By {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::PriorityAndFairness, Self::Server, Self::OwnLimit];

    /// As metrics call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PriorityAndFairness => "priority_and_fairness",
            Self::Server => "server",
            Self::OwnLimit => "own_limit",
        }
    }
}

/// What a worker has to wait for.
enum Wait {
    Until(Instant),
    /// Until another has sent something or is done, or until then.
    Others(Option<Instant>),
}

impl Throttle {
    /// At most so many requests at once. Without a limit only the API server sets the pace.
    pub fn new(limit: Option<Limit>, most: usize) -> Self {
        let limit = limit.filter(|limit| limit.per_second > 0.0);
        let state = State {
            next: None,
            held_until: None,
            spread: Duration::ZERO,
            window: Window::new(most),
            entered: 0,
            unused: 0,
            complained: None,
        };
        Self { limit, state: Mutex::new(state), changed: Notify::new(), throttled: Default::default() }
    }

    /// Waits until a key may be worked on. Cancelling loses nothing.
    pub async fn enter(self: &Arc<Self>) -> Turn {
        let mut own_limit = false;
        loop {
            let changed = self.changed.notified();
            let wait = match self.try_enter(Instant::now(), &mut own_limit) {
                Ok(turn) => return turn,
                Err(wait) => wait,
            };
            match wait {
                Wait::Until(at) => tokio::time::sleep_until(at).await,
                Wait::Others(None) => changed.await,
                Wait::Others(Some(at)) => tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep_until(at) => {}
                },
            }
        }
    }

    fn try_enter(self: &Arc<Self>, now: Instant, own_limit: &mut bool) -> Result<Turn, Wait> {
        let mut state = self.state.lock();
        if let Some(until) = state.held_until.filter(|until| *until > now) {
            return Err(Wait::Until(until + state.spread.mul_f64(fastrand::f64())));
        }
        if state.entered >= state.window.size() {
            return Err(Wait::Others(None));
        }
        if let Some(limit) = self.limit {
            let ahead = u32::try_from(state.unused).unwrap_or(u32::MAX);
            if ahead >= limit.burst.max(1) {
                // However long they wait, no more is saved up.
                return Err(Wait::Others(None));
            }
            let at = limit.next(state.next, now) + limit.gap().saturating_mul(ahead);
            if at > now {
                if !std::mem::replace(own_limit, true) {
                    self.count(By::OwnLimit);
                }
                return Err(Wait::Others(Some(at)));
            }
        }
        state.entered += 1;
        state.unused += 1;
        Ok(Turn(Arc::clone(self)))
    }

    /// Waits for the turn of a request.
    ///
    /// # Errors
    /// [`Failure::Paused`] while the API server wants to be left alone: the key is better given back.
    pub async fn admit(&self) -> Result<(), Failure> {
        let turn = {
            let mut state = self.state.lock();
            state.unused = state.unused.saturating_sub(1);
            self.limit.and_then(|limit| {
                let now = Instant::now();
                let next = limit.next(state.next, now);
                state.next = Some(next + limit.gap());
                (next > now).then_some(next)
            })
        };
        self.changed.notify_waiters();
        if let Some(turn) = turn {
            self.count(By::OwnLimit);
            tokio::time::sleep_until(turn).await;
        }
        // A pause may have begun in the meantime, and be made longer while it lasts.
        loop {
            let now = Instant::now();
            match self.state.lock().held_until.map(|until| until.saturating_duration_since(now)) {
                None | Some(Duration::ZERO) => return Ok(()),
                Some(pause) if pause > SHORT => return Err(Failure::Paused { pause }),
                Some(_) => {}
            }
            tokio::time::sleep(SHORT).await;
        }
    }

    /// A request that was sent at this time was answered so.
    pub(super) fn ended<T>(&self, sent: Instant, answer: &Result<T, Failure>) {
        let now = Instant::now();
        let how = match answer {
            Err(Failure::Overloaded { .. }) => Answer::Overloaded,
            Err(Failure::Silent { .. }) => Answer::None,
            // Without a connection nothing is known of the server's load.
            Err(Failure::Closed(_) | Failure::Unreachable(_)) => return,
            Ok(_) | Err(_) => Answer::Given,
        };
        let mut state = self.state.lock();
        state.window.ended(sent, now, how);
        if let Err(Failure::Overloaded { pause, by }) = answer {
            let until = now + *pause;
            if state.held_until.is_none_or(|known| known < until) {
                (state.held_until, state.spread) = (Some(until), SPREAD.min(*pause / 2));
            }
            let due = state.complained.is_none_or(|last| now.saturating_duration_since(last) >= COMPLAINTS);
            if due {
                state.complained = Some(now);
            }
            let window = state.window.size();
            drop(state);
            self.count(by.by());
            if due {
                complain(by, *pause, window);
            }
        } else {
            drop(state);
        }
        self.changed.notify_waiters();
    }

    /// How many keys may be worked on at once now.
    pub fn window(&self) -> usize {
        self.state.lock().window.size()
    }

    /// How often something held a request back.
    pub fn throttled(&self, by: By) -> u64 {
        self.throttled.get(by as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    fn count(&self, by: By) {
        self.throttled.get(by as usize).map(|count| count.fetch_add(1, Ordering::Relaxed));
    }
}

impl Limit {
    fn gap(self) -> Duration {
        Duration::from_secs_f64(self.per_second.recip())
    }

    /// When the next request may be sent. No more than a burst is saved up, and the first request finds all of it.
    fn next(self, next: Option<Instant>, now: Instant) -> Instant {
        let room = self.gap().saturating_mul(self.burst.saturating_sub(1));
        let earliest = now.checked_sub(room).unwrap_or(now);
        next.map_or(earliest, |next| next.max(earliest))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.entered = state.entered.saturating_sub(1);
        state.unused = state.unused.min(state.entered);
        drop(state);
        self.0.changed.notify_waiters();
    }
}

fn complain(by: &Overload, pause: Duration, window: usize) {
    let pause = pause.as_secs_f64();
    match by {
        Overload::PriorityAndFairness { flow_schema, priority_level } => tracing::warn!(
            %flow_schema, %priority_level, pause, window,
            "the API server's priority and fairness turns our requests away"
        ),
        Overload::Server => tracing::warn!(pause, window, "the API server has too much to do"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn overloaded(pause: Duration) -> Result<(), Failure> {
        Err(Failure::Overloaded { pause, by: Overload::Server })
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_and_then_the_pace() {
        tokio::time::advance(seconds(60.0)).await;
        let throttle = Throttle::new(Some(Limit { per_second: 10.0, burst: 3 }), 16);
        let start = Instant::now();
        let mut times = Vec::new();
        for _ in 0..6 {
            throttle.admit().await.unwrap();
            times.push(start.elapsed().as_millis() / 10 * 10);
        }
        assert_eq!(times, [0, 0, 0, 100, 200, 300]);
        tokio::time::advance(seconds(10.0)).await;
        let start = Instant::now();
        for _ in 0..4 {
            throttle.admit().await.unwrap();
        }
        assert_eq!(start.elapsed().as_millis() / 10 * 10, 100, "no more than a burst is saved up");
        assert_eq!(throttle.throttled(By::OwnLimit), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn under_the_limit_no_more_keys_are_taken_than_can_be_written() {
        tokio::time::advance(seconds(60.0)).await;
        let throttle = Arc::new(Throttle::new(Some(Limit { per_second: 1.0, burst: 2 }), 16));
        let (first, _second) = (throttle.enter().await, throttle.enter().await);
        let start = Instant::now();
        let third = tokio::time::timeout(seconds(0.5), throttle.enter()).await;
        assert!(third.is_err(), "two may be sent, and two have a turn");
        drop(first);
        throttle.enter().await;
        assert!(start.elapsed() < seconds(0.6), "a turn with which nothing was sent goes to another");
        let _third = throttle.enter().await;
        for _ in 0..2 {
            throttle.admit().await.unwrap();
        }
        let start = Instant::now();
        let _fourth = throttle.enter().await;
        assert_eq!(start.elapsed().as_secs_f64().round(), 1.0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_everybodys_and_they_come_back_one_after_the_other() {
        let throttle = Arc::new(Throttle::new(None, 16));
        throttle.ended(Instant::now(), &overloaded(seconds(2.0)));
        throttle.ended(Instant::now(), &overloaded(seconds(1.0)));
        assert_eq!(
            throttle.admit().await,
            Err(Failure::Paused { pause: seconds(2.0) }),
            "keys are given back"
        );
        let start = Instant::now();
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let throttle = Arc::clone(&throttle);
            waiting.spawn(async move {
                let turn = throttle.enter().await;
                throttle.admit().await.unwrap();
                (start.elapsed(), turn)
            });
        }
        let mut back = Vec::new();
        while let Some(Ok((at, turn))) = waiting.join_next().await {
            drop(turn);
            back.push(at);
        }
        assert!(back.iter().all(|at| (seconds(2.0)..=seconds(3.1)).contains(at)), "{back:?}");
        back.dedup();
        assert!(back.len() > 4, "{back:?}");
        assert_eq!(throttle.throttled(By::Server), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_narrow_window_lets_one_in_when_another_leaves() {
        let throttle = Arc::new(Throttle::new(None, 4));
        for _ in 0..4 {
            throttle.ended(Instant::now(), &overloaded(Duration::ZERO));
            tokio::time::advance(seconds(0.1)).await;
        }
        assert_eq!(throttle.window(), 1);
        let first = throttle.enter().await;
        let second = tokio::spawn({
            let throttle = Arc::clone(&throttle);
            async move { throttle.enter().await }
        });
        tokio::time::sleep(seconds(5.0)).await;
        assert!(!second.is_finished());
        drop(first);
        let _second = second.await.unwrap();
        for _ in 0..100 {
            throttle.ended(Instant::now(), &Ok(()));
        }
        assert_eq!(throttle.window(), 4);
        let _third = throttle.enter().await;
    }
}
