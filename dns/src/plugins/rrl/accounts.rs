//! Accounts: how much of what has been said to whom, in a table of a fixed size.
//!
//! An account is a point in time: the one at which its balance is nothing. It lies in the past while there is credit, and
//! in the future while there is debt; each answer moves it on by the time that one answer has to wait for the next. So
//! credit comes with time by itself, and an account of which nobody has heard for a second is the same as none: its
//! place is free (the generic cell rate algorithm, with the bounds of the plugin `rrl` of CoreDNS).
//!
//! Places are a pair of numbers each, four to a cache line, and are changed without a lock. The places that an account may
//! have are those of two lines, chosen by a hash that is seeded for each table: who fills the table cannot choose whom it
//! leaves no place.

use std::{
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// Ticks of time in a second: they are 10 ns.
pub(super) const SECOND: i64 = 100_000_000;
/// The longest time from one answer to the next.
pub(super) const SLOWEST: i64 = 86_400 * SECOND;
/// A table's time begins here, so that a place that was never used is an account with all its credit.
const BEGINNING: i64 = 2 * SLOWEST;
/// The bits of a state that count answers that were not given. The others are the time, enough for twenty years.
const COUNT: u32 = 8;
/// Places in a cache line.
const LINE: usize = 4;

/// All accounts.
pub(super) struct Accounts {
    lines: Box<[Line]>,
    hasher: RandomState,
    beginning: Instant,
    /// The most credit that an account may have, in ticks.
    full: i64,
}

#[derive(Default)]
#[repr(align(64))]
struct Line([Place; LINE]);

#[derive(Default)]
struct Place {
    /// The account's hash; 0 where there has been none.
    key: AtomicU64,
    /// The time at which its balance is nothing, in ticks, and how many answers were not given since one slipped through.
    state: AtomicU64,
}

/// What may be taken from an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Allowance {
    /// Ticks from one answer to the next.
    pub(super) interval: i64,
    /// The most debt, in ticks.
    pub(super) window: i64,
    /// Every so manieth answer that is not given slips through; 0 for none.
    pub(super) slip: u8,
}

/// What an account says to an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// There is credit.
    Give,
    /// There is none.
    Withhold,
    /// There is none, and it is this one's turn to slip through.
    Slip,
}

impl Accounts {
    /// A table of about so many accounts, none of which has more ticks from one answer to the next than `slowest`.
    pub(super) fn new(size: usize, slowest: i64) -> Self {
        let lines = size.div_ceil(LINE).next_power_of_two().max(2);
        Self {
            lines: (0..if size == 0 { 0 } else { lines }).map(|_| Line::default()).collect(),
            hasher: RandomState::new(),
            beginning: Instant::now(),
            full: slowest.max(SECOND),
        }
    }

    /// Takes one answer from an account. Where there is no place for it, it is given.
    pub(super) fn debit(&self, account: &[u8], allowance: Allowance, now: Instant) -> Verdict {
        let hash = self.hasher.hash_one(account).max(1);
        let now = self.ticks(now);
        self.place(hash, now).map_or(Verdict::Give, |place| place.debit(allowance, now))
    }

    fn ticks(&self, now: Instant) -> i64 {
        let nanos = now.saturating_duration_since(self.beginning).as_nanos();
        BEGINNING.saturating_add(i64::try_from(nanos / 10).unwrap_or(i64::MAX))
    }

    /// The place of an account: its own, or a free one, which is its own then.
    fn place(&self, hash: u64, now: i64) -> Option<&Place> {
        let first = usize::try_from(hash).unwrap_or_default() & self.lines.len().checked_sub(1)?;
        let lines = [self.lines.get(first)?, self.lines.get(first ^ 1)?];
        let places = || lines.iter().flat_map(|line| &line.0);
        if let Some(ours) = places().find(|place| place.key.load(Ordering::Relaxed) == hash) {
            return Some(ours);
        }
        places().find(|place| {
            let key = place.key.load(Ordering::Relaxed);
            // An account with all its credit is as good as a new one: taking its place over is changing its name. Another
            // thread that takes it at the same time finds the name changed.
            now - time(place.state.load(Ordering::Relaxed)) >= self.full
                && (place.key.compare_exchange(key, hash, Ordering::Relaxed, Ordering::Relaxed))
                    .map_or_else(|other| other == hash, |_| true)
        })
    }
}

