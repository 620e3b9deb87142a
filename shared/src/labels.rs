//! Labels, annotations and selectors as sorted pairs, shared between all objects that carry the same ones.
//!
//! A sorted slice is a third of a tree's size for the handful of pairs an object has. All pods of a template carry the
//! same pairs, so whole sets are [interned](crate::intern): a set costs a pod one word, and equal sets are found equal at a
//! glance.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::LazyLock,
};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
    ser::SerializeMap,
};
use smallvec::SmallVec;
use triomphe::ThinArc;

use crate::{
    intern::{Handle, Interner},
    name::Name,
};

/// Pairs of strings in the order of their keys, each key once.
#[derive(Clone, Default)]
pub struct Labels(Option<Set>);

type Set = ThinArc<(), (Name, Name)>;

static SETS: LazyLock<Interner<Set>> = LazyLock::new(Interner::new);

impl Handle for Set {
    type Value = [(Name, Name)];

    fn make(pairs: &[(Name, Name)]) -> Self {
        Self::from_header_and_iter((), pairs.iter().cloned())
    }

    fn value(&self) -> &[(Name, Name)] {
        &self.slice
    }

    fn holders(&self) -> usize {
        Self::strong_count(self)
    }

    fn is(&self, other: &Self) -> bool {
        self.ptr() == other.ptr()
    }
}

impl Labels {
    fn pairs(&self) -> &[(Name, Name)] {
        self.0.as_ref().map_or(&[], Handle::value)
    }

    /// The value at `key`.
    pub fn get(&self, key: &str) -> Option<&Name> {
        let pairs = self.pairs();
        let at = pairs.binary_search_by(|(k, _)| k.as_str().cmp(key)).ok()?;
        pairs.get(at).map(|(_, value)| value)
    }

    /// Whether `key` is present, with any value.
    pub fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// All pairs in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, &Name)> + '_ {
        self.pairs().iter().map(|(k, v)| (k, v))
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.pairs().len()
    }

    /// Whether there are none. An empty selector selects nothing: the API server drops `selector: {}`.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether every pair of `self`, read as an equality selector, is among `labels`.
    pub fn selects(&self, labels: &Self) -> bool {
        // Both sides are sorted: one walk over the longer side.
        let mut rest = labels.iter();
        self.iter().all(|(key, value)| {
            rest.by_ref().find(|(k, _)| *k >= key).is_some_and(|(k, v)| k == key && v == value)
        })
    }
}

impl Drop for Labels {
    fn drop(&mut self) {
        if let Some(set) = &self.0
            && set.holders() == 2
        {
            SETS.release(set);
        }
    }
}

impl PartialEq for Labels {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) if one.is(other) => true,
            _ => self.pairs() == other.pairs(),
        }
    }
}

impl Eq for Labels {}

impl Hash for Labels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.pairs().hash(state);
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// A later pair replaces an earlier one with the same key.
impl<K: Into<Name>, V: Into<Name>> FromIterator<(K, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut sorted: SmallVec<[(Name, Name); 8]> =
            pairs.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
        // Stable, so that of two equal keys the later one comes last and is the one kept below.
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        sorted.reverse();
        sorted.dedup_by(|later, earlier| later.0 == earlier.0);
        sorted.reverse();
        Self((!sorted.is_empty()).then(|| SETS.get(&sorted)))
    }
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for (key, value) in self.iter() {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Labels;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of strings")
            }

            fn visit_unit<E>(self) -> Result<Labels, E> {
                Ok(Labels::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels, A::Error> {
                let mut pairs: SmallVec<[(Name, Name); 8]> = SmallVec::new();
                while let Some((key, value)) = map.next_entry::<Name, Option<Name>>()? {
                    pairs.push((key, value.unwrap_or_default()));
                }
                Ok(pairs.into_iter().collect())
            }
        }
        deserializer.deserialize_any(Pairs)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|&(k, v)| (k, v)).collect()
    }

    #[test]
    fn the_last_of_equal_keys_wins() {
        assert_eq!(labels(&[("a", "1"), ("b", "2"), ("a", "3")]), labels(&[("a", "3"), ("b", "2")]));
    }

    #[test]
    fn null_is_no_labels_and_a_null_value_is_empty() {
        assert!(serde_json::from_str::<Labels>("null").unwrap().is_empty());
        assert_eq!(serde_json::from_str::<Labels>(r#"{"a":null}"#).unwrap(), labels(&[("a", "")]));
        assert!(serde_json::from_str::<Labels>(r#"{"a":1}"#).is_err());
    }

    #[test]
    fn equal_sets_are_one_and_go_with_the_last_of_them() {
        let pairs = [("labels-tests-a", "1"), ("labels-tests-b", "2")];
        let value: Vec<(Name, Name)> = pairs.iter().map(|(k, v)| (Name::new(k), Name::new(v))).collect();
        assert!(!SETS.contains(&value));
        let (one, other) = (labels(&pairs), labels(&[pairs[1], pairs[0]]));
        assert!(one.0.as_ref().zip(other.0.as_ref()).is_some_and(|(one, other)| one.is(other)));
        drop(one);
        assert!(SETS.contains(&value));
        drop(other);
        assert!(!SETS.contains(&value), "nobody carries it any more");
        assert_eq!(size_of::<Labels>(), 8);
    }

    proptest! {
        #[test]
        fn selects_is_a_subset_of_pairs(
            selector in proptest::collection::btree_map("[a-d]", "[x-y]", 0..4),
            carried in proptest::collection::btree_map("[a-d]", "[x-y]", 0..4),
        ) {
            let wanted = selector.iter().all(|(k, v)| carried.get(k) == Some(v));
            let selector: Labels = selector.into_iter().collect();
            let carried: Labels = carried.into_iter().collect();
            prop_assert_eq!(selector.selects(&carried), wanted);
        }
    }
}
