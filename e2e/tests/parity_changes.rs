//! Change upon change: hand edits, storms, refusals, objects that are made anew. In the end everything is right, and the
//! way there took no more writes than it had to.

use std::path::Path;

use anyhow::Result;
use callsign_e2e::{
    apiserver::{
        Options,
        faults::{Fault, Requests},
        kind::Kind,
    },
    harness::{
        build,
        namespace::{Namespace, hold, server, until, writes},
        world::World,
    },
};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_callsign");
const UP: &str = "10.1.0.1 rs- http:8080/TCP";
const LISTED: &str = "10.1.0.1 http:8080/TCP";

async fn world() -> Result<World> {
    let server = server(Options::default(), &[("node-a", "zone-a")]).await?;
    World::join(Path::new(BINARY), server, &[]).await
}

fn pod(name: &str, ip: &str, ready: bool) -> Value {
    build::pod("", name, "web", ip, ready)
}

/// A namespace with the Service `web` and one pod that is listed.
async fn settled(world: &World, name: &str) -> Result<Namespace> {
    let n = Namespace::new(world.embedded()?, name)?;
    n.put(build::service("", "web"))?;
    n.put(pod("a", "10.1.0.1", true))?;
    hold(world, &[n.wants("web", Some(&[LISTED]), &[UP])]).await?;
    Ok(n)
}

