//! What an endpoint stands for.

use std::{
    fmt,
    hash::{Hash, Hasher},
    ops::Deref,
    sync::LazyLock,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use triomphe::Arc;

use super::Uid;
use crate::{
    intern::{Handle, Interner},
    name::Name,
};

/// A reference to the object an endpoint stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TargetRef {
    /// `Pod`, nearly always.
    #[serde(default, skip_serializing_if = "Name::is_empty")]
    pub kind: Name,
    /// Its namespace.
    #[serde(default, skip_serializing_if = "Name::is_empty")]
    pub namespace: Name,
    /// Its name.
    #[serde(default, skip_serializing_if = "Name::is_empty")]
    pub name: Name,
    /// Its identity.
    #[serde(default, skip_serializing_if = "Uid::is_empty")]
    pub uid: Uid,
    /// Set by hand only.
    #[serde(default, rename = "apiVersion", skip_serializing_if = "Name::is_empty")]
    pub api_version: Name,
    /// Set by hand only.
    #[serde(default, rename = "fieldPath", skip_serializing_if = "Name::is_empty")]
    pub field_path: Name,
}

/// A shared [`TargetRef`]: a pod's slices and its Endpoints hold the same one, [interned](crate::intern).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target(Arc<TargetRef>);

static TARGETS: LazyLock<Interner<Arc<TargetRef>>> = LazyLock::new(Interner::new);

/// An identity tells nearly all of them apart.
impl Hash for TargetRef {
    fn hash<H: Hasher>(&self, state: &mut H) {
        if self.uid.is_empty() { self.name.hash(state) } else { self.uid.hash(state) }
    }
}

impl Handle for Arc<TargetRef> {
    type Value = TargetRef;

    fn make(value: &TargetRef) -> Self {
        Self::new(value.clone())
    }

    fn value(&self) -> &TargetRef {
        self
    }

    fn holders(&self) -> usize {
        Self::strong_count(self)
    }

    fn is(&self, other: &Self) -> bool {
        Self::ptr_eq(self, other)
    }
}

impl From<TargetRef> for Target {
    fn from(target: TargetRef) -> Self {
        Self(TARGETS.get(&target))
    }
}

impl Deref for Target {
    type Target = TargetRef;

    fn deref(&self) -> &TargetRef {
        &self.0
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if self.0.holders() == 2 {
            TARGETS.release(&self.0);
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        TargetRef::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        TargetRef::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pods_slices_and_endpoints_share_one() {
        let target = || TargetRef {
            kind: "Pod".into(),
            name: "target-tests".into(),
            uid: "target-tests-u".into(),
            ..TargetRef::default()
        };
        let one = Target::from(target());
        let other: Target = serde_json::from_str(&serde_json::to_string(&one).unwrap()).unwrap();
        assert!(one.0.is(&other.0));
        assert_ne!(one, Target::from(TargetRef { field_path: "x".into(), ..target() }));
        drop(one);
        assert!(TARGETS.contains(&target()));
        drop(other);
        assert!(!TARGETS.contains(&target()));
    }
}
