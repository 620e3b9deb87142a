//! Slices: how endpoints are packed into those there are and with how many writes, whose slices are touched, and what
//! comes of Services and namespaces on their way out.

use std::path::Path;

use anyhow::Result;
use callsign_e2e::{
    apiserver::{Options, kind::Kind},
    harness::{
        build,
        namespace::{Namespace, hold, server, until, writes},
        world::World,
    },
};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_callsign");
const NODES: [(&str, &str); 1] = [("node-a", "zone-a")];
const UP: &str = "10.1.0.1 rs- http:8080/TCP";

/// Nobody empties a namespace that is ending.
fn bare() -> Options {
    Options { namespaces: false, ..Options::default() }
}

async fn world() -> Result<World> {
    World::join(Path::new(BINARY), server(bare(), &NODES).await?, &[]).await
}

fn pod(name: &str, ip: &str, ready: bool) -> Value {
    build::pod("", name, "web", ip, ready)
}

/// Makes pod number `number` and gives the endpoint a slice has for it.
fn numbered(n: &Namespace, number: usize) -> Result<Value> {
    let (name, ip) = (format!("p-{number:03}"), format!("10.1.{}.{}", number / 200, number % 200 + 1));
    let pod = n.put(pod(&name, &ip, true))?;
    Ok(json!({
        "addresses": [ip], "nodeName": "node-a", "zone": "zone-a",
        "conditions": {"ready": true, "serving": true, "terminating": false},
        "targetRef": {"kind": "Pod", "namespace": n.name, "name": name, "uid": pod.pointer("/metadata/uid")},
    }))
}

/// A slice as the controller writes it, under another name.
fn slice(service: &Value, name: &str, ports: Value, endpoints: &[Value]) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": name,
            "labels": {"kubernetes.io/service-name": "web",
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": "web",
                "uid": service.pointer("/metadata/uid"), "controller": true, "blockOwnerDeletion": true}],
        },
        "endpoints": endpoints, "ports": ports,
    })
}

fn http() -> Value {
    json!([{"name": "http", "port": 8080, "protocol": "TCP"}])
}

/// A case of packing: slices of these sizes are there, the Service has so many more pods, or other ports.
struct Packing {
    name: &'static str,
    there: &'static [usize],
    /// How many of each slice's pods are gone.
    gone: &'static [usize],
    more: usize,
    /// The port of the slices that are there; 0 for none.
    port_there: u16,
    sizes: &'static [usize],
    /// Creates, updates, deletes.
    writes: [u64; 3],
}

impl Default for Packing {
    fn default() -> Self {
        Self { name: "", there: &[], gone: &[], more: 0, port_there: 8080, sizes: &[], writes: [0; 3] }
    }
}

