//! Mirroring: hand-made Endpoints in, slices out. Each case is a namespace of its own in a world that several share.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use anyhow::{Context, Result};
use callsign_e2e::{
    apiserver::{ApiServer, Options, kind::Kind},
    harness::{
        build,
        namespace::{Namespace, Wanted, hold, list, until, writes},
        world::World,
    },
};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_callsign");

async fn world(arguments: &[&str]) -> Result<World> {
    World::start(Path::new(BINARY), Options::default(), arguments).await
}

fn service() -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}})
}

fn endpoints(subsets: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "web"}, "subsets": subsets})
}

fn subset(ready: &[&str], unready: &[&str], ports: &[u16]) -> Value {
    let addresses = |ips: &[&str]| ips.iter().map(|ip| json!({ "ip": ip })).collect::<Vec<_>>();
    let port = |number: &u16| json!({"name": format!("p{number}"), "port": number});
    json!({"addresses": addresses(ready), "notReadyAddresses": addresses(unready),
        "ports": ports.iter().map(port).collect::<Vec<_>>()})
}

fn one() -> Value {
    json!([subset(&["192.0.2.1"], &[], &[80])])
}

/// The lines of what is mirrored; the Endpoints themselves are the user's, and as they were.
fn mirrored(n: &Namespace, slices: &[&str]) -> Wanted {
    let mut wanted = n.wants("web", None, slices);
    wanted.endpoints = n.endpoints("web");
    wanted
}

const ONE: &str = "192.0.2.1 r?? p80:80/TCP";

