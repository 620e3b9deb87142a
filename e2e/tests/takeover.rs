//! From kube-controller-manager to Callsign and back: objects that are right change hands without a write.
//!
//! What kube-controller-manager made of the recorded scenarios is put back as it left it: its labels, owners, annotations
//! and managed fields, with the identities of the objects that are there now. Callsign then takes over. For the way back,
//! Callsign's own objects must be marked exactly like those.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result, anyhow, ensure};
use callsign_e2e::{
    apiserver::{ApiServer, Key, Options, Part, Patch, Running, Scope, WriteOptions, kind::Kind},
    harness::{
        build,
        case::{Case, Step},
        cluster::Cluster,
        namespace::writes,
        scrape::{Metrics, get},
        world::{World, client, eventually},
    },
};
use serde_json::{Map, Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_callsign");
const MANAGER: &str = "kube-controller-manager";
const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";
const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// The identity of an owner that is gone.
const NOBODY: &str = "00000000-0000-4000-8000-000000000000";
/// Most endpoints that kube-controller-manager puts into a slice.
const FULL: usize = 100;

/// An API server with the inputs of every recorded scenario.
async fn inputs(cases: &[Case]) -> Result<Running> {
    let server = ApiServer::start(Options::default()).await?;
    let folder = tempfile::tempdir()?;
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, server.kubeconfig())?;
    let cluster = Cluster::new(client(&kubeconfig).await?);
    for case in cases {
        // Nothing settles while nobody writes.
        let steps = case.prelude.iter().chain(&case.steps).filter(|step| !matches!(step, Step::Settle));
        cluster.play(&steps.cloned().collect::<Vec<_>>()).await?;
    }
    Ok(server)
}

/// The Endpoints that kube-controller-manager made in a scenario.
fn recorded_endpoints(server: &Running, case: &Case) -> Vec<Value> {
    let made = |(path, recorded): (&String, &Value)| {
        let (namespace, name) = path.split_once('/').unwrap_or_default();
        let mut subsets = recorded.get("subsets").cloned().unwrap_or_default();
        identify_pods(server, &mut subsets);
        let metadata = metadata(namespace, name, recorded, Map::new());
        let by_hand = server.store().get(Kind::Endpoints, namespace, name).is_some();
        (!by_hand).then(
            || json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": subsets}),
        )
    };
    case.endpoints.iter().filter_map(made).collect()
}

/// The slices that it made.
fn recorded_slices(server: &Running, case: &Case) -> Result<Vec<Value>> {
    let mut slices = Vec::new();
    for (path, recorded) in &case.slices {
        let mut parts = path.split('/');
        let mut part = || parts.next().with_context(|| path.clone());
        let (namespace, service, family) = (part()?, part()?, part()?);
        let mirrored = recorded.get("mirror") == Some(&json!(true));
        let by = if mirrored { "endpointslicemirroring" } else { "endpointslice" };
        let mut labels = Map::new();
        labels.insert(SERVICE_NAME.to_owned(), json!(service));
        labels.insert(MANAGED_BY.to_owned(), json!(format!("{by}-controller.k8s.io")));
        let groups = recorded.get("groups").and_then(Value::as_object).context("groups")?;
        for (ports, endpoints) in groups {
            let ports: Value = serde_json::from_str(ports)?;
            let mut endpoints = endpoints.clone();
            if !mirrored {
                identify_pods(server, &mut endpoints);
            }
            let endpoints = endpoints.as_array().cloned().unwrap_or_default();
            // A slice without endpoints is a slice too.
            let mut chunks: Vec<&[Value]> = endpoints.chunks(FULL).collect();
            if chunks.is_empty() {
                chunks.push(&[]);
            }
            for chunk in chunks {
                let name = format!("{service}-{}{:04}", family.to_lowercase(), slices.len());
                let mut metadata = metadata(namespace, &name, recorded, labels.clone());
                metadata.insert("ownerReferences".to_owned(), json!(owners(server, namespace, recorded)));
                if mirrored {
                    // The mirroring controller knows no trigger times.
                    metadata
                        .get_mut("annotations")
                        .and_then(Value::as_object_mut)
                        .map(|all| all.remove(TRIGGER_TIME));
                }
                slices.push(json!({
                    "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata,
                    "addressType": family, "endpoints": chunk, "ports": ports,
                }));
            }
        }
    }
    Ok(slices)
}

