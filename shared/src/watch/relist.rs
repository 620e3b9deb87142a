//! Whether a list is believed.
//!
//! A complete list that lacks most of what is known is either a cluster that was emptied, or an API server that answers
//! from a cache or a store that lost its contents. Taken at its word, the second empties DNS and the endpoints of the
//! whole cluster. So nothing is removed on the word of one such list: the kind is listed again, and what both lists lack
//! is removed. What a list has is believed in any case.
//!
//! ```text
//!   list ──lacks little──▶ believed
//!    │ lacks most
//!    ▼
//!   in doubt ──1 s──▶ list ──lacks little──▶ believed
//!    ▲                 │ lacks most
//!    └────────5 s──────┴──and the first is 5 s old──▶ what both lack is removed
//! ```

use std::{collections::HashSet, time::Duration};

use tokio::time::Instant;

use crate::name::Key;

/// So many objects must be missing before a list is doubted.
const MANY: usize = 100;

/// When to list again after the first list that lacks most, and after each that does not settle it.
const SOON: Duration = Duration::from_secs(1);
const LATER: Duration = Duration::from_secs(5);

/// How long two lists must be apart for the second to confirm the first.
const APART: Duration = Duration::from_secs(5);

/// A list that is not believed yet.
#[derive(Debug)]
pub(super) struct Doubt {
    /// What all lists since the first lack.
    pub(super) missing: HashSet<Key>,
    /// When the first of them was complete.
    since: Instant,
    /// When to list again.
    pub(super) again: Instant,
}

impl Doubt {
    /// A list is on its way.
    pub(super) fn put_off(&mut self, now: Instant) {
        self.again = now + LATER;
    }
}

/// Decides about a complete list that lacks the keys `missing` of `known` objects: the keys to remove now, and the doubt
/// that remains.
pub(super) fn judge(
    known: usize,
    missing: Vec<Key>,
    doubt: Option<Doubt>,
    now: Instant,
) -> (Vec<Key>, Option<Doubt>) {
    if missing.len() < MANY || missing.len() * 2 <= known {
        return (missing, None);
    }
    let Some(earlier) = doubt else {
        let missing = missing.into_iter().collect();
        return (Vec::new(), Some(Doubt { missing, since: now, again: now + SOON }));
    };
    let (both, new): (Vec<Key>, Vec<Key>) =
        missing.into_iter().partition(|key| earlier.missing.contains(key));
    if now.duration_since(earlier.since) < APART {
        // What only this list lacks was there a moment ago: it is no more believed than the first was.
        let missing = both.into_iter().chain(new).collect();
        return (Vec::new(), Some(Doubt { missing, since: earlier.since, again: now + LATER }));
    }
    let doubt = (!new.is_empty()).then(|| Doubt {
        missing: new.into_iter().collect(),
        since: now,
        again: now + LATER,
    });
    (both, doubt)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(numbers: std::ops::Range<usize>) -> Vec<Key> {
        numbers.map(|number| Key::new("n", number.to_string())).collect()
    }

    #[test]
    fn a_list_that_lacks_little_is_believed() {
        let now = Instant::now();
        for (known, missing) in [(10, 10), (99, 99), (200, 100), (1000, 500)] {
            let (gone, doubt) = judge(known, keys(0..missing), None, now);
            assert_eq!((gone.len(), doubt.is_some()), (missing, false), "{missing} of {known}");
        }
    }

    #[test]
    fn a_list_that_lacks_most_needs_a_second_that_is_late_enough() {
        let start = Instant::now();
        let (gone, doubt) = judge(150, keys(0..100), None, start);
        assert!(gone.is_empty());
        assert_eq!(doubt.as_ref().unwrap().again, start + SOON);
        let second = start + Duration::from_secs(1);
        let (gone, doubt) = judge(150, keys(0..100), doubt, second);
        assert!(gone.is_empty(), "too early");
        assert_eq!(doubt.as_ref().unwrap().again, second + LATER);
        let (gone, doubt) = judge(150, keys(0..100), doubt, second + LATER);
        assert_eq!((gone.len(), doubt.is_some()), (100, false));
    }

    #[test]
    fn only_what_both_lack_is_removed() {
        let start = Instant::now();
        let (_, doubt) = judge(300, keys(0..200), None, start);
        let (gone, doubt) = judge(300, keys(100..300), doubt, start + APART);
        assert_eq!(gone, keys(100..200));
        assert_eq!(doubt.unwrap().missing, keys(200..300).into_iter().collect());
    }

    #[test]
    fn a_second_list_that_has_them_ends_the_doubt() {
        let start = Instant::now();
        let (_, doubt) = judge(200, keys(0..200), None, start);
        let (gone, doubt) = judge(200, keys(7..8), doubt, start + SOON);
        assert_eq!((gone, doubt.is_some()), (keys(7..8), false));
    }
}