/// Subsets written in many ways, and the slices that say the same.
#[tokio::test(flavor = "multi_thread")]
async fn subsets() -> Result<()> {
    let world = world(&[]).await?;
    let (a, b, c, d) = ("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4");
    // Name, subsets, endpoints in slices, how many slices.
    let cases: Vec<(&str, Value, Vec<&str>, usize)> = vec![
        ("none", json!([]), vec![], 0),
        ("one", one(), vec![ONE], 1),
        ("unready", json!([subset(&[], &[a], &[80])]), vec!["192.0.2.1 -?? p80:80/TCP"], 1),
        ("portless", json!([subset(&[a], &[], &[])]), vec!["192.0.2.1 r?? -"], 1),
        (
            "same-ports",
            json!([subset(&[b], &[], &[80]), subset(&[a], &[c], &[80])]),
            vec![ONE, "192.0.2.2 r?? p80:80/TCP", "192.0.2.3 -?? p80:80/TCP"],
            1,
        ),
        (
            "same-addresses",
            json!([subset(&[a, b], &[], &[80]), subset(&[b, a], &[], &[81])]),
            vec!["192.0.2.1 r?? p80:80/TCP,p81:81/TCP", "192.0.2.2 r?? p80:80/TCP,p81:81/TCP"],
            1,
        ),
        (
            "overlapping",
            json!([subset(&[a], &[], &[80]), subset(&[b], &[], &[81]), subset(&[a, b], &[], &[82])]),
            vec![
                "192.0.2.1 r?? p80:80/TCP",
                "192.0.2.2 r?? p81:81/TCP",
                "192.0.2.1 r?? p82:82/TCP",
                "192.0.2.2 r?? p82:82/TCP",
            ],
            3,
        ),
        ("the-same-twice", json!([subset(&[a], &[], &[80]), subset(&[a], &[], &[80])]), vec![ONE], 1),
        (
            "unready-elsewhere",
            json!([subset(&[a], &[], &[80]), subset(&[], &[a], &[80])]),
            vec!["192.0.2.1 -?? p80:80/TCP"],
            1,
        ),
        (
            "ready-under-one-port",
            json!([subset(&[a], &[], &[80]), subset(&[], &[a], &[81])]),
            vec!["192.0.2.1 r?? p80:80/TCP", "192.0.2.1 -?? p81:81/TCP"],
            2,
        ),
        (
            "both-families",
            json!([subset(&[a, "fd00::1"], &["fd00::2"], &[80])]),
            vec![ONE, "fd00::1 r?? p80:80/TCP", "fd00::2 -?? p80:80/TCP"],
            2,
        ),
        (
            "many-of-each",
            json!([subset(&[a, b], &[c], &[80, 81]), subset(&[d], &[], &[82])]),
            vec![
                "192.0.2.1 r?? p80:80/TCP,p81:81/TCP",
                "192.0.2.2 r?? p80:80/TCP,p81:81/TCP",
                "192.0.2.3 -?? p80:80/TCP,p81:81/TCP",
                "192.0.2.4 r?? p82:82/TCP",
            ],
            2,
        ),
    ];
    let mut wanted = Vec::new();
    for (name, subsets, lines, _) in &cases {
        let n = Namespace::new(world.embedded()?, name)?;
        n.put(service())?;
        n.put(endpoints(subsets.clone()))?;
        wanted.push(mirrored(&n, lines));
    }
    // Endpoints of a slice are told apart by address, hostname and the name of their target; uids do not count.
    let target = |name: &str, uid: &str| json!({"targetRef": {"kind": "Pod", "namespace": "x", "name": name, "uid": uid}});
    let hostname = |name: &str| json!({"hostname": name});
    for (name, first, second, times) in [
        ("uids", target("x", "1"), target("x", "2"), 1),
        ("names", target("x", "1"), target("y", "2"), 2),
        ("same-target", target("x", "1"), target("x", "1"), 1),
        ("target-and-none", target("x", "1"), json!({}), 2),
        ("no-name-and-none", json!({"targetRef": {"kind": "Pod"}}), json!({}), 1),
        ("hostnames", hostname("x"), hostname("x"), 1),
        // Of two records with one uid, or none, the first counts.
        ("other-hostnames", hostname("x"), hostname("y"), 1),
        ("same-uid-other-name", target("x", "1"), target("y", "1"), 1),
    ] {
        let n = Namespace::new(world.embedded()?, name)?;
        n.put(service())?;
        let mut subsets = json!([subset(&[a], &[], &[80]), subset(&[a], &[], &[80])]);
        for (at, fields) in [first, second].into_iter().enumerate() {
            for (field, value) in fields.as_object().into_iter().flatten() {
                subsets[at]["addresses"][0][field] = value.clone();
            }
        }
        n.put(endpoints(subsets))?;
        wanted.push(mirrored(&n, &vec![ONE; times]));
    }
    hold(&world, &wanted).await?;
    for ((name, _, _, count), wanted) in cases.iter().zip(&wanted) {
        assert_eq!(wanted.namespace.slices("web").len(), *count, "{name}");
    }
    Ok(())
}

