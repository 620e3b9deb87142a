use proptest::prelude::*;

use super::*;
use crate::apiserver::rules::value::items;

const T1: &str = "2026-01-01T00:00:00Z";
const T2: &str = "2026-01-01T00:00:01Z";

fn config(spec: Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web", "namespace": "default" }, "spec": spec })
}

fn applied(live: Option<&Value>, spec: Value, manager: &str) -> Result<Value, ApiError> {
    apply(Kind::Service, live, &config(spec), manager, false, T1, "")
}

fn fields(object: &Value, manager: &str) -> Value {
    items(object, &["metadata", "managedFields"])
        .iter()
        .find(|entry| text(entry, &["manager"]) == manager)
        .map(|entry| entry["fieldsV1"].clone())
        .unwrap_or_default()
}

#[test]
fn what_is_applied_is_owned() {
    let live =
        applied(None, json!({ "ports": [{ "port": 80, "name": "http" }], "selector": { "a": "b" } }), "me")
            .unwrap();
    assert_eq!(
        live["metadata"]["managedFields"],
        json!([{
            "manager": "me", "operation": "Apply", "apiVersion": "v1", "time": T1, "fieldsType": "FieldsV1",
            "fieldsV1": { "f:spec": {
                "f:ports": { "k:{\"port\":80,\"protocol\":\"TCP\"}": { ".": {}, "f:name": {}, "f:port": {} } },
                "f:selector": {}
            } }
        }])
    );
}

#[test]
fn what_is_no_longer_applied_goes() {
    let first =
        json!({ "ports": [{ "port": 80 }, { "port": 81 }], "externalName": "x", "sessionAffinity": "None" });
    let mut live = applied(None, first, "me").unwrap();
    // The server defaults the ports; nobody owns that.
    live["spec"]["ports"][1]["protocol"] = json!("TCP");
    let live =
        applied(Some(&live), json!({ "ports": [{ "port": 80 }], "sessionAffinity": "None" }), "me").unwrap();
    assert_eq!(live["spec"], json!({ "ports": [{ "port": 80 }], "sessionAffinity": "None" }));
}

#[test]
fn what_somebody_else_owns_stays() {
    let live = applied(None, json!({ "sessionAffinity": "None", "type": "NodePort" }), "me").unwrap();
    let live = applied(Some(&live), json!({ "sessionAffinity": "None" }), "you").unwrap();
    let live = applied(Some(&live), json!({ "type": "NodePort" }), "me").unwrap();
    assert_eq!(live["spec"], json!({ "sessionAffinity": "None", "type": "NodePort" }));
    let live = applied(Some(&live), json!({ "externalName": "x" }), "you").unwrap();
    assert_eq!(live["spec"], json!({ "externalName": "x", "type": "NodePort" }));
}

#[test]
fn a_conflict_names_manager_and_fields() {
    let mut live = config(
        json!({ "ports": [{ "port": 80, "protocol": "TCP", "targetPort": 80 }], "type": "ClusterIP" }),
    );
    track_update(Kind::Service, None, &mut live, "kubectl-client-side-apply", T1, "");
    let error = applied(Some(&live), json!({ "type": "NodePort" }), "me").unwrap_err();
    assert_eq!(
        error.message,
        "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using v1: .spec.type"
    );
    assert_eq!(
        error.details,
        Some(json!({ "causes": [{ "reason": "FieldManagerConflict", "field": ".spec.type",
                                  "message": "conflict with \"kubectl-client-side-apply\" using v1" }] }))
    );
    let two = json!({ "type": "NodePort", "ports": [{ "port": 80, "targetPort": 81 }] });
    let error = applied(Some(&live), two.clone(), "me").unwrap_err();
    assert_eq!(
        error.message,
        "Apply failed with 2 conflicts: conflicts with \"kubectl-client-side-apply\" using v1:\n\
         - .spec.ports[port=80,protocol=\"TCP\"].targetPort\n- .spec.type"
    );
    let forced = apply(Kind::Service, Some(&live), &config(two), "me", true, T2, "").unwrap();
    assert_eq!(forced["spec"]["type"], "NodePort");
    assert!(fields(&forced, "kubectl-client-side-apply")["f:spec"].get("f:type").is_none());
    assert_eq!(fields(&forced, "me")["f:spec"]["f:type"], json!({}));
}

#[test]
fn the_same_value_is_shared_without_a_conflict() {
    let live = applied(None, json!({ "type": "NodePort" }), "me").unwrap();
    let live = applied(Some(&live), json!({ "type": "NodePort" }), "you").unwrap();
    assert_eq!(fields(&live, "me"), fields(&live, "you"));
}

#[test]
fn applying_the_same_again_changes_nothing() {
    let spec = json!({ "ports": [{ "port": 80 }], "selector": { "a": "b" } });
    let live = applied(None, spec.clone(), "me").unwrap();
    let again = apply(Kind::Service, Some(&live), &config(spec), "me", false, T2, "").unwrap();
    assert_eq!(again, live);
}

