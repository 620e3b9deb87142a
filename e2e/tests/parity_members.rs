//! Who is listed, under which addresses and ports, in Endpoints and in slices. Each case is a namespace of its own in a
//! world that several share. The rules are those of kube-controller-manager's endpoint controllers.

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
const NODES: [(&str, &str); 2] = [("node-a", "zone-a"), ("node-b", "zone-b")];

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

/// Phase × Ready × terminating × `publishNotReadyAddresses`, and a pod that has no address.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_listed() -> Result<()> {
    let world = world().await?;
    let n = Namespace::new(world.embedded()?, "matrix")?;
    n.put(build::service("", "web"))?;
    let mut publishing = build::service("", "all");
    publishing["spec"]["selector"] = json!({"app": "web"});
    publishing["spec"]["publishNotReadyAddresses"] = json!(true);
    n.put(publishing)?;
    let mut wanted = [(vec![], vec![]), (vec![], vec![])];
    let mut number = 0;
    for phase in ["Pending", "Running", "Unknown", "Succeeded", "Failed"] {
        for ready in [Some("True"), Some("False"), Some("Unknown"), None] {
            for terminating in [false, true] {
                number += 1;
                let (name, ip) = (format!("p-{number}"), format!("10.1.0.{number}"));
                let mut it = pod(&name, &ip, false);
                it["status"]["phase"] = json!(phase);
                it["status"]["conditions"] = match ready {
                    Some(status) => json!([{"type": "Ready", "status": status}]),
                    None => json!([{"type": "PodScheduled", "status": "True"}]),
                };
                n.put(it)?;
                if terminating {
                    n.delete(Kind::Pod, &name, None)?;
                }
                if matches!(phase, "Succeeded" | "Failed") {
                    continue;
                }
                let serving = ready == Some("True");
                for (publish, (endpoints, slices)) in [false, true].into_iter().zip(&mut wanted) {
                    if publish || !terminating {
                        let mark = if publish || serving { "" } else { "!" };
                        endpoints.push(format!("{mark}{ip} http:8080/TCP"));
                    }
                    let letter = |holds, letter| if holds { letter } else { '-' };
                    let r = letter(publish || (serving && !terminating), 'r');
                    let (s, t) = (letter(serving, 's'), letter(terminating, 't'));
                    slices.push(format!("{ip} {r}{s}{t} http:8080/TCP"));
                }
            }
        }
    }
    let mut without_address = pod("p-0", "", false);
    without_address["status"] =
        json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
    n.put(without_address)?;
    let cases = ["web", "all"].into_iter().zip(&wanted).map(|(service, (endpoints, slices))| {
        let endpoints: Vec<&str> = endpoints.iter().map(String::as_str).collect();
        n.wants(service, Some(&endpoints), &slices.iter().map(String::as_str).collect::<Vec<_>>())
    });
    hold(&world, &cases.collect::<Vec<_>>()).await
}

/// A pod that was never ready and fails is taken out, though nothing but its phase changes: upstream leaves it published
/// until another event.
#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_changes_underhand() -> Result<()> {
    let world = world().await?;
    let fails = Namespace::new(world.embedded()?, "fails")?;
    let mut publishing = build::service("", "web");
    publishing["spec"]["publishNotReadyAddresses"] = json!(true);
    fails.put(publishing)?;
    fails.put(pod("a", "10.1.0.1", false))?;
    let again = Namespace::new(world.embedded()?, "again")?;
    again.put(build::service("", "web"))?;
    let first = again.put(pod("a", "10.1.0.1", true))?;
    let noisy = Namespace::new(world.embedded()?, "noisy")?;
    noisy.put(build::service("", "web"))?;
    noisy.put(pod("a", "10.1.0.1", true))?;
    let up = ["10.1.0.1 rs- http:8080/TCP"];
    hold(
        &world,
        &[
            fails.wants("web", Some(&["10.1.0.1 http:8080/TCP"]), &["10.1.0.1 r-- http:8080/TCP"]),
            again.wants("web", Some(&["10.1.0.1 http:8080/TCP"]), &up),
            noisy.wants("web", Some(&["10.1.0.1 http:8080/TCP"]), &up),
        ],
    )
    .await?;
    let before = (writes(world.embedded()?, "endpoints"), writes(world.embedded()?, "endpointslices"));
    for round in 0..50 {
        noisy.merge(Kind::Pod, "a", json!({"metadata": {"annotations": {"round": round.to_string()}}}))?;
    }
    world.cluster.settle().await?;
    assert_eq!((writes(world.embedded()?, "endpoints"), writes(world.embedded()?, "endpointslices")), before);
    fails.merge(Kind::Pod, "a", json!({"status": {"phase": "Failed"}}))?;
    hold(&world, &[fails.wants("web", Some(&[]), &["IPv4 empty"])]).await?;
    // Another pod of the same name and address is another target.
    again.delete(Kind::Pod, "a", Some(0))?;
    let second = again.put(pod("a", "10.1.0.1", true))?;
    assert_ne!(first.pointer("/metadata/uid"), second.pointer("/metadata/uid"));
    let uid = second.pointer("/metadata/uid");
    until("the second pod", || {
        let endpoints = again.get(Kind::Endpoints, "web").unwrap_or_default();
        let slices = again.slices("web");
        endpoints.pointer("/subsets/0/addresses/0/targetRef/uid") == uid
            && slices.len() == 1
            && slices[0].pointer("/endpoints/0/targetRef/uid") == uid
    })
    .await
}