/// Subsets jumbled at random say the same in slices: each address under each port once, not ready where it is so
/// anywhere, and one slice for each family and set of ports that have the same addresses (`TestPackSubsets`).
#[tokio::test(flavor = "multi_thread")]
async fn jumbled_subsets() -> Result<()> {
    let world = world(&[]).await?;
    let mut random = fastrand::Rng::with_seed(36);
    let mut cases = Vec::new();
    for number in 0..40 {
        let mut subsets = Vec::new();
        let mut wanted: BTreeMap<(String, u16), bool> = BTreeMap::new();
        for _ in 0..random.usize(1..6) {
            let mut ips: Vec<String> = (1..6).map(|last| format!("192.0.2.{last}")).collect();
            ips.extend((1..3).map(|last| format!("fd00::{last}")));
            random.shuffle(&mut ips);
            let (ready, unready) = (random.usize(0..4), random.usize(0..3));
            let mut ports: Vec<u16> = (80..84).collect();
            random.shuffle(&mut ports);
            ports.truncate(random.usize(1..4));
            if ready + unready == 0 {
                continue;
            }
            let all: Vec<&str> = ips.iter().map(String::as_str).collect();
            subsets.push(subset(&all[..ready], &all[ready..ready + unready], &ports));
            for (at, ip) in all[..ready + unready].iter().enumerate() {
                for port in &ports {
                    let is = wanted.entry(((*ip).to_owned(), *port)).or_insert(true);
                    *is &= at < ready;
                }
            }
        }
        let n = Namespace::new(world.embedded()?, &format!("jumble-{number}"))?;
        n.put(service())?;
        n.put(endpoints(json!(subsets)))?;
        cases.push((n, wanted));
    }
    let found = |n: &Namespace| {
        let mut found = Vec::new();
        for slice in n.slices("web") {
            for endpoint in list(&slice, "endpoints") {
                let ip = endpoint.pointer("/addresses/0").and_then(Value::as_str).unwrap_or_default();
                let ready = endpoint.pointer("/conditions/ready") == Some(&json!(true));
                let ports = list(&slice, "ports").filter_map(|port| port.get("port")?.as_u64());
                found.extend(
                    ports.map(|port| ((ip.to_owned(), u16::try_from(port).unwrap_or_default()), ready)),
                );
            }
        }
        found.sort();
        found
    };
    let right = |(n, wanted): &(Namespace, BTreeMap<(String, u16), bool>)| {
        let pairs: Vec<_> = wanted.iter().map(|(pair, ready)| (pair.clone(), *ready)).collect();
        let mut offers: BTreeMap<u16, BTreeMap<&str, bool>> = BTreeMap::new();
        for ((ip, port), ready) in wanted {
            offers.entry(*port).or_default().insert(ip, *ready);
        }
        let offers: BTreeSet<_> = offers.into_values().collect();
        let families = |offer: &BTreeMap<&str, bool>| {
            [true, false].iter().filter(|six| offer.keys().any(|ip| ip.contains(':') == **six)).count()
        };
        found(n) == pairs && n.slices("web").len() == offers.iter().map(families).sum::<usize>()
    };
    until("all are mirrored", || cases.iter().all(right)).await?;
    world.cluster.settle().await?;
    let wrong: Vec<_> = cases.iter().filter(|case| !right(case)).map(|(n, _)| &n.name).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    let creates: usize = cases.iter().map(|(n, _)| n.slices("web").len()).sum();
    assert_eq!(writes(world.embedded()?, "endpointslices"), [creates as u64, 0, 0]);
    Ok(())
}

/// Endpoints on their way out get no new slices; those there are follow them still.
#[tokio::test(flavor = "multi_thread")]
async fn endpoints_on_their_way_out() -> Result<()> {
    let world = world(&[]).await?;
    let n = Namespace::new(world.embedded()?, "going")?;
    n.put(service())?;
    let mut object =
        endpoints(json!([subset(&["192.0.2.1"], &[], &[80]), subset(&["192.0.2.2"], &[], &[81])]));
    object["metadata"]["finalizers"] = json!(["example.org/hold"]);
    n.put(object)?;
    let other = "192.0.2.2 r?? p81:81/TCP";
    hold(&world, &[mirrored(&n, &[ONE, other])]).await?;
    n.delete(Kind::Endpoints, "web", None)?;
    world.cluster.settle().await?;
    let first = n.slices("web").remove(0);
    let name = first.pointer("/metadata/name").and_then(Value::as_str).context("a name")?.to_owned();
    let left = if first.pointer("/ports/0/port") == Some(&json!(80)) { other } else { ONE };
    n.delete(Kind::EndpointSlice, &name, None)?;
    hold(&world, &[mirrored(&n, &[left])]).await?;
    n.merge(Kind::Endpoints, "web", json!({"metadata": {"finalizers": null}}))?;
    hold(&world, &[n.wants("web", None, &[])]).await
}

