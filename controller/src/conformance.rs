//! The planners against what a real control plane made of the recorded scenarios (`e2e/cases`).
//!
//! Each scenario's objects are put into a model of a cluster as an API server would leave them, plans are applied until
//! nothing is left to write, and Endpoints and slices are compared with the recorded ones. What the same scenario does to
//! running processes over real sockets is tested in `e2e`.

use std::collections::{BTreeMap, BTreeSet};

use callsign_shared::{Key, object::well_known};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{plan::Limits, testing::Cluster};

const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../e2e/cases");

#[derive(Deserialize)]
struct Scenario {
    prelude: Vec<Vec<Value>>,
    steps: Vec<Vec<Value>>,
    endpoints: BTreeMap<String, Value>,
    slices: BTreeMap<String, Value>,
}

#[test]
fn every_recorded_scenario() {
    let mut names = BTreeSet::new();
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(CASES).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        // Packets for the DNS server; no objects.
        if path.extension().is_none_or(|extension| extension != "json") || name == "protocol" {
            continue;
        }
        let scenario: Scenario = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let cluster = play(&scenario);
        compare(&name, "Endpoints", &endpoints(&cluster), &scenario.endpoints, &mut wrong);
        compare(&name, "slices", &slices(&cluster), &scenario.slices, &mut wrong);
        untouched_when_written_by_another(&name, &cluster);
        names.insert(name);
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(names.len(), 31, "scenarios are missing: {names:?}");
}

fn play(scenario: &Scenario) -> Cluster {
    let cluster = Cluster::default();
    for step in scenario.prelude.iter().chain(&scenario.steps) {
        match (step[0].as_str().unwrap(), step.get(1)) {
            ("apply", Some(object)) => cluster.apply(object.clone()),
            ("delete", Some(object)) => {
                let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
                let key = Key::new(text("namespace"), text("name"));
                cluster.delete(object["kind"].as_str().unwrap(), &key, None).unwrap();
            }
            ("settle", None) => {
                cluster.settle(Limits::default());
            }
            other => panic!("unknown step {other:?}"),
        }
    }
    cluster.settle(Limits::default());
    cluster
}

/// Another controller writes the same in another order; that must not be written again.
fn untouched_when_written_by_another(name: &str, cluster: &Cluster) {
    for kind in ["Endpoints", "EndpointSlice"] {
        for mut object in cluster.all(kind) {
            // Of two records of one address the first counts, so for Endpoints made by hand the order means something.
            if kind == "Endpoints" && object["metadata"]["labels"][well_known::ENDPOINTS_MANAGED_BY].is_null()
            {
                continue;
            }
            let text = |field: &str| object["metadata"][field].as_str().unwrap();
            let key = Key::new(text("namespace"), text("name"));
            for list in ["subsets", "endpoints", "ports"] {
                if let Some(list) = object.get_mut(list).and_then(Value::as_array_mut) {
                    list.reverse();
                }
            }
            for subset in object.get_mut("subsets").and_then(Value::as_array_mut).into_iter().flatten() {
                for list in ["addresses", "ports"] {
                    if let Some(list) = subset.get_mut(list).and_then(Value::as_array_mut) {
                        list.reverse();
                    }
                }
            }
            cluster.replace(kind, &key, object).unwrap();
        }
    }
    assert_eq!(cluster.round(Limits::default()), 0, "{name}: objects in another order are written again");
}

fn compare(
    name: &str,
    what: &str,
    got: &BTreeMap<String, Value>,
    wanted: &BTreeMap<String, Value>,
    wrong: &mut Vec<String>,
) {
    for key in got.keys().chain(wanted.keys()).collect::<BTreeSet<_>>() {
        let wanted = wanted.get(key).cloned().map(recorded);
        if got.get(key) != wanted.as_ref() {
            let text = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), Value::to_string);
            wrong.push(format!(
                "{name}: {what} {key}\n  got    {}\n  wanted {}",
                text(got.get(key)),
                text(wanted.as_ref())
            ));
        }
    }
}

/// The recorded form with its group keys as values, so that their spelling does not matter, and all lists sorted.
fn recorded(mut value: Value) -> Value {
    if let Some(groups) = value.get("groups").and_then(Value::as_object).cloned() {
        let parsed = groups.into_iter().map(|(ports, endpoints)| {
            let ports: Value = serde_json::from_str(&ports).unwrap();
            json!({"ports": ports, "endpoints": endpoints})
        });
        value["groups"] = parsed.collect();
        // Sizes are compared where they are certain.
        if value["sizes"].is_null() {
            value.as_object_mut().unwrap().remove("sizes");
        }
    }
    sorted(value)
}

