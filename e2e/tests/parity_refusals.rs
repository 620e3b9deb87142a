//! Writes that are refused or whose answer is lost, of every kind and verb: each is tried again until it is done, nothing
//! is made twice, nothing is retried in a storm, and one namespace's trouble is not another's.

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
        namespace::{Namespace, Wanted, hold, server, until, writes},
        world::World,
    },
};
use futures::future::try_join_all;
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_callsign");
const NODES: [(&str, &str); 1] = [("node-a", "zone-a")];
const UP: &str = "10.1.0.1 rs- http:8080/TCP";
const LISTED: &str = "10.1.0.1 http:8080/TCP";
const OURS: [&str; 2] = ["endpoints", "endpointslices"];

async fn world(options: Options) -> Result<World> {
    World::join(Path::new(BINARY), server(options, &NODES).await?, &[]).await
}

fn pod(name: &str, ip: &str, ready: bool) -> Value {
    build::pod("", name, "web", ip, ready)
}

fn up(n: &Namespace) -> Wanted {
    n.wants("web", Some(&[LISTED]), &[UP])
}

fn of(n: &Namespace, verb: &str, kind: &str) -> Requests {
    Requests { namespace: Some(n.name.clone()), ..Requests::of(verb, kind) }
}

/// What is to go wrong, once for each kind of object.
struct Trouble {
    name: &'static str,
    fault: fn(Requests) -> Fault,
}

/// Those that ask for a pause stop everybody for a second, so once has to do.
fn answer(requests: Requests, status: u16, retry_after: Option<u32>) -> Fault {
    let times = if matches!(status, 429 | 503) { 1 } else { 2 };
    Fault::Answer { requests, times, status, retry_after }
}

const TROUBLES: [Trouble; 6] = [
    Trouble { name: "conflict", fault: |requests| answer(requests, 409, None) },
    Trouble { name: "forbidden", fault: |requests| answer(requests, 403, None) },
    Trouble { name: "too-many", fault: |requests| answer(requests, 429, Some(1)) },
    Trouble { name: "internal", fault: |requests| answer(requests, 500, None) },
    Trouble { name: "unavailable", fault: |requests| answer(requests, 503, None) },
    Trouble { name: "lost", fault: |requests| Fault::LoseResponse { requests, times: 1 } },
];

/// Each trouble with each verb, for both kinds at once: the Service gets its objects, a second pod, and loses its
/// selector.
#[tokio::test(flavor = "multi_thread")]
async fn every_write_is_done_in_the_end() -> Result<()> {
    // Who is told to pause sends nothing at all, so each verb has a world of its own.
    try_join_all(["create", "update", "delete"].map(every_trouble_with)).await.map(drop)
}

