//! The arithmetic of a rolling update, without objects.

use serde_json::Value;

use super::replica_set::count;
use crate::apiserver::rules::value::{at, number, text};

/// How many pods more, and how many available ones fewer, an update may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) surge: usize,
    pub(super) unavailable: usize,
}

/// One ReplicaSet of a Deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Set {
    /// `spec.replicas`
    pub(super) wanted: usize,
    /// `status.availableReplicas`
    pub(super) available: usize,
}

impl Limits {
    /// Those of a Deployment: numbers or percentages, surge rounded up and unavailable rounded down, and never both 0.
    pub(super) fn of(deployment: &Value, replicas: usize) -> Self {
        let field = |name: &str| at(deployment, &["spec", "strategy", "rollingUpdate", name]);
        let surge = resolve(field("maxSurge"), replicas, true);
        let unavailable = resolve(field("maxUnavailable"), replicas, false);
        let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
        Self { surge, unavailable }
    }
}

/// Whether all old pods go before the first new one comes.
pub(super) fn recreates(deployment: &Value) -> bool {
    text(deployment, &["spec", "strategy", "type"]) == "Recreate"
}

/// The next size of the new set.
pub(super) fn grow(replicas: usize, limits: Limits, new: Set, old: &[Set]) -> usize {
    let total = new.wanted + old.iter().map(|set| set.wanted).sum::<usize>();
    if new.wanted > replicas {
        return replicas;
    }
    new.wanted + (replicas + limits.surge).saturating_sub(total).min(replicas - new.wanted)
}

/// The next sizes of the old sets, oldest first. What is not available goes first, for it serves nobody.
pub(super) fn shrink(replicas: usize, limits: Limits, new: Set, old: &[Set]) -> Vec<usize> {
    let least = replicas.saturating_sub(limits.unavailable);
    let total = new.wanted + old.iter().map(|set| set.wanted).sum::<usize>();
    let new_unavailable = new.wanted.saturating_sub(new.available);
    let mut may_go = total.saturating_sub(least + new_unavailable);
    let mut sizes: Vec<usize> = old.iter().map(|set| set.wanted).collect();
    for (size, set) in sizes.iter_mut().zip(old) {
        let broken = set.wanted.saturating_sub(set.available).min(may_go);
        *size -= broken;
        may_go -= broken;
    }
    let available = new.available + old.iter().map(|set| set.available).sum::<usize>();
    let mut may_go = available.saturating_sub(least).min(may_go);
    for size in &mut sizes {
        let gone = may_go.min(*size);
        *size -= gone;
        may_go -= gone;
    }
    sizes
}

fn resolve(value: Option<&Value>, replicas: usize, up: bool) -> usize {
    let percent =
        value.and_then(Value::as_str).and_then(|text| text.strip_suffix('%')?.parse::<usize>().ok());
    match (percent, value) {
        (Some(percent), _) => (replicas * percent + if up { 99 } else { 0 }) / 100,
        (None, Some(value)) => count(number(value, &[]).unwrap_or_default()),
        (None, None) => (replicas * 25 + if up { 99 } else { 0 }) / 100,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn limits(rolling: Value, replicas: usize) -> (usize, usize) {
        let limits = Limits::of(&json!({"spec": {"strategy": {"rollingUpdate": rolling}}}), replicas);
        (limits.surge, limits.unavailable)
    }

    #[test]
    fn limits_are_numbers_or_percentages() {
        assert_eq!(limits(json!({}), 3), (1, 0));
        assert_eq!(limits(json!({}), 10), (3, 2));
        assert_eq!(limits(json!({"maxSurge": 2, "maxUnavailable": "50%"}), 3), (2, 1));
        assert_eq!(limits(json!({"maxSurge": 0, "maxUnavailable": 0}), 3), (0, 1));
    }

    #[test]
    fn an_update_goes_on_until_only_the_new_set_is_left_and_never_below_the_limit() {
        for (surge, unavailable) in [(1, 0), (0, 1), (2, 1), (5, 5)] {
            let limits = Limits { surge, unavailable };
            let mut new = Set { wanted: 0, available: 0 };
            let mut old = [Set { wanted: 4, available: 3 }];
            for step in 0.. {
                assert!(step < 50, "the update {limits:?} stands still at {new:?} {old:?}");
                new.wanted = grow(4, limits, new, &old);
                old[0].wanted = shrink(4, limits, new, &old)[0];
                old[0].available = old[0].available.min(old[0].wanted);
                assert!(new.wanted + old[0].wanted <= 4 + surge);
                if step > 0 {
                    assert!(new.available + old[0].available + unavailable >= 3);
                }
                if new.available == 4 && old[0].wanted == 0 {
                    break;
                }
                new.available = new.wanted;
            }
        }
    }

    #[test]
    fn a_new_set_that_is_too_large_shrinks_at_once() {
        let limits = Limits { surge: 1, unavailable: 0 };
        assert_eq!(grow(2, limits, Set { wanted: 5, available: 5 }, &[]), 2);
    }
}