/// Pods that share an address are endpoints each; one that has ended is not (`TestSyncService`, "same IPs").
#[tokio::test(flavor = "multi_thread")]
async fn pods_that_share_an_address() -> Result<()> {
    let world = world().await?;
    let n = Namespace::new(world.embedded()?, "shared")?;
    n.put(build::service("", "web"))?;
    for name in ["a", "b", "done"] {
        n.put(pod(name, "10.1.0.1", true))?;
    }
    n.merge(Kind::Pod, "done", json!({"status": {"phase": "Succeeded"}}))?;
    let (line, endpoint) = ("10.1.0.1 http:8080/TCP", "10.1.0.1 rs- http:8080/TCP");
    hold(&world, &[n.wants("web", Some(&[line, line]), &[endpoint, endpoint])]).await?;
    // The one that goes is taken out, not the other.
    n.delete(Kind::Pod, "a", Some(0))?;
    hold(&world, &[n.wants("web", Some(&[line]), &[endpoint])]).await?;
    let target = |object: &Value, pointer: &str| object.pointer(pointer).cloned();
    let endpoints = n.get(Kind::Endpoints, "web").unwrap_or_default();
    assert_eq!(target(&endpoints, "/subsets/0/addresses/0/targetRef/name"), Some(json!("b")));
    assert_eq!(target(&n.slices("web")[0], "/endpoints/0/targetRef/name"), Some(json!("b")));
    Ok(())
}

/// An endpoint has a hostname where the pod has one and its subdomain is the Service's name (`TestShouldSetHostname`).
#[tokio::test(flavor = "multi_thread")]
async fn hostnames() -> Result<()> {
    let world = world().await?;
    let n = Namespace::new(world.embedded()?, "hostnames")?;
    n.put(build::headless("", "web"))?;
    let cases = [
        ("both", json!({"hostname": "east", "subdomain": "web"}), Some("east")),
        ("other-subdomain", json!({"hostname": "east", "subdomain": "other"}), None),
        ("hostname-only", json!({"hostname": "east"}), None),
        ("subdomain-only", json!({"subdomain": "web"}), None),
        ("fqdn", json!({"subdomain": "web", "setHostnameAsFQDN": true}), None),
        ("neither", json!({}), None),
    ];
    for (number, (name, spec, _)) in cases.iter().enumerate() {
        let mut pod = pod(name, &format!("10.1.0.{}", number + 1), true);
        for (field, value) in spec.as_object().into_iter().flatten() {
            pod["spec"][field] = value.clone();
        }
        n.put(pod)?;
    }
    let found = |object: &Value, lists: &[&str], name: &str| {
        let all = lists.iter().filter_map(|list| object.pointer(list)?.as_array()).flatten();
        let mut of = all.filter(|entry| entry.pointer("/targetRef/name") == Some(&json!(name)));
        of.next().map(|entry| entry.get("hostname").and_then(Value::as_str).map(str::to_owned))
    };
    until("hostnames", || {
        let endpoints = n.get(Kind::Endpoints, "web").unwrap_or_default();
        let slice = n.slices("web").into_iter().next().unwrap_or_default();
        cases.iter().all(|(name, _, wanted)| {
            let wanted = Some(wanted.map(str::to_owned));
            found(&endpoints, &["/subsets/0/addresses"], name) == wanted
                && found(&slice, &["/endpoints"], name) == wanted
        })
    })
    .await
}

