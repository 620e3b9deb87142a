//! Whether topology hints could be given, in upstream's words (Kubernetes
//! `staging/src/k8s.io/endpointslice/topologycache`).

use callsign_shared::{
    ServiceView,
    object::{Family, Node},
};

use crate::slices::{Refusal, Zones};

/// What upstream says when hints are given.
pub(crate) const ENABLED: &str = "Topology Aware Hints has been enabled";

/// What it says when they are no longer asked for.
pub(crate) const DISABLED: &str = "Topology Aware Hints has been disabled";

/// Whether the Service's endpoints of a family get hints by topology, and why not. `nodes` are asked for only when the
/// cluster gives none.
pub(crate) fn given(
    view: &ServiceView,
    family: Family,
    zones: Option<&Zones>,
    nodes: impl FnOnce() -> bool,
) -> Result<(), &'static str> {
    let Some(zones) = zones else {
        return Err(if nodes() {
            "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes"
        } else {
            "Nodes only ready in one zone"
        });
    };
    let ready = view.members.iter().filter(|member| member.answers(family));
    let homeless = ready.clone().any(|member| member.zone.is_none());
    match zones.refuse(ready.count()) {
        Some(Refusal::TooFew) => Err("Insufficient number of endpoints"),
        Some(Refusal::Overload) => Err(
            "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold",
        ),
        None if homeless => Err("One or more endpoints do not have a zone specified"),
        None => Ok(()),
    }
}

/// Whether a Node that counts lacks its zone or its CPU.
pub(crate) fn lack_information<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> bool {
    nodes
        .into_iter()
        .filter(|node| node.ready && !node.control_plane)
        .any(|node| node.zone.is_none() || node.cpu_millis.is_none_or(|cpu| cpu == 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Cluster, node, pod, service};

    fn said(zones: &[&str], pods: &[&str]) -> Result<(), &'static str> {
        let cluster = Cluster::default();
        for zone in zones {
            let mut node = node(&format!("node-{zone}"), zone);
            if zone.is_empty() {
                node["metadata"]["labels"] = serde_json::json!({});
            }
            cluster.apply(node);
        }
        cluster.apply(service("n", "web"));
        for (number, zone) in pods.iter().enumerate() {
            let mut pod = pod("n", &format!("p{number}"), "web", &format!("10.0.0.{number}"));
            pod["spec"]["nodeName"] = serde_json::json!(format!("node-{zone}"));
            cluster.apply(pod);
        }
        let nodes = cluster.index.nodes();
        let zones = Zones::of(nodes.iter().map(AsRef::as_ref));
        given(&cluster.view("n", "web"), Family::V4, zones.as_ref(), || {
            lack_information(nodes.iter().map(AsRef::as_ref))
        })
    }

    #[test]
    fn upstreams_words() {
        assert_eq!(said(&["a", "b"], &["a", "b"]), Ok(()));
        assert_eq!(said(&["a"], &["a", "a"]), Err("Nodes only ready in one zone"));
        assert_eq!(
            said(&["a", ""], &["a", "a"]),
            Err("Insufficient Node information: allocatable CPU or zone not specified on one or more nodes")
        );
        assert_eq!(said(&["a", "b"], &["a"]), Err("Insufficient number of endpoints"));
    }
}