/// What a mirrored slice is like: fields, labels, annotations, owner; and how changes of each follow.
#[tokio::test(flavor = "multi_thread")]
async fn copies() -> Result<()> {
    let world = world(&[]).await?;
    let n = Namespace::new(world.embedded()?, "copies")?;
    let mut service = service();
    service["metadata"]["labels"] = json!({"of": "the Service".replace(' ', "-")});
    n.put(service)?;
    let mut object = endpoints(json!([{
        "addresses": [{"ip": "192.0.2.1", "hostname": "east", "nodeName": "node-a",
            "targetRef": {"kind": "Pod", "namespace": "copies", "name": "east", "uid": "u"}}],
        "ports": [{"name": "http", "port": 8080, "appProtocol": "h2c"}],
    }]));
    object["metadata"]["labels"] = json!({"team": "shop", "endpointslice.kubernetes.io/skip-mirror": "false",
        "endpointslice.kubernetes.io/managed-by": "me", "kubernetes.io/service-name": "other"});
    object["metadata"]["annotations"] = json!({"note": "x",
        "endpoints.kubernetes.io/last-change-trigger-time": "2030-01-01T00:00:00Z",
        "kubectl.kubernetes.io/last-applied-configuration": "{}"});
    let uid = n.put(object)?.pointer("/metadata/uid").cloned();
    until("a slice", || n.slices("web").len() == 1).await?;
    let slice = n.slices("web").remove(0);
    let name = slice.pointer("/metadata/name").and_then(Value::as_str).context("a name")?.to_owned();
    assert!(name.starts_with("web-"), "{name}");
    assert_eq!(
        slice.get("endpoints"),
        Some(&json!([{"addresses": ["192.0.2.1"], "conditions": {"ready": true}, "hostname": "east",
            "nodeName": "node-a", "targetRef": {"kind": "Pod", "namespace": "copies", "name": "east", "uid": "u"}}]))
    );
    assert_eq!(
        slice.get("ports"),
        Some(&json!([{"name": "http", "port": 8080, "protocol": "TCP", "appProtocol": "h2c"}]))
    );
    let labels = |more: Value| {
        let mut labels = json!({"kubernetes.io/service-name": "web",
            "endpointslice.kubernetes.io/managed-by": "endpointslicemirroring-controller.k8s.io"});
        for (key, value) in more.as_object().into_iter().flatten() {
            labels[key] = value.clone();
        }
        labels
    };
    assert_eq!(
        slice.pointer("/metadata/labels"),
        Some(&labels(json!({"team": "shop", "endpointslice.kubernetes.io/skip-mirror": "false"})))
    );
    assert_eq!(slice.pointer("/metadata/annotations"), Some(&json!({"note": "x"})));
    assert_eq!(
        slice.pointer("/metadata/ownerReferences"),
        Some(
            &json!([{"apiVersion": "v1", "kind": "Endpoints", "name": "web", "uid": uid, "controller": true,
            "blockOwnerDeletion": true}])
        )
    );
    let now =
        |pointer: &str| n.get(Kind::EndpointSlice, &name).and_then(|slice| slice.pointer(pointer).cloned());
    n.merge(Kind::Endpoints, "web", json!({"metadata": {"labels": null}}))?;
    until("no labels", || now("/metadata/labels") == Some(labels(json!({})))).await?;
    n.merge(Kind::Endpoints, "web", json!({"metadata": {"annotations": {"note": "y", "more": "z"}}}))?;
    until("annotations", || now("/metadata/annotations") == Some(json!({"note": "y", "more": "z"}))).await?;
    world.cluster.settle().await?;
    let before = writes(world.embedded()?, "endpointslices");
    // What is not copied is no reason to write.
    let time = json!({"endpoints.kubernetes.io/last-change-trigger-time": "2031-01-01T00:00:00Z"});
    n.merge(Kind::Endpoints, "web", json!({"metadata": {"annotations": time}}))?;
    world.cluster.settle().await?;
    assert_eq!(writes(world.embedded()?, "endpointslices"), before);
    // Other ports: the slice is used again.
    n.merge(Kind::Endpoints, "web", json!({"subsets": [subset(&["192.0.2.1"], &[], &[80])]}))?;
    hold(&world, &[mirrored(&n, &[ONE])]).await?;
    assert!(now("/metadata").is_some());
    assert_eq!(writes(world.embedded()?, "endpointslices"), [before[0], before[1] + 1, before[2]]);
    // A hand that edits or deletes it.
    n.merge(Kind::EndpointSlice, &name, json!({"endpoints": []}))?;
    hold(&world, &[mirrored(&n, &[ONE])]).await?;
    n.delete(Kind::EndpointSlice, &name, None)?;
    hold(&world, &[mirrored(&n, &[ONE])]).await?;
    n.merge(Kind::Endpoints, "web", json!({"subsets": null}))?;
    hold(&world, &[mirrored(&n, &[])]).await
}