/// Service ports, what pods declare, and what is listed.
#[tokio::test(flavor = "multi_thread")]
async fn ports() -> Result<()> {
    let world = world().await?;
    let container = |ports: Value| json!({"name": "c", "image": "i", "ports": ports});
    let with = |name: &str, ip: &str, ports: Value| {
        let mut pod = pod(name, ip, true);
        pod["spec"]["containers"] = json!([container(ports)]);
        pod
    };
    let mut cases = Vec::new();
    let mut case = |name: &str, service: Value, pods: Vec<Value>, endpoints: &[&str], slices: &[&str]| {
        let n = Namespace::new(world.embedded()?, name)?;
        n.put(service)?;
        pods.into_iter().try_for_each(|pod| n.put(pod).map(drop))?;
        cases.push(n.wants("web", Some(endpoints), slices));
        anyhow::Ok(())
    };
    for protocol in ["TCP", "UDP", "SCTP"] {
        case(
            &format!("protocol-{}", protocol.to_lowercase()),
            selecting(json!([{"port": 80, "protocol": protocol, "appProtocol": "h2c"}])),
            vec![pod("a", "10.1.0.1", true)],
            &[&format!("10.1.0.1 :80/{protocol}=h2c")],
            &[&format!("10.1.0.1 rs- :80/{protocol}=h2c")],
        )?;
    }
    case(
        "same-port-twice",
        selecting(json!([{"name": "t", "port": 80, "targetPort": 8080},
            {"name": "u", "port": 80, "targetPort": 8080, "protocol": "UDP"}])),
        vec![pod("a", "10.1.0.1", true), pod("b", "10.1.0.2", false)],
        &["10.1.0.1 t:8080/TCP,u:8080/UDP", "!10.1.0.2 t:8080/TCP,u:8080/UDP"],
        &["10.1.0.1 rs- t:8080/TCP,u:8080/UDP", "10.1.0.2 --- t:8080/TCP,u:8080/UDP"],
    )?;
    let named = || selecting(json!([{"name": "http", "port": 80, "targetPort": "web"}]));
    case(
        "named",
        named(),
        vec![
            with("a", "10.1.0.1", json!([{"name": "web", "containerPort": 8080}])),
            with("b", "10.1.0.2", json!([{"name": "web", "containerPort": 9090}])),
            with("c", "10.1.0.3", json!([{"name": "other", "containerPort": 8080}])),
            with("d", "10.1.0.4", json!([{"name": "web", "containerPort": 8080, "protocol": "UDP"}])),
            pod("e", "10.1.0.5", true),
        ],
        &["10.1.0.1 http:8080/TCP", "10.1.0.2 http:9090/TCP"],
        &[
            "10.1.0.1 rs- http:8080/TCP",
            "10.1.0.2 rs- http:9090/TCP",
            "10.1.0.3 rs- -",
            "10.1.0.4 rs- -",
            "10.1.0.5 rs- -",
        ],
    )?;
    case(
        "one-of-two-named",
        selecting(
            json!([{"name": "a", "port": 1, "targetPort": "a"}, {"name": "b", "port": 2, "targetPort": "b"}]),
        ),
        vec![
            with("a", "10.1.0.1", json!([{"name": "a", "containerPort": 1001}])),
            with("b", "10.1.0.2", json!([{"name": "b", "containerPort": 1002}])),
            with(
                "c",
                "10.1.0.3",
                json!([{"name": "b", "containerPort": 1002}, {"name": "a", "containerPort": 1001}]),
            ),
        ],
        &["10.1.0.1 a:1001/TCP", "10.1.0.2 b:1002/TCP", "10.1.0.3 a:1001/TCP", "10.1.0.3 b:1002/TCP"],
        &["10.1.0.1 rs- a:1001/TCP", "10.1.0.2 rs- b:1002/TCP", "10.1.0.3 rs- a:1001/TCP,b:1002/TCP"],
    )?;
    let init = |policy: Option<&str>, number: u16| {
        let mut init =
            json!({"name": "s", "image": "i", "ports": [{"name": "web", "containerPort": number}]});
        if let Some(policy) = policy {
            init["restartPolicy"] = json!(policy);
        }
        init
    };
    let mut sidecar = pod("a", "10.1.0.1", true);
    sidecar["spec"]["initContainers"] = json!([init(Some("Always"), 7001)]);
    let mut not_a_sidecar = pod("b", "10.1.0.2", true);
    not_a_sidecar["spec"]["initContainers"] = json!([init(None, 7002)]);
    let mut both = with("c", "10.1.0.3", json!([{"name": "web", "containerPort": 8080}]));
    both["spec"]["initContainers"] = json!([init(Some("Always"), 7003)]);
    case(
        "sidecars",
        named(),
        vec![sidecar, not_a_sidecar, both],
        &["10.1.0.1 http:7001/TCP", "10.1.0.3 http:8080/TCP"],
        &["10.1.0.1 rs- http:7001/TCP", "10.1.0.2 rs- -", "10.1.0.3 rs- http:8080/TCP"],
    )?;
    let mut two_containers = with("a", "10.1.0.1", json!([{"name": "web", "containerPort": 7001}]));
    two_containers["spec"]["containers"] = json!([
        {"name": "none", "image": "i"},
        {"name": "udp", "image": "i", "ports": [{"name": "web", "containerPort": 7000, "protocol": "UDP"}]},
        {"name": "first", "image": "i", "ports": [{"name": "web", "containerPort": 7001}]},
        {"name": "second", "image": "i", "ports": [{"name": "web", "containerPort": 7002}]},
    ]);
    case(
        "first-of-its-name",
        named(),
        vec![two_containers],
        &["10.1.0.1 http:7001/TCP"],
        &["10.1.0.1 rs- http:7001/TCP"],
    )?;
    case(
        "headless-portless",
        service(json!({"selector": {"app": "web"}, "clusterIP": "None"})),
        vec![pod("a", "10.1.0.1", true), pod("b", "10.1.0.2", false)],
        &["10.1.0.1 -", "!10.1.0.2 -"],
        &["10.1.0.1 rs- -", "10.1.0.2 --- -"],
    )?;
    let changing = Namespace::new(world.embedded()?, "changing")?;
    changing.put(build::service("", "web"))?;
    changing.put(pod("a", "10.1.0.1", true))?;
    hold(&world, &cases).await?;
    for (ports, wanted) in [
        (json!([{"name": "http", "port": 80}, {"name": "more", "port": 81}]), "http:80/TCP,more:81/TCP"),
        (json!([{"name": "more", "port": 81}]), "more:81/TCP"),
    ] {
        changing.merge(Kind::Service, "web", json!({"spec": {"ports": ports}}))?;
        let (endpoints, slices) = (format!("10.1.0.1 {wanted}"), format!("10.1.0.1 rs- {wanted}"));
        hold(&world, &[changing.wants("web", Some(&[&endpoints]), &[&slices])]).await?;
        assert_eq!(changing.slices("web").len(), 1);
    }
    Ok(())
}

