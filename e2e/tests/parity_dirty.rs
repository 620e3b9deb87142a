//! Each single change is noticed from its own event: there is no resync that would heal it later. What changes nothing in
//! Endpoints and slices writes nothing.

use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use callsign_e2e::{
    apiserver::{Key, Options, Part, Patch, WriteOptions, faults::Fault, kind::Kind},
    harness::{
        build,
        namespace::{Namespace, hold, list, server, until, writes},
        world::World,
    },
};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_callsign");
const NODES: [(&str, &str); 2] = [("node-a", "zone-a"), ("node-b", "zone-b")];
const UP: &str = "10.1.0.1 rs- http:8080/TCP";
const LISTED: &str = "10.1.0.1 http:8080/TCP";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";

async fn world() -> Result<World> {
    World::join(Path::new(BINARY), server(Options::default(), &NODES).await?, &[]).await
}

fn pod(name: &str, ip: &str, ready: bool) -> Value {
    build::pod("", name, "web", ip, ready)
}

/// Edits an object as `kubectl patch --type json` does.
fn edit(world: &World, n: &Namespace, kind: Kind, name: &str, patch: &Value) -> Result<()> {
    let key = Key::new(&n.name, name);
    let (patch, options) = (Patch::Json(patch.clone()), WriteOptions::by("test"));
    let before = n.get(kind, name);
    let written = world.embedded()?.store().patch(kind, &key, Part::Main, &patch, &options);
    written.map_err(|error| anyhow!("{}: {error:?}", n.name))?;
    ensure!(n.get(kind, name) != before, "{}: an edit that changes nothing", n.name);
    Ok(())
}

fn first_slice(n: &Namespace) -> String {
    let slices = n.slices("web");
    let name = slices.first().and_then(|slice| slice.pointer("/metadata/name")?.as_str());
    name.unwrap_or_default().to_owned()
}

/// What an Endpoints object says, without what differs from write to write.
fn content(object: &Value) -> String {
    let field = |pointer: &str| object.pointer(pointer).cloned().unwrap_or_default();
    let mut annotations = field("/metadata/annotations");
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.remove("endpoints.kubernetes.io/last-change-trigger-time");
    }
    let annotations = if annotations == json!({}) { Value::Null } else { annotations };
    let all = [field("/metadata/labels"), field("/metadata/ownerReferences"), annotations];
    let all = all.into_iter().chain(["/subsets", "/addressType", "/ports"].map(field));
    // Endpoints of a slice are in no order.
    let mut endpoints: Vec<_> = list(object, "endpoints").cloned().collect();
    endpoints.sort_by_cached_key(Value::to_string);
    let all = all.chain([Value::Array(endpoints)]);
    Value::Array(all.collect()).to_string()
}

fn endpoints(n: &Namespace) -> Option<String> {
    n.get(Kind::Endpoints, "web").as_ref().map(content)
}

/// The slices that the controllers made.
fn slices(n: &Namespace) -> Vec<String> {
    let made = |slice: &&Value| {
        let by = slice.pointer("/metadata/labels").and_then(|labels| labels.get(MANAGED_BY)?.as_str());
        by.is_some_and(|by| by.ends_with("-controller.k8s.io"))
    };
    let mut all: Vec<_> = n.slices("web").iter().filter(made).map(content).collect();
    all.sort();
    all
}