fn endpoints(cluster: &Cluster) -> BTreeMap<String, Value> {
    let form = |object: Value| {
        let subsets = object.get("subsets").cloned().unwrap_or_else(|| json!([]));
        let form = json!({
            "labels": pairs(&object["metadata"]["labels"], &[]),
            "annotations": pairs(&object["metadata"]["annotations"], &[well_known::LAST_CHANGE_TRIGGER_TIME]),
            "subsets": subsets,
        });
        (name_of(&object), sorted(with_defaults(without_identity(form))))
    };
    cluster.all("Endpoints").into_iter().map(form).collect()
}

fn slices(cluster: &Cluster) -> BTreeMap<String, Value> {
    let mut by_service: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for slice in cluster.all("EndpointSlice") {
        let labels = &slice["metadata"]["labels"];
        if labels[well_known::SLICE_MANAGED_BY] == "hand" {
            continue;
        }
        let namespace = slice["metadata"]["namespace"].as_str().unwrap();
        let service = labels[well_known::SERVICE_NAME].as_str().unwrap();
        let address_type = slice["addressType"].as_str().unwrap();
        by_service.entry(format!("{namespace}/{service}/{address_type}")).or_default().push(slice);
    }
    let form = |(key, slices): (String, Vec<Value>)| {
        let first = &slices[0]["metadata"];
        let mut groups: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        let mut sizes: Vec<usize> = Vec::new();
        let mut owners = BTreeSet::new();
        for slice in &slices {
            assert_eq!(slice["metadata"]["labels"], first["labels"], "slices of {key} differ in labels");
            let ports = if slice["ports"].is_null() { json!([]) } else { slice["ports"].clone() };
            let endpoints = slice["endpoints"].as_array().unwrap().clone();
            sizes.push(endpoints.len());
            groups.entry(sorted(ports).to_string()).or_default().extend(endpoints);
            for owner in slice["metadata"]["ownerReferences"].as_array().unwrap() {
                let text = |field: &str| owner[field].as_str().unwrap().to_owned();
                let controller = if owner["controller"] == true { "True" } else { "False" };
                owners.insert(format!("{}/{}/{controller}", text("kind"), text("name")));
            }
        }
        sizes.sort_unstable();
        let groups: Vec<_> = (groups.into_iter())
            .map(|(ports, endpoints)| {
                json!({"ports": serde_json::from_str::<Value>(&ports).unwrap(), "endpoints": endpoints})
            })
            .collect();
        let mut form = json!({
            "labels": pairs(&first["labels"], &[well_known::SERVICE_NAME, well_known::SLICE_MANAGED_BY]),
            "annotations": pairs(&first["annotations"], &[well_known::LAST_CHANGE_TRIGGER_TIME]),
            "owner": owners,
            "mirror": first["labels"][well_known::SLICE_MANAGED_BY] == well_known::MIRRORING_CONTROLLER,
            "groups": groups,
            "sizes": sizes,
        });
        if sizes.iter().sum::<usize>() > 100 {
            form.as_object_mut().unwrap().remove("sizes");
        }
        (key, sorted(without_identity(form)))
    };
    by_service.into_iter().map(form).collect()
}

fn name_of(object: &Value) -> String {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    format!("{}/{}", text("namespace"), text("name"))
}

fn pairs(value: &Value, without: &[&str]) -> Value {
    let all = value.as_object().cloned().unwrap_or_default();
    all.into_iter().filter(|(key, _)| !without.contains(&key.as_str())).collect::<Map<_, _>>().into()
}

/// What the API server fills in when a person leaves it out of Endpoints.
fn with_defaults(mut form: Value) -> Value {
    for subset in form["subsets"].as_array_mut().into_iter().flatten() {
        for port in subset.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
            if port["protocol"].is_null() {
                port["protocol"] = json!("TCP");
            }
        }
    }
    form
}

fn without_identity(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            if let Some(target) = fields.get_mut("targetRef").and_then(Value::as_object_mut) {
                target.remove("uid");
                target.remove("resourceVersion");
            }
            fields.values_mut().for_each(|field| *field = without_identity(field.take()));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = without_identity(item.take())),
        _ => {}
    }
    value
}

fn sorted(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => fields.values_mut().for_each(|field| *field = sorted(field.take())),
        Value::Array(items) => {
            items.iter_mut().for_each(|item| *item = sorted(item.take()));
            items.sort_by_key(Value::to_string);
        }
        _ => {}
    }
    value
}
