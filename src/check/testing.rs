//! Facts of tests.

use std::collections::BTreeMap;

use serde_json::json;

use super::{
    facts::{Cluster, Front, Missing, Pages, Writers},
    metrics::Samples,
    objects::{Pod, Slice},
};

/// A pod with an address, behind kube-dns, and ready or not.
pub(super) fn pod(namespace: &str, name: &str, image: &str, ready: bool) -> Pod {
    let ip = format!("10.244.0.{}", name.bytes().map(u32::from).sum::<u32>() % 250);
    serde_json::from_value(json!({
        "metadata": {"namespace": namespace, "name": name,
            "labels": {"k8s-app": "kube-dns", "app.kubernetes.io/name": "callsign", "app.kubernetes.io/instance": "callsign"}},
        "spec": {"nodeName": format!("node-{name}"), "serviceAccountName": "callsign",
            "containers": [{"name": "server", "image": image, "args": ["dns"],
                "resources": {"limits": {"memory": "128Mi"}},
                "ports": [{"name": "dns", "protocol": "UDP", "containerPort": 53},
                    {"name": "dns-tcp", "protocol": "TCP", "containerPort": 53}]}]},
        "status": {"phase": "Running", "podIP": ip,
            "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}],
            "containerStatuses": [{"name": "server", "ready": ready}]},
    }))
    .unwrap()
}

/// The slice of a Service with these pods.
pub(super) fn slice(namespace: &str, service: &str, pods: &[Pod]) -> Slice {
    let endpoints: Vec<_> = pods
        .iter()
        .map(|pod| {
            json!({"addresses": [pod.status.pod_ip], "conditions": {"ready": pod.is_ready()},
                "targetRef": {"kind": "Pod", "name": pod.metadata.name}})
        })
        .collect();
    serde_json::from_value(json!({
        "metadata": {"namespace": namespace, "name": format!("{service}-x"),
            "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4", "endpoints": endpoints,
    }))
    .unwrap()
}

/// What a pod says that is well.
pub(super) fn pages(metrics: &str) -> Pages {
    let page = format!("coredns_build_info{{version=\"1.13.1+callsign-0.1.0\"}} 1\n{metrics}");
    Pages { ready: Ok((200, "OK".to_owned())), metrics: Ok(Samples::read(&page)), ..Pages::default() }
}

/// A cluster of which nothing is known.
pub(super) fn cluster() -> Cluster {
    fn unknown<T>() -> Result<T, Missing> {
        Err(Missing::NotAsked("not asked for".to_owned()))
    }
    Cluster {
        now: "2026-01-01T00:00:00Z".parse().unwrap(),
        front: Front { service: unknown(), slices: unknown(), behind: unknown() },
        own_front: None,
        own: unknown(),
        pages: BTreeMap::new(),
        deployments: unknown(),
        budgets: unknown(),
        kubernetes: unknown(),
        writers: Writers {
            manager_lease: unknown(),
            manager_pods: unknown(),
            own_leases: unknown(),
            sample: unknown(),
        },
    }
}
