use super::*;

fn created(kind: Kind, mut object: Value) -> Value {
    prepare_create(kind, &mut object);
    object
}

fn updated(kind: Kind, old: &Value, change: impl FnOnce(&mut Value)) -> Value {
    let mut new = old.clone();
    change(&mut new);
    prepare_update(kind, &mut new, old);
    new
}

fn service(spec: Value) -> Value {
    json!({ "metadata": { "name": "web" }, "spec": spec, "status": { "loadBalancer": {} } })
}

#[test]
fn a_new_pod_is_pending_whatever_its_manifest_says() {
    let pod = created(
        Kind::Pod,
        json!({ "metadata": { "generation": 7, "deletionTimestamp": "2024-01-01T00:00:00Z" },
                "spec": { "containers": [{ "name": "c" }] }, "status": { "phase": "Running", "podIP": "10.0.0.1" } }),
    );
    assert_eq!(pod["status"], json!({ "phase": "Pending", "qosClass": "BestEffort" }));
    assert_eq!(pod["metadata"], json!({ "generation": 1 }));
    assert_eq!(pod["spec"]["serviceAccountName"], "default");
    assert_eq!(pod["spec"]["tolerations"].as_array().map(Vec::len), Some(2));
}

#[test]
fn quality_of_service() {
    let class = |resources: Value| {
        let pod = json!({ "spec": { "containers": [{ "name": "c", "resources": resources }] } });
        created(Kind::Pod, pod)["status"]["qosClass"].clone()
    };
    assert_eq!(class(json!({ "limits": { "cpu": "1", "memory": "1Gi" } })), "Guaranteed");
    assert_eq!(class(json!({ "requests": { "cpu": "1" } })), "Burstable");
    assert_eq!(class(json!({})), "BestEffort");
}

#[test]
fn the_halves_of_an_object_are_written_apart() {
    let old = json!({ "metadata": { "name": "p", "generation": 1, "uid": "u", "ownerReferences": [{ "uid": "o" }] },
                      "spec": { "nodeName": "a" }, "status": { "phase": "Running", "qosClass": "BestEffort" } });
    let new = updated(Kind::Pod, &old, |pod| pod["status"]["phase"] = json!("Failed"));
    assert_eq!(new, old);
    let mut new = json!({ "metadata": { "name": "p", "labels": { "a": "b" } }, "spec": { "nodeName": "b" },
                          "status": { "phase": "Failed" } });
    prepare_status_update(Kind::Pod, &mut new, &old);
    assert_eq!(new["spec"], old["spec"]);
    assert_eq!(new["status"], json!({ "phase": "Failed", "qosClass": "BestEffort" }));
    assert_eq!(new["metadata"]["uid"], "u");
    assert_eq!(new["metadata"]["ownerReferences"], old["metadata"]["ownerReferences"]);
    assert_eq!(new["metadata"]["labels"], json!({ "a": "b" }));
}

#[test]
fn a_slice_moves_on_with_its_content_and_labels_but_not_its_annotations() {
    let old = json!({ "metadata": { "generation": 3, "labels": { "a": "b" } }, "addressType": "IPv4",
                      "endpoints": null, "ports": null });
    let generation = |new: Value| new["metadata"]["generation"].as_i64().unwrap();
    assert_eq!(
        generation(updated(Kind::EndpointSlice, &old, |s| s["metadata"]["annotations"] = json!({ "x": "y" }))),
        3
    );
    assert_eq!(
        generation(updated(Kind::EndpointSlice, &old, |s| s["metadata"]["labels"] = json!({ "x": "y" }))),
        4
    );
    assert_eq!(generation(updated(Kind::EndpointSlice, &old, |s| s["ports"] = json!([{ "port": 1 }]))), 4);
}

#[test]
fn a_deployment_moves_on_with_its_annotations_too() {
    let old = json!({ "metadata": { "generation": 1 }, "spec": { "replicas": 1 } });
    let new = updated(Kind::Deployment, &old, |d| d["metadata"]["annotations"] = json!({ "a": "b" }));
    assert_eq!(new["metadata"]["generation"], 2);
    let new = updated(Kind::StatefulSet, &old, |d| d["metadata"]["annotations"] = json!({ "a": "b" }));
    assert_eq!(new["metadata"]["generation"], 1);
}

#[test]
fn a_put_without_allocated_values_keeps_them() {
    let old = service(json!({ "type": "NodePort", "clusterIP": "10.96.0.5", "clusterIPs": ["10.96.0.5"],
                              "ports": [{ "name": "a", "port": 80, "nodePort": 30080 }] }));
    let new = updated(Kind::Service, &old, |service| {
        service["spec"] = json!({ "type": "NodePort", "ports": [{ "name": "a", "port": 81 }] });
    });
    assert_eq!(new["spec"]["clusterIP"], "10.96.0.5");
    assert_eq!(new["spec"]["clusterIPs"], json!(["10.96.0.5"]));
    assert_eq!(new["spec"]["ports"][0]["nodePort"], 30080);
}

#[test]
fn a_change_of_type_wipes_what_the_new_type_has_not() {
    let old = service(json!({ "type": "LoadBalancer", "clusterIP": "10.96.0.5", "clusterIPs": ["10.96.0.5"],
                              "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "healthCheckNodePort": 31000,
                              "externalTrafficPolicy": "Local", "allocateLoadBalancerNodePorts": true,
                              "ports": [{ "port": 80, "nodePort": 30080 }] }));
    let new = updated(Kind::Service, &old, |service| service["spec"]["type"] = json!("ClusterIP"));
    assert_eq!(
        new["spec"],
        json!({ "type": "ClusterIP", "clusterIP": "10.96.0.5", "clusterIPs": ["10.96.0.5"], "ipFamilies": ["IPv4"],
                "ipFamilyPolicy": "SingleStack", "ports": [{ "port": 80 }] })
    );
    let new = updated(Kind::Service, &new, |service| {
        service["spec"]["type"] = json!("ExternalName");
        service["spec"]["externalName"] = json!("a.b");
    });
    assert_eq!(
        new["spec"],
        json!({ "type": "ExternalName", "externalName": "a.b", "ports": [{ "port": 80 }] })
    );
}

#[test]
fn the_list_of_addresses_follows_the_single_one() {
    let new = created(Kind::Service, service(json!({ "clusterIP": "None" })));
    assert_eq!(new["spec"]["clusterIPs"], json!(["None"]));
    let old = service(json!({ "type": "ClusterIP", "clusterIP": "10.96.0.5", "clusterIPs": ["10.96.0.5"] }));
    let new = updated(Kind::Service, &old, |service| service["spec"]["clusterIP"] = json!("10.96.0.6"));
    assert_eq!(new["spec"]["clusterIPs"], json!(["10.96.0.6"]));
}

#[test]
fn a_namespace_has_its_finalizer() {
    let namespace = created(Kind::Namespace, json!({ "metadata": { "name": "a" } }));
    assert_eq!(namespace["spec"]["finalizers"], json!(["kubernetes"]));
    let new = updated(Kind::Namespace, &namespace, |namespace| namespace["spec"] = json!({}));
    assert_eq!(new["spec"]["finalizers"], json!(["kubernetes"]));
}
