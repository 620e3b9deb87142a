//! Objects and answers follow Services and pods: made, ready, unready, moved, relabelled, gone.

use std::path::Path;

use anyhow::{Result, ensure};
use callsign_e2e::{
    apiserver::{Options, kind::Kind},
    harness::{
        build,
        namespace::Namespace,
        world::{World, eventually},
    },
};
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

const NAME: &str = "web.n.svc.cluster.local.";

async fn world() -> Result<World> {
    let world = World::start(Path::new(env!("CARGO_BIN_EXE_callsign")), Options::default(), &[]).await?;
    world.cluster.apply(&build::namespace("n")).await?;
    world.cluster.apply(&build::node("node-a", "zone-a")).await?;
    Ok(world)
}

/// Waits until the Endpoints and the slices of `service` list these ready addresses, sorted.
async fn objects(world: &World, service: &str, wanted: &[&str]) -> Result<()> {
    eventually(&format!("objects of {service}"), async || {
        let addresses = |value: Option<&Value>, pointer: &str| -> Vec<String> {
            let lists = value.and_then(Value::as_array).into_iter().flatten();
            let found = lists.filter_map(|entry| Some(entry.pointer(pointer)?.as_str()?.to_owned()));
            found.collect()
        };
        let mut in_endpoints = Vec::new();
        for object in world.cluster.list(Kind::Endpoints).await? {
            if object.pointer("/metadata/name").and_then(Value::as_str) == Some(service) {
                for subset in object.get("subsets").and_then(Value::as_array).into_iter().flatten() {
                    in_endpoints.extend(addresses(subset.get("addresses"), "/ip"));
                }
            }
        }
        let mut in_slices = Vec::new();
        for object in world.cluster.list(Kind::EndpointSlice).await? {
            let labels = object.pointer("/metadata/labels");
            if labels.and_then(|labels| labels.get("kubernetes.io/service-name")?.as_str()) == Some(service) {
                let mut endpoints = object.get("endpoints").cloned().unwrap_or_default();
                if let Some(list) = endpoints.as_array_mut() {
                    list.retain(|e| e.pointer("/conditions/ready").and_then(Value::as_bool) == Some(true));
                }
                in_slices.extend(addresses(Some(&endpoints), "/addresses/0"));
            }
        }
        in_endpoints.sort();
        in_slices.sort();
        ensure!(
            in_endpoints == wanted && in_slices == wanted,
            "endpoints {in_endpoints:?}, slices {in_slices:?}"
        );
        Ok(())
    })
    .await
}

async fn everywhere(world: &World, wanted: &[&str]) -> Result<()> {
    world.answers(NAME, "A", wanted).await?;
    objects(world, "web", wanted).await
}