/// Endpoints have the first family of the Service, slices each of them.
#[tokio::test(flavor = "multi_thread")]
async fn families() -> Result<()> {
    let world = world().await?;
    let both = |name: &str, ips: [&str; 2]| {
        let mut pod = pod(name, ips[0], true);
        pod["status"]["podIPs"] = json!([{"ip": ips[0]}, {"ip": ips[1]}]);
        pod
    };
    let mut cases = Vec::new();
    for headless in [false, true] {
        for families in [vec!["IPv4"], vec!["IPv6"], vec!["IPv4", "IPv6"], vec!["IPv6", "IPv4"]] {
            let name = format!("{headless}-{}", families.join("-").to_lowercase());
            let n = Namespace::new(world.embedded()?, &name)?;
            let mut spec =
                json!({"selector": {"app": "web"}, "ports": [{"port": 80}], "ipFamilies": families});
            spec["ipFamilyPolicy"] =
                json!(if families.len() == 2 { "RequireDualStack" } else { "SingleStack" });
            if headless {
                spec["clusterIP"] = json!("None");
            }
            n.put(service(spec))?;
            n.put(both("a", ["10.1.0.1", "fd00::1"]))?;
            n.put(both("b", ["fd00::2", "10.1.0.2"]))?;
            n.put(pod("c", "10.1.0.3", true))?;
            let of_family = |family: &str| match family {
                "IPv4" => ["10.1.0.1", "10.1.0.2", "10.1.0.3"].as_slice(),
                _ => &["fd00::1", "fd00::2"],
            };
            let line = |ip: &&str| format!("{ip} :80/TCP");
            let endpoints: Vec<String> = of_family(families[0]).iter().map(line).collect();
            let listed = families.iter().flat_map(|family| of_family(family));
            let slices: Vec<String> = listed.map(|ip| format!("{ip} rs- :80/TCP")).collect();
            let texts = |lines: &[String]| lines.iter().map(String::clone).collect::<Vec<_>>();
            let (endpoints, slices) = (texts(&endpoints), texts(&slices));
            let endpoints: Vec<&str> = endpoints.iter().map(String::as_str).collect();
            cases.push(n.wants(
                "web",
                Some(&endpoints),
                &slices.iter().map(String::as_str).collect::<Vec<_>>(),
            ));
        }
    }
    hold(&world, &cases).await
}

