//! What is seen comes late, twice, in the wrong order or not at all. The objects are right in the end, no slice is made
//! twice, nothing stays that is gone, and writes do not multiply. kube-controller-manager's tests of its stale caches
//! (`TestStaleEndpointsTracker`, `TestSyncServiceStaleInformer`, `TestEndpointSliceTracker*`) ask for less: that it waits.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use callsign_e2e::{
    apiserver::{
        Options,
        faults::{Fault, Requests},
        kind::Kind,
    },
    harness::{
        build,
        namespace::{Namespace, Wanted, hold, list, server, until, writes},
        world::World,
    },
};
use futures::future::try_join_all;
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_callsign");
const NODES: [(&str, &str); 1] = [("node-a", "zone-a")];
const UP: &str = "10.1.0.1 rs- http:8080/TCP";
const LISTED: &str = "10.1.0.1 http:8080/TCP";
/// How long a list is kept back.
const DELAY: Duration = Duration::from_millis(2500);
const OURS: [&str; 2] = ["endpoints", "endpointslices"];

async fn world() -> Result<World> {
    World::join(Path::new(BINARY), server(Options::default(), &NODES).await?, &[]).await
}

fn pod(name: &str, ip: &str, ready: bool) -> Value {
    build::pod("", name, "web", ip, ready)
}

fn flip(n: &Namespace, ready: bool) -> Result<()> {
    n.merge(Kind::Pod, "a", json!({"status": build::status_conditions(ready)})).map(drop)
}

/// A namespace with the Service `web` and one ready pod.
fn namespace(world: &World, name: &str) -> Result<Namespace> {
    let n = Namespace::new(world.embedded()?, name)?;
    n.put(build::service("", "web"))?;
    n.put(pod("a", "10.1.0.1", true))?;
    Ok(n)
}

fn up(n: &Namespace) -> Wanted {
    n.wants("web", Some(&[LISTED]), &[UP])
}

fn none(n: &Namespace) -> Wanted {
    n.wants("web", Some(&[]), &["IPv4 empty"])
}

