//! What every object has: its key, its identity, its labels.

use serde::{Deserialize, Deserializer, Serialize, de::IgnoredAny};

use super::{ResourceVersion, Stamp, Uid};
use crate::{
    labels::Labels,
    name::{Key, Name},
};

/// The part of `metadata` that is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Namespace and name.
    pub key: Key,
    /// Identity: a deleted and re-made object of the same name has another one.
    pub uid: Uid,
    /// The version that an update names (optimistic locking), and that a read-your-writes check compares.
    pub resource_version: ResourceVersion,
    /// When it was created.
    pub created: Option<Stamp>,
    /// Whether it is being deleted (`deletionTimestamp` is set).
    pub deleting: bool,
    /// All labels.
    pub labels: Labels,
}

/// An entry of `metadata.ownerReferences`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnerReference {
    /// `apiVersion` of the owner.
    #[serde(default)]
    pub api_version: Name,
    /// `kind` of the owner.
    #[serde(default)]
    pub kind: Name,
    /// Its name.
    #[serde(default)]
    pub name: Name,
    /// Its identity.
    #[serde(default)]
    pub uid: Uid,
    /// Whether it is the managing controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<bool>,
    /// Whether its foreground deletion waits for this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_owner_deletion: Option<bool>,
}

impl Meta {
    /// The resource version as a number.
    pub fn version(&self) -> Option<u64> {
        self.resource_version.number()
    }
}

/// `metadata` on the wire. `W` is what is read of `managedFields`; of most kinds nothing is.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireMeta<W = IgnoredAny> {
    #[serde(default)]
    name: Name,
    #[serde(default)]
    namespace: Name,
    #[serde(default, deserialize_with = "null_is_default")]
    uid: Uid,
    #[serde(default, deserialize_with = "null_is_default")]
    resource_version: ResourceVersion,
    #[serde(default)]
    creation_timestamp: Option<Stamp>,
    #[serde(default)]
    deletion_timestamp: Option<Stamp>,
    #[serde(default)]
    pub(super) labels: Labels,
    #[serde(default)]
    pub(super) annotations: Labels,
    #[serde(default, deserialize_with = "null_is_default")]
    pub(super) owner_references: Vec<OwnerReference>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub(super) finalizers: Vec<Name>,
    #[serde(default)]
    pub(super) managed_fields: W,
}

impl<W> From<WireMeta<W>> for Meta {
    fn from(wire: WireMeta<W>) -> Self {
        Self {
            key: Key { namespace: wire.namespace, name: wire.name },
            uid: wire.uid,
            resource_version: wire.resource_version,
            created: wire.creation_timestamp,
            deleting: wire.deletion_timestamp.is_some(),
            labels: wire.labels,
        }
    }
}

/// The list without the room that it grew into: a decoded list does not grow any more.
pub(super) fn fitted<T>(mut list: Vec<T>) -> Vec<T> {
    list.shrink_to_fit();
    list
}

/// Reads `null` as the default, as Go's JSON reader does.
pub(super) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