type Edit = (&'static str, Value);

/// Edits as JSON patches (RFC 6902).
fn set(path: &str, value: impl Into<Value>) -> Value {
    json!([{"op": "add", "path": path, "value": value.into()}])
}

fn gone(path: &str) -> Value {
    json!([{"op": "remove", "path": path}])
}

fn from(op: &str, from: &str, path: &str) -> Value {
    json!([{"op": op, "from": from, "path": path}])
}

fn of_labels() -> Vec<Edit> {
    vec![
        ("label-stray", set("/metadata/labels/stray", "x")),
        ("label-gone", gone("/metadata/labels/team")),
        ("label-other", set("/metadata/labels/team", "x")),
        ("label-headless", set("/metadata/labels/service.kubernetes.io~1headless", "")),
    ]
}

fn of_endpoints() -> Vec<Edit> {
    let first = |field: &str| format!("/subsets/0/addresses/0/{field}");
    let stranger = json!({"ip": "192.0.2.66"});
    let mut edits = vec![
        ("ip", set(&first("ip"), "192.0.2.66")),
        ("hostname", set(&first("hostname"), "x")),
        ("node-name", json!([{"op": "remove", "path": first("nodeName")}])),
        ("target-uid", set(&first("targetRef/uid"), "x")),
        ("target-name", set(&first("targetRef/name"), "x")),
        ("target-kind", set(&first("targetRef/kind"), "X")),
        ("target", gone(&first("targetRef"))),
        ("fewer", gone("/subsets/0/addresses/0")),
        ("more", set("/subsets/0/addresses/-", stranger.clone())),
        ("not-ready", from("move", "/subsets/0/addresses/0", "/subsets/0/notReadyAddresses/-")),
        ("ready", from("move", "/subsets/0/notReadyAddresses/0", "/subsets/0/addresses/-")),
        ("port-number", set("/subsets/0/ports/0/port", 1)),
        ("port-name", set("/subsets/0/ports/0/name", "x")),
        ("port-protocol", set("/subsets/0/ports/0/protocol", "UDP")),
        ("port-app", set("/subsets/0/ports/0/appProtocol", "x")),
        ("port-more", set("/subsets/0/ports/-", json!({"name": "x", "port": 1}))),
        ("subset-more", set("/subsets/-", json!({"addresses": [stranger], "ports": [{"port": 1}]}))),
        ("nothing-left", gone("/subsets")),
        ("label-manager", set("/metadata/labels/endpoints.kubernetes.io~1managed-by", "x")),
        (
            "capacity",
            set("/metadata/annotations", json!({"endpoints.kubernetes.io/over-capacity": "truncated"})),
        ),
    ];
    edits.extend(of_labels());
    edits
}

fn of_slices() -> Vec<Edit> {
    let first = |field: &str| format!("/endpoints/0/{field}");
    let mut edits = vec![
        ("address", set(&first("addresses/0"), "192.0.2.66")),
        ("ready", set(&first("conditions/ready"), false)),
        ("serving", set(&first("conditions/serving"), false)),
        ("terminating", set(&first("conditions/terminating"), true)),
        ("conditions", set(&first("conditions"), json!({}))),
        ("hostname", set(&first("hostname"), "x")),
        ("node-name", set(&first("nodeName"), "x")),
        ("zone", set(&first("zone"), "x")),
        ("target-uid", set(&first("targetRef/uid"), "x")),
        ("target-name", set(&first("targetRef/name"), "x")),
        ("target-kind", set(&first("targetRef/kind"), "X")),
        ("target", gone(&first("targetRef"))),
        ("hints", set(&first("hints"), json!({"forZones": [{"name": "zone-b"}]}))),
        ("fewer", gone("/endpoints/0")),
        ("more", set("/endpoints/-", json!({"addresses": ["192.0.2.66"], "conditions": {}}))),
        ("twice", from("copy", "/endpoints/0", "/endpoints/-")),
        ("nothing-left", set("/endpoints", json!([]))),
        ("port-number", set("/ports/0/port", 1)),
        ("port-name", set("/ports/0/name", "x")),
        ("port-protocol", set("/ports/0/protocol", "UDP")),
        ("port-app", set("/ports/0/appProtocol", "x")),
        ("ports", set("/ports", json!([]))),
        ("label-service", set("/metadata/labels/kubernetes.io~1service-name", "x")),
        ("label-manager", gone("/metadata/labels/endpointslice.kubernetes.io~1managed-by")),
        ("owners", gone("/metadata/ownerReferences")),
        ("owner-uid", set("/metadata/ownerReferences/0/uid", "11111111-2222-3333-4444-555555555555")),
    ];
    edits.extend(of_labels());
    edits
}

/// Every field of every object that is written here, changed by somebody else.
#[tokio::test(flavor = "multi_thread")]
async fn hand_edits_of_each_field() -> Result<()> {
    let world = world().await?;
    let mut cases = Vec::new();
    for (what, edits) in [("endpoints", of_endpoints()), ("slice", of_slices()), ("mirrored", of_slices())] {
        for (field, change) in edits {
            let n = Namespace::new(world.embedded()?, &format!("{what}-{field}"))?;
            let mut service = build::service("", "web");
            service["metadata"]["labels"] = json!({"team": "shop"});
            if what == "mirrored" {
                service["spec"]["selector"] = Value::Null;
                let address = |ip: &str| {
                    json!({"ip": ip, "nodeName": "node-a", "hostname": "h",
                    "targetRef": {"kind": "Pod", "namespace": n.name, "name": ip, "uid": ip}})
                };
                n.put(json!({"apiVersion": "v1", "kind": "Endpoints",
                    "metadata": {"name": "web", "labels": {"team": "shop"}},
                    "subsets": [{"addresses": [address("192.0.2.1"), address("192.0.2.2")],
                        "ports": [{"name": "http", "port": 8080}]}]}))?;
            }
            n.put(service)?;
            for (name, ip, ready) in
                [("a", "10.1.0.1", true), ("b", "10.1.0.2", true), ("c", "10.1.0.3", false)]
            {
                n.put(pod(name, ip, ready))?;
            }
            cases.push((n, what, change));
        }
    }
    until("all are made", || {
        cases.iter().all(|(n, what, _)| {
            let lines = n.endpoints_in_slices("web").len();
            lines == if *what == "mirrored" { 2 } else { 3 }
                && n.endpoints("web").is_some_and(|e| e.len() == lines)
        })
    })
    .await?;
    world.cluster.settle().await?;
    let right: Vec<_> = cases.iter().map(|(n, ..)| (endpoints(n), slices(n))).collect();
    for (n, what, change) in &cases {
        match *what {
            "endpoints" => edit(&world, n, Kind::Endpoints, "web", change)?,
            _ => edit(&world, n, Kind::EndpointSlice, &first_slice(n), change)?,
        }
    }
    let wrong = || {
        let pairs = cases.iter().zip(&right);
        let wrong = pairs.filter(|((n, ..), right)| (endpoints(n), slices(n)) != **right);
        wrong.map(|((n, ..), _)| n.name.clone()).collect::<Vec<_>>()
    };
    let _ = until("all are right again", || wrong().is_empty()).await;
    world.cluster.settle().await?;
    assert_eq!(wrong(), Vec::<String>::new());
    Ok(())
}

/// A mirrored slice has the annotations of its Endpoints, and no others: that is what tells that it is a copy.
#[tokio::test(flavor = "multi_thread")]
async fn hand_edits_of_mirrored_annotations() -> Result<()> {
    let world = world().await?;
    let n = Namespace::new(world.embedded()?, "annotations")?;
    let mut service = build::service("", "web");
    service["spec"]["selector"] = Value::Null;
    n.put(service)?;
    n.put(json!({"apiVersion": "v1", "kind": "Endpoints",
        "metadata": {"name": "web", "annotations": {"note": "x"}},
        "subsets": [{"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 80}]}]}))?;
    until("a slice", || n.slices("web").len() == 1).await?;
    let right = slices(&n);
    for annotations in [json!({"note": "y"}), json!({"note": null}), json!({"more": "z"})] {
        n.merge(Kind::EndpointSlice, &first_slice(&n), json!({"metadata": {"annotations": annotations}}))?;
        until(&format!("as it was after {annotations}"), || slices(&n) == right).await?;
    }
    Ok(())
}

/// A pod is bound to a Node, gets its first address, another one, one of the other family; ports of a Service change in
/// each of their fields: each of these alone.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_late() -> Result<()> {
    let world = world().await?;
    let make = |name: &str| {
        let n = Namespace::new(world.embedded()?, name)?;
        let mut service = build::service("", "web");
        service["spec"]["ipFamilyPolicy"] = json!("PreferDualStack");
        n.put(service)?;
        anyhow::Ok(n)
    };
    let (bound, addressed, second) = (make("bound")?, make("addressed")?, make("second")?);
    let mut unbound = pod("a", "10.1.0.1", true);
    unbound["spec"].as_object_mut().context("a spec")?.remove("nodeName");
    bound.put(unbound)?;
    let mut without = pod("a", "", true);
    without["status"] = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
    addressed.put(without)?;
    second.put(pod("a", "10.1.0.1", true))?;
    let empty = ["IPv4 empty", "IPv6 empty"];
    let up = [UP, "IPv6 empty"];
    hold(
        &world,
        &[
            bound.wants("web", Some(&[LISTED]), &empty),
            addressed.wants("web", Some(&[]), &empty),
            second.wants("web", Some(&[LISTED]), &up),
        ],
    )
    .await?;
    let options = WriteOptions::by("scheduler");
    let bind = world.embedded()?.store().bind(&Key::new("bound", "a"), "node-b", &options);
    bind.map_err(|error| anyhow!("{error:?}"))?;
    let both = json!({"status": {"podIP": "10.1.0.1", "podIPs": [{"ip": "10.1.0.1"}, {"ip": "fd00::1"}]}});
    addressed.merge(Kind::Pod, "a", json!({"status": build::status("10.1.0.1", true)}))?;
    second.merge(Kind::Pod, "a", both)?;
    let six = "fd00::1 rs- http:8080/TCP";
    hold(
        &world,
        &[
            bound.wants("web", Some(&[LISTED]), &up),
            addressed.wants("web", Some(&[LISTED]), &up),
            second.wants("web", Some(&[LISTED]), &[UP, six]),
        ],
    )
    .await?;
    let four = |n: &Namespace| n.slices("web").into_iter().find(|slice| slice["addressType"] == "IPv4");
    assert_eq!(four(&bound).context("a slice")?.pointer("/endpoints/0/zone"), Some(&json!("zone-b")));
    assert_eq!(four(&bound).context("a slice")?.pointer("/endpoints/0/nodeName"), Some(&json!("node-b")));
    let endpoints = bound.get(Kind::Endpoints, "web").context("Endpoints")?;
    assert_eq!(endpoints.pointer("/subsets/0/addresses/0/nodeName"), Some(&json!("node-b")));
    for (ports, line) in [
        (json!([{"name": "http", "port": 80, "targetPort": 9090}]), "http:9090/TCP"),
        (json!([{"name": "web", "port": 80, "targetPort": 9090}]), "web:9090/TCP"),
        (json!([{"name": "web", "port": 80, "targetPort": 9090, "protocol": "UDP"}]), "web:9090/UDP"),
        (
            json!([{"name": "web", "port": 80, "targetPort": 9090, "protocol": "UDP", "appProtocol": "x"}]),
            "web:9090/UDP=x",
        ),
    ] {
        bound.merge(Kind::Service, "web", json!({"spec": {"ports": ports}}))?;
        let (in_endpoints, in_slices) = (format!("10.1.0.1 {line}"), format!("10.1.0.1 rs- {line}"));
        hold(&world, &[bound.wants("web", Some(&[&in_endpoints]), &[&in_slices, "IPv6 empty"])]).await?;
    }
    Ok(())
}

/// Changes that say nothing about endpoints.
#[tokio::test(flavor = "multi_thread")]
async fn what_changes_nothing_writes_nothing() -> Result<()> {
    let world = world().await?;
    let n = Namespace::new(world.embedded()?, "quiet")?;
    n.put(build::service("", "web"))?;
    n.put(pod("a", "10.1.0.1", true))?;
    hold(&world, &[n.wants("web", Some(&[LISTED]), &[UP])]).await?;
    let before =
        ["endpoints", "endpointslices"].map(|kind| writes(world.embedded().expect("embedded"), kind));
    let annotate = |value: &str| json!({"metadata": {"annotations": {"note": value}}});
    for round in ["1", "2", "3"] {
        n.merge(Kind::Pod, "a", annotate(round))?;
        n.merge(Kind::Pod, "a", json!({"metadata": {"labels": {"app": "web", "round": round}}}))?;
        n.merge(Kind::Service, "web", annotate(round))?;
        n.merge(
            Kind::Service,
            "web",
            json!({"spec": {"sessionAffinity": if round == "2" { "None" } else { "ClientIP" }}}),
        )?;
        n.merge(
            Kind::Service,
            "web",
            json!({"status": {"loadBalancer": {}, "conditions": [{"type": "X", "status": "True",
            "reason": "R", "message": round, "lastTransitionTime": "2030-01-01T00:00:00Z"}]}}),
        )?;
        n.merge(Kind::Endpoints, "web", annotate(round))?;
        n.merge(Kind::EndpointSlice, &first_slice(&n), annotate(round))?;
        let mut node = build::node("node-a", "zone-a");
        node["metadata"]["labels"]["round"] = json!(round);
        node["status"]["conditions"][0]["lastHeartbeatTime"] = json!(format!("2030-01-01T00:00:0{round}Z"));
        n.put(node)?;
        let mut namespace = build::namespace("quiet");
        namespace["metadata"]["labels"] = json!({"round": round});
        n.put(namespace)?;
        let conditions = json!([{"type": "Ready", "status": "True"}, {"type": "Other", "status": "True", "reason": round}]);
        n.merge(Kind::Pod, "a", json!({"status": {"conditions": conditions}}))?;
    }
    hold(&world, &[n.wants("web", Some(&[LISTED]), &[UP])]).await?;
    let after = ["endpoints", "endpointslices"].map(|kind| writes(world.embedded().expect("embedded"), kind));
    assert_eq!(after, before);
    Ok(())
}

/// The selector is removed, or the Service turns ExternalName: what was made for it goes, of both families and kinds;
/// slices of others stay as they are.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_without_a_selector() -> Result<()> {
    let world = world().await?;
    let external = json!({"type": "ExternalName", "externalName": "example.org", "clusterIP": null, "clusterIPs": null,
        "ipFamilies": null, "ipFamilyPolicy": null});
    let mut cases = Vec::new();
    for (name, spec) in [("none", json!({"selector": null})), ("external", external)] {
        let n = Namespace::new(world.embedded()?, name)?;
        let mut service = build::service("", "web");
        service["spec"]["ipFamilyPolicy"] = json!("RequireDualStack");
        n.put(service)?;
        let mut both = pod("a", "10.1.0.1", true);
        both["status"]["podIPs"] = json!([{"ip": "10.1.0.1"}, {"ip": "fd00::1"}]);
        n.put(both)?;
        for (slice, by) in [("theirs", Some("example.org")), ("nobodys", None)] {
            let mut labels = json!({"kubernetes.io/service-name": "web"});
            if let Some(by) = by {
                labels[MANAGED_BY] = json!(by);
            }
            n.put(json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                "metadata": {"name": slice, "labels": labels},
                "endpoints": [{"addresses": ["192.0.2.1"], "conditions": {}}], "ports": [{"name": "x", "port": 1}]}))?;
        }
        cases.push((n, spec));
    }
    let theirs = "192.0.2.1 ??? x:1/TCP";
    let made =
        |n: &Namespace| n.wants("web", Some(&[LISTED]), &[UP, "fd00::1 rs- http:8080/TCP", theirs, theirs]);
    hold(&world, &cases.iter().map(|(n, _)| made(n)).collect::<Vec<_>>()).await?;
    let kept: Vec<_> =
        cases.iter().map(|(n, _)| ["theirs", "nobodys"].map(|it| n.get(Kind::EndpointSlice, it))).collect();
    for (n, spec) in &cases {
        n.merge(Kind::Service, "web", json!({ "spec": spec }))?;
    }
    hold(&world, &cases.iter().map(|(n, _)| n.wants("web", None, &[theirs, theirs])).collect::<Vec<_>>())
        .await?;
    for ((n, _), kept) in cases.iter().zip(kept) {
        assert_eq!(["theirs", "nobodys"].map(|it| n.get(Kind::EndpointSlice, it)), kept, "{}", n.name);
    }
    Ok(())
}

/// The selector is removed and Endpoints are written by hand in the same moment, in many ways, and the watches of Services
/// and of Endpoints are behind each other: what was made goes, what a person wrote stays as it is and is mirrored.
#[tokio::test(flavor = "multi_thread")]
async fn the_selector_goes_and_a_person_comes() -> Result<()> {
    let world = world().await?;
    for (round, late) in
        [None, Some("services"), Some("endpoints"), Some("endpointslices")].into_iter().enumerate()
    {
        let spaces: Vec<_> = (0..24)
            .map(|number| {
                let n = Namespace::new(world.embedded()?, &format!("race-{round}-{number}"))?;
                n.put(build::service("", "web"))?;
                n.put(pod("a", "10.1.0.1", true))?;
                anyhow::Ok(n)
            })
            .collect::<Result<_>>()?;
        let up: Vec<_> = spaces.iter().map(|n| n.wants("web", Some(&[LISTED]), &[UP])).collect();
        hold(&world, &up).await?;
        if let Some(kind) = late {
            world.fault(Fault::DelayWatch { kind: Some(kind.to_owned()), milliseconds: 250 })?;
        }
        let mut written = Vec::new();
        for (number, n) in spaces.iter().enumerate() {
            n.merge(Kind::Service, "web", json!({"spec": {"selector": null}}))?;
            // Some wait until the controller is at it.
            if number % 4 >= 2 {
                tokio::time::sleep(std::time::Duration::from_millis(number as u64 % 7)).await;
            }
            let subsets =
                json!([{"addresses": [{"ip": "192.0.2.1"}, {"ip": "fd00::9"}], "ports": [{"port": 80}]}]);
            let by_hand = json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "web"}, "subsets": subsets});
            match number % 3 {
                // A patch keeps the labels; where the object is gone already there is nothing to patch.
                0 if n.merge(Kind::Endpoints, "web", json!({"subsets": subsets})).is_ok() => {}
                1 if n.delete(Kind::Endpoints, "web", None).is_ok() => drop(n.put(by_hand)?),
                _ => drop(n.put(by_hand)?),
            }
            written.push(n.get(Kind::Endpoints, "web"));
        }
        let lines = ["192.0.2.1 :80/TCP", "fd00::9 :80/TCP"];
        let mirrored = ["192.0.2.1 r?? :80/TCP", "fd00::9 r?? :80/TCP"];
        let wanted: Vec<_> = spaces.iter().map(|n| n.wants("web", Some(&lines), &mirrored)).collect();
        hold(&world, &wanted).await?;
        world.embedded()?.faults().clear();
        hold(&world, &wanted).await?;
        for (n, written) in spaces.iter().zip(written) {
            assert_eq!(n.get(Kind::Endpoints, "web"), written, "{}: as it was written", n.name);
        }
    }
    Ok(())
}