fn metadata(namespace: &str, name: &str, recorded: &Value, more: Map<String, Value>) -> Map<String, Value> {
    let map = |field: &str| recorded.get(field).and_then(Value::as_object).cloned().unwrap_or_default();
    let (mut labels, mut annotations) = (map("labels"), map("annotations"));
    labels.extend(more);
    annotations.insert(TRIGGER_TIME.to_owned(), json!("2026-01-01T00:00:00Z"));
    let mut metadata = Map::new();
    metadata.insert("namespace".to_owned(), json!(namespace));
    metadata.insert("name".to_owned(), json!(name));
    metadata.insert("labels".to_owned(), json!(labels));
    metadata.insert("annotations".to_owned(), json!(annotations));
    metadata
}

/// `Service/web/True` as an owner reference to the object that is there; one that is gone had an identity of its own.
fn owners(server: &Running, namespace: &str, recorded: &Value) -> Vec<Value> {
    let owners = recorded.get("owner").and_then(Value::as_array).into_iter().flatten();
    let owner = |owner: &Value| {
        let mut parts = owner.as_str()?.split('/');
        let (kind, name) = (parts.next()?, parts.next()?);
        let live = if kind == "Service" { Kind::Service } else { Kind::Endpoints };
        let live = server.store().get(live, namespace, name);
        let uid = live.as_ref().map_or(NOBODY, |live| live.uid()).to_owned();
        Some(json!({"apiVersion": "v1", "kind": kind, "name": name, "uid": uid, "controller": true,
            "blockOwnerDeletion": true}))
    };
    owners.filter_map(owner).collect()
}

/// Gives references to pods the identity of the pod that is there.
fn identify_pods(server: &Running, value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| identify_pods(server, item)),
        Value::Object(fields) => {
            if let Some(Value::Object(target)) = fields.get_mut("targetRef") {
                let text = |field: &str| target.get(field).and_then(Value::as_str).unwrap_or_default();
                if let Some(pod) = server.store().get(Kind::Pod, text("namespace"), text("name")) {
                    target.insert("uid".to_owned(), json!(pod.uid()));
                }
            }
            fields.values_mut().for_each(|field| identify_pods(server, field));
        }
        _ => {}
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// All Endpoints and slices with their versions.
fn versions(server: &Running) -> BTreeMap<(Kind, Key), u64> {
    let mut versions = BTreeMap::new();
    for kind in [Kind::Endpoints, Kind::EndpointSlice] {
        for object in server.store().list(kind, Scope::All).0 {
            versions.insert((kind, object.key.clone()), object.version);
        }
    }
    versions
}

/// Waits until everything there is has been looked at.
async fn settled(world: &mut World) -> Result<()> {
    let metrics = world.callsign.address("metrics").await?;
    eventually("settled", async || {
        let page = Metrics::of(metrics).await?;
        let waiting = page.value("workqueue_depth{name=\"endpoint\"}")
            + page.value("workqueue_depth{name=\"endpoint_slice\"}");
        ensure!(page.value("callsign_controller_settled") == 1.0 && waiting == 0.0, "{waiting} wait");
        Ok(())
    })
    .await?;
    world.cluster.settle().await
}

