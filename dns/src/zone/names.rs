//! Every Service's names, by `service.namespace`: the map that nearly every question looks into.
//!
//! It is a type of its own so that what is inside can be chosen by measurement, behind an interface that stays as it is.

use std::sync::Arc;

use compact_str::CompactString as Text;
use dashmap::DashMap;

use super::{Hasher, service::ServiceNames};

/// The Services with names. One writer at a time, many readers.
#[derive(Debug, Default)]
pub(super) struct Names {
    map: DashMap<Text, Arc<ServiceNames>, Hasher>,
}

impl Names {
    /// The names of a Service: as they were or as they are now, never half of each.
    pub(super) fn get(&self, key: &str) -> Option<Arc<ServiceNames>> {
        self.map.get(key).map(|names| Arc::clone(&names))
    }

    /// Replaces a Service's names.
    pub(super) fn insert(&self, key: Text, names: Arc<ServiceNames>) {
        self.map.insert(key, names);
    }

    /// Forgets a Service.
    pub(super) fn remove(&self, key: &str) {
        self.map.remove(key);
    }

    /// All of them, in no order.
    pub(super) fn all(&self) -> Vec<Arc<ServiceNames>> {
        self.map.iter().map(|entry| Arc::clone(entry.value())).collect()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.map.len()
    }
}