/// The numbers are those of upstream's `TestReconcile*`. Each object's `generation` tells how often it was written.
#[tokio::test(flavor = "multi_thread")]
async fn packing() -> Result<()> {
    let cases = [
        Packing {
            name: "many-pods",
            more: 250,
            sizes: &[50, 100, 100],
            writes: [3, 0, 0],
            ..Packing::default()
        },
        Packing {
            name: "some-preexisting",
            there: &[62, 61],
            more: 127,
            sizes: &[61, 89, 100],
            writes: [1, 1, 0],
            ..Packing::default()
        },
        Packing {
            name: "worse-allocation",
            there: &[74, 74],
            more: 152,
            sizes: &[52, 74, 74, 100],
            writes: [2, 0, 0],
            ..Packing::default()
        },
        Packing {
            name: "update-packing",
            there: &[80, 21],
            gone: &[0, 1],
            more: 15,
            sizes: &[35, 80],
            writes: [0, 1, 0],
            ..Packing::default()
        },
        Packing {
            name: "fullest-that-is-written",
            there: &[81, 21, 30],
            gone: &[1, 1, 0],
            more: 15,
            sizes: &[20, 30, 95],
            writes: [0, 2, 0],
            ..Packing::default()
        },
        Packing {
            name: "fragments-stay",
            there: &[30, 30, 30, 30],
            sizes: &[30, 30, 30, 30],
            ..Packing::default()
        },
        Packing {
            name: "recycling",
            there: &[30, 30, 30, 30, 30],
            port_there: 8000,
            sizes: &[50, 100],
            writes: [0, 2, 3],
            ..Packing::default()
        },
        Packing {
            name: "to-none",
            there: &[3, 3, 3],
            gone: &[3, 3, 3],
            sizes: &[0],
            writes: [0, 1, 2],
            ..Packing::default()
        },
        Packing {
            name: "emptied-and-more",
            there: &[3, 5],
            gone: &[3],
            more: 2,
            sizes: &[7],
            writes: [0, 1, 1],
            ..Packing::default()
        },
        Packing { name: "placeholder", there: &[0], port_there: 0, sizes: &[0], ..Packing::default() },
        Packing {
            name: "placeholders",
            there: &[0, 0],
            port_there: 0,
            sizes: &[0],
            writes: [0, 0, 1],
            ..Packing::default()
        },
        Packing {
            name: "placeholder-with-ports",
            there: &[0],
            sizes: &[0],
            writes: [0, 1, 0],
            ..Packing::default()
        },
        Packing {
            name: "placeholder-and-pods",
            there: &[0],
            port_there: 0,
            more: 3,
            sizes: &[3],
            writes: [0, 1, 0],
            ..Packing::default()
        },
        Packing {
            name: "ports-change",
            there: &[100, 100, 50],
            port_there: 8000,
            sizes: &[50, 100, 100],
            writes: [0, 3, 0],
            ..Packing::default()
        },
        // Emptied by hand: upstream keeps it for ever.
        Packing {
            name: "emptied-beside",
            there: &[3, 0],
            sizes: &[3],
            writes: [0, 0, 1],
            ..Packing::default()
        },
        Packing {
            name: "emptied-and-needed",
            there: &[60, 0],
            more: 60,
            sizes: &[60, 60],
            writes: [0, 1, 0],
            ..Packing::default()
        },
        Packing {
            name: "best-fit",
            there: &[90, 40, 60],
            more: 20,
            sizes: &[40, 80, 90],
            writes: [0, 1, 0],
            ..Packing::default()
        },
        Packing {
            name: "exactly-full",
            there: &[99],
            more: 1,
            sizes: &[100],
            writes: [0, 1, 0],
            ..Packing::default()
        },
        Packing {
            name: "oversized",
            there: &[120],
            more: 1,
            sizes: &[1, 120],
            writes: [1, 0, 0],
            ..Packing::default()
        },
    ];
    let server = server(bare(), &NODES).await?;
    let mut prepared = Vec::new();
    for case in &cases {
        let n = Namespace::new(&server, case.name)?;
        let service = n.put(build::service("", "web"))?;
        let mut number = 0;
        for (at, size) in case.there.iter().enumerate() {
            let mut endpoints = Vec::new();
            for index in 0..*size {
                endpoints.push(numbered(&n, number)?);
                if index < case.gone.get(at).copied().unwrap_or_default() {
                    n.delete(Kind::Pod, &format!("p-{number:03}"), Some(0))?;
                }
                number += 1;
            }
            let ports = match case.port_there {
                0 => Value::Null,
                port => json!([{"name": "http", "port": port, "protocol": "TCP"}]),
            };
            n.put(slice(&service, &format!("web-{at}"), ports, &endpoints))?;
        }
        for _ in 0..case.more {
            numbered(&n, number)?;
            number += 1;
        }
        prepared.push((n, number));
    }
    let world = World::join(Path::new(BINARY), server, &[]).await?;
    let sizes = || prepared.iter().map(|(n, _)| n.sizes("web")).collect::<Vec<_>>();
    let wanted: Vec<_> = cases.iter().map(|case| case.sizes.to_vec()).collect();
    let _ = until("sizes", || sizes() == wanted).await;
    world.cluster.settle().await?;
    assert_eq!(sizes(), wanted);
    for (case, (n, pods)) in cases.iter().zip(&prepared) {
        let slices = n.slices("web");
        let old = |slice: &&Value| {
            let name = slice.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            (0..case.there.len()).any(|at| name == format!("web-{at}"))
        };
        let written = |slice: &&Value| slice.pointer("/metadata/generation") != Some(&json!(1));
        let kept = slices.iter().filter(old).count();
        let updated = slices.iter().filter(old).filter(written).count();
        let found = [slices.len() - kept, updated, case.there.len() - kept].map(|count| count as u64);
        assert_eq!(found, case.writes, "{}", case.name);
        assert!(slices.iter().filter(|slice| !old(slice)).all(|slice| !written(&slice)), "{}", case.name);
        let mut listed = n.endpoints_in_slices("web");
        let count = listed.iter().filter(|line| !line.contains("empty")).count();
        listed.dedup();
        assert_eq!(listed.len(), count.max(1), "{}: an endpoint twice", case.name);
        assert_eq!(count, pods - case.gone.iter().sum::<usize>(), "{}", case.name);
    }
    let all = |at: usize| cases.iter().map(|case| case.writes[at]).sum::<u64>();
    // The API server's own Service has slices of its own.
    assert_eq!(writes(world.embedded()?, "endpointslices"), [all(0), all(1), all(2)]);
    // One ready pod more in the fragmented one is one write, and a new label rewrites each slice once.
    let (n, pods) = &prepared[5];
    numbered(n, *pods)?;
    until("one more", || n.sizes("web") == [30, 30, 30, 31]).await?;
    n.merge(Kind::Service, "web", json!({"metadata": {"labels": {"a": "b"}}}))?;
    let labelled = |slice: &Value| slice.pointer("/metadata/labels/a").is_some();
    until("labels", || n.slices("web").iter().all(labelled)).await?;
    world.cluster.settle().await?;
    assert_eq!(writes(world.embedded()?, "endpointslices"), [all(0), all(1) + 5, all(2)]);
    Ok(())
}

