use serde_json::json;

use super::*;

fn strategic(kind: Kind, current: Value, patch: Value) -> Value {
    strategic_merge(kind, &current, &patch).unwrap()
}

#[test]
fn service_ports_merge_by_port() {
    let current =
        json!({ "spec": { "ports": [{ "port": 80, "name": "http" }, { "port": 443, "name": "https" }] } });
    let patch = json!({ "spec": { "ports": [{ "port": 80, "targetPort": 8080 }, { "port": 9090 }] } });
    assert_eq!(
        strategic(Kind::Service, current, patch)["spec"]["ports"],
        json!([{ "port": 80, "name": "http", "targetPort": 8080 }, { "port": 443, "name": "https" }, { "port": 9090 }])
    );
}

#[test]
fn kubectl_apply_of_a_changed_port() {
    // What `kubectl apply` sends when port 80 becomes 81.
    let current = json!({ "spec": { "ports": [{ "port": 80, "protocol": "TCP" }] } });
    let patch = json!({ "spec": { "$setElementOrder/ports": [{ "port": 81 }],
                                  "ports": [{ "port": 81 }, { "$patch": "delete", "port": 80 }] } });
    assert_eq!(strategic(Kind::Service, current, patch)["spec"], json!({ "ports": [{ "port": 81 }] }));
}

#[test]
fn containers_and_what_is_in_them() {
    let current = json!({ "spec": { "template": { "spec": { "containers": [
        { "name": "a", "image": "a:1", "env": [{ "name": "X", "value": "1" }], "ports": [{ "containerPort": 80 }],
          "command": ["old"] },
        { "name": "b", "image": "b:1" } ] } } } });
    let patch = json!({ "spec": { "template": { "spec": {
        "$setElementOrder/containers": [{ "name": "b" }, { "name": "a" }],
        "containers": [{ "name": "a", "image": "a:2", "env": [{ "name": "Y", "value": "2" }], "command": ["new"],
                         "ports": [{ "containerPort": 80, "name": "http" }] }] } } } });
    let merged = strategic(Kind::Deployment, current, patch);
    assert_eq!(
        merged["spec"]["template"]["spec"]["containers"],
        json!([
            { "name": "b", "image": "b:1" },
            { "name": "a", "image": "a:2", "env": [{ "name": "X", "value": "1" }, { "name": "Y", "value": "2" }],
              "ports": [{ "containerPort": 80, "name": "http" }], "command": ["new"] }
        ])
    );
}

#[test]
fn conditions_merge_and_tolerations_are_replaced() {
    let current = json!({ "spec": { "tolerations": [{ "key": "a" }] },
                          "status": { "conditions": [{ "type": "Ready", "status": "True", "reason": "R" }] } });
    let patch = json!({ "spec": { "tolerations": [{ "key": "b" }] },
                        "status": { "conditions": [{ "type": "Ready", "status": "False" }] } });
    assert_eq!(
        strategic(Kind::Pod, current, patch),
        json!({ "spec": { "tolerations": [{ "key": "b" }] },
                "status": { "conditions": [{ "type": "Ready", "status": "False", "reason": "R" }] } })
    );
}

#[test]
fn directives() {
    let replace = json!({ "spec": { "ports": [{ "$patch": "replace" }, { "port": 1 }] } });
    let current = json!({ "spec": { "ports": [{ "port": 80 }], "selector": { "a": "b" } } });
    assert_eq!(strategic(Kind::Service, current.clone(), replace)["spec"]["ports"], json!([{ "port": 1 }]));
    let replace = json!({ "spec": { "selector": { "$patch": "replace", "x": "y" } } });
    assert_eq!(strategic(Kind::Service, current.clone(), replace)["spec"]["selector"], json!({ "x": "y" }));
    let delete = json!({ "spec": { "selector": { "$patch": "delete" } } });
    assert!(strategic(Kind::Service, current.clone(), delete)["spec"].get("selector").is_none());
    let remove = json!({ "spec": { "selector": { "a": null, "c": "d" } } });
    assert_eq!(strategic(Kind::Service, current, remove)["spec"]["selector"], json!({ "c": "d" }));

    let current =
        json!({ "spec": { "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1 } } } });
    let retain = json!({ "spec": { "strategy": { "$retainKeys": ["type"], "type": "Recreate" } } });
    assert_eq!(
        strategic(Kind::Deployment, current, retain)["spec"]["strategy"],
        json!({ "type": "Recreate" })
    );

    let current = json!({ "metadata": { "finalizers": ["a/b", "c/d"] } });
    let patch = json!({ "metadata": { "$deleteFromPrimitiveList/finalizers": ["a/b"], "finalizers": ["e/f"],
                                      "$setElementOrder/finalizers": ["e/f", "c/d"] } });
    assert_eq!(strategic(Kind::Pod, current, patch)["metadata"], json!({ "finalizers": ["e/f", "c/d"] }));
}

#[test]
fn lists_need_their_key() {
    let patch = json!({ "spec": { "ports": [{ "name": "x" }] } });
    let error = strategic_merge(Kind::Service, &json!({}), &patch).unwrap_err();
    assert_eq!(error.code, 400);
    assert_eq!(error.message, "map: {\"name\":\"x\"} does not contain declared merge key: port");
}

#[test]
fn merge_patches() {
    let current =
        json!({ "metadata": { "labels": { "a": "1", "b": "2" } }, "spec": { "ports": [{ "port": 1 }] } });
    let patch =
        json!({ "metadata": { "labels": { "a": null, "c": "3" } }, "spec": { "ports": [{ "port": 2 }] } });
    assert_eq!(
        merge_patch(Kind::Service, &current, &patch).unwrap(),
        json!({ "metadata": { "labels": { "b": "2", "c": "3" } }, "spec": { "ports": [{ "port": 2 }] } })
    );
    assert_eq!(merge_patch(Kind::Service, &current, &json!([])).unwrap_err().code, 400);
}

#[test]
fn json_patches() {
    let current = json!({ "metadata": { "labels": { "a": "1" } } });
    let patch = json!([{ "op": "replace", "path": "/metadata/labels/a", "value": "2" }]);
    let object = json_patch(Kind::Service, &current, &patch).unwrap();
    assert_eq!(object, json!({ "metadata": { "labels": { "a": "2" } } }));
    let missing = json!([{ "op": "remove", "path": "/metadata/annotations/x" }]);
    assert_eq!(json_patch(Kind::Service, &current, &missing).unwrap_err().code, 422);
    assert_eq!(json_patch(Kind::Service, &current, &json!({ "a": 1 })).unwrap_err().code, 400);
    let nothing = json!([{ "op": "replace", "path": "", "value": 1 }]);
    assert_eq!(json_patch(Kind::Service, &current, &nothing).unwrap_err().code, 422);
}
