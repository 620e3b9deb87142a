//! The journal: what was written and why, as an operator reads it.

#![expect(clippy::indexing_slicing, reason = "a field of JSON that is not there is null")]

use std::{net::SocketAddr, path::Path};

use anyhow::{Result, ensure};
use callsign_e2e::{
    apiserver::{Options, kind::Kind},
    harness::{
        build,
        namespace::{Namespace, hold, server},
        scrape::{get, json_lines},
        world::{World, eventually},
    },
};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_callsign");

async fn world(arguments: &[&str]) -> Result<(World, SocketAddr)> {
    let server = server(Options::default(), &[("node-a", "zone-a")]).await?;
    let mut world = World::join(Path::new(BINARY), server, arguments).await?;
    let metrics = world.callsign.address("metrics").await?;
    Ok((world, metrics))
}

fn pod(name: &str, ip: &str, ready: bool) -> Value {
    build::pod("", name, "web", ip, ready)
}

/// Waits until the journal of `n/web` has an entry of the kind with this verb that gives this reason.
async fn told(at: SocketAddr, kind: &str, verb: &str, why: &str) -> Result<Value> {
    let mut found = Value::Null;
    eventually(why, async || {
        let entries = json_lines(at, "/journal?service=n/web").await?;
        let entry = entries.iter().rev().find(|entry| {
            let reasons = entry["why"].as_array().into_iter().flatten();
            entry["kind"] == kind && entry["verb"] == verb && reasons.clone().any(|reason| reason == why)
        });
        ensure!(entry.is_some(), "{entries:#?}");
        Ok(())
    })
    .await?;
    let entries = json_lines(at, "/journal?service=n/web").await?;
    for entry in entries {
        if entry["kind"] == kind && entry["verb"] == verb && entry["why"].to_string().contains(why) {
            found = entry;
        }
    }
    Ok(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pods_life_is_in_it() -> Result<()> {
    let (world, at) = world(&["--log-level", "info,callsign::journal=debug"]).await?;
    let n = Namespace::new(world.embedded()?, "n")?;
    n.put(build::service("", "web"))?;
    told(at, "EndpointSlice", "create", "no endpoints: a placeholder, so that none can be told from not yet")
        .await?;
    n.put(pod("a", "10.1.0.1", true))?;
    n.put(pod("b", "10.1.0.2", true))?;
    told(at, "EndpointSlice", "update", "10.1.0.1 (pod a) added: ready").await?;
    hold(
        &world,
        &[n.wants(
            "web",
            Some(&["10.1.0.1 http:8080/TCP", "10.1.0.2 http:8080/TCP"]),
            &["10.1.0.1 rs- http:8080/TCP", "10.1.0.2 rs- http:8080/TCP"],
        )],
    )
    .await?;
    let condition = json!({"type": "Ready", "status": "False", "message": "readiness probe failed",
        "lastTransitionTime": "2026-01-01T00:00:00Z"});
    n.merge(Kind::Pod, "a", json!({"status": {"conditions": [condition]}}))?;
    let not_ready = "10.1.0.1 (pod a) changed: not ready since 2026-01-01T00:00:00Z: readiness probe failed";
    let entry = told(at, "EndpointSlice", "update", not_ready).await?;
    let slice = n.slices("web").remove(0);
    ensure!(entry["after"] == slice["metadata"]["resourceVersion"], "{entry} {slice}");
    ensure!(entry["before"] != entry["after"] && entry["before"].is_string(), "{entry}");
    ensure!([&entry["endpoints"], &entry["ready"], &entry["changed"]] == [2, 1, 1], "{entry}");
    told(at, "Endpoints", "update", not_ready).await?;
    n.delete(Kind::Pod, "b", None)?;
    told(at, "EndpointSlice", "update", "10.1.0.2 (pod b) changed: terminating").await?;
    told(at, "Endpoints", "update", "10.1.0.2 (pod b) removed: terminating").await?;
    n.delete(Kind::Pod, "b", Some(0))?;
    told(at, "EndpointSlice", "update", "10.1.0.2 (pod b) removed: pod gone").await?;
    n.merge(Kind::Pod, "a", json!({"metadata": {"labels": {"app": "other"}}}))?;
    told(at, "EndpointSlice", "update", "10.1.0.1 (pod a) removed: no longer selected").await?;
    eventually("the log has it too", async || {
        ensure!(world.callsign.said().contains("10.1.0.1 (pod a) removed: no longer selected"));
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn hand_edits_and_services_that_change_their_mind() -> Result<()> {
    let (world, at) = world(&[]).await?;
    let n = Namespace::new(world.embedded()?, "n")?;
    n.put(build::service("", "web"))?;
    n.put(pod("a", "10.1.0.1", true))?;
    let wanted = n.wants("web", Some(&["10.1.0.1 http:8080/TCP"]), &["10.1.0.1 rs- http:8080/TCP"]);
    hold(&world, &[wanted]).await?;
    let name = n.slices("web").remove(0)["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let stranger = json!({"addresses": ["192.0.2.66"], "conditions": {"ready": true}});
    n.merge(Kind::EndpointSlice, &name, json!({ "endpoints": [stranger] }))?;
    let entry = told(at, "EndpointSlice", "update", "192.0.2.66 removed: no pod of the service").await?;
    let first = entry["why"][0].as_str().unwrap_or_default();
    ensure!(first.starts_with("edited by test at "), "{entry}");
    n.merge(Kind::Service, "web", json!({"metadata": {"labels": {"tier": "front"}}}))?;
    told(at, "EndpointSlice", "update", "labels: tier").await?;
    n.merge(Kind::Service, "web", json!({"spec": {"selector": null}}))?;
    told(at, "EndpointSlice", "delete", "selector removed").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_asked_for_in_parts() -> Result<()> {
    let (world, at) = world(&[]).await?;
    let (n, m) = (Namespace::new(world.embedded()?, "n")?, Namespace::new(world.embedded()?, "m")?);
    for namespace in [&n, &m] {
        namespace.put(build::service("", "web"))?;
    }
    hold(&world, &[n.wants("web", Some(&[]), &["IPv4 empty"]), m.wants("web", Some(&[]), &["IPv4 empty"])])
        .await?;
    let all = json_lines(at, "/journal").await?;
    let seqs: Vec<u64> = all.iter().filter_map(|entry| entry["seq"].as_u64()).collect();
    ensure!(seqs.len() >= 4 && seqs.is_sorted(), "{all:?}");
    let of_m = json_lines(at, "/journal?namespace=m").await?;
    ensure!(of_m.len() == 2 && of_m.iter().all(|entry| entry["service"] == "m/web"), "{of_m:?}");
    let newest = json_lines(at, "/journal?limit=1").await?;
    ensure!(newest.len() == 1 && newest.last() == all.last(), "{newest:?}");
    let since = seqs.first().copied().unwrap_or_default();
    let after = json_lines(at, &format!("/journal?since={since}&limit=1")).await?;
    ensure!(after.first() == all.get(1), "{after:?}");
    for bad in ["service=web", "limit=many", "other=1"] {
        ensure!(get(at, &format!("/journal?{bad}")).await?.0 == 400, "{bad}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn shadow_mode_says_what_it_would_write() -> Result<()> {
    let (world, at) = world(&["--controller", "shadow"]).await?;
    let n = Namespace::new(world.embedded()?, "n")?;
    n.put(build::service("", "web"))?;
    n.put(pod("a", "10.1.0.1", true))?;
    let entry = told(at, "EndpointSlice", "create", "10.1.0.1 (pod a) added: ready").await?;
    ensure!(entry["shadow"] == true && entry.get("after").is_none(), "{entry}");
    ensure!(n.slices("web").is_empty());
    Ok(())
}
