//! The recorded steps applied to an index, the way an API server would.

use std::{collections::BTreeMap, sync::Arc};

use callsign_shared::{
    Index, Key,
    index::Indexed,
    object::{EndpointSlice, Endpoints, Namespace, Node, Pod, Service},
};
use serde_json::{Value, json};

type Objects = BTreeMap<(String, String, String), Value>;

/// Loads scenarios into one index.
pub(crate) fn load<'a>(scenarios: impl Iterator<Item = &'a Value>) -> Arc<Index> {
    let mut objects = Objects::new();
    let mut version = 100;
    // Every cluster has these.
    put(&mut objects, &mut version, &json!({"kind": "Namespace", "metadata": {"name": "default"}}));
    let kubernetes = json!({
        "kind": "Service",
        "metadata": {"name": "kubernetes", "namespace": "default"},
        "spec": {"clusterIP": "10.96.0.1", "ports": [{"name": "https", "port": 443, "targetPort": 6443}]},
    });
    put(&mut objects, &mut version, &kubernetes);
    for scenario in scenarios {
        for step in ["prelude", "steps"].iter().flat_map(|part| scenario[part].as_array().unwrap()) {
            match step[0].as_str().unwrap() {
                "apply" => put(&mut objects, &mut version, &step[1]),
                "delete" => delete(&mut objects, &step[1]),
                "settle" => {}
                other => panic!("unknown step {other}"),
            }
        }
        for (key, recorded) in scenario["slices"].as_object().unwrap() {
            for slice in slices(key, recorded) {
                put(&mut objects, &mut version, &slice);
            }
        }
    }
    let index = Index::new();
    for ((kind, namespace, name), object) in objects {
        let what = format!("{kind} {namespace}/{name}");
        match kind.as_str() {
            "Namespace" => apply::<Namespace>(&index, &what, &object),
            "Node" => apply::<Node>(&index, &what, &object),
            "Service" => apply::<Service>(&index, &what, &object),
            "Pod" => apply::<Pod>(&index, &what, &object),
            "Endpoints" => apply::<Endpoints>(&index, &what, &object),
            "EndpointSlice" => apply::<EndpointSlice>(&index, &what, &object),
            other => panic!("unknown kind {other}"),
        }
    }
    assert!(index.view(&Key::new("default", "kubernetes")).is_some());
    Arc::new(index)
}

fn apply<T: Indexed>(index: &Index, what: &str, object: &Value) {
    let object = T::decode(&object.to_string()).unwrap_or_else(|error| panic!("{what}: {error}"));
    index.apply(object);
}

fn key(object: &Value) -> (String, String, String) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (text(&object["kind"]), text(&object["metadata"]["namespace"]), text(&object["metadata"]["name"]))
}

fn put(objects: &mut Objects, version: &mut u64, object: &Value) {
    *version += 1;
    let key = key(object);
    let mut object = match (key.0.as_str(), objects.get(&key)) {
        // Of a pod that exists only labels and status change.
        ("Pod", Some(known)) => {
            let mut pod = known.clone();
            pod["metadata"]["labels"] = object["metadata"]["labels"].clone();
            pod["status"] = object["status"].clone();
            pod
        }
        _ => object.clone(),
    };
    if key.0 == "Service" {
        default_families(&mut object["spec"]);
    }
    object["metadata"]["uid"] = json!(format!("{}-{}-{}", key.0, key.1, key.2));
    object["metadata"]["resourceVersion"] = json!(version.to_string());
    objects.insert(key, object);
}

/// What the API server defaults in a cluster whose primary family is IPv4.
fn default_families(spec: &mut Value) {
    if spec["type"] == "ExternalName" || !spec["ipFamilies"].is_null() {
        return;
    }
    let v6 = spec["clusterIP"].as_str().is_some_and(|ip| ip.contains(':'));
    spec["ipFamilies"] = if v6 { json!(["IPv6"]) } else { json!(["IPv4"]) };
}

fn delete(objects: &mut Objects, object: &Value) {
    let key = key(object);
    let known = objects.get_mut(&key).unwrap_or_else(|| panic!("{key:?} is deleted and was never applied"));
    // Nobody confirms the end of a pod that has a node: it stays, terminating.
    if key.0 == "Pod" && known["spec"]["nodeName"].is_string() {
        known["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    } else {
        objects.remove(&key);
    }
}

/// Slices as a controller wrote them: one for each recorded group of ports.
fn slices(key: &str, recorded: &Value) -> Vec<Value> {
    let mut parts = key.split('/');
    let (namespace, service, family) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    let manager = if recorded["mirror"] == true {
        "endpointslicemirroring-controller.k8s.io"
    } else {
        "endpointslice-controller.k8s.io"
    };
    let mut labels = recorded["labels"].clone();
    labels["kubernetes.io/service-name"] = json!(service);
    labels["endpointslice.kubernetes.io/managed-by"] = json!(manager);
    let groups = recorded["groups"].as_object().unwrap().iter().enumerate();
    let slice = |(at, (ports, endpoints)): (usize, (&String, &Value))| {
        json!({
            "kind": "EndpointSlice",
            "metadata": {"namespace": namespace, "name": format!("{service}-{family}-{at}"), "labels": labels},
            "addressType": family,
            "endpoints": endpoints,
            "ports": serde_json::from_str::<Value>(ports).unwrap(),
        })
    };
    groups.map(slice).collect()
}
