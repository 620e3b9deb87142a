//! The kinds the embedded API server knows: one table from which routing, discovery, tables and rules read.

/// A kind of object the server stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `v1 Namespace`
    Namespace,
    /// `v1 Node`
    Node,
    /// `v1 Service`
    Service,
    /// `v1 Pod`
    Pod,
    /// `v1 Endpoints`
    Endpoints,
    /// `v1 Event`, served as `events.k8s.io/v1` too from the same storage
    Event,
    /// `discovery.k8s.io/v1 EndpointSlice`
    EndpointSlice,
    /// `coordination.k8s.io/v1 Lease`
    Lease,
    /// `apps/v1 Deployment`
    Deployment,
    /// `apps/v1 ReplicaSet`
    ReplicaSet,
    /// `apps/v1 StatefulSet`
    StatefulSet,
    /// `apps/v1 DaemonSet`; nobody makes its pods
    DaemonSet,
    /// `v1 ServiceAccount`
    ServiceAccount,
    /// `v1 ConfigMap`
    ConfigMap,
    /// `v1 Secret`
    Secret,
    /// `rbac.authorization.k8s.io/v1 ClusterRole`
    ClusterRole,
    /// `rbac.authorization.k8s.io/v1 ClusterRoleBinding`
    ClusterRoleBinding,
    /// `rbac.authorization.k8s.io/v1 Role`
    Role,
    /// `rbac.authorization.k8s.io/v1 RoleBinding`
    RoleBinding,
    /// `policy/v1 PodDisruptionBudget`; nobody counts its pods
    PodDisruptionBudget,
    /// `autoscaling/v2 HorizontalPodAutoscaler`; nobody scales by it
    HorizontalPodAutoscaler,
    /// `networking.k8s.io/v1 NetworkPolicy`; nobody drops packets for it
    NetworkPolicy,
    /// `scheduling.k8s.io/v1 PriorityClass`
    PriorityClass,
}

/// What the server says of a kind in discovery, and how it is addressed.
#[derive(Debug)]
pub struct KindInfo {
    /// The kind this row is about.
    pub kind: Kind,
    /// API group; empty for the core group.
    pub group: &'static str,
    /// API version inside the group.
    pub version: &'static str,
    /// `Kind` as objects spell it.
    pub name: &'static str,
    /// The path segment: lower-case plural.
    pub plural: &'static str,
    /// Lower-case singular.
    pub singular: &'static str,
    /// What kubectl accepts besides.
    pub short_names: &'static [&'static str],
    /// kubectl categories, such as `all`.
    pub categories: &'static [&'static str],
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// Whether `/status` is a subresource.
    pub status: bool,
    /// Whether `/scale` is a subresource.
    pub scale: bool,
}