/// No selector, ExternalName, and from one to the other.
#[tokio::test(flavor = "multi_thread")]
async fn services_that_select_nothing() -> Result<()> {
    let world = world().await?;
    let mut cases = Vec::new();
    for selector in [false, true] {
        for ports in [false, true] {
            let n = Namespace::new(world.embedded()?, &format!("external-{selector}-{ports}"))?;
            let mut spec = json!({"type": "ExternalName", "externalName": "example.org"});
            if selector {
                spec["selector"] = json!({"app": "web"});
            }
            if ports {
                spec["ports"] = json!([{"port": 80}]);
            }
            n.put(service(spec))?;
            n.put(pod("a", "10.1.0.1", true))?;
            cases.push(n.wants("web", None, &[]));
        }
    }
    let none = Namespace::new(world.embedded()?, "no-pods")?;
    none.put(build::service("", "web"))?;
    cases.push(none.wants("web", Some(&[]), &["IPv4 empty"]));
    let empty = Namespace::new(world.embedded()?, "empty-selector")?;
    empty.put(service(json!({"selector": {}, "ports": [{"port": 80}]})))?;
    empty.put(pod("a", "10.1.0.1", true))?;
    cases.push(empty.wants("web", None, &[]));
    hold(&world, &cases).await?;

    let turns = Namespace::new(world.embedded()?, "turns")?;
    turns.put(pod("a", "10.1.0.1", true))?;
    turns.put(service(json!({"type": "ExternalName", "externalName": "example.org"})))?;
    let spec = json!({"type": "ClusterIP", "externalName": null, "selector": {"app": "web"}, "ports": [{"port": 80}]});
    turns.merge(Kind::Service, "web", json!({ "spec": spec }))?;
    let up = || turns.wants("web", Some(&["10.1.0.1 :80/TCP"]), &["10.1.0.1 rs- :80/TCP"]);
    hold(&world, &[up()]).await?;
    let external =
        json!({"type": "ExternalName", "externalName": "example.org", "clusterIP": null, "clusterIPs": null});
    turns.merge(Kind::Service, "web", json!({ "spec": external }))?;
    hold(&world, &[turns.wants("web", None, &[])]).await?;
    turns.merge(Kind::Service, "web", json!({"spec": {"type": "ClusterIP", "externalName": null}}))?;
    hold(&world, &[up()]).await?;
    // The selector goes, the pod is replaced: nothing of the old one stays; then it comes back.
    turns.merge(Kind::Service, "web", json!({"spec": {"selector": null}}))?;
    hold(&world, &[turns.wants("web", None, &[])]).await?;
    turns.delete(Kind::Pod, "a", Some(0))?;
    turns.put(pod("a", "10.1.0.9", true))?;
    turns.merge(Kind::Service, "web", json!({"spec": {"selector": {"app": "web"}}}))?;
    hold(&world, &[turns.wants("web", Some(&["10.1.0.9 :80/TCP"]), &["10.1.0.9 rs- :80/TCP"])]).await
}
