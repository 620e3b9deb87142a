//! Kubernetes Events: what people find with `kubectl describe`, once each.

#![expect(clippy::indexing_slicing, reason = "a field of JSON that is not there is null")]

use std::path::Path;

use anyhow::{Result, ensure};
use callsign_e2e::{
    apiserver::{
        Options,
        faults::{Fault, Requests},
        kind::Kind,
    },
    harness::{
        build,
        namespace::{Namespace, hold, server, until},
        scrape::Metrics,
        world::{World, eventually},
    },
};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_callsign");

async fn world(arguments: &[&str]) -> Result<World> {
    let server = server(Options::default(), &[("node-a", "zone-a"), ("node-b", "zone-b")]).await?;
    World::join(Path::new(BINARY), server, arguments).await
}

fn pod(name: &str, ip: &str, ready: bool) -> Value {
    build::pod("", name, "web", ip, ready)
}

/// The Events of a namespace with this reason, as `events.k8s.io` shows them.
async fn events(world: &World, namespace: &str, reason: &str) -> Result<Vec<Value>> {
    let events = world.cluster.list(Kind::Event).await?;
    let like = |event: &Value| event["metadata"]["namespace"] == namespace && event["reason"] == reason;
    Ok(events.into_iter().filter(like).collect())
}

/// Waits for an Event with this reason.
async fn event(world: &World, namespace: &str, reason: &str) -> Result<Value> {
    let mut found = Value::Null;
    eventually(reason, async || {
        ensure!(!events(world, namespace, reason).await?.is_empty(), "no Event");
        Ok(())
    })
    .await?;
    if let Some(event) = events(world, namespace, reason).await?.pop() {
        found = event;
    }
    Ok(found)
}

/// How often an Event was seen.
fn times(event: &Value) -> u64 {
    event["series"]["count"].as_u64().unwrap_or(1)
}

/// What the text of an Event is, in either of its forms.
fn note(event: &Value) -> &str {
    event["message"].as_str().or_else(|| event["note"].as_str()).unwrap_or_default()
}

fn about(event: &Value) -> &Value {
    event.get("involvedObject").unwrap_or_else(|| &event["regarding"])
}

