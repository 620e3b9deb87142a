//! A stored object: its value, its address and its JSON, which is made once however many clients read it.

use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde_json::Value;

use super::kind::Kind;
use super::rules::value::{items, set, text};

/// Where an object is among those of its kind. Cluster-wide objects have an empty namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The namespace; empty for Namespaces and Nodes.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

/// One version of one object. Never changed; an update makes another.
pub struct Object {
    /// The kind.
    pub kind: Kind,
    /// Namespace and name.
    pub key: Key,
    /// `metadata.resourceVersion` as a number.
    pub version: u64,
    /// The whole object.
    pub value: Value,
    json: OnceLock<Bytes>,
    partial: OnceLock<Bytes>,
}

impl Key {
    /// The key of a namespaced object, or of a cluster-wide one with an empty namespace.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: Arc::from(namespace), name: Arc::from(name) }
    }

    /// The key an object's metadata states.
    pub fn of(value: &Value) -> Self {
        Self::new(text(value, &["metadata", "namespace"]), text(value, &["metadata", "name"]))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {} @{}", self.kind, self.key, self.version)
    }
}

impl Object {
    /// Wraps a value that states its own key and version.
    pub(super) fn new(kind: Kind, version: u64, value: Value) -> Self {
        Self { kind, key: Key::of(&value), version, value, json: OnceLock::new(), partial: OnceLock::new() }
    }

    /// The same with another `resourceVersion`.
    pub(super) fn at_version(&self, version: u64) -> Self {
        let mut value = self.value.clone();
        set(&mut value, &["metadata", "resourceVersion"], version.to_string());
        Self::new(self.kind, version, value)
    }

    /// `metadata.uid`
    pub fn uid(&self) -> &str {
        text(&self.value, &["metadata", "uid"])
    }

    /// Whether `metadata.deletionTimestamp` is set.
    pub fn is_terminating(&self) -> bool {
        is_terminating(&self.value)
    }

    /// `metadata.labels`
    pub fn labels(&self) -> Option<&Value> {
        self.value.get("metadata").and_then(|metadata| metadata.get("labels"))
    }

    /// The object as JSON.
    pub fn json(&self) -> &Bytes {
        self.json.get_or_init(|| encode(&self.value))
    }

    /// The object as a `PartialObjectMetadata`.
    pub fn partial_json(&self) -> &Bytes {
        self.partial.get_or_init(|| encode(&partial(&self.value)))
    }
}

/// Whether `metadata.deletionTimestamp` is set.
pub(super) fn is_terminating(value: &Value) -> bool {
    !text(value, &["metadata", "deletionTimestamp"]).is_empty()
}

/// Whether anybody holds the object back.
pub(super) fn has_finalizers(value: &Value) -> bool {
    !items(value, &["metadata", "finalizers"]).is_empty()
}

/// `meta.k8s.io/v1 PartialObjectMetadata` of an object.
pub(super) fn partial(value: &Value) -> Value {
    serde_json::json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": value.get("metadata"),
    })
}

/// JSON of a value. A `Value` has string keys only, so nothing can fail.
pub(super) fn encode(value: &Value) -> Bytes {
    serde_json::to_vec(value).map(Bytes::from).unwrap_or_default()
}