#[test]
fn updates_record_what_they_changed() {
    let mut object =
        config(json!({ "ports": [{ "port": 80 }], "selector": { "a": "b" }, "type": "ClusterIP" }));
    object["metadata"]["labels"] = json!({ "a": "b" });
    object["status"] = json!({ "loadBalancer": {} });
    track_update(Kind::Service, None, &mut object, "kubectl-create", T1, "");
    assert_eq!(
        fields(&object, "kubectl-create"),
        json!({
            "f:metadata": { "f:labels": { ".": {}, "f:a": {} } },
            "f:spec": {
                "f:ports": { ".": {}, "k:{\"port\":80,\"protocol\":\"TCP\"}": { ".": {}, "f:port": {} } },
                "f:selector": {}, "f:type": {}
            }
        })
    );
    let old = object.clone();
    object["metadata"]["labels"] = json!({ "a": "c", "d": "e" });
    object["spec"]["type"] = json!("NodePort");
    track_update(Kind::Service, Some(&old), &mut object, "kubectl-edit", T2, "");
    assert_eq!(
        fields(&object, "kubectl-edit"),
        json!({ "f:metadata": { "f:labels": { "f:a": {}, "f:d": {} } }, "f:spec": { "f:type": {} } })
    );
    assert_eq!(fields(&object, "kubectl-create")["f:metadata"], json!({ "f:labels": {} }), "the map itself");
}

#[test]
fn the_status_has_managers_of_its_own() {
    let mut pod =
        json!({ "metadata": { "name": "p" }, "spec": { "nodeName": "a" }, "status": { "phase": "Pending" } });
    track_update(Kind::Pod, None, &mut pod, "me", T1, "");
    assert_eq!(fields(&pod, "me"), json!({ "f:spec": { "f:nodeName": {} } }));
    let old = pod.clone();
    pod["status"]["conditions"] = json!([{ "type": "Ready", "status": "True" }]);
    track_update(Kind::Pod, Some(&old), &mut pod, "kubelet", T2, "status");
    let entry = &pod["metadata"]["managedFields"][1];
    assert_eq!((&entry["manager"], &entry["subresource"]), (&json!("kubelet"), &json!("status")));
    assert_eq!(
        entry["fieldsV1"],
        json!({ "f:status": { "f:conditions": { ".": {}, "k:{\"type\":\"Ready\"}": { ".": {}, "f:status": {}, "f:type": {} } } } })
    );
}

#[test]
fn nothing_changed_nothing_recorded() {
    let mut object = config(json!({ "type": "ClusterIP" }));
    track_update(Kind::Service, None, &mut object, "me", T1, "");
    let old = object.clone();
    track_update(Kind::Service, Some(&old), &mut object, "you", T2, "");
    assert_eq!(object, old);
    // A PUT that leaves the list out keeps it, one that empties it forgets it.
    remove(&mut object, &["metadata", "managedFields"]);
    track_update(Kind::Service, Some(&old), &mut object, "you", T2, "");
    assert_eq!(object, old);
    object["metadata"]["managedFields"] = json!([{}]);
    track_update(Kind::Service, Some(&old), &mut object, "you", T2, "");
    assert!(object["metadata"].get("managedFields").is_none());
}

#[test]
fn an_object_without_managers_is_adopted() {
    let live = config(json!({ "type": "ClusterIP" }));
    let error = applied(Some(&live), json!({ "type": "NodePort" }), "me").unwrap_err();
    assert_eq!(
        error.message,
        "Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .spec.type"
    );
}

#[test]
fn kubectl_takes_over_what_it_applied_client_side() {
    let mut live = config(json!({ "type": "ClusterIP", "ports": [{ "port": 80, "protocol": "TCP" }] }));
    let last = config(json!({ "type": "ClusterIP", "ports": [{ "port": 80 }] }));
    live["metadata"]["annotations"] = json!({ (LAST_APPLIED): last.to_string() });
    track_update(Kind::Service, None, &mut live, "kubectl-client-side-apply", T1, "");
    let taken =
        applied(Some(&live), json!({ "type": "NodePort", "ports": [{ "port": 80 }] }), "kubectl").unwrap();
    assert_eq!(taken["spec"]["type"], "NodePort");
    assert!(text(&taken, &["metadata", "annotations", LAST_APPLIED]).contains("NodePort"));
    let error = applied(Some(&live), json!({ "type": "NodePort" }), "argocd").unwrap_err();
    assert_eq!(error.code, 409);
}

