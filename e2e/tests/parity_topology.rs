//! Nodes and zones: pods whose Node is not known, Nodes that come late or change, hints.

use std::path::Path;

use anyhow::Result;
use callsign_e2e::{
    apiserver::{Options, kind::Kind},
    harness::{
        build,
        namespace::{Namespace, hold, list, server, until},
        world::World,
    },
};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_callsign");

fn pod(name: &str, ip: &str, ready: bool) -> Value {
    build::pod("", name, "web", ip, ready)
}

/// Pods on Nodes that are not known, and Nodes whose zone becomes known later.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_and_zones() -> Result<()> {
    let server = server(Options::default(), &[("node-a", "zone-a")]).await?;
    let world = World::join(Path::new(BINARY), server, &[]).await?;
    let n = Namespace::new(world.embedded()?, "nodes")?;
    n.put(build::service("", "web"))?;
    let mut publishing = build::service("", "all");
    publishing["spec"]["selector"] = json!({"app": "web"});
    publishing["spec"]["publishNotReadyAddresses"] = json!(true);
    n.put(publishing)?;
    for (name, ip, node) in [("a", "10.1.0.1", "node-a"), ("b", "10.1.0.2", "node-late")] {
        let mut pod = pod(name, ip, true);
        pod["spec"]["nodeName"] = json!(node);
        n.put(pod)?;
    }
    let in_endpoints = ["10.1.0.1 http:8080/TCP", "10.1.0.2 http:8080/TCP"];
    let both = ["10.1.0.1 rs- http:8080/TCP", "10.1.0.2 rs- http:8080/TCP"];
    hold(
        &world,
        &[n.wants("web", Some(&in_endpoints), &both[..1]), n.wants("all", Some(&in_endpoints), &both)],
    )
    .await?;
    let node = |zone: Option<&str>| {
        let mut node = build::node("node-late", zone.unwrap_or_default());
        if zone.is_none() {
            node["metadata"]["labels"] = json!({});
        }
        n.put(node)
    };
    let zone_of_b = |service: &str| {
        let slices = n.slices(service);
        let endpoints = slices.iter().flat_map(|slice| list(slice, "endpoints"));
        let mut of_b = endpoints.filter(|e| e.pointer("/addresses/0") == Some(&json!("10.1.0.2")));
        of_b.next().map(|endpoint| endpoint.pointer("/zone").cloned())
    };
    node(None)?;
    hold(&world, &[n.wants("web", Some(&in_endpoints), &both)]).await?;
    assert_eq!(zone_of_b("web"), Some(None));
    for zone in [Some("zone-b"), Some("zone-c"), None] {
        node(zone)?;
        until("the zone", || {
            ["web", "all"].iter().all(|service| zone_of_b(service) == Some(zone.map(|zone| json!(zone))))
        })
        .await?;
    }
    n.delete(Kind::Node, "node-late", None)?;
    hold(
        &world,
        &[n.wants("web", Some(&in_endpoints), &both[..1]), n.wants("all", Some(&in_endpoints), &both)],
    )
    .await
}