fn by(event: &Value) -> &Value {
    event.get("reportingComponent").unwrap_or_else(|| &event["reportingController"])
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_hunt_is_told_once_while_it_lasts() -> Result<()> {
    let world = world(&["--event-after", "300ms"]).await?;
    let n = Namespace::new(world.embedded()?, "n")?;
    let service = n.put(build::service("", "web"))?;
    let told = event(&world, "n", "NoMatchingPods").await?;
    ensure!(note(&told) == "The selector app=web matches no pod", "{told}");
    ensure!(told["type"] == "Warning" && *by(&told) == "callsign", "{told}");
    ensure!(told["reportingInstance"].as_str().is_some_and(|name| !name.is_empty()), "{told}");
    ensure!(about(&told)["kind"] == "Service" && about(&told)["name"] == "web", "{told}");
    ensure!(about(&told)["uid"] == service["metadata"]["uid"], "{told}");
    // It still holds; another look at the Service is no other occurrence.
    n.merge(Kind::Service, "web", json!({"metadata": {"labels": {"a": "b"}}}))?;
    n.put(pod("a", "10.1.0.1", false))?;
    let told = event(&world, "n", "NoReadyPods").await?;
    ensure!(
        note(&told).starts_with("The one pod that the selector matches is not ready; pod a: not ready"),
        "{told}"
    );
    ensure!(times(&event(&world, "n", "NoMatchingPods").await?) == 1);
    // Healed, and back.
    n.merge(Kind::Pod, "a", json!({"status": build::status_conditions(true)}))?;
    hold(&world, &[n.wants("web", Some(&["10.1.0.1 http:8080/TCP"]), &["10.1.0.1 rs- http:8080/TCP"])])
        .await?;
    n.merge(Kind::Pod, "a", json!({"status": build::status_conditions(false)}))?;
    eventually("it is told again", async || {
        let all = events(&world, "n", "NoReadyPods").await?;
        ensure!(all.iter().map(times).sum::<u64>() == 2, "{all:?}");
        Ok(())
    })
    .await?;
    let ports = json!([{"name": "http", "port": 80, "targetPort": "web"}]);
    n.merge(Kind::Service, "web", json!({"spec": {"ports": ports}}))?;
    let told = event(&world, "n", "TargetPortNotFound").await?;
    ensure!(
        note(&told) == "No container of pod a has a port named web, the targetPort of the service",
        "{told}"
    );
    Ok(())
}

/// What heals in time, and what is nobody's fault, is not told.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_trouble_is_not_told() -> Result<()> {
    let world = world(&["--event-after", "2s"]).await?;
    let n = Namespace::new(world.embedded()?, "n")?;
    n.put(build::service("", "quick"))?;
    n.put(build::pod("", "q", "quick", "10.1.0.9", true))?;
    let mut external = build::service("", "external");
    external["spec"] = json!({"type": "ExternalName", "externalName": "x.example"});
    n.put(external)?;
    let mut manual = build::service("", "manual");
    manual["spec"] = json!({"ports": [{"port": 80}]});
    n.put(manual)?;
    n.put(build::service("", "deleted"))?;
    until("slices", || !n.slices("deleted").is_empty()).await?;
    n.delete(Kind::Service, "deleted", None)?;
    // One that is in trouble comes last: when it is told, the others would have been.
    n.put(build::service("", "troubled"))?;
    event(&world, "n", "NoMatchingPods").await?;
    let all = world.cluster.list(Kind::Event).await?;
    ensure!(all.iter().all(|event| about(event)["name"] == "troubled"), "{all:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_writes_are_told_as_upstream_tells_them() -> Result<()> {
    let world = world(&["--event-after", "0"]).await?;
    for (verb, resource) in [("create", "endpoints"), ("create", "endpointslices")] {
        let requests = Requests { namespace: Some("n".to_owned()), ..Requests::of(verb, resource) };
        world.fault(Fault::Answer { requests, times: 2, status: 403, retry_after: None })?;
    }
    let n = Namespace::new(world.embedded()?, "n")?;
    n.put(build::service("", "web"))?;
    let told = event(&world, "n", "FailedToUpdateEndpointSlices").await?;
    ensure!(note(&told).starts_with("Error updating Endpoint Slices for Service n/web: "), "{told}");
    ensure!(*by(&told) == "endpoint-slice-controller" && about(&told)["kind"] == "Service", "{told}");
    let told = event(&world, "n", "FailedToCreateEndpoint").await?;
    ensure!(note(&told).starts_with("Failed to create endpoint for service n/web: "), "{told}");
    ensure!(*by(&told) == "endpoint-controller" && about(&told)["kind"] == "Endpoints", "{told}");
    hold(&world, &[n.wants("web", Some(&[]), &["IPv4 empty"])]).await?;
    let requests = Requests { namespace: Some("n".to_owned()), ..Requests::of("update", "endpoints") };
    world.fault(Fault::Answer { requests, times: 1, status: 500, retry_after: None })?;
    n.put(pod("a", "10.1.0.1", true))?;
    let told = event(&world, "n", "FailedToUpdateEndpoint").await?;
    ensure!(note(&told).starts_with("Failed to update endpoint n/web: "), "{told}");
    hold(&world, &[n.wants("web", Some(&["10.1.0.1 http:8080/TCP"]), &["10.1.0.1 rs- http:8080/TCP"])])
        .await?;
    ensure!(events(&world, "n", "NoMatchingPods").await?.is_empty(), "none of ours are asked for");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn hints_and_mirroring_tell_when_they_change() -> Result<()> {
    let world = world(&["--event-after", "0", "--mirroring-max-endpoints-per-subset", "2"]).await?;
    let n = Namespace::new(world.embedded()?, "n")?;
    let mut auto = build::service("", "web");
    auto["metadata"]["annotations"] = json!({"service.kubernetes.io/topology-mode": "Auto"});
    n.put(auto)?;
    let told = event(&world, "n", "TopologyAwareHintsDisabled").await?;
    ensure!(note(&told) == "Insufficient number of endpoints, addressType: IPv4", "{told}");
    ensure!(told["type"] == "Warning" && *by(&told) == "endpoint-slice-controller", "{told}");
    for (name, node, ip) in [("a", "node-a", "10.1.0.1"), ("b", "node-b", "10.1.0.2")] {
        let mut pod = pod(name, ip, true);
        pod["spec"]["nodeName"] = json!(node);
        n.put(pod)?;
    }
    let told = event(&world, "n", "TopologyAwareHintsEnabled").await?;
    ensure!(note(&told) == "Topology Aware Hints has been enabled, addressType: IPv4", "{told}");
    ensure!(told["type"] == "Normal", "{told}");
    let disabled = events(&world, "n", "TopologyAwareHintsDisabled").await?;
    ensure!(disabled.iter().map(times).sum::<u64>() == 1, "told with every sync: {disabled:?}");

    let mut manual = build::service("", "manual");
    manual["spec"] = json!({"ports": [{"port": 80}]});
    n.put(manual)?;
    let addresses: Vec<_> = (1..6).map(|number| json!({"ip": format!("10.9.0.{number}")})).collect();
    n.put(json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "manual"},
        "subsets": [{"addresses": addresses, "ports": [{"port": 80}]}]}))?;
    let told = event(&world, "n", "TooManyAddressesToMirror").await?;
    ensure!(
        note(&told)
            == "A max of 2 addresses can be mirrored to EndpointSlices per Endpoints subset. 3 addresses were skipped",
        "{told}"
    );
    ensure!(
        *by(&told) == "endpoint-slice-mirroring-controller" && about(&told)["kind"] == "Endpoints",
        "{told}"
    );
    Ok(())
}