fn name_of(object: &Value) -> String {
    object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Nothing of what is written comes back for longer than written objects are remembered, while pods flip, Services are
/// made anew and slices are deleted by hand.
#[tokio::test(flavor = "multi_thread")]
async fn a_held_watch() -> Result<()> {
    let world = world().await?;
    let [flips, ends, again, hand, grows] =
        ["flips", "ends", "again", "hand", "grows"].map(|name| namespace(&world, name));
    let (flips, ends, again, hand, grows) = (flips?, ends?, again?, hand?, grows?);
    hold(&world, &[&flips, &ends, &again, &hand, &grows].map(up)).await?;
    for kind in OURS {
        world.fault(Fault::Hold { kind: Some(kind.to_owned()) })?;
    }
    let before = OURS.map(|kind| writes(world.embedded().expect("embedded"), kind));
    n_again(&again)?;
    let deleted = name_of(&hand.slices("web")[0]);
    hand.delete(Kind::EndpointSlice, &deleted, None)?;
    hand.delete(Kind::Endpoints, "web", None)?;
    for round in 0..54 {
        flip(&flips, round % 2 == 1)?;
        flip(&ends, round % 2 == 0)?;
        if round < 20 {
            grows.put(pod(&format!("p-{round:02}"), &format!("10.1.1.{}", round + 1), true))?;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    ends.delete(Kind::Pod, "a", Some(0))?;
    let addresses: Vec<String> = (1..=20).map(|number| format!("10.1.1.{number}")).collect();
    let lines = |first: &str, form: &str| {
        let mut lines = vec![first.to_owned()];
        lines.extend(addresses.iter().map(|ip| format!("{ip} {form}http:8080/TCP")));
        lines
    };
    let (in_endpoints, in_slices) = (lines(LISTED, ""), lines(UP, "rs- "));
    let grown = grows.wants(
        "web",
        Some(&in_endpoints.iter().map(String::as_str).collect::<Vec<_>>()),
        &in_slices.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    // What is seen of pods is written although nothing is seen of what is written.
    hold(&world, &[up(&flips), none(&ends), up(&again), grown.clone()]).await?;
    for kind in OURS {
        world.fault(Fault::Release { kind: Some(kind.to_owned()) })?;
    }
    hold(&world, &[up(&flips), none(&ends), up(&again), up(&hand), grown]).await?;
    for n in [&flips, &ends, &again, &hand, &grows] {
        assert_eq!(n.slices("web").len(), 1, "{}", n.name);
    }
    let after = OURS.map(|kind| writes(world.embedded().expect("embedded"), kind));
    for ((kind, before), after) in OURS.into_iter().zip(before).zip(after) {
        let [creates, updates, _] = [0, 1, 2].map(|at| after[at] - before[at]);
        // Those of the new Service and those deleted by hand; each may be tried once more.
        assert!(creates <= 4, "{creates} creates of {kind}");
        // Two Services flipped 54 times, one got 20 pods and one lost its pod: never more writes than changes, but for
        // what was forgotten meanwhile and is then refused once.
        assert!(updates <= 2 * 54 + 20 + 1 + 12, "{updates} updates of {kind}");
    }
    Ok(())
}

/// Makes the Service and its pod anew.
fn n_again(n: &Namespace) -> Result<()> {
    n.delete(Kind::Service, "web", None)?;
    n.delete(Kind::Pod, "a", Some(0))?;
    n.put(build::service("", "web"))?;
    n.put(pod("a", "10.1.0.1", true))?;
    Ok(())
}

/// Everything that is written is seen a second later; readiness flips fifty times as fast.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_watch() -> Result<()> {
    let world = world().await?;
    let n = namespace(&world, "late")?;
    hold(&world, &[up(&n)]).await?;
    for kind in OURS {
        world.fault(Fault::DelayWatch { kind: Some(kind.to_owned()), milliseconds: 1000 })?;
    }
    let before = OURS.map(|kind| writes(world.embedded().expect("embedded"), kind));
    for round in 0..100 {
        flip(&n, round % 2 == 1)?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    hold(&world, &[up(&n)]).await?;
    // The last echo.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    hold(&world, &[up(&n)]).await?;
    assert_eq!(n.slices("web").len(), 1);
    for (kind, before) in OURS.into_iter().zip(before) {
        let after = writes(world.embedded()?, kind);
        assert_eq!([after[0], after[2]], [before[0], before[2]], "{kind}");
        assert!(after[1] - before[1] <= 104, "{} updates of {kind}", after[1] - before[1]);
    }
    Ok(())
}

/// While one kind has not been listed, what follows from the others is not written: it would be wrong
/// (`TestWaitsForAllInformersToBeSynced2`).
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_before_everything_is_known() -> Result<()> {
    let kinds = ["pods", "services", "nodes", "endpoints", "endpointslices", "namespaces"];
    try_join_all(kinds.map(async |kind| {
        let server = server(Options::default(), &NODES).await?;
        let n = Namespace::new(&server, "n")?;
        n.put(build::service("", "web"))?;
        n.put(pod("a", "10.1.0.1", true))?;
        let by_hand = Namespace::new(&server, "by-hand")?;
        by_hand.put(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}))?;
        by_hand.put(json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "web"},
            "subsets": [{"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 80}]}]}))?;
        let faults = std::sync::Arc::clone(server.faults());
        let requests = Requests { kind: Some(kind.to_owned()), ..Requests::default() };
        let milliseconds = u64::try_from(DELAY.as_millis())?;
        faults.set(Fault::Delay { requests, times: 1, milliseconds }).map_err(anyhow::Error::msg)?;
        let asked = || ["list", "watch"].iter().map(|verb| faults.requests_of(verb, kind)).sum::<u64>();
        let written = || {
            let verbs = ["create", "update", "delete"];
            verbs.iter().flat_map(|verb| OURS.map(|kind| faults.requests_of(verb, kind))).sum::<u64>()
        };
        let early = async {
            until(&format!("{kind} asked for"), || asked() > 0).await?;
            let since = Instant::now();
            // It was asked for up to a moment before; on a busy machine the answer may be there when this looks.
            while since.elapsed() < DELAY * 3 / 5 {
                let count = written();
                ensure!(count == 0 || since.elapsed() > DELAY * 4 / 5, "written before {kind} were known");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            anyhow::Ok(())
        };
        let (world, ()) = tokio::try_join!(World::join(Path::new(BINARY), server, &[]), early)?;
        let mirrored = by_hand.wants("web", Some(&["192.0.2.1 :80/TCP"]), &["192.0.2.1 r?? :80/TCP"]);
        hold(&world, &[up(&n), mirrored]).await?;
        // Endpoints and a slice, and the mirrored one.
        ensure!(written() == 3, "{} writes with {kind} late", written());
        anyhow::Ok(())
    }))
    .await
    .map(drop)
}

/// Watches end, with and without 410 Gone, and the world changes before they are taken up again: what happened in
/// between is noticed, the gone as well as the replaced.
#[tokio::test(flavor = "multi_thread")]
async fn a_gap_between_watches() -> Result<()> {
    for expired in [false, true] {
        let world = world().await?;
        let names =
            ["pod-again", "service-again", "gone", "pod-gone", "edited", "deleted", "moved", "turned"];
        let spaces = names.iter().map(|name| namespace(&world, name)).collect::<Result<Vec<_>>>()?;
        let [pod_again, service_again, gone, pod_gone, edited, deleted, moved, turned] = spaces.as_slice()
        else {
            anyhow::bail!("eight")
        };
        hold(&world, &spaces.iter().map(up).collect::<Vec<_>>()).await?;
        world.fault(Fault::Hold { kind: None })?;
        // Another pod of this name, at the same address.
        pod_again.delete(Kind::Pod, "a", Some(0))?;
        let uid = pod_again.put(pod("a", "10.1.0.1", true))?.pointer("/metadata/uid").cloned();
        n_again(service_again)?;
        gone.delete(Kind::Service, "web", None)?;
        pod_gone.delete(Kind::Pod, "a", Some(0))?;
        let slice = name_of(&edited.slices("web")[0]);
        edited.merge(Kind::EndpointSlice, &slice, json!({"endpoints": []}))?;
        edited.merge(Kind::Endpoints, "web", json!({"subsets": []}))?;
        deleted.delete(Kind::EndpointSlice, &name_of(&deleted.slices("web")[0]), None)?;
        deleted.delete(Kind::Endpoints, "web", None)?;
        moved.merge(Kind::Pod, "a", json!({"status": build::status("10.1.0.7", true)}))?;
        flip(turned, false)?;
        moved.put(build::node("node-a", "zone-b"))?;
        if expired {
            world.fault(Fault::ExpireVersions)?;
        }
        world.fault(Fault::DropWatches { abrupt: true })?;
        world.fault(Fault::Release { kind: None })?;
        let mut wanted: Vec<_> = [pod_again, service_again, edited, deleted].map(up).into();
        wanted.push(none(pod_gone));
        wanted.push(moved.wants("web", Some(&["10.1.0.7 http:8080/TCP"]), &["10.1.0.7 rs- http:8080/TCP"]));
        wanted.push(turned.wants("web", Some(&["!10.1.0.1 http:8080/TCP"]), &["10.1.0.1 --- http:8080/TCP"]));
        hold(&world, &wanted).await?;
        assert_eq!(gone.get(Kind::Endpoints, "web"), None);
        let endpoints = pod_again.get(Kind::Endpoints, "web").unwrap_or_default();
        assert_eq!(endpoints.pointer("/subsets/0/addresses/0/targetRef/uid"), uid.as_ref());
        assert_eq!(pod_again.slices("web")[0].pointer("/endpoints/0/targetRef/uid"), uid.as_ref());
        let owner = service_again.get(Kind::Service, "web").unwrap_or_default();
        let slices = service_again.slices("web");
        assert_eq!(slices.len(), 1);
        assert_eq!(slices[0].pointer("/metadata/ownerReferences/0/uid"), owner.pointer("/metadata/uid"));
        for n in [pod_again, moved, edited] {
            let zone = n.slices("web")[0].pointer("/endpoints/0/zone").cloned();
            assert_eq!(zone, Some(json!("zone-b")), "{}", n.name);
        }
    }
    Ok(())
}

/// Events that no watch delivered are made good by the next list.
#[tokio::test(flavor = "multi_thread")]
async fn events_that_never_came() -> Result<()> {
    let world = world().await?;
    let names = ["pod", "slice", "endpoints", "service"];
    let spaces = names.iter().map(|name| namespace(&world, name)).collect::<Result<Vec<_>>>()?;
    let [of_pod, of_slice, of_endpoints, of_service] = spaces.as_slice() else { anyhow::bail!("four") };
    hold(&world, &spaces.iter().map(up).collect::<Vec<_>>()).await?;
    for kind in ["pods", "endpointslices", "endpoints", "services"] {
        world.fault(Fault::SkipEvents { kind: kind.to_owned(), times: 1 })?;
    }
    of_pod.delete(Kind::Pod, "a", Some(0))?;
    of_slice.delete(Kind::EndpointSlice, &name_of(&of_slice.slices("web")[0]), None)?;
    of_endpoints.merge(Kind::Endpoints, "web", json!({"subsets": []}))?;
    let ports = json!({"spec": {"ports": [{"name": "other", "port": 81}]}});
    of_service.merge(Kind::Service, "web", ports)?;
    world.cluster.settle().await?;
    assert!(of_slice.slices("web").is_empty(), "nobody was told");
    world.fault(Fault::ExpireVersions)?;
    world.fault(Fault::DropWatches { abrupt: false })?;
    let other = of_service.wants("web", Some(&["10.1.0.1 other:81/TCP"]), &["10.1.0.1 rs- other:81/TCP"]);
    hold(&world, &[none(of_pod), up(of_slice), up(of_endpoints), other]).await
}

/// The watch tells of the deletion of an object before the answer to its creation or update has come
/// (kubernetes/kubernetes#141592): no ghost of it keeps the Service from being written.
#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_before_the_answer() -> Result<()> {
    let world = world().await?;
    for verb in ["create", "update"] {
        let n = Namespace::new(world.embedded()?, verb)?;
        n.put(build::service("", "web"))?;
        if verb == "update" {
            hold(&world, &[none(&n)]).await?;
        }
        for kind in OURS {
            let requests = Requests { namespace: Some(verb.to_owned()), ..Requests::of(verb, kind) };
            world.fault(Fault::DelayResponse { requests, times: 1, milliseconds: 600 })?;
        }
        n.put(pod("a", "10.1.0.1", true))?;
        let listed = || {
            let endpoints = n.get(Kind::Endpoints, "web");
            let in_endpoints = endpoints.is_some_and(|object| list(&object, "subsets").next().is_some());
            in_endpoints && n.slices("web").iter().any(|slice| list(slice, "endpoints").next().is_some())
        };
        // A creation may have come before the pod was seen; then the pod is in the next write.
        if verb == "update" {
            until("both are written", listed).await?;
        } else {
            until("both are made", || n.get(Kind::Endpoints, "web").is_some() && !n.slices("web").is_empty())
                .await?;
        }
        n.delete(Kind::EndpointSlice, &name_of(&n.slices("web")[0]), None)?;
        n.delete(Kind::Endpoints, "web", None)?;
        hold(&world, &[up(&n)]).await?;
        flip(&n, false)?;
        hold(&world, &[n.wants("web", Some(&["!10.1.0.1 http:8080/TCP"]), &["10.1.0.1 --- http:8080/TCP"])])
            .await?;
    }
    Ok(())
}