/// Hints by `trafficDistribution` and by the annotation `Auto`.
#[tokio::test(flavor = "multi_thread")]
async fn hints() -> Result<()> {
    let nodes = [("node-a", "zone-a"), ("node-b", "zone-b"), ("node-c", "zone-c")];
    let world = World::join(Path::new(BINARY), server(Options::default(), &nodes).await?, &[]).await?;
    let n = Namespace::new(world.embedded()?, "hints")?;
    n.put(build::service("", "web"))?;
    for (number, node) in ["a", "a", "a", "a", "b", "c"].into_iter().enumerate() {
        let mut pod = pod(&format!("p-{number}"), &format!("10.1.0.{}", number + 1), true);
        pod["spec"]["nodeName"] = json!(format!("node-{node}"));
        n.put(pod)?;
    }
    let mut idle = pod("unready", "10.1.0.9", false);
    idle["spec"]["nodeName"] = json!("node-b");
    n.put(idle)?;
    // For each endpoint: its own zone, the zones and the nodes it is for.
    let hints = || {
        let slices = n.slices("web");
        let endpoints = slices.iter().flat_map(|slice| list(slice, "endpoints"));
        let names = |endpoint: &Value, field: &str| {
            let names = list(endpoint.get("hints").unwrap_or(&Value::Null), field);
            names.filter_map(|it| it.get("name")?.as_str()).collect::<Vec<_>>().join("+")
        };
        let line = |endpoint: &Value| {
            let zone = endpoint.pointer("/zone").and_then(Value::as_str).unwrap_or_default();
            format!("{zone}>{}/{}", names(endpoint, "forZones"), names(endpoint, "forNodes"))
        };
        let mut lines: Vec<_> = endpoints.map(line).collect();
        lines.sort();
        lines
    };
    let spread = |zone_of_a: [&str; 4]| {
        let mut lines: Vec<String> = zone_of_a.iter().map(|zone| format!("zone-a>{zone}/")).collect();
        lines.extend(["zone-b>/", "zone-b>zone-b/", "zone-c>zone-c/"].map(str::to_owned));
        lines.sort();
        lines
    };
    let none: Vec<String> = ["a", "a", "a", "a", "b", "b", "c"].map(|zone| format!("zone-{zone}>/")).into();
    until("no hints", || hints() == none).await?;
    let own = ["zone-a"; 4];
    for value in ["PreferClose", "PreferSameZone"] {
        n.merge(Kind::Service, "web", json!({"spec": {"trafficDistribution": value}}))?;
        until(value, || hints() == spread(own)).await?;
    }
    n.merge(Kind::Service, "web", json!({"spec": {"trafficDistribution": "PreferSameNode"}}))?;
    let mut nodes: Vec<String> =
        ["a", "a", "a", "a", "b", "c"].map(|zone| format!("zone-{zone}>zone-{zone}/node-{zone}")).into();
    nodes.push("zone-b>/".to_owned());
    nodes.sort();
    until("PreferSameNode", || hints() == nodes).await?;
    // The annotation goes before the field; each third of the CPU gets a third of the endpoints.
    let mode =
        |value: Value| json!({"metadata": {"annotations": {"service.kubernetes.io/topology-mode": value}}});
    n.merge(Kind::Service, "web", mode(json!("Auto")))?;
    let even = spread(["zone-a", "zone-a", "zone-b", "zone-c"]);
    until("Auto", || hints() == even).await?;
    // The older annotation goes before the newer one, whatever it says.
    let older = |value: Value| json!({"metadata": {"annotations": {"service.kubernetes.io/topology-aware-hints": value}}});
    n.merge(Kind::Service, "web", older(json!("Disabled")))?;
    until("the field again", || hints() == nodes).await?;
    n.merge(Kind::Service, "web", older(Value::Null))?;
    until("Auto again", || hints() == even).await?;
    // A Node without a zone takes all hints away; they come back with it.
    let mut lost = build::node("node-x", "zone-a");
    lost["metadata"]["labels"] = json!({});
    n.put(lost)?;
    until("a Node without zone", || hints() == none).await?;
    n.delete(Kind::Node, "node-x", None)?;
    until("all zones known", || hints().iter().filter(|line| !line.contains(">/")).count() == 6).await?;
    // Too few to go round.
    for number in 0..4 {
        n.merge(Kind::Pod, &format!("p-{number}"), json!({"status": build::status_conditions(false)}))?;
    }
    until("two of three zones", || hints() == none).await?;
    n.merge(Kind::Service, "web", mode(Value::Null))?;
    n.merge(Kind::Service, "web", json!({"spec": {"trafficDistribution": null}}))?;
    world.cluster.settle().await?;
    assert_eq!(hints(), none);
    Ok(())
}
