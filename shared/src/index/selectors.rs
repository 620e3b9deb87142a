//! From a pod's labels to the Services that select it, at the cost of those that do.
//!
//! Each Service is filed under one pair of its selector, its anchor: of its pairs the one with the fewest Services so
//! far. A pod that the Service selects has that pair, so the candidates for a pod are what is filed under its own labels.
//! Services that share a common pair (`app.kubernetes.io/part-of=shop`) spread over their rarer ones.

use std::collections::HashMap;

use smallvec::SmallVec;

use crate::{labels::Labels, name::Name};

/// The selectors of one namespace.
#[derive(Debug, Default)]
pub(super) struct Selectors {
    filed: HashMap<(Name, Name), Vec<Name>>,
    services: HashMap<Name, (Labels, (Name, Name))>,
}

impl Selectors {
    /// Files `service`. An empty selector removes it.
    pub(super) fn insert(&mut self, service: &Name, selector: &Labels) {
        if self.services.get(service).is_some_and(|(known, _)| known == selector) {
            return;
        }
        self.remove(service);
        let crowd = |pair: &(&Name, &Name)| {
            let pair = (pair.0.clone(), pair.1.clone());
            self.filed.get(&pair).map_or(0, Vec::len)
        };
        let Some((key, value)) = selector.iter().min_by_key(crowd) else { return };
        let anchor = (key.clone(), value.clone());
        self.filed.entry(anchor.clone()).or_default().push(service.clone());
        self.services.insert(service.clone(), (selector.clone(), anchor));
    }

    pub(super) fn remove(&mut self, service: &Name) {
        let Some((_, anchor)) = self.services.remove(service) else { return };
        if let Some(filed) = self.filed.get_mut(&anchor) {
            filed.retain(|name| name != service);
            if filed.is_empty() {
                self.filed.remove(&anchor);
            }
        }
    }

    /// The Services that select a pod with these labels, in no order, each once.
    pub(super) fn matching(&self, labels: &Labels) -> SmallVec<[Name; 2]> {
        let candidates =
            labels.iter().filter_map(|(key, value)| self.filed.get(&(key.clone(), value.clone())));
        candidates
            .flatten()
            .filter(|service| {
                self.services.get(*service).is_some_and(|(selector, _)| selector.selects(labels))
            })
            .cloned()
            .collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.services.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever was filed and removed, a pod finds exactly the Services whose selector it satisfies.
        #[test]
        fn finds_exactly_those_that_select(
            filed in proptest::collection::vec(
                ("[a-f]", proptest::collection::btree_map("[k-m]", "[0-2]", 0..3)), 0..12),
            removed in proptest::collection::vec("[a-f]", 0..4),
            pod in proptest::collection::btree_map("[k-m]", "[0-2]", 0..4),
        ) {
            let mut selectors = Selectors::default();
            let mut model: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
            for (name, selector) in filed {
                selectors.insert(&Name::new(&name), &selector.clone().into_iter().collect());
                model.insert(name, selector);
            }
            for name in removed {
                selectors.remove(&Name::new(&name));
                model.remove(&name);
            }
            let wanted: BTreeSet<String> = model
                .into_iter()
                .filter(|(_, s)| !s.is_empty() && s.iter().all(|(k, v)| pod.get(k) == Some(v)))
                .map(|(name, _)| name)
                .collect();
            let found = selectors.matching(&pod.into_iter().collect());
            prop_assert_eq!(found.len(), wanted.len());
            prop_assert_eq!(found.into_iter().map(String::from).collect::<BTreeSet<_>>(), wanted);
        }
    }
}