/// `--max-endpoints-per-slice` is lowered: fuller slices stay as they are, as upstream's do, also when one of their
/// endpoints changes; they take nothing in until they have room, and what comes goes elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn a_lower_limit() -> Result<()> {
    let server = server(bare(), &NODES).await?;
    let n = Namespace::new(&server, "lower")?;
    n.put(build::service("", "web"))?;
    for number in 0..30 {
        numbered(&n, number)?;
    }
    let mut world = World::join(Path::new(BINARY), server, &["--lameduck", "0"]).await?;
    until("one slice", || n.sizes("web") == [30]).await?;
    world.cluster.settle().await?;
    let before = n.slices("web");
    world.restart(Path::new(BINARY), &["--lameduck", "0", "--max-endpoints-per-slice", "10"]).await?;
    n.mark("marker").await?;
    world.cluster.settle().await?;
    assert_eq!(n.slices("web"), before, "at rest");
    n.merge(Kind::Pod, "p-000", json!({"status": build::status_conditions(false)}))?;
    until("not ready", || n.endpoints_in_slices("web").contains(&"10.1.0.1 --- http:8080/TCP".to_owned()))
        .await?;
    assert_eq!(n.sizes("web"), [30]);
    numbered(&n, 30)?;
    until("one more", || n.sizes("web") == [1, 30]).await?;
    for number in 1..25 {
        n.delete(Kind::Pod, &format!("p-{number:03}"), Some(0))?;
    }
    until("fewer", || n.sizes("web") == [1, 6]).await?;
    for number in 40..44 {
        numbered(&n, number)?;
    }
    until("again as full as may be", || {
        let sizes = n.sizes("web");
        sizes.iter().sum::<usize>() == 11 && sizes.iter().all(|size| *size <= 10)
    })
    .await
}