async fn every_trouble_with(verb: &str) -> Result<()> {
    let world = world(Options::default()).await?;
    let server = world.embedded()?;
    let spaces =
        TROUBLES.iter().map(|trouble| Namespace::new(server, trouble.name)).collect::<Result<Vec<_>>>()?;
    let asked = || OURS.map(|kind| server.faults().requests_of(verb, kind));
    let arm = |now: &str| {
        for (trouble, n) in TROUBLES.iter().zip(&spaces).filter(|_| verb == now) {
            OURS.into_iter().try_for_each(|kind| world.fault((trouble.fault)(of(n, verb, kind))))?;
        }
        anyhow::Ok(asked())
    };
    // What is refused twice is asked for three times. What is done and not answered may be refused the next time, because
    // the object has changed or is there.
    let check = |now: &str, before: [u64; 2], wanted: u64| {
        ensure!(server.faults().armed() == 0, "{now}: not all went wrong");
        for (after, before) in asked().into_iter().zip(before).filter(|_| verb == now) {
            ensure!(after - before <= wanted + 2 * TROUBLES.len() as u64, "{} times {now}", after - before);
        }
        anyhow::Ok(())
    };
    let all = spaces.len() as u64;

    let before = arm("create")?;
    for n in &spaces {
        n.put(pod("a", "10.1.0.1", true))?;
        n.put(build::service("", "web"))?;
    }
    hold(&world, &spaces.iter().map(up).collect::<Vec<_>>()).await?;
    check("create", before, all)?;

    let before = arm("update")?;
    spaces.iter().try_for_each(|n| n.put(pod("b", "10.1.0.2", true)).map(drop))?;
    let both = [UP, "10.1.0.2 rs- http:8080/TCP"];
    let two = |n: &Namespace| n.wants("web", Some(&[LISTED, "10.1.0.2 http:8080/TCP"]), &both);
    hold(&world, &spaces.iter().map(two).collect::<Vec<_>>()).await?;
    // A pod is made and gets its status: that is seen once or twice.
    check("update", before, 2 * all)?;

    let before = arm("delete")?;
    let without = json!({"spec": {"selector": null}});
    spaces.iter().try_for_each(|n| n.merge(Kind::Service, "web", without.clone()).map(drop))?;
    hold(&world, &spaces.iter().map(|n| n.wants("web", None, &[])).collect::<Vec<_>>()).await?;
    check("delete", before, all)
}

/// One namespace where nothing may be written, for as long as one looks: it is asked ever more rarely, and others do not
/// wait for it. When the refusal ends, what was refused is written.
#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_refused_is_alone_in_it() -> Result<()> {
    let world = world(Options::default()).await?;
    let refused = Namespace::new(world.embedded()?, "refused")?;
    for kind in OURS {
        let requests = of(&refused, "create", kind);
        world.fault(Fault::Answer { requests, times: 1_000_000, status: 403, retry_after: None })?;
    }
    let names: Vec<String> = (0..40).map(|number| format!("web-{number}")).collect();
    refused.put(pod("a", "10.1.0.1", true))?;
    for name in &names {
        let mut service = build::service("", name);
        service["spec"]["selector"] = json!({"app": "web"});
        refused.put(service)?;
    }
    until("refusals", || writes(world.embedded().expect("embedded"), "endpointslices")[0] >= 40).await?;
    let n = Namespace::new(world.embedded()?, "other")?;
    n.put(build::service("", "web"))?;
    for ready in [true, false, true, false, true] {
        n.put(pod("a", "10.1.0.1", ready))?;
        let (endpoints, slices) = match ready {
            true => (LISTED, UP),
            false => ("!10.1.0.1 http:8080/TCP", "10.1.0.1 --- http:8080/TCP"),
        };
        until("the other namespace", || {
            n.endpoints("web").is_some_and(|lines| lines == [endpoints])
                && n.endpoints_in_slices("web") == [slices]
        })
        .await?;
    }
    assert!(refused.slices("web-0").is_empty());
    let [creates, ..] = writes(world.embedded()?, "endpointslices");
    // 5 ms, doubled each time: a dozen times are twenty seconds.
    assert!(creates <= 40 * 13, "{creates} in a storm");
    world.embedded()?.faults().clear();
    // A change of a Service is tried at once.
    for name in &names {
        refused.merge(Kind::Service, name, json!({"metadata": {"labels": {"now": "yes"}}}))?;
    }
    let wanted: Vec<_> = names.iter().map(|name| refused.wants(name, Some(&[LISTED]), &[UP])).collect();
    hold(&world, &wanted).await
}