impl Place {
    fn debit(&self, allowance: Allowance, now: i64) -> Verdict {
        let mut verdict = Verdict::Give;
        let taken = |state: u64| {
            let balance = match now - time(state) - allowance.interval {
                // No more credit than of a second, or of one answer; no more debt than of the window.
                balance if balance >= SECOND => (SECOND - allowance.interval).max(0),
                balance => balance.max(-allowance.window),
            };
            let count = state & ((1 << COUNT) - 1);
            let (count, said) = match (balance >= 0, u64::from(allowance.slip)) {
                (true, _) => (count, Verdict::Give),
                (false, 0) => (count, Verdict::Withhold),
                (false, slip) if count + 1 >= slip => (0, Verdict::Slip),
                (false, _) => (count + 1, Verdict::Withhold),
            };
            verdict = said;
            Some(((now - balance).max(0) as u64) << COUNT | count)
        };
        // It cannot fail: there is always a next state.
        let _ = self.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken);
        verdict
    }
}

fn time(state: u64) -> i64 {
    (state >> COUNT) as i64
}

/// So long, in ticks.
pub(super) fn ticks(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos() / 10).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowance(per_second: i64, slip: u8) -> Allowance {
        Allowance { interval: SECOND / per_second, window: 5 * SECOND, slip }
    }

    /// How many of so many answers, so far apart, are given.
    fn given(accounts: &Accounts, from: Instant, count: u32, apart: Duration, allowed: Allowance) -> usize {
        (0..count).filter(|at| accounts.debit(b"one", allowed, from + *at * apart) == Verdict::Give).count()
    }

    #[test]
    fn an_account_gives_what_a_second_brings() {
        let accounts = Accounts::new(100, 0);
        let start = Instant::now();
        let millis = Duration::from_millis;
        assert_eq!(given(&accounts, start, 100, millis(0), allowance(10, 0)), 10, "a second's worth at once");
        // Ninety too many, with debt for no more than five seconds.
        assert_eq!(given(&accounts, start + millis(4900), 1, millis(0), allowance(10, 0)), 0);
        let later = start + Duration::from_secs(30);
        assert_eq!(given(&accounts, later, 50, millis(100), allowance(10, 0)), 50, "as many as allowed");
        let later = later + Duration::from_secs(30);
        let flood = given(&accounts, later, 2000, millis(5), allowance(10, 0));
        assert_eq!(flood, 10, "who does not stop gets nothing");
        // Who stops is heard again after the window.
        assert_eq!(given(&accounts, later + Duration::from_secs(16), 1, millis(0), allowance(10, 0)), 1);
    }

    #[test]
    fn less_than_one_a_second_is_one_in_so_many() {
        let accounts = Accounts::new(100, 4 * SECOND);
        let slow = Allowance { interval: 4 * SECOND, window: 5 * SECOND, slip: 0 };
        let start = Instant::now() + Duration::from_secs(100);
        let seconds = Duration::from_secs;
        assert_eq!(given(&accounts, start, 5, seconds(4), slow), 5);
        assert_eq!(given(&accounts, start + seconds(100), 2, seconds(2), slow), 1);
    }

    #[test]
    fn every_so_manieth_slips_through() {
        let accounts = Accounts::new(100, 0);
        let now = Instant::now();
        let said: Vec<Verdict> = (0..8).map(|_| accounts.debit(b"one", allowance(2, 3), now)).collect();
        use Verdict::{Give, Slip, Withhold};
        assert_eq!(said, [Give, Give, Withhold, Withhold, Slip, Withhold, Withhold, Slip]);
        let all: Vec<Verdict> = (0..4).map(|_| accounts.debit(b"two", allowance(2, 1), now)).collect();
        assert_eq!(all, [Give, Give, Slip, Slip]);
    }

    #[test]
    fn accounts_are_apart_and_a_full_table_lets_through() {
        let accounts = Accounts::new(64, 0);
        let now = Instant::now();
        let mut given = 0;
        for number in 0..10_000_u32 {
            let account = number.to_be_bytes();
            for _ in 0..3 {
                given += usize::from(accounts.debit(&account, allowance(1, 0), now) == Verdict::Give);
            }
        }
        // Each gives one; those without a place give all three.
        let without = (given - 10_000) / 2;
        assert!((10_000 - 64..10_000).contains(&without), "{without} have no place");
        // A second later every place is free again, but for the debt.
        let later = now + Duration::from_secs(10);
        assert_eq!(accounts.debit(b"new", allowance(1, 0), later), Verdict::Give);
        assert_eq!(accounts.debit(b"new", allowance(1, 0), later), Verdict::Withhold);
        // No table, no limit.
        let none = Accounts::new(0, 0);
        assert!((0..100).all(|_| none.debit(b"one", allowance(1, 0), now) == Verdict::Give));
    }

    #[test]
    fn threads_share_an_account() {
        let accounts = Accounts::new(1000, 0);
        let now = Instant::now();
        let counts = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| given(&accounts, now, 5000, Duration::ZERO, allowance(100, 0))))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
        });
        assert_eq!(counts, 100);
    }
}
