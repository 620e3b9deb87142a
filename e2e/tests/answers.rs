//! Names and types at the edges of the schema: shared names, odd labels, slices by hand, aliases, what comes and goes.

#![expect(clippy::indexing_slicing, reason = "a test may panic, its helpers too")]

use std::path::Path;

use anyhow::Result;
use callsign_e2e::{
    apiserver::Options,
    harness::{build, resolver::question, world::World},
};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_callsign");

async fn world(objects: &[Value]) -> Result<World> {
    let world = World::start(Path::new(BINARY), Options::default(), &[]).await?;
    world.cluster.apply(&build::namespace("n")).await?;
    world.cluster.apply(&build::node("node-a", "zone-a")).await?;
    for object in objects {
        world.cluster.apply(object).await?;
    }
    world.cluster.settle().await?;
    // Everything above is answered when what is written last is.
    world.cluster.apply(&with(build::service("n", "last"), json!({"clusterIP": "10.96.255.254"}))).await?;
    world.answers("last.n.svc.cluster.local.", "A", &["10.96.255.254"]).await?;
    Ok(world)
}

/// The Service with these fields of its specification.
fn with(mut service: Value, spec: Value) -> Value {
    for (key, value) in spec.as_object().into_iter().flatten() {
        service["spec"][key] = value.clone();
    }
    service
}

/// A headless Service without a selector.
fn by_hand(name: &str) -> Value {
    with(build::headless("n", name), json!({"selector": null}))
}

fn slice(service: &str, name: &str, kind: &str, ports: Value, endpoints: Value) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"namespace": "n", "name": name, "labels": {"kubernetes.io/service-name": service}},
        "addressType": kind, "ports": ports, "endpoints": endpoints,
    })
}

fn external(name: &str, target: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "n", "name": name},
        "spec": {"type": "ExternalName", "externalName": target},
    })
}

