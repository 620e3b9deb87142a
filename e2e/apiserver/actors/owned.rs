//! Which objects belong to which: the index of `metadata.ownerReferences`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use crate::apiserver::kind::Kind;
use crate::apiserver::object::{Key, Object};
use crate::apiserver::rules::value::{flag, items, text};

/// A kind and a key: any object.
pub(super) type Place = (Kind, Key);

/// The dependents of each owner, by the owner's uid.
#[derive(Debug, Default)]
pub(super) struct Owned {
    dependents: HashMap<String, BTreeSet<Place>>,
    owners: BTreeMap<Place, Vec<String>>,
}

impl Owned {
    /// Notes an object's owners in the place of those it had.
    pub(super) fn see(&mut self, object: &Object) {
        self.forget(object);
        let place = (object.kind, object.key.clone());
        let owners: Vec<String> =
            owners(&object.value).map(|owner| text(owner, &["uid"]).to_owned()).collect();
        if owners.is_empty() {
            return;
        }
        for owner in &owners {
            self.dependents.entry(owner.clone()).or_default().insert(place.clone());
        }
        self.owners.insert(place, owners);
    }

    /// Forgets an object.
    pub(super) fn forget(&mut self, object: &Object) {
        let place = (object.kind, object.key.clone());
        for owner in self.owners.remove(&place).unwrap_or_default() {
            if let Some(dependents) = self.dependents.get_mut(&owner) {
                dependents.remove(&place);
                if dependents.is_empty() {
                    self.dependents.remove(&owner);
                }
            }
        }
    }

    /// The objects that name this uid as an owner.
    pub(super) fn of(&self, uid: &str) -> Vec<Place> {
        self.dependents.get(uid).into_iter().flatten().cloned().collect()
    }
}

/// An object's `ownerReferences`.
pub(super) fn owners(object: &Value) -> impl Iterator<Item = &Value> {
    items(object, &["metadata", "ownerReferences"]).iter()
}

/// The owner that manages the object.
pub(super) fn controller(object: &Value) -> Option<&Value> {
    owners(object).find(|owner| flag(owner, &["controller"]))
}