/// Which Endpoints are mirrored, and what comes of the slices when that changes.
#[tokio::test(flavor = "multi_thread")]
async fn whose_endpoints() -> Result<()> {
    let world = world(&[]).await?;
    let with = |name: &str| {
        let n = Namespace::new(world.embedded()?, name)?;
        n.put(service())?;
        n.put(endpoints(one()))?;
        anyhow::Ok(n)
    };
    let skip =
        |value: Value| json!({"metadata": {"labels": {"endpointslice.kubernetes.io/skip-mirror": value}}});
    let lock = |value: Value| json!({"metadata": {"annotations": {"control-plane.alpha.kubernetes.io/leader": value}}});
    let (skipped, locked, deleted, orphan) =
        (with("skipped")?, with("locked")?, with("deleted")?, Namespace::new(world.embedded()?, "orphan")?);
    orphan.put(endpoints(one()))?;
    let external = Namespace::new(world.embedded()?, "external")?;
    external.put(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"type": "ExternalName", "externalName": "example.org"}}))?;
    external.put(endpoints(one()))?;
    let there = [&skipped, &locked, &deleted, &external].map(|n| mirrored(n, &[ONE]));
    hold(&world, &[there.as_slice(), &[mirrored(&orphan, &[])]].concat()).await?;
    skipped.merge(Kind::Endpoints, "web", skip(json!("true")))?;
    locked.merge(Kind::Endpoints, "web", lock(json!("{}")))?;
    deleted.delete(Kind::Endpoints, "web", None)?;
    orphan.put(service())?;
    let gone = [&skipped, &locked, &deleted].map(|n| mirrored(n, &[]));
    hold(&world, &[gone.as_slice(), &[mirrored(&orphan, &[ONE])]].concat()).await?;
    skipped.merge(Kind::Endpoints, "web", skip(json!("yes")))?;
    locked.merge(Kind::Endpoints, "web", lock(Value::Null))?;
    deleted.put(endpoints(one()))?;
    hold(&world, &[&skipped, &locked, &deleted].map(|n| mirrored(n, &[ONE]))).await?;
    // The Service goes, and the API server takes its Endpoints along.
    skipped.delete(Kind::Service, "web", None)?;
    hold(&world, &[skipped.wants("web", None, &[])]).await
}

/// A selector comes and goes.
#[tokio::test(flavor = "multi_thread")]
async fn selectors() -> Result<()> {
    let world = world(&[]).await?;
    let n = Namespace::new(world.embedded()?, "selectors")?;
    n.put(build::node("node-a", "zone-a"))?;
    n.put(service())?;
    n.put(endpoints(one()))?;
    n.put(build::pod("", "a", "web", "10.1.0.1", true))?;
    hold(&world, &[mirrored(&n, &[ONE])]).await?;
    let select = |selector: Value| n.merge(Kind::Service, "web", json!({"spec": {"selector": selector}}));
    select(json!({"app": "web"}))?;
    let selected = n.wants("web", Some(&["10.1.0.1 :80/TCP"]), &["10.1.0.1 rs- :80/TCP"]);
    hold(&world, std::slice::from_ref(&selected)).await?;
    select(Value::Null)?;
    hold(&world, &[n.wants("web", None, &[])]).await?;
    // An empty selector is none.
    select(json!({}))?;
    // Made by hand again, once without and once beside a selector.
    n.put(endpoints(one()))?;
    hold(&world, &[mirrored(&n, &[ONE])]).await?;
    select(json!({"app": "web"}))?;
    hold(&world, std::slice::from_ref(&selected)).await
}

