//! The columns of each kind.

use serde_json::{Value, json};

use crate::apiserver::kind::Kind;

/// Name, type, priority, description.
type Column = (&'static str, &'static str, u8, &'static str);

const NAME: Column = ("Name", "string", 0, "Name of the object, unique among its kind in its namespace.");
const AGE: Column = ("Age", "string", 0, "Time since the object was created.");
const CONTAINERS: Column = ("Containers", "string", 1, "Names of each container in the template.");
const IMAGES: Column = ("Images", "string", 1, "Images referenced by each container in the template.");
const SELECTOR: Column = ("Selector", "string", 1, "Label selector of the pods.");

/// The `columnDefinitions` of a kind.
pub fn columns(kind: Kind) -> Value {
    table(kind)
        .iter()
        .map(|(name, kind, priority, description)| {
            let format = if *name == "Name" { "name" } else { "" };
            json!({
                "name": name, "type": kind, "format": format, "description": description, "priority": priority,
            })
        })
        .collect()
}

fn table(kind: Kind) -> &'static [Column] {
    match kind {
        Kind::Namespace => &[NAME, ("Status", "string", 0, "The status of the namespace"), AGE],
        Kind::Node => &[
            NAME,
            ("Status", "string", 0, "The status of the node"),
            ("Roles", "string", 0, "The roles of the node"),
            AGE,
            ("Version", "string", 0, "Kubelet version reported by the node."),
            ("Internal-IP", "string", 1, "First internal address of the node."),
            ("External-IP", "string", 1, "First external address of the node."),
            ("OS-Image", "string", 1, "Operating system image reported by the node."),
            ("Kernel-Version", "string", 1, "Kernel version reported by the node."),
            ("Container-Runtime", "string", 1, "Container runtime version reported by the node."),
        ],
        Kind::Service => &[
            NAME,
            ("Type", "string", 0, "How the service is exposed."),
            ("Cluster-IP", "string", 0, "Address of the service inside the cluster."),
            ("External-IP", "string", 0, "Addresses of the service outside the cluster."),
            ("Port(s)", "string", 0, "Ports of the service."),
            AGE,
            ("Selector", "string", 1, "Labels of the pods behind the service."),
        ],
        Kind::Pod => &[
            NAME,
            ("Ready", "string", 0, "The aggregate readiness state of this pod for accepting traffic."),
            ("Status", "string", 0, "The aggregate status of the containers in this pod."),
            ("Restarts", "string", 0, "How often the containers of this pod were restarted, and when last."),
            AGE,
            ("IP", "string", 1, "Address of the pod."),
            ("Node", "string", 1, "Node the pod runs on."),
            ("Nominated Node", "string", 1, "Node the pod was nominated for."),
            ("Readiness Gates", "string", 1, "How many of the pod's readiness gates hold."),
        ],
        Kind::Endpoints => {
            &[NAME, ("Endpoints", "string", 0, "Addresses and ports of the ready endpoints."), AGE]
        }
        Kind::Event => &[
            ("Last Seen", "string", 0, "When the event was seen last."),
            ("Type", "string", 0, "Normal or Warning."),
            ("Reason", "string", 0, "Short reason."),
            ("Object", "string", 0, "The object this event is about."),
            ("Subobject", "string", 1, "The part of the object this event is about."),
            ("Source", "string", 1, "The component reporting this event."),
            ("Message", "string", 0, "Description of what happened."),
            ("First Seen", "string", 1, "When the event was seen first."),
            ("Count", "string", 1, "How often the event was seen."),
            ("Name", "string", 1, "Name of the event."),
        ],
        Kind::EndpointSlice => &[
            NAME,
            ("AddressType", "string", 0, "Type of the addresses of this slice."),
            ("Ports", "string", 0, "Ports of the endpoints of this slice."),
            ("Endpoints", "string", 0, "Addresses of the endpoints of this slice."),
            AGE,
        ],
        Kind::Lease => &[NAME, ("Holder", "string", 0, "Identity of the holder of the lease."), AGE],
        Kind::Deployment => &[
            NAME,
            ("Ready", "string", 0, "Number of pods that are ready, of those wanted."),
            ("Up-to-date", "string", 0, "Number of pods of the current template."),
            ("Available", "string", 0, "Number of pods that have been ready long enough."),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ],
        Kind::ReplicaSet => &[
            NAME,
            ("Desired", "integer", 0, "Number of pods wanted."),
            ("Current", "integer", 0, "Number of pods there are."),
            ("Ready", "integer", 0, "Number of pods that are ready."),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ],
        Kind::StatefulSet => &[
            NAME,
            ("Ready", "string", 0, "Number of pods that are ready, of those wanted."),
            AGE,
            CONTAINERS,
            IMAGES,
        ],
        Kind::DaemonSet => &[
            NAME,
            ("Desired", "integer", 0, "Number of nodes that should run a pod."),
            ("Current", "integer", 0, "Number of nodes that run one."),
            ("Ready", "integer", 0, "Number of nodes whose pod is ready."),
            ("Up-to-date", "integer", 0, "Number of nodes whose pod is of the current template."),
            ("Available", "integer", 0, "Number of nodes whose pod has been ready long enough."),
            ("Node Selector", "string", 0, "Labels of the nodes."),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ],
        _ => configuration(kind),
    }
}

/// The kinds that nobody runs.
fn configuration(kind: Kind) -> &'static [Column] {
    match kind {
        Kind::ServiceAccount => &[NAME, ("Secrets", "string", 0, "Number of secrets of the account."), AGE],
        Kind::ConfigMap => &[NAME, ("Data", "string", 0, "Number of keys."), AGE],
        Kind::Secret => &[
            NAME,
            ("Type", "string", 0, "What the secret is for."),
            ("Data", "string", 0, "Number of keys."),
            AGE,
        ],
        Kind::ClusterRole | Kind::Role => &[NAME, ("Created At", "date", 0, "When the role was created.")],
        Kind::ClusterRoleBinding | Kind::RoleBinding => &[
            NAME,
            ("Role", "string", 0, "The role that is bound."),
            AGE,
            ("Users", "string", 1, "Users it is bound to."),
            ("Groups", "string", 1, "Groups it is bound to."),
            ("ServiceAccounts", "string", 1, "Accounts it is bound to."),
        ],
        Kind::PodDisruptionBudget => &[
            NAME,
            ("Min Available", "string", 0, "The least number of pods that must stay available."),
            ("Max Unavailable", "string", 0, "The most pods that may be unavailable."),
            ("Allowed Disruptions", "integer", 0, "Pods that may be evicted now."),
            AGE,
        ],
        Kind::HorizontalPodAutoscaler => &[
            NAME,
            ("Reference", "string", 0, "What is scaled."),
            ("Targets", "string", 0, "Metrics: what they are, and what they should be."),
            ("MinPods", "string", 0, "The least number of pods."),
            ("MaxPods", "string", 0, "The most pods."),
            ("Replicas", "string", 0, "Number of pods there are."),
            AGE,
        ],
        Kind::NetworkPolicy => &[NAME, ("Pod-Selector", "string", 0, "Labels of the pods."), AGE],
        Kind::PriorityClass => &[
            NAME,
            ("Value", "string", 0, "The priority of its pods."),
            ("Global-Default", "boolean", 0, "Whether pods without a class have it."),
            AGE,
            ("PreemptionPolicy", "string", 1, "Whether its pods push out others."),
        ],
        _ => &[NAME, AGE],
    }
}