/// A namespace that is ending: nothing is asked for that would be refused; what was refused because the deletion had not
/// been seen is not asked for again; what is there is kept up to date.
#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_ends() -> Result<()> {
    // Nobody empties it.
    let world = world(Options { namespaces: false, ..Options::default() }).await?;
    let creates = || OURS.map(|kind| writes(world.embedded().expect("embedded"), kind)[0]);
    let (seen, unseen) =
        (Namespace::new(world.embedded()?, "seen")?, Namespace::new(world.embedded()?, "unseen")?);
    for n in [&seen, &unseen] {
        n.put(pod("a", "10.1.0.1", true))?;
        n.put(build::service("", "web"))?;
        let mut second = build::service("", "second");
        second["spec"]["selector"] = json!({"app": "web"});
        n.put(second)?;
    }
    let second = |n: &Namespace| n.wants("second", Some(&[LISTED]), &[UP]);
    hold(&world, &[up(&seen), second(&seen), up(&unseen), second(&unseen)]).await?;
    seen.delete(Kind::Namespace, "seen", None)?;
    world.cluster.settle().await?;
    world.fault(Fault::Hold { kind: Some("namespaces".to_owned()) })?;
    unseen.delete(Kind::Namespace, "unseen", None)?;
    let before = creates();
    for n in [&seen, &unseen] {
        n.delete(Kind::Endpoints, "web", None)?;
        let slice = n.slices("web")[0].pointer("/metadata/name").and_then(Value::as_str).map(str::to_owned);
        n.delete(Kind::EndpointSlice, &slice.unwrap_or_default(), None)?;
    }
    let none = |n: &Namespace| n.wants("web", None, &[]);
    hold(&world, &[none(&seen), second(&seen), none(&unseen), second(&unseen)]).await?;
    let after = creates();
    for (after, before) in after.into_iter().zip(before) {
        // The objects of one Service, where the deletion was not seen: for the deletion of each, and once for the other.
        assert!(after - before <= 2, "{} creates", after - before);
    }
    // Pods come and go in it still.
    for n in [&seen, &unseen] {
        n.merge(Kind::Pod, "a", json!({"status": build::status_conditions(false)}))?;
    }
    let down = |n: &Namespace| {
        n.wants("second", Some(&["!10.1.0.1 http:8080/TCP"]), &["10.1.0.1 --- http:8080/TCP"])
    };
    hold(&world, &[none(&seen), down(&seen), none(&unseen), down(&unseen)]).await?;
    let other = Namespace::new(world.embedded()?, "other")?;
    other.put(build::service("", "web"))?;
    other.put(pod("a", "10.1.0.1", true))?;
    hold(&world, &[up(&other)]).await
}

/// A namespace is deleted and made anew under its name, with what is in it, while nothing is seen of namespaces: the new
/// one is written to as soon as it is seen.
#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_made_anew() -> Result<()> {
    let world = world(Options::default()).await?;
    let n = Namespace::new(world.embedded()?, "again")?;
    n.put(pod("a", "10.1.0.1", true))?;
    n.put(build::service("", "web"))?;
    hold(&world, &[up(&n)]).await?;
    // A Service that stays for a while keeps the namespace.
    n.merge(Kind::Service, "web", json!({"metadata": {"finalizers": ["example.org/hold"]}}))?;
    n.delete(Kind::Namespace, "again", None)?;
    until("it empties itself", || {
        n.get(Kind::Pod, "a").is_some_and(|pod| pod.pointer("/metadata/deletionTimestamp").is_some())
    })
    .await?;
    n.delete(Kind::Pod, "a", Some(0))?;
    world.cluster.settle().await?;
    world.fault(Fault::Hold { kind: Some("namespaces".to_owned()) })?;
    n.merge(Kind::Service, "web", json!({"metadata": {"finalizers": null}}))?;
    until("it is gone", || n.get(Kind::Service, "web").is_none()).await?;
    let store = world.embedded()?.store();
    until("the namespace is gone", || store.get(Kind::Namespace, "", "again").is_none()).await?;
    let n = Namespace::new(world.embedded()?, "again")?;
    n.put(pod("a", "10.1.0.1", true))?;
    n.put(build::service("", "web"))?;
    hold(&world, &[n.wants("web", None, &[])]).await?;
    world.fault(Fault::Release { kind: Some("namespaces".to_owned()) })?;
    hold(&world, &[up(&n)]).await
}
