//! The objects a cluster has before anybody makes one.

use serde_json::json;

use super::kind::Kind;
use super::options::Options;
use super::rules::ApiError;
use super::store::Store;
use super::write::WriteOptions;

const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];
/// Where the real server's endpoints would point to; nothing listens there.
const API_SERVER: &str = "172.18.0.2";

/// Makes the namespaces, and the Service `kubernetes` if it is wanted.
pub(super) fn boot(store: &Store, options: &Options) -> Result<(), ApiError> {
    let by = WriteOptions::by("kube-apiserver");
    for name in NAMESPACES {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        store.create(Kind::Namespace, "", namespace, &by)?;
    }
    if options.default_objects {
        kubernetes(store, &by)?;
    }
    Ok(())
}

/// The Service of the API server itself and its endpoints, which the server writes and no controller touches.
fn kubernetes(store: &Store, by: &WriteOptions) -> Result<(), ApiError> {
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
    // Its address is kept from everybody else.
    store.lock().allocator.release(&service);
    store.create(Kind::Service, "default", service, by)?;
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
    store.create(Kind::Endpoints, "default", endpoints, by)?;
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": { "name": "kubernetes", "labels": { "kubernetes.io/service-name": "kubernetes" } },
        "addressType": "IPv4",
        "endpoints": [{ "addresses": [API_SERVER], "conditions": { "ready": true } }],
        "ports": [{ "name": "https", "port": 6443, "protocol": "TCP" }],
    });
    store.create(Kind::EndpointSlice, "default", slice, by)?;
    Ok(())
}
