use serde_json::json;

use super::*;

fn service(spec: Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web" }, "spec": spec })
}

#[test]
fn a_wrong_type_is_told_as_go_tells_it() {
    let error = decode(Kind::Service, service(json!({ "ports": [{ "port": "eighty" }] }))).unwrap_err();
    assert_eq!(error.code, 400);
    assert_eq!(
        error.message,
        "Service in version \"v1\" cannot be handled as a Service: json: cannot unmarshal string into Go struct \
         field ServicePort.spec.ports.port of type int32"
    );
    let labels = json!({ "metadata": { "name": "a", "labels": { "app": 1 } } });
    let error = decode(Kind::Pod, labels).unwrap_err();
    assert_eq!(
        error.message,
        "Pod in version \"v1\" cannot be handled as a Pod: json: cannot unmarshal number into Go struct field \
         ObjectMeta.metadata.labels of type string"
    );
}

#[test]
fn kind_and_version_are_filled_in_and_checked() {
    let object = decode(Kind::Deployment, json!({ "metadata": { "name": "a" } })).unwrap();
    assert_eq!(
        (object["apiVersion"].as_str(), object["kind"].as_str()),
        (Some("apps/v1"), Some("Deployment"))
    );
    assert_eq!(decode(Kind::Pod, json!({ "kind": "Service", "apiVersion": "v1" })).unwrap_err().code, 400);
    let error = decode(Kind::Pod, json!({ "kind": "Pod", "apiVersion": "v2" })).unwrap_err();
    assert_eq!(
        error.message,
        "the API version in the data (v2) does not match the expected API version (v1)"
    );
    assert_eq!(decode(Kind::Pod, json!([])).unwrap_err().code, 400);
}

#[test]
fn nulls_unknown_fields_and_empty_values_go() {
    let object = decode(
        Kind::Service,
        json!({
            "metadata": { "name": "web", "creationTimestamp": null, "labels": {} },
            "spec": { "ports": [{ "port": 80, "targetPort": "http", "nodePort": 0 }], "selector": {}, "clusterIP": "",
                      "foo": 1, "sessionAffinityConfig": { "clientIP": {} } },
            "status": { "loadBalancer": {} }
        }),
    )
    .unwrap();
    assert_eq!(
        object,
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web" },
            "spec": { "ports": [{ "port": 80, "targetPort": "http" }], "sessionAffinityConfig": { "clientIP": {} } },
            "status": { "loadBalancer": {} }
        })
    );
}

#[test]
fn an_empty_slice_has_null_lists_and_unnamed_ports_keep_their_name() {
    let slice = json!({ "metadata": { "name": "a" }, "addressType": "IPv4", "endpoints": [], "ports": null });
    let object = decode(Kind::EndpointSlice, slice).unwrap();
    assert_eq!((&object["endpoints"], &object["ports"]), (&Value::Null, &Value::Null));
    assert!(object.as_object().unwrap().contains_key("ports"));
    let slice = json!({ "addressType": "IPv4", "ports": [{ "name": "", "port": 80 }],
                        "endpoints": [{ "addresses": ["10.0.0.1"], "conditions": { "ready": false } }] });
    let object = decode(Kind::EndpointSlice, slice).unwrap();
    assert_eq!(object["ports"], json!([{ "name": "", "port": 80 }]));
    assert_eq!(object["endpoints"][0]["conditions"], json!({ "ready": false }));
}

#[test]
fn empty_labels_values_stay() {
    let labels = json!({ "type": "", "service.kubernetes.io/headless": "" });
    let object =
        json!({ "metadata": { "name": "a", "labels": labels }, "spec": { "selector": { "type": "" } } });
    let object = decode(Kind::Service, object).unwrap();
    assert_eq!(
        (&object["metadata"]["labels"], &object["spec"]["selector"]),
        (&labels, &json!({ "type": "" }))
    );
}

#[test]
fn quantities_may_be_numbers() {
    let pod = json!({ "spec": { "containers": [{ "name": "c", "image": "i",
                     "resources": { "limits": { "cpu": 1, "memory": "1Gi" } } }] } });
    let object = decode(Kind::Pod, pod).unwrap();
    assert_eq!(
        object["spec"]["containers"][0]["resources"]["limits"],
        json!({ "cpu": "1", "memory": "1Gi" })
    );
}

#[test]
fn quantities_have_a_form() {
    let pod = |cpu: &str| json!({ "spec": { "containers": [{ "name": "c", "resources": { "limits": { "cpu": cpu } } }] } });
    for good in ["1", "100m", "1.5", "1e3", "1E-3", "2Gi", "+1", "-5k", ".5", "1E"] {
        assert!(decode(Kind::Pod, pod(good)).is_ok(), "{good}");
    }
    for bad in ["", "one", "1.2.3", "1g", "1e", "Gi", "1 Gi"] {
        let error = decode(Kind::Pod, pod(bad)).unwrap_err();
        assert_eq!(
            error.message,
            "Pod in version \"v1\" cannot be handled as a Pod: quantities must match the regular expression \
             '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
            "{bad}"
        );
    }
}

#[test]
fn unknown_fields_are_named_by_path() {
    let object = service(json!({ "ports": [{ "port": 80, "prot": "TCP" }], "foo": {}, "type": "ClusterIP" }));
    let unknown = unknown_fields(Kind::Service, &object);
    assert_eq!(unknown, ["unknown field \"spec.foo\"", "unknown field \"spec.ports[0].prot\""]);
    assert_eq!(
        strict_error(Kind::Service, &unknown).message,
        "Service in version \"v1\" cannot be handled as a Service: strict decoding error: unknown field \"spec.foo\", \
         unknown field \"spec.ports[0].prot\""
    );
    let clean = service(json!({ "ports": [{ "port": 80, "name": null }], "selector": {} }));
    assert!(unknown_fields(Kind::Service, &clean).is_empty());
}

#[test]
fn managed_fields_and_empty_field_sets_survive() {
    let fields = json!([{ "manager": "m", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
                          "time": "2024-01-01T00:00:00Z", "fieldsV1": { "f:spec": { "f:ports": {} } } }]);
    let object = json!({ "metadata": { "name": "a", "managedFields": fields } });
    assert_eq!(decode(Kind::Service, object).unwrap()["metadata"]["managedFields"], fields);
}

#[test]
fn events_change_their_face() {
    let event = json!({ "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": { "name": "e" }, "note": "hello",
                        "regarding": { "kind": "Pod", "name": "p" }, "reason": "R", "type": "Normal" });
    let stored = decode(Kind::Event, event.clone()).unwrap();
    assert_eq!((stored["message"].as_str(), stored["apiVersion"].as_str()), (Some("hello"), Some("v1")));
    assert_eq!(stored["involvedObject"]["name"], "p");
    assert_eq!(event_from_core(&stored), event);
}
