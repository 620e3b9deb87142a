//! A slice from its making to its end: what is on a new one, how many there are, what stays when the Service is gone, and
//! what is never touched.

use std::path::Path;

use anyhow::{Context, Result};
use callsign_e2e::{
    apiserver::{Options, kind::Kind},
    harness::{
        build,
        namespace::{Namespace, hold, server, until, writes},
        world::World,
    },
};
use futures::future::try_join_all;
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_callsign");
const NODES: [(&str, &str); 1] = [("node-a", "zone-a")];
const UP: &str = "10.1.0.1 rs- http:8080/TCP";
const LISTED: &str = "10.1.0.1 http:8080/TCP";

async fn world() -> Result<World> {
    World::join(Path::new(BINARY), server(Options::default(), &NODES).await?, &[]).await
}

fn pod(name: &str, ip: &str) -> Value {
    build::pod("", name, "web", ip, true)
}

/// Owner, labels and name of a new slice (`TestNewEndpointSlice`, `TestReconcile1Pod`). The name follows from the Service,
/// so that nobody makes the slice twice; upstream's is random.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_slice() -> Result<()> {
    let world = world().await?;
    let n = Namespace::new(world.embedded()?, "new")?;
    // As long as a Service's name may be.
    let long = "a".repeat(63);
    let mut names = Vec::new();
    for service in ["web", long.as_str()] {
        let uid = n.put(build::service("", service))?.pointer("/metadata/uid").cloned();
        until("a slice", || n.slices(service).len() == 1).await?;
        let slice = n.slices(service).remove(0);
        let field = |pointer: &str| slice.pointer(pointer).cloned();
        let name = slice.pointer("/metadata/name").and_then(Value::as_str).context("a name")?.to_owned();
        let prefix: String = format!("{service}-").chars().take(58).collect();
        assert!(name.starts_with(&prefix) && name.len() == prefix.len() + 5, "{name}");
        assert_eq!(
            field("/metadata/ownerReferences"),
            Some(
                json!([{"apiVersion": "v1", "kind": "Service", "name": service, "uid": uid, "controller": true,
                "blockOwnerDeletion": true}])
            )
        );
        assert_eq!(
            field("/metadata/labels"),
            Some(json!({"kubernetes.io/service-name": service,
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}))
        );
        assert_eq!((field("/addressType"), field("/ports")), (Some(json!("IPv4")), Some(Value::Null)));
        names.push((service, name));
    }
    // Deleted by hand it comes again under its name.
    for (service, name) in &names {
        n.delete(Kind::EndpointSlice, name, None)?;
        until("the slice again", || n.get(Kind::EndpointSlice, name).is_some()).await?;
        assert_eq!(n.slices(service).len(), 1);
    }
    Ok(())
}

/// `--max-endpoints-per-slice` (`TestReconcileMaxEndpointsPerSlice`).
#[tokio::test(flavor = "multi_thread")]
async fn endpoints_per_slice() -> Result<()> {
    let cases: [(&str, &[usize]); 4] =
        [("1", &[1; 40]), ("17", &[6, 17, 17]), ("40", &[40]), ("1000", &[40])];
    try_join_all(cases.map(async |(most, sizes)| {
        let server = server(Options::default(), &NODES).await?;
        let n = Namespace::new(&server, "limits")?;
        n.put(build::service("", "web"))?;
        for number in 0..40 {
            n.put(pod(&format!("p-{number:02}"), &format!("10.1.0.{}", number + 1)))?;
        }
        let world = World::join(Path::new(BINARY), server, &["--max-endpoints-per-slice", most]).await?;
        until(&format!("slices of {most}"), || n.sizes("web") == sizes).await?;
        world.cluster.settle().await?;
        assert_eq!(n.sizes("web"), sizes);
        assert_eq!(writes(world.embedded()?, "endpointslices"), [sizes.len() as u64, 0, 0]);
        anyhow::Ok(())
    }))
    .await
    .map(drop)
}

/// The slices of a Service that is gone are the garbage collector's: only it knows that the owner does not come back
/// (`TestSyncServiceMissing`).
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_gone() -> Result<()> {
    let world = world().await?;
    let n = Namespace::new(world.embedded()?, "gone")?;
    n.put(build::service("", "web"))?;
    n.put(pod("a", "10.1.0.1"))?;
    hold(&world, &[n.wants("web", Some(&[LISTED]), &[UP])]).await?;
    let before = writes(world.embedded()?, "endpointslices");
    n.delete(Kind::Service, "web", None)?;
    hold(&world, &[n.wants("web", None, &[UP])]).await?;
    n.delete(Kind::Pod, "a", Some(0))?;
    hold(&world, &[n.wants("web", None, &[UP])]).await?;
    assert_eq!(writes(world.embedded()?, "endpointslices"), before);
    Ok(())
}

/// The API server's own Service `default/kubernetes`: its Endpoints are not mirrored, its slice has no manager, and both
/// are the API server's.
#[tokio::test(flavor = "multi_thread")]
async fn the_api_servers_own() -> Result<()> {
    let server = server(Options::default(), &NODES).await?;
    let store = std::sync::Arc::clone(server.store());
    let own = || {
        [Kind::Endpoints, Kind::EndpointSlice]
            .map(|kind| store.get(kind, "default", "kubernetes").map(|object| object.value.clone()))
    };
    until("the API server makes them", || own().iter().all(Option::is_some)).await?;
    let before = own();
    let world = World::join(Path::new(BINARY), server, &[]).await?;
    let n = Namespace::new(world.embedded()?, "other")?;
    n.put(build::service("", "web"))?;
    n.put(pod("a", "10.1.0.1"))?;
    hold(&world, &[n.wants("web", Some(&[LISTED]), &[UP])]).await?;
    assert_eq!(own(), before);
    for kind in ["endpoints", "endpointslices"] {
        assert_eq!(writes(world.embedded()?, kind)[2], 0, "{kind}");
    }
    Ok(())
}
