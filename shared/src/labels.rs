//! Labels, annotations and selectors as sorted pairs, shared between objects that carry the same ones.
//!
//! A sorted slice is a third of a tree's size for the handful of pairs an object has, and pods of one template share
//! most of it: cloning costs a reference count.

use std::{fmt, sync::Arc};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
    ser::SerializeMap,
};

use crate::name::Name;

/// Pairs of strings in the order of their keys, each key once.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Labels(Arc<[(Name, Name)]>);

impl Labels {
    /// The value at `key`.
    pub fn get(&self, key: &str) -> Option<&Name> {
        let at = self.0.binary_search_by(|(k, _)| k.as_str().cmp(key)).ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    /// Whether `key` is present, with any value.
    pub fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// All pairs in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, &Name)> + '_ {
        self.0.iter().map(|(k, v)| (k, v))
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none. An empty selector selects nothing: the API server drops `selector: {}`.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether every pair of `self`, read as an equality selector, is among `labels`.
    pub fn selects(&self, labels: &Self) -> bool {
        // Both sides are sorted: one walk over the longer side.
        let mut rest = labels.0.iter();
        self.0.iter().all(|(key, value)| {
            rest.by_ref().find(|(k, _)| k >= key).is_some_and(|(k, v)| k == key && v == value)
        })
    }
}

impl Default for Labels {
    fn default() -> Self {
        Self(Arc::from([]))
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
        let mut sorted: Vec<(Name, Name)> = pairs.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
        // Stable, so that of two equal keys the later one comes last and is the one kept below.
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        sorted.reverse();
        sorted.dedup_by(|later, earlier| later.0 == earlier.0);
        sorted.reverse();
        Self(sorted.into())
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
                let mut pairs = Vec::new();
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