/// Every kind, in the order discovery lists them.
pub const KINDS: &[KindInfo] = &[
    KindInfo {
        kind: Kind::Namespace,
        group: "",
        version: "v1",
        name: "Namespace",
        plural: "namespaces",
        singular: "namespace",
        short_names: &["ns"],
        categories: &[],
        namespaced: false,
        status: true,
        scale: false,
    },
    KindInfo {
        kind: Kind::Node,
        group: "",
        version: "v1",
        name: "Node",
        plural: "nodes",
        singular: "node",
        short_names: &["no"],
        categories: &[],
        namespaced: false,
        status: true,
        scale: false,
    },
    KindInfo {
        kind: Kind::Service,
        group: "",
        version: "v1",
        name: "Service",
        plural: "services",
        singular: "service",
        short_names: &["svc"],
        categories: &["all"],
        namespaced: true,
        status: true,
        scale: false,
    },
    KindInfo {
        kind: Kind::Pod,
        group: "",
        version: "v1",
        name: "Pod",
        plural: "pods",
        singular: "pod",
        short_names: &["po"],
        categories: &["all"],
        namespaced: true,
        status: true,
        scale: false,
    },
    KindInfo {
        kind: Kind::Endpoints,
        group: "",
        version: "v1",
        name: "Endpoints",
        plural: "endpoints",
        singular: "endpoints",
        short_names: &["ep"],
        categories: &[],
        namespaced: true,
        status: false,
        scale: false,
    },
    KindInfo {
        kind: Kind::Event,
        group: "",
        version: "v1",
        name: "Event",
        plural: "events",
        singular: "event",
        short_names: &["ev"],
        categories: &[],
        namespaced: true,
        status: false,
        scale: false,
    },
    KindInfo {
        kind: Kind::EndpointSlice,
        group: "discovery.k8s.io",
        version: "v1",
        name: "EndpointSlice",
        plural: "endpointslices",
        singular: "endpointslice",
        short_names: &[],
        categories: &[],
        namespaced: true,
        status: false,
        scale: false,
    },
    KindInfo {
        kind: Kind::Lease,
        group: "coordination.k8s.io",
        version: "v1",
        name: "Lease",
        plural: "leases",
        singular: "lease",
        short_names: &[],
        categories: &[],
        namespaced: true,
        status: false,
        scale: false,
    },
    KindInfo {
        kind: Kind::Deployment,
        group: "apps",
        version: "v1",
        name: "Deployment",
        plural: "deployments",
        singular: "deployment",
        short_names: &["deploy"],
        categories: &["all"],
        namespaced: true,
        status: true,
        scale: true,
    },
    KindInfo {
        kind: Kind::ReplicaSet,
        group: "apps",
        version: "v1",
        name: "ReplicaSet",
        plural: "replicasets",
        singular: "replicaset",
        short_names: &["rs"],
        categories: &["all"],
        namespaced: true,
        status: true,
        scale: true,
    },
    KindInfo {
        kind: Kind::StatefulSet,
        group: "apps",
        version: "v1",
        name: "StatefulSet",
        plural: "statefulsets",
        singular: "statefulset",
        short_names: &["sts"],
        categories: &["all"],
        namespaced: true,
        status: true,
        scale: true,
    },
    KindInfo {
        kind: Kind::DaemonSet,
        group: "apps",
        name: "DaemonSet",
        plural: "daemonsets",
        singular: "daemonset",
        short_names: &["ds"],
        categories: &["all"],
        status: true,
        ..PLAIN
    },
    KindInfo {
        kind: Kind::ServiceAccount,
        name: "ServiceAccount",
        plural: "serviceaccounts",
        singular: "serviceaccount",
        short_names: &["sa"],
        ..PLAIN
    },
    KindInfo {
        kind: Kind::ConfigMap,
        name: "ConfigMap",
        plural: "configmaps",
        singular: "configmap",
        short_names: &["cm"],
        ..PLAIN
    },
    KindInfo { kind: Kind::Secret, name: "Secret", plural: "secrets", singular: "secret", ..PLAIN },
    KindInfo {
        kind: Kind::ClusterRole,
        group: RBAC,
        name: "ClusterRole",
        plural: "clusterroles",
        singular: "clusterrole",
        namespaced: false,
        ..PLAIN
    },
    KindInfo {
        kind: Kind::ClusterRoleBinding,
        group: RBAC,
        name: "ClusterRoleBinding",
        plural: "clusterrolebindings",
        singular: "clusterrolebinding",
        namespaced: false,
        ..PLAIN
    },
    KindInfo { kind: Kind::Role, group: RBAC, name: "Role", plural: "roles", singular: "role", ..PLAIN },
    KindInfo {
        kind: Kind::RoleBinding,
        group: RBAC,
        name: "RoleBinding",
        plural: "rolebindings",
        singular: "rolebinding",
        ..PLAIN
    },
    KindInfo {
        kind: Kind::PodDisruptionBudget,
        group: "policy",
        name: "PodDisruptionBudget",
        plural: "poddisruptionbudgets",
        singular: "poddisruptionbudget",
        short_names: &["pdb"],
        status: true,
        ..PLAIN
    },
    KindInfo {
        kind: Kind::HorizontalPodAutoscaler,
        group: "autoscaling",
        version: "v2",
        name: "HorizontalPodAutoscaler",
        plural: "horizontalpodautoscalers",
        singular: "horizontalpodautoscaler",
        short_names: &["hpa"],
        categories: &["all"],
        status: true,
        ..PLAIN
    },
    KindInfo {
        kind: Kind::NetworkPolicy,
        group: "networking.k8s.io",
        name: "NetworkPolicy",
        plural: "networkpolicies",
        singular: "networkpolicy",
        short_names: &["netpol"],
        ..PLAIN
    },
    KindInfo {
        kind: Kind::PriorityClass,
        group: "scheduling.k8s.io",
        name: "PriorityClass",
        plural: "priorityclasses",
        singular: "priorityclass",
        short_names: &["pc"],
        namespaced: false,
        ..PLAIN
    },
];

/// The group of roles and their bindings.
pub const RBAC: &str = "rbac.authorization.k8s.io";

/// What most kinds have in common.
const PLAIN: KindInfo = KindInfo {
    kind: Kind::Namespace,
    group: "",
    version: "v1",
    name: "",
    plural: "",
    singular: "",
    short_names: &[],
    categories: &[],
    namespaced: true,
    status: false,
    scale: false,
};

impl Kind {
    /// This kind's row.
    #[expect(clippy::indexing_slicing, reason = "the table is in the order of the enum, which a test holds")]
    pub fn info(self) -> &'static KindInfo {
        &KINDS[self as usize]
    }

    /// `v1`, `apps/v1`: the `apiVersion` of this kind's objects.
    pub fn api_version(self) -> String {
        let info = self.info();
        if info.group.is_empty() {
            info.version.to_owned()
        } else {
            format!("{}/{}", info.group, info.version)
        }
    }

    /// The kind for an object's `apiVersion` and `kind`. Events of both groups are one kind.
    pub fn of(api_version: &str, name: &str) -> Option<Self> {
        if api_version == "events.k8s.io/v1" && name == "Event" {
            return Some(Self::Event);
        }
        KINDS
            .iter()
            .find(|info| info.name == name && info.kind.api_version() == api_version)
            .map(|info| info.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for (index, info) in KINDS.iter().enumerate() {
            assert_eq!(info.kind as usize, index, "{}", info.name);
            assert_eq!(info.kind.info().name, info.name);
            assert_eq!(Kind::of(&info.kind.api_version(), info.name), Some(info.kind));
        }
    }
}
