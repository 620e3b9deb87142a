//! How many Events are posted: of one object as upstream posts them, and of all together.

use std::{collections::HashMap, hash::Hash, time::Duration};

use tokio::time::Instant;

/// So many at once, and one more each time `every` has passed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rate {
    pub(crate) burst: f64,
    pub(crate) every: Duration,
}

/// Of one object and source (client-go, `tools/record/events_cache.go`).
pub(crate) const OF_OBJECT: Rate = Rate { burst: 25.0, every: Duration::from_secs(300) };

/// Of all objects: a controller that starts among a thousand broken Services tells of them in its own time.
pub(crate) const OF_ALL: Rate = Rate { burst: 20.0, every: Duration::from_secs(1) };

/// The most objects that are remembered.
const OBJECTS: usize = 4096;

/// What is left of a rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    rate: Rate,
    left: f64,
    at: Instant,
}

/// A bucket for each object.
#[derive(Debug)]
pub(crate) struct Buckets<K>(HashMap<K, Bucket>);

impl Bucket {
    pub(crate) fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, left: rate.burst, at: now }
    }

    /// Takes one; if there is none, says how long that lasts.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() / self.rate.every.as_secs_f64();
        (self.left, self.at) = ((self.left + gained).min(self.rate.burst), now);
        if self.left < 1.0 {
            return Err(self.rate.every.mul_f64(1.0 - self.left));
        }
        self.left -= 1.0;
        Ok(())
    }

    fn is_full(&self, now: Instant) -> bool {
        let missing = self.rate.burst - self.left;
        now.saturating_duration_since(self.at).as_secs_f64() >= missing * self.rate.every.as_secs_f64()
    }
}

impl<K: Eq + Hash> Default for Buckets<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> Buckets<K> {
    /// Takes one of the object's, and tells whether there was one.
    pub(crate) fn take(&mut self, key: K, now: Instant) -> bool {
        if self.0.len() >= OBJECTS {
            self.0.retain(|_, bucket| !bucket.is_full(now));
        }
        if self.0.len() >= OBJECTS {
            self.0.clear();
        }
        self.0.entry(key).or_insert_with(|| Bucket::new(OF_OBJECT, now)).take(now).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_and_then_one_at_a_time() {
        let start = Instant::now();
        let mut bucket = Bucket::new(OF_ALL, start);
        assert!((0..20).all(|_| bucket.take(start).is_ok()));
        assert_eq!(bucket.take(start), Err(Duration::from_secs(1)));
        assert_eq!(bucket.take(start + Duration::from_millis(500)), Err(Duration::from_millis(500)));
        assert_eq!(bucket.take(start + Duration::from_secs(1)), Ok(()));
        let later = start + Duration::from_secs(100);
        assert_eq!(
            (0..40).filter(|_| bucket.take(later).is_ok()).count(),
            20,
            "no more than a burst is saved up"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn each_object_has_its_own_and_memory_is_bounded() {
        let start = Instant::now();
        let mut buckets = Buckets::default();
        assert_eq!((0..30).filter(|_| buckets.take(0, start)).count(), 25);
        assert!(buckets.take(1, start));
        assert!(buckets.take(0, start + Duration::from_secs(300)));
        for object in 0..10_000 {
            buckets.take(object, start);
        }
        assert!(buckets.0.len() <= OBJECTS);
    }
}