/// A thousand addresses of a subset at most unless the flag says otherwise, ready ones first.
#[tokio::test(flavor = "multi_thread")]
async fn limits() -> Result<()> {
    let ip = |number: usize| format!("192.0.{}.{}", 2 + number / 200, 1 + number % 200);
    let subset = |ready: usize, unready: usize, port: u16| {
        let addresses =
            |numbers: std::ops::Range<usize>| numbers.map(|n| json!({"ip": ip(n)})).collect::<Vec<_>>();
        json!({"addresses": addresses(0..ready), "notReadyAddresses": addresses(ready..ready + unready),
            "ports": [{"name": "p", "port": port}]})
    };
    for (arguments, most) in [(&[] as &[&str], 1000), (&["--mirroring-max-endpoints-per-subset", "7"], 7)] {
        let world = world(arguments).await?;
        let mut spaces = Vec::new();
        for (ready, unready) in [(most, 0), (most + 1, 0), (most - 2, 5), (most + 2, 5)] {
            let n = Namespace::new(world.embedded()?, &format!("with-{ready}-{unready}"))?;
            n.put(service())?;
            n.put(endpoints(json!([subset(ready, unready, 80), subset(1, 0, 81)])))?;
            spaces.push((n, ready.min(most), unready.min(most - ready.min(most))));
        }
        let found = |n: &Namespace| {
            let lists = n.slices("web").into_iter().map(|slice| {
                let is = |wanted: bool| {
                    let ready = |e: &&Value| e.pointer("/conditions/ready") == Some(&json!(wanted));
                    list(&slice, "endpoints").filter(ready).count()
                };
                (is(true), is(false))
            });
            let mut counts: Vec<_> = lists.collect();
            counts.sort_unstable();
            counts
        };
        for (n, ready, unready) in &spaces {
            let wanted = vec![(1, 0), (*ready, *unready)];
            until(&format!("{} of {most}", n.name), || found(n) == wanted).await?;
        }
        world.cluster.settle().await?;
        assert_eq!(writes(world.embedded()?, "endpointslices"), [8, 0, 0]);
    }
    Ok(())
}

/// What was there before: right slices are adopted, an earlier owner's are put right, a second one of a key goes.
#[tokio::test(flavor = "multi_thread")]
async fn slices_that_were_there() -> Result<()> {
    let server = ApiServer::start(Options::default()).await?;
    let mut spaces = Vec::new();
    for (name, copies, owner) in [("right", 1, true), ("owner", 1, false), ("twice", 2, true)] {
        let n = Namespace::new(&server, name)?;
        n.put(service())?;
        let uid = n.put(endpoints(one()))?.pointer("/metadata/uid").cloned();
        let earlier = json!("11111111-2222-3333-4444-555555555555");
        for copy in 0..copies {
            n.put(json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                "metadata": {
                    "name": format!("web-{copy}"),
                    "labels": {"kubernetes.io/service-name": "web",
                        "endpointslice.kubernetes.io/managed-by": "endpointslicemirroring-controller.k8s.io"},
                    "ownerReferences": [{"apiVersion": "v1", "kind": "Endpoints", "name": "web",
                        "uid": if owner { uid.clone() } else { Some(earlier.clone()) },
                        "controller": true, "blockOwnerDeletion": true}],
                },
                "endpoints": [{"addresses": ["192.0.2.1"], "conditions": {"ready": true}}],
                "ports": [{"name": "p80", "port": 80, "protocol": "TCP"}],
            }))?;
        }
        spaces.push((n, uid));
    }
    let right = spaces[0].0.get(Kind::EndpointSlice, "web-0");
    let world = World::join(Path::new(BINARY), server, &[]).await?;
    let wanted: Vec<_> = spaces.iter().map(|(n, _)| mirrored(n, &[ONE])).collect();
    hold(&world, &wanted).await?;
    assert_eq!(spaces[0].0.get(Kind::EndpointSlice, "web-0"), right);
    for (n, uid) in &spaces {
        let slice = n.get(Kind::EndpointSlice, "web-0").context("web-0")?;
        let owners: Vec<_> =
            list(&slice["metadata"], "ownerReferences").map(|o| o.get("uid").cloned()).collect();
        assert_eq!(owners, std::slice::from_ref(uid), "{}", n.name);
    }
    assert_eq!(writes(world.embedded()?, "endpointslices"), [0, 1, 1]);
    Ok(())
}
