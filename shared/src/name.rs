//! Names and keys. Most Kubernetes names fit into a [`Name`] without an allocation.

use std::fmt;

use compact_str::CompactString;

/// A name of an object, a label, a port: 24 bytes inline, longer ones on the heap.
pub type Name = CompactString;

/// `namespace/name`: what identifies an object of one kind. Cluster-scoped objects have an empty namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The namespace; empty for Nodes and Namespaces.
    pub namespace: Name,
    /// The object's name.
    pub name: Name,
}

impl Key {
    /// The key of `name` in `namespace`.
    pub fn new(namespace: impl AsRef<str>, name: impl AsRef<str>) -> Self {
        Self { namespace: Name::new(namespace), name: Name::new(name) }
    }

    /// The key of a cluster-scoped object.
    pub fn cluster(name: impl AsRef<str>) -> Self {
        Self::new("", name)
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