/// Which slices are ours to touch.
#[tokio::test(flavor = "multi_thread")]
async fn whose_slices() -> Result<()> {
    let server = server(bare(), &NODES).await?;
    let mut untouched: Vec<(Namespace, &str)> = Vec::new();
    let mut adopted = Vec::new();
    let mut going = Vec::new();
    let keep = |n: &Namespace, name: &str| n.get(Kind::EndpointSlice, name);
    for (name, edit) in [
        ("adopted", None),
        ("foreign", Some(("/metadata/labels/endpointslice.kubernetes.io~1managed-by", json!("me")))),
        ("terminating", Some(("/metadata/finalizers", json!(["example.org/hold"])))),
        ("earlier-service", Some(("/metadata/ownerReferences/0/uid", json!("earlier")))),
        ("other-family", Some(("/addressType", json!("IPv6")))),
        ("wrong-label", Some(("/metadata/labels/stray", json!("x")))),
    ] {
        let n = Namespace::new(&server, name)?;
        let service = n.put(build::service("", "web"))?;
        let endpoint = numbered(&n, 0)?;
        let mut object = slice(&service, "web-there", http(), &[endpoint]);
        match edit {
            Some(("/addressType", family)) => {
                object["addressType"] = family;
                object["endpoints"] = json!([]);
            }
            Some((pointer, value)) => {
                let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
                let field = field.replace("~1", "/");
                object.pointer_mut(parent).expect("a parent")[field] = value;
            }
            None => {}
        }
        if name == "earlier-service" {
            object["metadata"]["ownerReferences"][0]["uid"] = json!("11111111-2222-3333-4444-555555555555");
        }
        n.put(object)?;
        match name {
            "adopted" => adopted.push((n.clone(), keep(&n, "web-there"))),
            "foreign" => untouched.push((n.clone(), "web-there")),
            "terminating" => {
                n.delete(Kind::EndpointSlice, "web-there", None)?;
                untouched.push((n.clone(), "web-there"));
            }
            "wrong-label" => adopted.push((n.clone(), None)),
            _ => going.push(n.clone()),
        }
    }
    let before: Vec<_> = untouched.iter().map(|(n, name)| keep(n, name)).collect();
    let world = World::join(Path::new(BINARY), server, &[]).await?;
    let twice = [UP, UP];
    let cases = untouched.iter().map(|(n, _)| n.wants("web", Some(&["10.1.0.1 http:8080/TCP"]), &twice));
    let once = adopted.iter().map(|(n, _)| n).chain(&going);
    let once = once.map(|n| n.wants("web", Some(&["10.1.0.1 http:8080/TCP"]), &[UP]));
    hold(&world, &cases.chain(once).collect::<Vec<_>>()).await?;
    assert_eq!(untouched.iter().map(|(n, name)| keep(n, name)).collect::<Vec<_>>(), before);
    for (n, object) in &adopted {
        let now = keep(n, "web-there");
        match object {
            Some(_) => assert_eq!(&now, object, "adopted as it is"),
            None => assert_eq!(now.as_ref().and_then(|o| o.pointer("/metadata/labels/stray")), None),
        }
    }
    for n in &going {
        assert_eq!(keep(n, "web-there"), None, "{}", n.name);
    }
    // Two beside others', two in place of what went; one mended label; two gone.
    assert_eq!(writes(world.embedded()?, "endpointslices"), [4, 1, 2]);

    // Recreated under another uid: what is left of the earlier Service goes.
    let n = &adopted[0].0;
    n.delete(Kind::Service, "web", None)?;
    let again = n.put(build::service("", "web"))?;
    until("slices of the new Service", || {
        let slices = n.slices("web");
        slices.len() == 1
            && slices[0].pointer("/metadata/ownerReferences/0/uid") == again.pointer("/metadata/uid")
    })
    .await?;
    hold(&world, &[n.wants("web", Some(&["10.1.0.1 http:8080/TCP"]), &[UP])]).await
}