#[tokio::test(flavor = "multi_thread")]
async fn taking_over_writes_nothing() -> Result<()> {
    let cases = Case::all()?;
    let server = inputs(&cases).await?;
    let by = WriteOptions::by(MANAGER);
    let mut made = 0;
    for case in &cases {
        let endpoints = recorded_endpoints(&server, case).into_iter().map(|object| (Kind::Endpoints, object));
        let slices = recorded_slices(&server, case)?.into_iter().map(|object| (Kind::EndpointSlice, object));
        for (kind, object) in endpoints.chain(slices) {
            let namespace = text(&object, "/metadata/namespace").to_owned();
            let done = server.store().create(kind, &namespace, object.clone(), &by);
            done.map_err(|error| anyhow!("{}: {error:?}\n{object}", case.scenario))?;
            made += 1;
        }
    }
    assert!(made > 80, "{made}");
    let before = versions(&server);
    server.faults().reset_requests();
    let mut world = World::join(Path::new(BINARY), server, &["--guard", "on"]).await?;
    let ready = world.callsign.address("ready").await?;
    eventually("on duty", async || {
        let (code, body) = get(ready, "/ready").await?;
        ensure!(code == 200, "{body}");
        Ok(())
    })
    .await?;
    settled(&mut world).await?;
    // Every Service has been looked at: what happens to one now is not behind them in the queue.
    let n = "basic-my-service";
    let store = std::sync::Arc::clone(world.embedded()?.store());
    let mut extra = build::service(n, "new");
    extra["spec"]["selector"] = json!({"app": "nobody"});
    store.load(extra).map_err(|error| anyhow!("{error:?}"))?;
    eventually("a Service of our own", async || {
        ensure!(store.get(Kind::Endpoints, n, "new").is_some(), "not yet");
        Ok(())
    })
    .await?;
    settled(&mut world).await?;
    let mut after = versions(world.embedded()?);
    after.retain(|(_, key), _| !(&*key.namespace == n && key.name.starts_with("new")));
    let changed: Vec<_> =
        before.iter().filter(|(object, version)| after.get(object) != Some(version)).collect();
    assert_eq!(changed, [], "\n{}", world.callsign.said());
    assert_eq!(after.len(), before.len());
    for resource in ["endpoints", "endpointslices"] {
        assert_eq!(writes(world.embedded()?, resource), [1, 0, 0], "{resource}: only those of `new`");
    }
    // The annotations are as they were left, and the first change of a Service writes that Service alone.
    let slice = |service: &str| {
        let slices = store.list(Kind::EndpointSlice, Scope::Namespace(n)).0;
        slices
            .iter()
            .find(|slice| text(&slice.value, "/metadata/labels/kubernetes.io~1service-name") == service)
            .cloned()
    };
    let pointer = format!("/metadata/annotations/{}", TRIGGER_TIME.replace('/', "~1"));
    let taken = slice("my-service").context("the slice")?;
    assert_eq!(text(&taken.value, &pointer), "2026-01-01T00:00:00Z");
    let unready = Patch::Merge(json!({"status": build::status_conditions(false)}));
    let done =
        store.patch(Kind::Pod, &Key::new(n, "a"), Part::Status, &unready, &WriteOptions::by("kubelet"));
    done.map_err(|error| anyhow!("{error:?}"))?;
    eventually("the first write", async || {
        let slice = slice("my-service").context("gone")?;
        ensure!(slice.version != taken.version && slice.key == taken.key, "not yet");
        ensure!(text(&slice.value, &pointer) != "2026-01-01T00:00:00Z", "the old trigger time");
        Ok(())
    })
    .await?;
    settled(&mut world).await?;
    let mut last = versions(world.embedded()?);
    last.retain(|object, version| before.get(object).is_some_and(|before| before != version));
    let touched: Vec<&str> = last.keys().map(|(_, key)| &*key.name).collect();
    assert_eq!(touched, ["my-service", &*taken.key.name]);
    Ok(())
}

/// What tells kube-controller-manager whether an object is its own and right.
fn marks(object: &Value) -> Value {
    let annotations = object.pointer("/metadata/annotations").and_then(Value::as_object);
    let names: Vec<&String> = annotations.into_iter().flat_map(Map::keys).collect();
    json!({
        "labels": object.pointer("/metadata/labels").cloned().unwrap_or_else(|| json!({})),
        "owners": object.pointer("/metadata/ownerReferences").cloned().unwrap_or_else(|| json!([])),
        "annotations": names,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_handed_back_is_marked_as_upstream_marks_it() -> Result<()> {
    let cases = Case::all()?;
    let server = inputs(&cases).await?;
    let mut wanted: BTreeMap<String, Value> = BTreeMap::new();
    for case in &cases {
        for object in recorded_endpoints(&server, case).iter().chain(&recorded_slices(&server, case)?) {
            // A slice's own name is nobody's business; that of its Service and its family are.
            wanted.insert(place(object), marks(object));
        }
    }
    let world = World::join(Path::new(BINARY), server, &[]).await?;
    let store = world.embedded()?.store();
    eventually("as marked upstream", async || {
        let mut found: BTreeMap<String, Value> = BTreeMap::new();
        for kind in [Kind::Endpoints, Kind::EndpointSlice] {
            for object in store.list(kind, Scope::All).0 {
                found.insert(place(&object.value), marks(&object.value));
            }
        }
        // What is gone with its Service is nobody's any more.
        let wrong = wanted.iter().filter(|(place, marks)| {
            text(marks, "/owners/0/uid") != NOBODY && found.get(*place) != Some(*marks)
        });
        let wrong: Vec<_> =
            wrong.map(|(place, marks)| format!("{place}: {marks}\n  {:?}", found.get(place))).collect();
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(())
    })
    .await?;
    assert!(wanted.len() > 80, "{}", wanted.len());
    Ok(())
}

/// `namespace/service`, and of a slice its address type and who manages it.
fn place(object: &Value) -> String {
    let namespace = text(object, "/metadata/namespace");
    if text(object, "/kind") == "Endpoints" {
        return format!("{namespace}/{}", text(object, "/metadata/name"));
    }
    let (service, by) = (
        "/metadata/labels/kubernetes.io~1service-name",
        "/metadata/labels/endpointslice.kubernetes.io~1managed-by",
    );
    format!("{namespace}/{}/{} {}", text(object, service), text(object, "/addressType"), text(object, by))
}