/// Each line is `<name> <type> <rcode>[: <data>, <data>]`, the data sorted; names without a dot at the end are below
/// `n.svc.cluster.local.`
async fn hold(world: &World, lines: &[&str]) -> Result<()> {
    let mut wrong = Vec::new();
    for line in lines {
        let (question, _) = line.split_once(':').unwrap_or((line, ""));
        let mut words = question.split(' ');
        let (name, kind) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let whole =
            if name.ends_with('.') { name.to_owned() } else { format!("{name}.n.svc.cluster.local.") };
        let reply = world.resolver.ask(&whole, kind).await?;
        let mut data: Vec<&str> =
            reply.answer.iter().map(|line| line.splitn(4, ' ').nth(3).unwrap_or_default()).collect();
        data.sort_unstable();
        let colon = if data.is_empty() { "" } else { ": " };
        let found = format!("{name} {kind} {}{colon}{}", reply.rcode, data.join(", "));
        // A negative answer has the SOA, and an answer with data has none (but for an alias that leads nowhere).
        let negative = reply.authority.iter().any(|line| line.contains(" SOA "));
        let dangling = reply.answer.iter().all(|line| line.contains(" CNAME "));
        if found != *line || negative && !dangling || !negative && data.is_empty() {
            wrong.push(format!("wanted {line}\n found {found} {:?}", reply.authority));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn services_and_ports_that_share_names() -> Result<()> {
    let ports = json!([
        {"name": "tcp", "port": 53}, {"name": "udp", "port": 53, "protocol": "UDP"},
        {"name": "sctp", "port": 99, "protocol": "SCTP"},
    ]);
    let long = "a".repeat(63);
    let world = world(&[
        with(build::service("n", "tcp"), json!({"clusterIP": "10.96.1.1", "ports": ports})),
        with(build::service("n", "svc"), json!({"clusterIP": "10.96.1.2"})),
        with(build::service("n", &long), json!({"clusterIP": "10.96.1.3"})),
        with(build::service("n", "plain"), json!({"clusterIP": "10.96.1.4", "ports": [{"port": 80}]})),
    ])
    .await?;
    hold(
        &world,
        &[
            "tcp A NOERROR: 10.96.1.1",
            "tcp SRV NOERROR: 0 33 53 tcp.n.svc.cluster.local., 0 33 99 tcp.n.svc.cluster.local.",
            "_tcp._tcp.tcp SRV NOERROR: 0 100 53 tcp.n.svc.cluster.local.",
            "tcp.tcp.tcp SRV NOERROR: 0 100 53 tcp.n.svc.cluster.local.",
            "TCP._Tcp.tCP A NOERROR: 10.96.1.1",
            "_udp._tcp.tcp SRV NXDOMAIN",
            "_udp._udp.tcp SRV NOERROR: 0 100 53 tcp.n.svc.cluster.local.",
            "_sctp._sctp.tcp SRV NOERROR: 0 100 99 tcp.n.svc.cluster.local.",
            "_tcp.tcp A NOERROR",
            "x._tcp._tcp.tcp A NXDOMAIN",
            "__tcp._tcp.tcp SRV NXDOMAIN",
            "svc A NOERROR: 10.96.1.2",
            "svc.svc A NXDOMAIN",
            // An unnamed port has no name to be asked by.
            "plain SRV NOERROR: 0 100 80 plain.n.svc.cluster.local.",
            "_._tcp.plain SRV NOERROR: 0 100 80 plain.n.svc.cluster.local.",
            "_80._tcp.plain SRV NXDOMAIN",
            "_tcp.plain SRV NXDOMAIN",
        ],
    )
    .await?;
    hold(&world, &[&format!("{long} A NOERROR: 10.96.1.3")]).await?;
    hold(&world, &[&format!("{} A NOERROR: 10.96.1.3", long.to_uppercase())]).await?;
    // The case of the question comes back in its owner and in the zone of what it leads to.
    let packet = question("_TCP._tcp.Tcp.N.svc.CLUSTER.local.", "SRV", Some(1232))?;
    let reply = world.resolver.udp(&packet).await?;
    assert_eq!(reply.answers[0].name.to_ascii(), "_TCP._tcp.Tcp.N.svc.CLUSTER.local.");
    assert!(reply.answers[0].data.to_string().ends_with(" tcp.n.svc.CLUSTER.local."), "{reply}");
    assert_eq!(reply.additionals[0].name.to_ascii(), "tcp.n.svc.CLUSTER.local.");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn slices_by_hand_that_overlap() -> Result<()> {
    let world = world(&[
        by_hand("h"),
        slice(
            "h",
            "h-1",
            "IPv4",
            json!([{"name": "http", "port": 80}, {"name": "", "port": 81}, {"name": "nil"}]),
            json!([
                {"addresses": ["10.9.0.1", "10.9.0.2"], "hostname": "a"},
                {"addresses": ["10.9.0.3"], "conditions": {"ready": false}},
                {"addresses": ["10.9.0.4"], "conditions": {"serving": false, "terminating": true}},
            ]),
        ),
        slice(
            "h",
            "h-2",
            "IPv4",
            json!([{"name": "http", "port": 82}]),
            json!([{"addresses": ["10.9.0.1"]}, {"addresses": ["10.9.0.3"], "hostname": "late"}]),
        ),
        slice(
            "h",
            "h-3",
            "IPv6",
            Value::Null,
            json!([{"addresses": ["fd00:9::"]}, {"addresses": ["::1:2"]}]),
        ),
    ])
    .await?;
    hold(
        &world,
        &[
            "h A NOERROR: 10.9.0.1, 10.9.0.2, 10.9.0.3, 10.9.0.4",
            "h AAAA NOERROR: ::1:2, fd00:9::",
            "a.h A NOERROR: 10.9.0.1, 10.9.0.2",
            "a.h AAAA NOERROR",
            "10-9-0-1.h A NOERROR: 10.9.0.1",
            "10-9-0-2.h A NXDOMAIN",
            "10-9-0-3.h A NXDOMAIN",
            "late.h A NOERROR: 10.9.0.3",
            "LATE.h A NOERROR: 10.9.0.3",
            "fd00-9--0.h AAAA NOERROR: fd00:9::",
            "fd00-9--0.h SRV NOERROR",
            "--1-2.h AAAA NOERROR: ::1:2",
            "_nil._tcp.h A NOERROR: 10.9.0.1, 10.9.0.2, 10.9.0.4",
            "_nil._tcp.h SRV NOERROR",
            "_http._tcp.h A NOERROR: 10.9.0.1, 10.9.0.2, 10.9.0.3, 10.9.0.4",
            "_http._tcp.h SRV NOERROR: 0 20 80 10-9-0-4.h.n.svc.cluster.local., 0 20 80 a.h.n.svc.cluster.local., \
             0 20 82 10-9-0-1.h.n.svc.cluster.local., 0 20 82 late.h.n.svc.cluster.local.",
            "10-9-0-4.h SRV NOERROR: 0 33 80 10-9-0-4.h.n.svc.cluster.local., 0 33 81 10-9-0-4.h.n.svc.cluster.local.",
            "1.0.9.10.in-addr.arpa. PTR NOERROR: 10-9-0-1.h.n.svc.cluster.local., a.h.n.svc.cluster.local.",
            "3.0.9.10.in-addr.arpa. PTR NOERROR: late.h.n.svc.cluster.local.",
        ],
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn glue_is_of_the_endpoints_with_the_port() -> Result<()> {
    let endpoint = |ip: &str| json!([{"addresses": [ip], "hostname": "a"}]);
    let world = world(&[
        by_hand("h"),
        slice("h", "h-1", "IPv4", json!([{"name": "http", "port": 80}]), endpoint("10.9.0.1")),
        slice("h", "h-2", "IPv4", json!([{"name": "admin", "port": 81}]), endpoint("10.9.0.2")),
        slice("h", "h-6", "IPv6", json!([{"name": "http", "port": 80}]), endpoint("fd00:9::1")),
    ])
    .await?;
    let host = "a.h.n.svc.cluster.local. 30";
    let all =
        [&format!("{host} A 10.9.0.1"), &format!("{host} A 10.9.0.2"), &format!("{host} AAAA fd00:9::1")];
    for (name, wanted) in [
        ("_http._tcp.h", vec![all[0], all[2]]),
        ("_admin._tcp.h", vec![all[1]]),
        ("h", all.to_vec()),
        ("a.h", all.to_vec()),
    ] {
        let reply = world.resolver.ask(&format!("{name}.n.svc.cluster.local."), "SRV").await?;
        assert_eq!(reply.additional.iter().collect::<Vec<_>>(), wanted, "{name}");
    }
    hold(&world, &["a.h A NOERROR: 10.9.0.1, 10.9.0.2"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn reverse_and_pod_names_with_odd_labels() -> Result<()> {
    let v6 = |last: &str| {
        format!("{last}.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.")
    };
    let world = world(&[
        by_hand("h"),
        slice("h", "h-6", "IPv6", Value::Null, json!([{"addresses": ["fd00::a"]}])),
        with(build::service("n", "one"), json!({"clusterIP": "10.96.1.1", "selector": {"app": "x"}})),
        with(build::headless("n", "two"), json!({"selector": {"app": "x"}})),
        build::pod("n", "x", "x", "10.1.0.1", true),
        build::pod("n", "y", "x", "10.1.0.2", false),
    ])
    .await?;
    hold(
        &world,
        &[
            "1.1.96.10.in-addr.arpa. PTR NOERROR: one.n.svc.cluster.local.",
            "1.1.96.10.IN-ADDR.Arpa. PTR NOERROR: one.n.svc.cluster.local.",
            // Every Service that selects the pod; none while it is not ready.
            "1.0.1.10.in-addr.arpa. PTR NOERROR: 10-1-0-1.one.n.svc.cluster.local., 10-1-0-1.two.n.svc.cluster.local.",
            "2.0.1.10.in-addr.arpa. PTR NXDOMAIN",
            "01.1.96.10.in-addr.arpa. PTR NXDOMAIN",
            "1.1.96.010.in-addr.arpa. PTR NXDOMAIN",
            "256.1.96.10.in-addr.arpa. PTR NXDOMAIN",
            "x.1.1.96.10.in-addr.arpa. PTR NXDOMAIN",
            "1.96.10.in-addr.arpa. PTR NOERROR",
            "96.11.in-addr.arpa. PTR NXDOMAIN",
            "1.1.96.10.in-addr.arpa. A NOERROR",
            "10-0-0-1.n.pod.cluster.local. A NOERROR: 10.0.0.1",
            "10-0-0-1.N.POD.cluster.local. AAAA NOERROR",
            "fd00--1.n.pod.cluster.local. AAAA NOERROR: fd00::1",
            "FD00--A.n.pod.cluster.local. AAAA NOERROR: fd00::a",
            "--1.n.pod.cluster.local. AAAA NOERROR: ::1",
            "--.n.pod.cluster.local. AAAA NOERROR: ::",
            "10-0-0.n.pod.cluster.local. A NXDOMAIN",
            "10-0-0-01.n.pod.cluster.local. A NXDOMAIN",
            "10-0-0-256.n.pod.cluster.local. A NXDOMAIN",
            "-.n.pod.cluster.local. A NXDOMAIN",
            "---.n.pod.cluster.local. A NXDOMAIN",
            "10-0-0-1.nosuch.pod.cluster.local. A NXDOMAIN",
            "x.10-0-0-1.n.pod.cluster.local. A NXDOMAIN",
            "n.pod.cluster.local. A NOERROR",
        ],
    )
    .await?;
    for (name, wanted) in [
        (v6("a"), "NOERROR: fd00--a.h.n.svc.cluster.local."),
        (v6("A"), "NOERROR: fd00--a.h.n.svc.cluster.local."),
        (v6("b"), "NXDOMAIN"),
        (v6("0a"), "NXDOMAIN"),
        (v6("g"), "NXDOMAIN"),
        (v6("0.a"), "NXDOMAIN"),
    ] {
        hold(&world, &[&format!("{name} PTR {wanted}")]).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn aliases_inside_and_out() -> Result<()> {
    let far =
        format!("{}.example.com", ["b".repeat(60), "c".repeat(60), "d".repeat(60), "e".repeat(50)].join("."));
    let mut objects = vec![
        with(build::service("n", "web"), json!({"clusterIP": "10.96.1.1"})),
        external("dot", "web.n.svc.cluster.local."),
        external("out", "www.example.com"),
        external("far", &far),
        external("self", "self.n.svc.cluster.local"),
        external("ping", "pong.n.svc.cluster.local"),
        external("pong", "ping.n.svc.cluster.local"),
        external("gone", "nosuch.n.svc.cluster.local"),
        external("ip", "192.0.2.1"),
        external("zeros", "192.0.2.01"),
        external("apex", "cluster.local"),
    ];
    for at in 0..6 {
        let next = if at == 5 { "web".to_owned() } else { format!("chain-{}", at + 1) };
        objects.push(external(&format!("chain-{at}"), &format!("{next}.n.svc.cluster.local")));
    }
    let world = world(&objects).await?;
    hold(
        &world,
        &[
            "dot A NOERROR: 10.96.1.1, web.n.svc.cluster.local.",
            "dot SRV NOERROR: 0 100 80 web.n.svc.cluster.local., web.n.svc.cluster.local.",
            "dot CNAME NOERROR: web.n.svc.cluster.local.",
            "dot AAAA NOERROR: web.n.svc.cluster.local.",
            "out A NOERROR: www.example.com.",
            "out MX NOERROR: www.example.com.",
            "x.out A NXDOMAIN",
            "_http._tcp.out SRV NXDOMAIN",
            "self A NOERROR: self.n.svc.cluster.local.",
            "ping A NOERROR: ping.n.svc.cluster.local., pong.n.svc.cluster.local.",
            "gone A NOERROR: nosuch.n.svc.cluster.local.",
            "ip A NXDOMAIN",
            "zeros A NOERROR: 192.0.2.01.",
            "apex A NOERROR: cluster.local.",
            "chain-0 A NOERROR: 10.96.1.1, chain-1.n.svc.cluster.local., chain-2.n.svc.cluster.local., \
             chain-3.n.svc.cluster.local., chain-4.n.svc.cluster.local., chain-5.n.svc.cluster.local., \
             web.n.svc.cluster.local.",
        ],
    )
    .await?;
    hold(&world, &[&format!("far A NOERROR: {far}.")]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_goes_and_comes_back_as_another() -> Result<()> {
    let world = world(&[
        with(build::headless("n", "s"), json!({"selector": {"app": "s"}})),
        build::pod("n", "s", "s", "10.1.0.1", true),
    ])
    .await?;
    let name = "s.n.svc.cluster.local.";
    world.answers(name, "A", &["10.1.0.1"]).await?;
    let delete = async || world.cluster.delete(&build::service("n", "s")).await;
    delete().await?;
    world.rcode(name, "A", "NXDOMAIN").await?;
    world.cluster.apply(&with(build::service("n", "s"), json!({"clusterIP": "10.96.1.1"}))).await?;
    world.answers(name, "A", &["10.96.1.1"]).await?;
    world.answers("10-1-0-1.s.n.svc.cluster.local.", "A", &["10.1.0.1"]).await?;
    delete().await?;
    world.cluster.apply(&external("s", "last.n.svc.cluster.local")).await?;
    world.answers(name, "A", &["10.96.255.254", "last.n.svc.cluster.local."]).await?;
    world.rcode("1.1.96.10.in-addr.arpa.", "PTR", "NXDOMAIN").await?;
    world.rcode("10-1-0-1.s.n.svc.cluster.local.", "A", "NXDOMAIN").await?;
    // A namespace that goes takes its names with it.
    let namespace = build::namespace("m");
    for ip in ["10.96.2.1", "10.96.2.2"] {
        world.cluster.apply(&namespace).await?;
        world.cluster.apply(&with(build::service("m", "s"), json!({"clusterIP": ip}))).await?;
        world.answers("s.m.svc.cluster.local.", "A", &[ip]).await?;
        world.cluster.delete(&namespace).await?;
        world.rcode("s.m.svc.cluster.local.", "A", "NXDOMAIN").await?;
        world.rcode("m.svc.cluster.local.", "A", "NXDOMAIN").await?;
        world.rcode("10-0-0-1.m.pod.cluster.local.", "A", "NXDOMAIN").await?;
    }
    Ok(())
}
