//! What the Endpoints object itself is like: labels, annotations, capacity, what is adopted and what is put right. Each
//! case is a namespace of its own. The rules are those of kube-controller-manager's endpoint controller.

use std::path::Path;

use anyhow::{Context, Result};
use callsign_e2e::{
    apiserver::{Options, kind::Kind},
    harness::{
        build,
        namespace::{Namespace, hold, list, server, until, writes},
        world::World,
    },
};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_callsign");
const NODES: [(&str, &str); 2] = [("node-a", "zone-a"), ("node-b", "zone-b")];
const TRIGGER_TIME: &str = "/metadata/annotations/endpoints.kubernetes.io~1last-change-trigger-time";
const OVER_CAPACITY: &str = "/metadata/annotations/endpoints.kubernetes.io~1over-capacity";

async fn world() -> Result<World> {
    World::join(Path::new(BINARY), server(Options::default(), &NODES).await?, &[]).await
}

fn service(spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec})
}

fn selecting(ports: Value) -> Value {
    service(json!({"selector": {"app": "web"}, "ports": ports}))
}

fn pod(name: &str, ip: &str, ready: bool) -> Value {
    build::pod("", name, "web", ip, ready)
}

/// Labels of Endpoints and slices: the Service's, whether it is headless, and whose they are.
#[tokio::test(flavor = "multi_thread")]
async fn labels() -> Result<()> {
    let world = world().await?;
    let mut cases = Vec::new();
    for (name, headless) in [("headless", true), ("addressed", false)] {
        let n = Namespace::new(world.embedded()?, name)?;
        let mut service = if headless { build::headless("", "web") } else { build::service("", "web") };
        service["metadata"]["labels"] = json!({
            "team": "shop", "service.kubernetes.io/headless": "mine", "endpoints.kubernetes.io/managed-by": "me",
            "kubernetes.io/service-name": "other", "endpointslice.kubernetes.io/managed-by": "me",
        });
        n.put(service)?;
        cases.push((n, headless));
    }
    let right = |n: &Namespace, headless: bool, team: Option<&str>, user: bool| {
        let mut endpoints = json!({"endpoints.kubernetes.io/managed-by": "endpoint-controller"});
        let mut slice = json!({"kubernetes.io/service-name": "web",
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"});
        if let Some(team) = team {
            endpoints["team"] = json!(team);
            slice["team"] = json!(team);
        }
        if headless {
            endpoints["service.kubernetes.io/headless"] = json!("");
            slice["service.kubernetes.io/headless"] = json!("");
        }
        if user {
            // Reserved for slices only.
            endpoints["kubernetes.io/service-name"] = json!("other");
            endpoints["endpointslice.kubernetes.io/managed-by"] = json!("me");
            slice["endpoints.kubernetes.io/managed-by"] = json!("me");
        }
        let found = n.get(Kind::Endpoints, "web").unwrap_or_default();
        let slices = n.slices("web");
        found.pointer("/metadata/labels") == Some(&endpoints)
            && found.pointer("/metadata/ownerReferences").is_none()
            && slices.len() == 1
            && slices[0].pointer("/metadata/labels") == Some(&slice)
    };
    for (n, headless) in &cases {
        until(&format!("labels of {}", n.name), || right(n, *headless, Some("shop"), true)).await?;
        n.merge(Kind::Service, "web", json!({"metadata": {"labels": null}}))?;
        until(&format!("no labels of {}", n.name), || right(n, *headless, None, false)).await?;
        n.merge(Kind::Service, "web", json!({"metadata": {"labels": {"team": "ops"}}}))?;
        until(&format!("new labels of {}", n.name), || right(n, *headless, Some("ops"), false)).await?;
    }
    Ok(())
}

/// What was there before: right objects are adopted without a write, others put right by one, strangers left alone.
#[tokio::test(flavor = "multi_thread")]
async fn objects_that_were_there() -> Result<()> {
    let server = server(Options::default(), &NODES).await?;
    let managed = json!({"endpoints.kubernetes.io/managed-by": "endpoint-controller"});
    let endpoints = |labels: &Value, subsets: Value| {
        json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "web", "labels": labels},
            "subsets": subsets})
    };
    let mut kept = Vec::new();
    let mut rewritten = Vec::new();
    for (name, labels, sorted) in [
        ("identical", managed.clone(), true),
        ("unsorted", managed.clone(), false),
        ("unlabelled", json!({}), true),
        ("extra-label", json!({"endpoints.kubernetes.io/managed-by": "endpoint-controller", "x": "y"}), true),
        ("other-manager", json!({"endpoints.kubernetes.io/managed-by": "me"}), true),
    ] {
        let n = Namespace::new(&server, name)?;
        n.put(build::service("", "web"))?;
        let mut addresses = Vec::new();
        for (pod_name, ip) in [("a", "10.1.0.1"), ("b", "10.1.0.2")] {
            let uid = n.put(pod(pod_name, ip, true))?.pointer("/metadata/uid").cloned();
            addresses.push(json!({"ip": ip, "nodeName": "node-a",
                "targetRef": {"kind": "Pod", "namespace": name, "name": pod_name, "uid": uid}}));
        }
        let ports = json!([{"name": "http", "port": 8080, "protocol": "TCP"}]);
        let subsets = if sorted {
            json!([{"addresses": addresses, "ports": ports}])
        } else {
            json!([{"addresses": [addresses[1]], "ports": ports}, {"addresses": [addresses[0]], "ports": ports}])
        };
        let mut object = endpoints(&labels, subsets);
        object["metadata"]["annotations"] = json!({"theirs": "stays"});
        n.put(object)?;
        if labels == managed { &mut kept } else { &mut rewritten }.push(n);
    }
    let mut strangers = Vec::new();
    let by_hand = json!([{"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 80}]}]);
    for (name, service) in [("by-hand", true), ("no-service", false)] {
        let n = Namespace::new(&server, name)?;
        if service {
            n.put(self::service(json!({"ports": [{"port": 80}]})))?;
        }
        n.put(endpoints(&json!({}), by_hand.clone()))?;
        strangers.push(n);
    }
    let lock = Namespace::new(&server, "lock")?;
    let mut object = endpoints(&managed, json!([]));
    object["metadata"]["annotations"] = json!({"control-plane.alpha.kubernetes.io/leader": "{}"});
    lock.put(object)?;
    strangers.push(lock);
    let left_over = Namespace::new(&server, "left-over")?;
    left_over.put(endpoints(&managed, by_hand))?;

    let version = |n: &Namespace| {
        let object = n.get(Kind::Endpoints, "web")?;
        object.pointer("/metadata/resourceVersion").and_then(Value::as_str).map(str::to_owned)
    };
    let unchanged: Vec<_> =
        kept.iter().chain(&strangers).map(|n| (n.clone(), version(n).expect("a version"))).collect();
    let world = World::join(Path::new(BINARY), server, &[]).await?;
    let lines = ["10.1.0.1 http:8080/TCP", "10.1.0.2 http:8080/TCP"];
    let slices = ["10.1.0.1 rs- http:8080/TCP", "10.1.0.2 rs- http:8080/TCP"];
    let cases: Vec<_> =
        kept.iter().chain(&rewritten).map(|n| n.wants("web", Some(&lines), &slices)).collect();
    hold(&world, &cases).await?;
    until("left over Endpoints go", || left_over.get(Kind::Endpoints, "web").is_none()).await?;
    until("all are labelled", || {
        rewritten.iter().all(|n| {
            let labels = n.get(Kind::Endpoints, "web").and_then(|o| o.pointer("/metadata/labels").cloned());
            labels.as_ref() == Some(&managed)
        })
    })
    .await?;
    world.cluster.settle().await?;
    for (n, version_before) in &unchanged {
        assert_eq!(version(n).as_ref(), Some(version_before), "{}", n.name);
    }
    for n in &rewritten {
        let object = n.get(Kind::Endpoints, "web").context("Endpoints")?;
        assert_eq!(object.pointer("/metadata/annotations/theirs"), Some(&json!("stays")), "{}", n.name);
    }
    // Two creates would be too many: default/kubernetes is the API server's, the rest was there.
    assert_eq!(writes(world.embedded()?, "endpoints"), [0, rewritten.len() as u64, 1]);
    Ok(())
}

/// A thousand addresses at most, ready ones first, each subset its share; at rest nothing is written.
#[tokio::test(flavor = "multi_thread")]
async fn over_capacity() -> Result<()> {
    let server = server(Options::default(), &NODES).await?;
    let n = Namespace::new(&server, "big")?;
    n.put(selecting(json!([{"name": "http", "port": 80, "targetPort": "web"}])))?;
    for number in 0..1540_u16 {
        let (second, ready) = (number >= 600, number < 900);
        let mut pod =
            pod(&format!("p-{number:04}"), &format!("10.1.{}.{}", number / 200, number % 200 + 1), ready);
        let port = if second { 9090 } else { 8080 };
        pod["spec"]["containers"][0]["ports"] = json!([{"name": "web", "containerPort": port}]);
        n.put(pod)?;
    }
    let flags = ["--max-endpoints-per-slice", "1000", "--lameduck", "0"];
    let mut world = World::join(Path::new(BINARY), server, &flags).await?;
    let shares = || {
        let object = n.get(Kind::Endpoints, "web").unwrap_or_default();
        let mut shares: Vec<_> = list(&object, "subsets")
            .map(|subset| (list(subset, "addresses").count(), list(subset, "notReadyAddresses").count()))
            .collect();
        shares.sort_unstable();
        (shares, object.pointer(OVER_CAPACITY).cloned())
    };
    let truncated = Some(json!("truncated"));
    until("ready ones and a share of the others", || {
        shares() == (vec![(300, 100), (600, 0)], truncated.clone())
    })
    .await?;
    world.cluster.settle().await?;
    let before = writes(world.embedded()?, "endpoints");
    for number in 0..20 {
        let patch = json!({"metadata": {"annotations": {"a": "b"}}, "spec": {}});
        n.merge(Kind::Pod, &format!("p-{number:04}"), patch)?;
    }
    n.merge(Kind::Service, "web", json!({"metadata": {"annotations": {"a": "b"}}}))?;
    world.cluster.settle().await?;
    assert_eq!(writes(world.embedded()?, "endpoints"), before, "at rest");
    let there = (n.get(Kind::Endpoints, "web"), n.slices("web"));
    world.restart(Path::new(BINARY), &flags).await?;
    n.mark("marker").await?;
    world.cluster.settle().await?;
    assert!((n.get(Kind::Endpoints, "web"), n.slices("web")) == there, "after a restart");
    // What very old versions wrote.
    let warning = json!({"metadata": {"annotations": {"endpoints.kubernetes.io/over-capacity": "warning"}}});
    n.merge(Kind::Endpoints, "web", warning)?;
    until("the annotation of today", || shares().1 == truncated).await?;
    // More ready ones than there is room for: those that are not are left out altogether.
    for number in 900..1030 {
        n.merge(Kind::Pod, &format!("p-{number:04}"), json!({"status": build::status_conditions(true)}))?;
    }
    // 600 and 430 of 1030: ceil(600·1000/1030) = 583, and what is left.
    until("shares of ready ones", || shares() == (vec![(417, 0), (583, 0)], truncated.clone())).await?;
    for number in 1000..1540 {
        n.delete(Kind::Pod, &format!("p-{number:04}"), Some(0))?;
    }
    until("room for all", || shares() == (vec![(400, 0), (600, 0)], None)).await
}

/// The annotation tells when the change happened, and goes with a write that no such time is known for.
#[tokio::test(flavor = "multi_thread")]
async fn trigger_times() -> Result<()> {
    let world = world().await?;
    let n = Namespace::new(world.embedded()?, "times")?;
    let created = n.put(build::headless("", "web"))?.pointer("/metadata/creationTimestamp").cloned();
    let times = || {
        let endpoints = n.get(Kind::Endpoints, "web").and_then(|o| o.pointer(TRIGGER_TIME).cloned());
        (endpoints, n.slices("web").first().and_then(|slice| slice.pointer(TRIGGER_TIME).cloned()))
    };
    until("the Service's creation", || times() == (created.clone(), created.clone())).await?;
    let turned = |ready: bool, at: &str| {
        let mut conditions = build::status_conditions(ready);
        conditions["conditions"][0]["lastTransitionTime"] = json!(at);
        json!({ "status": conditions })
    };
    let mut late = pod("a", "10.1.0.1", true);
    late["status"]["conditions"][0]["lastTransitionTime"] = json!("2030-01-01T00:00:01Z");
    n.put(late)?;
    let same = |at: &str| (Some(json!(at)), Some(json!(at)));
    until("the pod's transition", || times() == same("2030-01-01T00:00:01Z")).await?;
    n.merge(Kind::Pod, "a", turned(false, "2030-01-01T00:00:05Z"))?;
    until("the next transition", || times() == same("2030-01-01T00:00:05Z")).await?;
    // A change of the Service has no such time.
    n.merge(Kind::Service, "web", json!({"metadata": {"labels": {"a": "b"}}}))?;
    until("no time", || times() == (None, None)).await
}
