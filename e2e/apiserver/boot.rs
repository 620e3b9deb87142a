//! The objects a cluster has before anybody makes one.

use serde_json::{Value, json};

use super::kind::Kind;
use super::options::Options;
use super::rules::ApiError;
use super::store::Store;
use super::write::WriteOptions;

const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];
const WHO: &str = "kube-apiserver";
/// Where the real server's endpoints would point to; nothing listens there.
const API_SERVER: &str = "172.18.0.2";

/// Makes the namespaces, and the Service `kubernetes` if it is wanted.
pub(super) fn boot(store: &Store, options: &Options) -> Result<(), ApiError> {
    let by = WriteOptions::by(WHO);
    for name in NAMESPACES {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        store.create(Kind::Namespace, "", namespace, &by)?;
    }
    if options.default_objects {
        // The address of `kubernetes` is kept from everybody else, and is free for it now.
        let address = json!({ "spec": { "clusterIPs": ["10.96.0.1"] } });
        store.lock().allocator.release(&address);
        kubernetes(store)?;
    }
    Ok(())
}

/// Makes what is missing of the Service of the API server itself and its endpoints, which the server writes and no
/// controller touches.
pub(super) fn kubernetes(store: &Store) -> Result<(), ApiError> {
    let make = |kind: Kind, object: Value| {
        if store.get(kind, "default", "kubernetes").is_some() {
            return Ok(());
        }
        store.create(kind, "default", object, &WriteOptions::by(WHO)).map(drop)
    };
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "kubernetes",
            "labels": { "component": "apiserver", "provider": "kubernetes" },
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "10.96.0.1",
            "clusterIPs": ["10.96.0.1"],
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "ports": [{ "name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443 }],
            "sessionAffinity": "None",
        },
    });
    make(Kind::Service, service)?;
    let endpoints = json!({
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            "name": "kubernetes",
            "labels": { "endpointslice.kubernetes.io/skip-mirror": "true" },
        },
        "subsets": [{
            "addresses": [{ "ip": API_SERVER }],
            "ports": [{ "name": "https", "port": 6443, "protocol": "TCP" }],
        }],
    });
    make(Kind::Endpoints, endpoints)?;
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": { "name": "kubernetes", "labels": { "kubernetes.io/service-name": "kubernetes" } },
        "addressType": "IPv4",
        "endpoints": [{ "addresses": [API_SERVER], "conditions": { "ready": true } }],
        "ports": [{ "name": "https", "port": 6443, "protocol": "TCP" }],
    });
    make(Kind::EndpointSlice, slice)
}