#[test]
fn sets_lists_and_atoms() {
    let meta = |finalizers: Value| json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p", "finalizers": finalizers } });
    let live = apply(Kind::Pod, None, &meta(json!(["a/b"])), "me", false, T1, "").unwrap();
    let live = apply(Kind::Pod, Some(&live), &meta(json!(["c/d"])), "you", false, T1, "").unwrap();
    assert_eq!(live["metadata"]["finalizers"], json!(["a/b", "c/d"]));
    let live = apply(Kind::Pod, Some(&live), &meta(json!([])), "me", false, T1, "").unwrap();
    assert_eq!(live["metadata"]["finalizers"], json!(["c/d"]));

    let live = applied(None, json!({ "selector": { "a": "b", "c": "d" } }), "me").unwrap();
    let live = applied(Some(&live), json!({ "selector": { "a": "b" } }), "me").unwrap();
    assert_eq!(live["spec"]["selector"], json!({ "a": "b" }), "a selector is one value");
}

#[test]
fn lists_need_their_keys_once() {
    let error = applied(None, json!({ "ports": [{ "port": 80 }, { "port": 80, "protocol": "TCP" }] }), "me")
        .unwrap_err();
    assert_eq!(
        error.message,
        "failed to create typed patch object (default/web; /v1, Kind=Service): .spec.ports: duplicate entries for key \
         [port=80,protocol=\"TCP\"]"
    );
    let error = applied(None, json!({ "ports": [{ "name": "a" }] }), "me").unwrap_err();
    assert!(
        error.message.ends_with("omits key field \"port\" (and doesn't have default value)"),
        "{}",
        error.message
    );
    let mut with = config(json!({}));
    with["metadata"]["managedFields"] = json!([{ "manager": "x" }]);
    let error = apply(Kind::Service, None, &with, "me", false, T1, "").unwrap_err();
    assert_eq!((error.code, error.message.as_str()), (400, "metadata.managedFields must be nil"));
}

#[test]
fn an_empty_object_can_be_wanted() {
    let live = applied(None, json!({ "type": "ClusterIP" }), "me").unwrap();
    let live = applied(Some(&live), json!({}), "me").unwrap();
    assert_eq!((&live["spec"], fields(&live, "me")), (&json!({}), json!({ "f:spec": {} })));
}

#[test]
fn field_sets_survive_the_wire() {
    let wire = json!({ "f:metadata": { "f:labels": { ".": {}, "f:a/b": {} }, "f:finalizers": { "v:\"x/y\"": {} } },
                       "f:spec": { "f:ports": { "k:{\"port\":80,\"protocol\":\"TCP\"}": { ".": {}, "f:port": {} } } } });
    assert_eq!(FieldSet::from_json(&wire).to_json(), wire);
}

/// Some Service a manager may want.
fn any_config() -> impl Strategy<Value = Value> {
    let labels = proptest::collection::btree_map("[ab]", "[xy]", 0..3);
    let ports = proptest::collection::btree_map(1_u16..4, proptest::option::of("[ab]"), 0..3);
    let kind = proptest::option::of("ClusterIP|NodePort");
    let finalizers = proptest::collection::btree_set("[ab]/[cd]", 0..3);
    (labels, ports, kind, finalizers).prop_map(|(labels, ports, kind, finalizers)| {
        let ports: Vec<Value> = ports
            .into_iter()
            .map(|(port, name)| {
                name.map_or_else(|| json!({ "port": port }), |name| json!({ "port": port, "name": name }))
            })
            .collect();
        // An empty map or list is a value of its own, which would be owned beside what others put into it.
        let mut config = config(json!({}));
        if !ports.is_empty() {
            config["spec"]["ports"] = json!(ports);
        }
        if !labels.is_empty() {
            config["metadata"]["labels"] = json!(labels);
        }
        if !finalizers.is_empty() {
            config["metadata"]["finalizers"] = json!(finalizers);
        }
        if let Some(kind) = kind {
            config["spec"]["type"] = json!(kind);
        }
        if config["spec"] == json!({}) {
            remove(&mut config, &["spec"]);
        }
        config
    })
}

proptest! {
    /// Whatever managers apply over each other: what was applied last is there, what is owned exists, and what nobody
    /// owns is gone.
    #[test]
    fn applies_of_several_managers(steps in proptest::collection::vec(("me|you|it", any_config()), 1..8)) {
        let root = Type::Root(Kind::Service);
        let mut live: Option<Value> = None;
        for (manager, config) in steps {
            let next = apply(Kind::Service, live.as_ref(), &config, &manager, true, T1, "").unwrap();
            let again = apply(Kind::Service, Some(&next), &config, &manager, false, T2, "").unwrap();
            prop_assert_eq!(&again, &next);
            let changes = walk::compare(root, &next, &merge::merge(root, &next, &config));
            prop_assert!(changes.added.is_empty() && changes.modified.is_empty());
            let all = Managers::of(&next).others(&Manager::update("nobody", Kind::Service, ""));
            let there = stripped(walk::field_set(root, &next));
            prop_assert!(all.difference(&there).is_empty(), "{:?}", all.difference(&there).paths());
            prop_assert!(there.difference(&all).is_empty(), "{:?}", there.difference(&all).paths());
            live = Some(next);
        }
    }
}