#[tokio::test(flavor = "multi_thread")]
async fn follow_a_pods_life() -> Result<()> {
    let world = world().await?;
    world.cluster.apply(&build::headless("n", "web")).await?;
    everywhere(&world, &[]).await?;
    world.rcode(NAME, "A", "NXDOMAIN").await?;
    world.cluster.apply(&build::pod("n", "a", "web", "10.1.0.1", true)).await?;
    world.cluster.apply(&build::pod("n", "b", "web", "10.1.0.2", false)).await?;
    everywhere(&world, &["10.1.0.1"]).await?;
    // Ready, then unready.
    world.cluster.apply(&build::pod("n", "b", "web", "10.1.0.2", true)).await?;
    everywhere(&world, &["10.1.0.1", "10.1.0.2"]).await?;
    world.cluster.apply(&build::pod("n", "a", "web", "10.1.0.1", false)).await?;
    everywhere(&world, &["10.1.0.2"]).await?;
    // Moved to another address.
    world.cluster.apply(&build::pod("n", "b", "web", "10.1.0.3", true)).await?;
    everywhere(&world, &["10.1.0.3"]).await?;
    // Relabelled away and back.
    world.cluster.apply(&build::pod("n", "b", "other", "10.1.0.3", true)).await?;
    everywhere(&world, &[]).await?;
    world.cluster.apply(&build::pod("n", "b", "web", "10.1.0.3", true)).await?;
    everywhere(&world, &["10.1.0.3"]).await?;
    // Terminating, then gone.
    let (api, name) = world.cluster.api(&build::pod("n", "b", "web", "", true))?;
    api.delete(&name, &DeleteParams::default()).await?;
    everywhere(&world, &[]).await?;
    api.delete(&name, &DeleteParams::default().grace_period(0)).await?;
    everywhere(&world, &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn follow_a_services_life() -> Result<()> {
    let world = world().await?;
    world.cluster.apply(&build::pod("n", "a", "web", "10.1.0.1", true)).await?;
    world.cluster.apply(&build::service("n", "web")).await?;
    objects(&world, "web", &["10.1.0.1"]).await?;
    let address = world.data(NAME, "A").await?;
    assert_eq!(address.len(), 1);
    assert!(address[0].starts_with("10.96."), "{address:?}");
    let reverse: Vec<&str> = address[0].rsplit('.').collect();
    world.answers(&format!("{}.in-addr.arpa.", reverse.join(".")), "PTR", &[NAME]).await?;
    world.cluster.delete(&build::service("n", "web")).await?;
    world.rcode(NAME, "A", "NXDOMAIN").await?;
    eventually("Endpoints are gone", async || {
        let left = world.cluster.list(Kind::Endpoints).await?;
        ensure!(left.iter().all(|o| o.pointer("/metadata/name") != Some(&json!("web"))), "{left:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_selector_they_are_the_users() -> Result<()> {
    let world = world().await?;
    let mut service = build::headless("n", "web");
    service["spec"].as_object_mut().unwrap().remove("selector");
    world.cluster.apply(&service).await?;
    let endpoints = |ip: &str| {
        json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"namespace": "n", "name": "web"},
            "subsets": [{"addresses": [{"ip": ip}], "ports": [{"name": "http", "port": 8080}]}]})
    };
    world.cluster.apply(&endpoints("192.0.2.10")).await?;
    everywhere(&world, &["192.0.2.10"]).await?;
    world.cluster.apply(&endpoints("192.0.2.11")).await?;
    everywhere(&world, &["192.0.2.11"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_comes_late_lets_its_pods_in() -> Result<()> {
    let world = World::start(Path::new(env!("CARGO_BIN_EXE_callsign")), Options::default(), &[]).await?;
    world.cluster.apply(&build::namespace("n")).await?;
    world.cluster.apply(&build::headless("n", "web")).await?;
    world.cluster.apply(&build::pod("n", "a", "web", "10.1.0.1", true)).await?;
    world.cluster.settle().await?;
    world.rcode(NAME, "A", "NXDOMAIN").await?;
    world.cluster.apply(&build::node("node-a", "zone-a")).await?;
    everywhere(&world, &["10.1.0.1"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn hand_edits_are_put_right() -> Result<()> {
    let world = world().await?;
    world.cluster.apply(&build::headless("n", "web")).await?;
    world.cluster.apply(&build::pod("n", "a", "web", "10.1.0.1", true)).await?;
    everywhere(&world, &["10.1.0.1"]).await?;
    let (api, _) = world.cluster.api(
        &json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"namespace": "n", "name": "web"}}),
    )?;
    let patch = json!({"subsets": [{"addresses": [{"ip": "192.0.2.66"}], "ports": [{"port": 1}]}]});
    api.patch("web", &PatchParams::default(), &Patch::Merge(&patch)).await?;
    everywhere(&world, &["10.1.0.1"]).await?;
    api.delete("web", &DeleteParams::default()).await?;
    everywhere(&world, &["10.1.0.1"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_start_writes_nothing() -> Result<()> {
    let binary = Path::new(env!("CARGO_BIN_EXE_callsign"));
    let flags = ["--lameduck", "0"];
    let mut world = World::start(binary, Options::default(), &flags).await?;
    world.cluster.apply(&build::namespace("n")).await?;
    world.cluster.apply(&build::node("node-a", "zone-a")).await?;
    world.cluster.apply(&build::headless("n", "web")).await?;
    for (name, ip) in [("a", "10.1.0.1"), ("b", "10.1.0.2"), ("c", "10.1.0.3")] {
        world.cluster.apply(&build::pod("n", name, "web", ip, true)).await?;
    }
    everywhere(&world, &["10.1.0.1", "10.1.0.2", "10.1.0.3"]).await?;
    world.cluster.settle().await?;
    let versions = async |world: &World| -> Result<Vec<Value>> {
        let mut objects = world.cluster.list(Kind::Endpoints).await?;
        objects.extend(world.cluster.list(Kind::EndpointSlice).await?);
        objects.retain(|object| object.pointer("/metadata/namespace") != Some(&json!("marker")));
        Ok(objects.iter().filter_map(|o| o.pointer("/metadata/resourceVersion").cloned()).collect())
    };
    let before = versions(&world).await?;
    world.restart(binary, &flags).await?;
    // It has begun to write.
    Namespace::new(world.embedded()?, "marker")?.mark("marker").await?;
    world.cluster.settle().await?;
    assert_eq!(versions(&world).await?, before);
    Ok(())
}