fn first_slice(n: &Namespace) -> String {
    let slices = n.slices("web");
    let name = slices.first().and_then(|slice| slice.pointer("/metadata/name")?.as_str());
    name.unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn hand_edits_of_slices_are_put_right() -> Result<()> {
    let world = world().await?;
    let n = settled(&world, "edits").await?;
    let right = n.wants("web", Some(&[LISTED]), &[UP]);
    let stranger = json!({"addresses": ["192.0.2.66"], "conditions": {"ready": true}});
    for edit in [
        json!({ "endpoints": [stranger] }),
        json!({"endpoints": []}),
        json!({"ports": [{"name": "http", "port": 1, "protocol": "TCP"}]}),
        json!({"metadata": {"labels": {"stray": "x"}}}),
        json!({"metadata": {"ownerReferences": null}}),
    ] {
        n.merge(Kind::EndpointSlice, &first_slice(&n), edit.clone())?;
        hold(&world, std::slice::from_ref(&right)).await?;
        let slice = n.slices("web").remove(0);
        assert_eq!(slice.pointer("/metadata/labels/stray"), None, "{edit}");
        assert_eq!(slice.pointer("/metadata/ownerReferences/0/kind"), Some(&json!("Service")), "{edit}");
    }
    // A slice that was made somebody else's keeps its name; ours needs another.
    let name = first_slice(&n);
    n.merge(
        Kind::EndpointSlice,
        &name,
        json!({"metadata": {"labels": {"kubernetes.io/service-name": "other"}}}),
    )?;
    hold(&world, std::slice::from_ref(&right)).await?;
    assert_ne!(first_slice(&n), name);
    n.delete(Kind::EndpointSlice, &first_slice(&n), None)?;
    hold(&world, std::slice::from_ref(&right)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn storms_end_right() -> Result<()> {
    let world = world().await?;
    let n = settled(&world, "storm").await?;
    let before = writes(world.embedded()?, "endpointslices");
    for round in 0..200 {
        n.merge(Kind::Pod, "a", json!({"status": build::status_conditions(round % 2 == 1)}))?;
    }
    hold(&world, &[n.wants("web", Some(&[LISTED]), &[UP])]).await?;
    let after = writes(world.embedded()?, "endpointslices");
    assert_eq!([after[0], after[2]], [before[0], before[2]]);
    assert!(after[1] - before[1] <= 200);
    // Made anew again and again, with its pods.
    for round in 1..20 {
        n.delete(Kind::Service, "web", None)?;
        n.delete(Kind::Pod, "a", Some(0))?;
        n.put(pod("a", &format!("10.1.0.{}", round + 1), true))?;
        n.put(build::service("", "web"))?;
    }
    let uid = n.get(Kind::Service, "web").and_then(|service| service.pointer("/metadata/uid").cloned());
    hold(&world, &[n.wants("web", Some(&["10.1.0.20 http:8080/TCP"]), &["10.1.0.20 rs- http:8080/TCP"])])
        .await?;
    assert_eq!(n.slices("web")[0].pointer("/metadata/ownerReferences/0/uid").cloned(), uid);
    n.delete(Kind::Service, "web", None)?;
    until("Endpoints go", || n.get(Kind::Endpoints, "web").is_none()).await
}

/// A namespace where nothing may be written does not hold up others.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_one_namespaces() -> Result<()> {
    let world = world().await?;
    let refused = Namespace::new(world.embedded()?, "refused")?;
    for resource in ["endpoints", "endpointslices"] {
        world.fault(Fault::Answer {
            requests: Requests { namespace: Some("refused".to_owned()), ..Requests::of("create", resource) },
            times: 8,
            status: 403,
            retry_after: None,
        })?;
    }
    for number in 0..4 {
        let mut service = build::service("", &format!("web-{number}"));
        service["spec"]["selector"] = json!({"app": "web"});
        refused.put(service)?;
    }
    refused.put(pod("a", "10.1.0.1", true))?;
    let n = settled(&world, "other").await?;
    hold(&world, &[n.wants("web", Some(&[LISTED]), &[UP])]).await?;
    let all = (0..4).map(|number| refused.wants(&format!("web-{number}"), Some(&[LISTED]), &[UP]));
    hold(&world, &all.collect::<Vec<_>>()).await
}

/// Single stack to dual stack and back, published or not, relabelled pods: each is a change of what there is.
#[tokio::test(flavor = "multi_thread")]
async fn services_and_pods_change_their_mind() -> Result<()> {
    let world = world().await?;
    let n = settled(&world, "minds").await?;
    let mut both = pod("b", "10.1.0.2", false);
    both["status"]["podIPs"] = json!([{"ip": "10.1.0.2"}, {"ip": "fd00::2"}]);
    n.put(both)?;
    let single = |publish: bool| {
        let b = if publish { "10.1.0.2 http:8080/TCP" } else { "!10.1.0.2 http:8080/TCP" };
        let s = if publish { "10.1.0.2 r-- http:8080/TCP" } else { "10.1.0.2 --- http:8080/TCP" };
        n.wants("web", Some(&[LISTED, b]), &[UP, s])
    };
    hold(&world, &[single(false)]).await?;
    for publish in [true, false] {
        n.merge(Kind::Service, "web", json!({"spec": {"publishNotReadyAddresses": publish}}))?;
        hold(&world, &[single(publish)]).await?;
    }
    n.merge(Kind::Service, "web", json!({"spec": {"ipFamilyPolicy": "RequireDualStack"}}))?;
    let mut dual = single(false);
    dual.slices.push("fd00::2 --- http:8080/TCP".to_owned());
    hold(&world, &[dual]).await?;
    n.merge(
        Kind::Service,
        "web",
        json!({"spec": {"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"],
            "clusterIPs": [n.get(Kind::Service, "web").and_then(|s| s.pointer("/spec/clusterIP").cloned())]}}),
    )?;
    hold(&world, &[single(false)]).await?;
    // From one Service to another, and to both.
    let mut other = build::service("", "other");
    other["spec"]["selector"] = json!({"tier": "x"});
    n.put(other)?;
    n.delete(Kind::Pod, "b", Some(0))?;
    for (labels, web, other) in [
        (json!({"app": null, "tier": "x"}), false, true),
        (json!({"app": "web", "tier": "x"}), true, true),
        (json!({"app": "web", "tier": null}), true, false),
    ] {
        n.merge(Kind::Pod, "a", json!({"metadata": {"labels": labels}}))?;
        let wanted = [("web", web), ("other", other)].map(|(service, listed)| match listed {
            true => n.wants(service, Some(&[LISTED]), &[UP]),
            false => n.wants(service, Some(&[]), &["IPv4 empty"]),
        });
        hold(&world, &wanted).await?;
    }
    n.merge(Kind::Service, "web", json!({"spec": {"selector": {"app": "web", "tier": "x"}}}))?;
    hold(&world, &[n.wants("web", Some(&[]), &["IPv4 empty"])]).await
}

/// The API server takes no special addresses in Endpoints and slices. A pod that has one is left out, and does not keep
/// out the others: upstream's objects are refused as a whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_pod_with_an_unusable_address_is_alone_in_its_trouble() -> Result<()> {
    let world = world().await?;
    let n = Namespace::new(world.embedded()?, "special")?;
    n.put(build::service("", "web"))?;
    for (number, ip) in ["169.254.1.1", "127.0.0.1", "0.0.0.0", "224.0.0.1"].into_iter().enumerate() {
        n.put(pod(&format!("s-{number}"), ip, true))?;
    }
    n.put(pod("a", "10.1.0.1", true))?;
    hold(&world, &[n.wants("web", Some(&[LISTED]), &[UP])]).await
}
