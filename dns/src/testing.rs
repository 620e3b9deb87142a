//! A small cluster for tests.

use std::sync::Arc;

use callsign_shared::{
    Index,
    index::{Indexed, Source},
    object::{EndpointSlice, Namespace, Node, Pod, Service},
};
use serde_json::{Value, json};

use crate::zone::{Zone, ZoneConfig};

/// Applies an object of any kind.
pub(crate) fn apply(index: &Index, object: &Value) {
    fn read<T: Indexed>(index: &Index, object: &Value) {
        index.apply(T::decode(&object.to_string()).unwrap_or_else(|error| panic!("{object}: {error}")));
    }
    match object["kind"].as_str().unwrap() {
        "Namespace" => read::<Namespace>(index, object),
        "Node" => read::<Node>(index, object),
        "Service" => read::<Service>(index, object),
        "Pod" => read::<Pod>(index, object),
        "EndpointSlice" => read::<EndpointSlice>(index, object),
        kind => panic!("unknown kind {kind}"),
    }
}

pub(crate) fn namespace(name: &str) -> Value {
    json!({"kind": "Namespace", "metadata": {"name": name}})
}

pub(crate) fn service(name: &str, spec: Value) -> Value {
    json!({"kind": "Service", "metadata": {"name": name, "namespace": "ns"}, "spec": spec})
}

/// A ready pod with this address, `app: <app>`.
pub(crate) fn pod(name: &str, app: &str, ip: &str) -> Value {
    json!({
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "ns", "labels": {"app": app}},
        "spec": {"nodeName": "node", "containers": [{"ports": [{"name": "web", "containerPort": 8080}]}]},
        "status": {"podIP": ip, "conditions": [{"type": "Ready", "status": "True"}]},
    })
}

/// Services of every kind: `vip` (10.96.0.1, dual stack), `heads` (pods 10.0.0.1 to 3), `big` (pods 10.1.0.0 to
/// 10.1.0.149), and aliases.
pub(crate) fn index() -> Arc<Index> {
    let index = Index::new();
    let web = json!([{"name": "web", "port": 80, "targetPort": "web"}, {"name": "dns", "port": 53, "protocol": "UDP"}]);
    let headless = |app: &str| json!({"clusterIP": "None", "ipFamilies": ["IPv4"], "selector": {"app": app}, "ports": web});
    let external = |target: &str| json!({"type": "ExternalName", "externalName": target});
    let objects = [
        namespace("ns"),
        namespace("empty"),
        json!({"kind": "Node", "metadata": {"name": "node"}}),
        service(
            "vip",
            json!({"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1", "fd00::1"], "ports": web}),
        ),
        service("heads", headless("heads")),
        service("big", headless("big")),
        service("out", external("www.example.com")),
        service("inside", external("heads.ns.svc.cluster.local")),
        service("nowhere", external("nosuch.ns.svc.cluster.local")),
        service("ping", external("pong.ns.svc.cluster.local")),
        service("pong", external("ping.ns.svc.cluster.local")),
        service("address", external("192.0.2.1")),
    ];
    objects.iter().for_each(|object| apply(&index, object));
    for at in 1..=3 {
        apply(&index, &pod(&format!("heads-{at}"), "heads", &format!("10.0.0.{at}")));
    }
    for at in 0..150 {
        apply(&index, &pod(&format!("big-{at}"), "big", &format!("10.1.0.{at}")));
    }
    for at in 0..12 {
        let target = if at == 11 { "vip".to_owned() } else { format!("chain-{}", at + 1) };
        apply(&index, &service(&format!("chain-{at}"), external(&format!("{target}.ns.svc.cluster.local"))));
    }
    Arc::new(index)
}

/// The usual configuration, from memberships.
pub(crate) fn config() -> ZoneConfig {
    ZoneConfig { source: Source::Memberships, ..ZoneConfig::cluster("cluster.local").unwrap() }
}

/// The synced zone of [`index`].
pub(crate) fn zone() -> Zone {
    let zone = Zone::new(config(), index());
    zone.set_synced();
    zone
}