/// Without the permission one line of the log says so, and nothing else suffers.
#[tokio::test(flavor = "multi_thread")]
async fn forbidden_events_are_given_up() -> Result<()> {
    let server = server(Options::default(), &[("node-a", "zone-a")]).await?;
    let mut world =
        World::join(Path::new(BINARY), server, &["--event-after", "100ms", "--log-level", "info"]).await?;
    let metrics = world.callsign.address("metrics").await?;
    let requests = Requests::of("create", "events");
    world.fault(Fault::Answer { requests, times: 1000, status: 403, retry_after: None })?;
    let n = Namespace::new(world.embedded()?, "n")?;
    for number in 0..10 {
        n.put(build::service("", &format!("web-{number}")))?;
    }
    let counted = |result: &'static str| async move {
        let sample =
            format!("callsign_controller_events_total{{reason=\"NoMatchingPods\",result=\"{result}\"}}");
        anyhow::Ok(Metrics::of(metrics).await?.value(&sample))
    };
    eventually("all are given up", async || {
        ensure!(counted("forbidden").await? + counted("dropped").await? >= 10.0);
        Ok(())
    })
    .await?;
    ensure!(counted("forbidden").await? == 1.0);
    ensure!(world.embedded()?.faults().requests_of("create", "events") == 1);
    let complaints =
        world.callsign.said().lines().filter(|line| line.contains("Events are forbidden")).count();
    ensure!(complaints == 1, "{}", world.callsign.said());
    hold(&world, &[n.wants("web-0", Some(&[]), &["IPv4 empty"])]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn in_shadow_mode_there_are_none() -> Result<()> {
    let server = server(Options::default(), &[("node-a", "zone-a")]).await?;
    let mut world =
        World::join(Path::new(BINARY), server, &["--event-after", "10ms", "--controller", "shadow"]).await?;
    let metrics = world.callsign.address("metrics").await?;
    let n = Namespace::new(world.embedded()?, "n")?;
    n.put(build::service("", "web"))?;
    eventually("a difference", async || {
        let sample = "callsign_controller_shadow_difference{kind=\"EndpointSlice\"}";
        ensure!(Metrics::of(metrics).await?.value(sample) == 1.0);
        Ok(())
    })
    .await?;
    world.cluster.settle().await?;
    ensure!(world.cluster.list(Kind::Event).await?.is_empty());
    Ok(())
}