/// What others wrote on a slice of ours stays through everything.
#[tokio::test(flavor = "multi_thread")]
async fn others_marks_stay() -> Result<()> {
    let world = world().await?;
    let n = Namespace::new(world.embedded()?, "marks")?;
    n.put(build::service("", "web"))?;
    n.put(pod("a", "10.1.0.1", true))?;
    hold(&world, &[n.wants("web", Some(&["10.1.0.1 http:8080/TCP"]), &[UP])]).await?;
    let name =
        n.slices("web")[0].pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let marks = json!({"metadata": {"annotations": {"theirs": "stays"}, "finalizers": ["example.org/hold"]}});
    n.merge(Kind::EndpointSlice, &name, marks)?;
    let marked = || {
        let slices = n.slices("web");
        slices.len() == 1
            && slices[0].pointer("/metadata/name") == Some(&json!(name))
            && slices[0].pointer("/metadata/annotations/theirs") == Some(&json!("stays"))
            && slices[0].pointer("/metadata/finalizers/0") == Some(&json!("example.org/hold"))
    };
    n.delete(Kind::Pod, "a", Some(0))?;
    hold(&world, &[n.wants("web", Some(&[]), &["IPv4 empty"])]).await?;
    assert!(marked(), "scaled to zero");
    n.put(pod("b", "10.1.0.2", true))?;
    n.merge(Kind::Service, "web", json!({"spec": {"ports": [{"name": "x", "port": 9}]}}))?;
    hold(&world, &[n.wants("web", Some(&["10.1.0.2 x:9/TCP"]), &["10.1.0.2 rs- x:9/TCP"])]).await?;
    assert!(marked(), "used again for other ports");
    // A hand that takes away what is ours.
    let stolen = json!({"metadata": {"labels": {"endpointslice.kubernetes.io/managed-by": "me"}}});
    n.merge(Kind::EndpointSlice, &name, stolen)?;
    let twice = ["10.1.0.2 rs- x:9/TCP", "10.1.0.2 rs- x:9/TCP"];
    hold(&world, &[n.wants("web", Some(&["10.1.0.2 x:9/TCP"]), &twice)]).await
}

/// Services and namespaces on their way out get nothing new, and lose what is gone.
#[tokio::test(flavor = "multi_thread")]
async fn on_the_way_out() -> Result<()> {
    let world = world().await?;
    let n = Namespace::new(world.embedded()?, "pending")?;
    n.put(pod("a", "10.1.0.1", true))?;
    n.put(pod("b", "10.1.0.2", true))?;
    for (name, first) in [("web", true), ("late", false)] {
        let mut service = build::service("", name);
        service["spec"]["selector"] = json!({"app": "web"});
        service["metadata"]["finalizers"] = json!(["example.org/hold"]);
        if !first {
            // Deleted before anybody saw it.
            service["spec"]["selector"] = json!({"app": "other"});
        }
        n.put(service)?;
    }
    let both = ["10.1.0.1 rs- http:8080/TCP", "10.1.0.2 rs- http:8080/TCP"];
    let in_endpoints = ["10.1.0.1 http:8080/TCP", "10.1.0.2 http:8080/TCP"];
    hold(&world, &[n.wants("web", Some(&in_endpoints), &both), n.wants("late", Some(&[]), &["IPv4 empty"])])
        .await?;
    n.delete(Kind::Service, "web", None)?;
    n.delete(Kind::Service, "late", None)?;
    // The watches of Services and of slices do not wait for each other.
    world.cluster.settle().await?;
    // Updates go on, and a slice that somebody deletes is not made again.
    n.delete(Kind::Pod, "b", Some(0))?;
    let late =
        n.slices("late")[0].pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    n.delete(Kind::EndpointSlice, &late, None)?;
    hold(&world, &[n.wants("web", Some(&in_endpoints[..1]), &both[..1]), n.wants("late", Some(&[]), &[])])
        .await?;

    // A namespace that is ending refuses what is new, quietly.
    let ending = Namespace::new(world.embedded()?, "ending")?;
    ending.put(build::service("", "web"))?;
    ending.put(pod("a", "10.1.0.1", true))?;
    hold(&world, &[ending.wants("web", Some(&in_endpoints[..1]), &both[..1])]).await?;
    ending.delete(Kind::Namespace, "ending", None)?;
    let slice = ending.slices("web")[0]
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    ending.delete(Kind::EndpointSlice, &slice, None)?;
    ending.delete(Kind::Endpoints, "web", None)?;
    hold(&world, &[ending.wants("web", None, &[])]).await?;
    let before = writes(world.embedded()?, "endpointslices");
    // It does not hold up others, nor try again and again.
    let other = Namespace::new(world.embedded()?, "other")?;
    other.put(build::service("", "web"))?;
    other.put(pod("a", "10.1.0.1", true))?;
    hold(&world, &[other.wants("web", Some(&in_endpoints[..1]), &both[..1])]).await?;
    let after = writes(world.embedded()?, "endpointslices");
    assert_eq!([after[0] - before[0], after[2] - before[2]], [1, 0]);
    Ok(())
}
