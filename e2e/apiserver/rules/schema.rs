//! What the API's schema says beyond types: how lists and maps merge.
//!
//! Two readers with two vocabularies: server-side apply asks for `x-kubernetes-list-type`, `-list-map-keys` and
//! `-map-type`, strategic merge for `patchStrategy` and `patchMergeKey`. They mostly agree, and differ where the patch
//! is older than the rule that a list's key must be whole (a Service's ports: `port` there, `port` and `protocol` here).

use crate::apiserver::kind::Kind;

/// A type of object, as far as merging differs between types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// A whole object of a kind.
    Root(Kind),
    /// `ObjectMeta`
    Meta,
    /// The `spec` of a kind.
    Spec(Kind),
    /// The `status` of a kind.
    Status(Kind),
    /// `PodTemplateSpec`
    Template,
    /// A container of any sort.
    Container,
    /// `ResourceRequirements`
    Resources,
    /// Anything whose objects merge by field and whose lists are replaced.
    Other,
}

/// How server-side apply owns a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// Objects by field; lists as one value.
    Granular,
    /// One value, whatever it is.
    Atomic,
    /// A list of scalars, each owned by itself.
    Set,
    /// A list of objects, each owned by its keys.
    Map(&'static [&'static str]),
}

/// How a strategic merge patch treats a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchList {
    /// The patch's list replaces the list.
    Replace,
    /// Scalars are added to the list.
    Set,
    /// Objects are merged by this key.
    By(&'static str),
}

/// What is known of one field.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The type of the value, or of the list's items.
    pub ty: Type,
    /// For server-side apply.
    pub ownership: Ownership,
    /// For strategic merge.
    pub patch: PatchList,
}

impl Field {
    const fn of(ty: Type) -> Self {
        Self { ty, ownership: Ownership::Granular, patch: PatchList::Replace }
    }

    const fn atomic() -> Self {
        Self { ty: Type::Other, ownership: Ownership::Atomic, patch: PatchList::Replace }
    }

    const fn list(ty: Type, keys: &'static [&'static str], patch: &'static str) -> Self {
        Self { ty, ownership: Ownership::Map(keys), patch: PatchList::By(patch) }
    }

    const fn set() -> Self {
        Self { ty: Type::Other, ownership: Ownership::Set, patch: PatchList::Set }
    }
}

/// Values for keys of list items that are not given, by key: the schema's defaults.
pub fn key_default(key: &str) -> Option<&'static str> {
    (key == "protocol").then_some("TCP")
}

/// The field of this name in a type.
pub fn field(ty: Type, name: &str) -> Field {
    const OTHER: Field = Field::of(Type::Other);
    match (ty, name) {
        (Type::Root(_) | Type::Template, "metadata") => Field::of(Type::Meta),
        (Type::Root(kind), "spec") => Field::of(Type::Spec(kind)),
        (Type::Root(kind), "status") => Field::of(Type::Status(kind)),
        (Type::Root(Kind::Event), "involvedObject" | "related") => Field::atomic(),
        // A budget's selector is replaced by a patch, and owned as one.
        (Type::Spec(Kind::PodDisruptionBudget), "selector")
        | (Type::Spec(Kind::NetworkPolicy), "podSelector")
        | (Type::Root(Kind::ClusterRoleBinding | Kind::RoleBinding), "roleRef") => Field::atomic(),
        // Its secrets are owned by name; a patch merges both lists by name.
        (Type::Root(Kind::ServiceAccount), "secrets") => Field::list(Type::Other, &["name"], "name"),
        (Type::Root(Kind::ServiceAccount), "imagePullSecrets") => {
            Field { ownership: Ownership::Atomic, ..Field::list(Type::Other, &["name"], "name") }
        }
        (Type::Root(_), _) => OTHER,

        (Type::Meta, "ownerReferences") => Field::list(Type::Other, &["uid"], "uid"),
        (Type::Meta, "finalizers") => Field::set(),

        (Type::Spec(Kind::Service), "ports") => Field::list(Type::Other, &["port", "protocol"], "port"),
        (Type::Spec(Kind::Service), "selector") => Field::atomic(),
        (Type::Spec(Kind::Node), "podCIDRs") => Field::set(),
        (
            Type::Spec(Kind::Deployment | Kind::ReplicaSet | Kind::StatefulSet | Kind::DaemonSet),
            "template",
        ) => Field::of(Type::Template),
        (
            Type::Spec(Kind::Deployment | Kind::ReplicaSet | Kind::StatefulSet | Kind::DaemonSet),
            "selector",
        ) => Field::atomic(),
        (Type::Template, "spec") => Field::of(Type::Spec(Kind::Pod)),

        (Type::Spec(Kind::Pod), "containers" | "initContainers" | "ephemeralContainers") => {
            Field::list(Type::Container, &["name"], "name")
        }
        (Type::Spec(Kind::Pod), "volumes" | "imagePullSecrets" | "schedulingGates" | "resourceClaims") => {
            Field::list(Type::Other, &["name"], "name")
        }
        (Type::Spec(Kind::Pod), "hostAliases") => Field::list(Type::Other, &["ip"], "ip"),
        (Type::Spec(Kind::Pod), "topologySpreadConstraints") => {
            Field::list(Type::Other, &["topologyKey", "whenUnsatisfiable"], "topologyKey")
        }
        (Type::Spec(Kind::Pod), "nodeSelector") => Field::atomic(),
        (Type::Spec(Kind::Pod), "resources") => Field::of(Type::Resources),

        (Type::Container, "ports") => {
            Field::list(Type::Other, &["containerPort", "protocol"], "containerPort")
        }
        (Type::Container, "env") => Field::list(Type::Other, &["name"], "name"),
        (Type::Container, "volumeMounts") => Field::list(Type::Other, &["mountPath"], "mountPath"),
        (Type::Container, "volumeDevices") => Field::list(Type::Other, &["devicePath"], "devicePath"),
        (Type::Container, "resources") => Field::of(Type::Resources),
        (Type::Resources, "claims") => {
            Field { patch: PatchList::Replace, ..Field::list(Type::Other, &["name"], "name") }
        }

        (Type::Status(Kind::Pod), "podIPs") => Field::list(Type::Other, &["ip"], "ip"),
        (Type::Status(Kind::Pod), "hostIPs") => {
            Field { ownership: Ownership::Atomic, patch: PatchList::By("ip"), ..OTHER }
        }
        (Type::Status(Kind::Node), "addresses") => Field::list(Type::Other, &["type"], "type"),
        (Type::Status(_), "conditions") => Field::list(Type::Other, &["type"], "type"),

        (
            _,
            "labelSelector" | "namespaceSelector" | "fieldRef" | "resourceFieldRef" | "configMapKeyRef"
            | "secretKeyRef" | "secretRef" | "targetRef",
        ) => Field::atomic(),
        _ => OTHER,
    }
}
