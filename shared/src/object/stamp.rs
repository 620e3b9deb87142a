//! A time in one word.

use std::{fmt, num::NonZeroU64};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

/// A point in time to the microsecond, the finest that Kubernetes writes: `metav1.Time` has seconds, `metav1.MicroTime`
/// microseconds. `Option<Stamp>` is one word as well.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(NonZeroU64);

/// Moves what is before 1970 below what is after it; zero would be the year -290,308.
const BIAS: u64 = 1 << 63;

impl From<Timestamp> for Stamp {
    fn from(time: Timestamp) -> Self {
        let biased = time.as_microsecond().cast_unsigned() ^ BIAS;
        Self(NonZeroU64::new(biased).unwrap_or(NonZeroU64::MIN))
    }
}

impl From<Stamp> for Timestamp {
    fn from(stamp: Stamp) -> Self {
        // Every stamp was made from a time, and so is one.
        Self::from_microsecond((stamp.0.get() ^ BIAS).cast_signed()).unwrap_or_default()
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Timestamp::from(*self), f)
    }
}

impl<'de> Deserialize<'de> for Stamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Timestamp::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back_and_keep_their_order() {
        let times = [
            "-009999-01-02T03:04:05Z",
            "1969-12-31T23:59:59.999999Z",
            "1970-01-01T00:00:00Z",
            "2026-01-02T03:04:05Z",
        ];
        let times: Vec<Timestamp> = times.iter().map(|text| text.parse().unwrap()).collect();
        let stamps: Vec<Stamp> = times.iter().copied().map(Stamp::from).collect();
        assert!(stamps.is_sorted_by(|a, b| a < b));
        assert_eq!(stamps.iter().copied().map(Timestamp::from).collect::<Vec<_>>(), times);
        assert_eq!(size_of::<Option<Stamp>>(), 8);
    }
}
