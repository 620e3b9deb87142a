//! Hints: which rule applies, to which endpoints, with how many writes, and what Nodes have to do with it.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result, ensure};
use callsign_e2e::{
    apiserver::{Options, kind::Kind},
    harness::{
        build,
        namespace::{Namespace, list, server, until, writes},
        world::World,
    },
};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_callsign");
const ZONES: [&str; 3] = ["a", "b", "c"];

async fn world(arguments: &[&str]) -> Result<World> {
    let nodes = [("node-a", "zone-a"), ("node-b", "zone-b"), ("node-c", "zone-c")];
    World::join(Path::new(BINARY), server(Options::default(), &nodes).await?, arguments).await
}

/// A ready pod on a Node.
fn pod(n: &Namespace, number: usize, node: &str) -> Result<()> {
    let mut pod = build::pod("", &format!("p-{number:03}"), "web", &format!("10.1.0.{}", number + 1), true);
    *pod.pointer_mut("/spec/nodeName").context("a node")? = json!(format!("node-{node}"));
    n.put(pod).map(drop)
}

fn turn(n: &Namespace, number: usize, ready: bool) -> Result<()> {
    n.merge(Kind::Pod, &format!("p-{number:03}"), json!({"status": build::status_conditions(ready)}))
        .map(drop)
}

/// An endpoint: its zone, whether it is ready, the zones and the Nodes it is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Hinted {
    zone: String,
    ready: bool,
    zones: Vec<String>,
    nodes: Vec<String>,
}

fn hinted(n: &Namespace) -> Vec<Hinted> {
    let names = |endpoint: &Value, field: &str| {
        let hints = endpoint.get("hints").unwrap_or(&Value::Null);
        list(hints, field).filter_map(|it| Some(it.get("name")?.as_str()?.to_owned())).collect::<Vec<_>>()
    };
    let read = |endpoint: &Value| Hinted {
        zone: endpoint.pointer("/zone").and_then(Value::as_str).unwrap_or_default().to_owned(),
        ready: endpoint.pointer("/conditions/ready") == Some(&json!(true)),
        zones: names(endpoint, "forZones"),
        nodes: names(endpoint, "forNodes"),
    };
    let slices = n.slices("web");
    let mut all: Vec<_> = slices.iter().flat_map(|slice| list(slice, "endpoints")).map(read).collect();
    all.sort();
    all
}

/// How many endpoints are for each zone; `None` when one that is ready is for none or for several, or one is for a Node.
fn shares(n: &Namespace) -> Option<BTreeMap<String, usize>> {
    let mut shares = BTreeMap::new();
    for endpoint in hinted(n).into_iter().filter(|endpoint| endpoint.ready) {
        match endpoint.zones.as_slice() {
            [zone] if endpoint.nodes.is_empty() => *shares.entry(zone.clone()).or_default() += 1,
            _ => return None,
        }
    }
    Some(shares)
}

fn is_bare(n: &Namespace, count: usize) -> bool {
    let all = hinted(n);
    all.len() == count && all.iter().all(|endpoint| endpoint.zones.is_empty() && endpoint.nodes.is_empty())
}

fn are(n: &Namespace, wanted: &[(&str, usize)]) -> bool {
    let wanted = wanted.iter().map(|(zone, count)| ((*zone).to_owned(), *count)).collect();
    shares(n) == Some(wanted)
}

#[derive(Clone, Copy, Debug)]
enum Rule {
    None,
    Zone,
    Node,
    Auto,
}

type Row = (Option<&'static str>, Option<&'static str>, Option<&'static str>, Rule);

/// The older annotation, the newer one, the field, and what comes of them (`Test_hintsEnabled`,
/// `TestReconcile_TrafficDistribution`).
const RULES: [Row; 22] = [
    (None, None, None, Rule::None),
    (None, Some("Auto"), None, Rule::Auto),
    (None, Some("auto"), None, Rule::Auto),
    (None, Some("AUTO"), None, Rule::None),
    (None, Some(""), None, Rule::None),
    (None, Some("Disabled"), None, Rule::None),
    (None, Some("PreferZone"), None, Rule::None),
    (Some("Auto"), None, None, Rule::Auto),
    (Some("auto"), None, None, Rule::Auto),
    (Some("AUTO"), None, None, Rule::None),
    (Some("Disabled"), None, None, Rule::None),
    (Some("Auto"), Some("Disabled"), None, Rule::Auto),
    (Some("Disabled"), Some("Auto"), None, Rule::None),
    (Some(""), Some("Auto"), None, Rule::None),
    (None, None, Some("PreferClose"), Rule::Zone),
    (None, None, Some("PreferSameZone"), Rule::Zone),
    (None, None, Some("PreferSameNode"), Rule::Node),
    (None, Some("Auto"), Some("PreferSameNode"), Rule::Auto),
    (Some("auto"), None, Some("PreferClose"), Rule::Auto),
    (None, Some("Disabled"), Some("PreferClose"), Rule::Zone),
    (None, Some("AUTO"), Some("PreferSameNode"), Rule::Node),
    (Some("Disabled"), Some("Auto"), Some("PreferSameNode"), Rule::Node),
];

/// Whether the hints of four pods in zone a and one in each of the others follow the rule.
fn follow(n: &Namespace, rule: Rule) -> bool {
    let all = hinted(n);
    let own = |nodes: bool| {
        all.len() == 6
            && all.iter().all(|endpoint| {
                let node = endpoint.zone.replace("zone", "node");
                endpoint.zones == [endpoint.zone.clone()]
                    && endpoint.nodes == if nodes { vec![node] } else { Vec::new() }
            })
    };
    match rule {
        Rule::None => is_bare(n, 6),
        Rule::Zone => own(false),
        Rule::Node => own(true),
        Rule::Auto => are(n, &[("zone-a", 2), ("zone-b", 2), ("zone-c", 2)]),
    }
}

/// Every rule from the start, and from each to the next.
#[tokio::test(flavor = "multi_thread")]
async fn which_rule() -> Result<()> {
    let world = world(&[]).await?;
    let mut spaces = Vec::new();
    let marks = |(older, newer, field, _): &Row| {
        json!({"metadata": {"annotations": {"service.kubernetes.io/topology-aware-hints": older,
                "service.kubernetes.io/topology-mode": newer}},
            "spec": {"trafficDistribution": field}})
    };
    for (number, row) in RULES.iter().enumerate() {
        let n = Namespace::new(world.embedded()?, &format!("rule-{number}"))?;
        n.put(build::service("", "web"))?;
        n.merge(Kind::Service, "web", marks(row))?;
        for (number, node) in ["a", "a", "a", "a", "b", "c"].into_iter().enumerate() {
            pod(&n, number, node)?;
        }
        spaces.push(n);
    }
    for turn in [0, 1, 5] {
        let rows = || (0..RULES.len()).filter_map(|number| RULES.get((number + turn) % RULES.len()));
        for (n, row) in spaces.iter().zip(rows()) {
            n.merge(Kind::Service, "web", marks(row))?;
        }
        let wrong = || {
            let all = spaces.iter().zip(rows());
            all.filter(|(n, row)| !follow(n, row.3)).map(|(_, row)| *row).collect::<Vec<_>>()
        };
        let _ = until("hints", || wrong().is_empty()).await;
        world.cluster.settle().await?;
        ensure!(wrong().is_empty(), "{:?}", wrong());
    }
    Ok(())
}

/// Which endpoints get hints by `trafficDistribution`, and that slices which have them already are not written
/// (`TestReconcileHints`).
#[tokio::test(flavor = "multi_thread")]
async fn whose_hints() -> Result<()> {
    let world = world(&["--max-endpoints-per-slice", "2"]).await?;
    let n = Namespace::new(world.embedded()?, "whose")?;
    n.put(build::service("", "web"))?;
    for (number, node) in ["a", "a", "b", "b", "c", "none"].into_iter().enumerate() {
        pod(&n, number, node)?;
        // One after the other, so that two of a zone share a slice. The last waits for its Node.
        until("it is listed", || n.endpoints_in_slices("web").len() >= (number + 1).min(5)).await?;
    }
    let mut without_zone = build::node("node-none", "");
    without_zone["metadata"]["labels"] = json!({});
    n.put(without_zone)?;
    until("no hints", || is_bare(&n, 6)).await?;
    world.cluster.settle().await?;
    ensure!(n.slices("web").len() == 3, "{:?}", n.sizes("web"));
    let written = async || {
        world.cluster.settle().await?;
        anyhow::Ok(writes(world.embedded()?, "endpointslices"))
    };
    let zones =
        || hinted(&n).iter().map(|it| format!("{}>{}", it.zone, it.zones.join("+"))).collect::<Vec<_>>();
    let own = [">", "zone-a>zone-a", "zone-a>zone-a", "zone-b>zone-b", "zone-b>zone-b", "zone-c>zone-c"];
    let before = written().await?;
    n.merge(Kind::Service, "web", json!({"spec": {"trafficDistribution": "PreferClose"}}))?;
    until("own zones, and none without", || zones() == own).await?;
    let after = written().await?;
    assert_eq!(
        [after[0] - before[0], after[1] - before[1], after[2] - before[2]],
        [0, 3, 0],
        "each slice once"
    );
    // One pod less is one slice.
    turn(&n, 0, false)?;
    let one_less = [">", "zone-a>", "zone-a>zone-a", "zone-b>zone-b", "zone-b>zone-b", "zone-c>zone-c"];
    until("none where it is not ready", || zones() == one_less).await?;
    assert_eq!(written().await?, [after[0], after[1] + 1, after[2]]);
    // What is on one that is not ready is nobody's business, until hints go altogether.
    let at = |ready: bool| {
        n.slices("web").iter().find_map(|slice| {
            let at = list(slice, "endpoints")
                .position(|e| e.pointer("/conditions/ready") == Some(&json!(ready)))?;
            Some((slice.pointer("/metadata/name")?.as_str()?.to_owned(), slice.get("endpoints")?.clone(), at))
        })
    };
    let (name, mut endpoints, place) = at(false).context("one that is not ready")?;
    let stale = endpoints.get_mut(place).and_then(Value::as_object_mut).context("an endpoint")?;
    stale.insert("hints".to_owned(), json!({"forZones": [{"name": "zone-x"}]}));
    n.merge(Kind::EndpointSlice, &name, json!({ "endpoints": endpoints }))?;
    let before = written().await?;
    assert!(zones().contains(&"zone-a>zone-x".to_owned()), "{:?}", zones());
    // A wrong one on a ready endpoint is put right.
    let (name, mut endpoints, place) = at(true).context("one that is ready")?;
    let wrong = endpoints.get_mut(place).and_then(Value::as_object_mut).context("an endpoint")?;
    wrong.insert("hints".to_owned(), json!({"forZones": [{"name": "zone-y"}]}));
    n.merge(Kind::EndpointSlice, &name, json!({ "endpoints": endpoints }))?;
    until("put right", || !zones().iter().any(|line| line.ends_with("zone-y"))).await?;
    assert_eq!(written().await?, [before[0], before[1] + 1, before[2]]);
    // The next write of its slice takes away what was on the one that is not ready.
    turn(&n, 1, false)?;
    until("nothing stale", || zones().iter().filter(|line| *line == "zone-a>").count() == 2).await?;
    turn(&n, 1, true)?;
    until("back", || zones() == one_less).await?;
    // A Node moves: its pods' hints with it.
    n.put(build::node("node-c", "zone-d"))?;
    until("the Node's new zone", || zones().contains(&"zone-d>zone-d".to_owned())).await?;
    n.merge(Kind::Service, "web", json!({"spec": {"trafficDistribution": "PreferSameNode"}}))?;
    until("its Node, also without zone", || {
        hinted(&n).iter().any(|it| it.zones.is_empty() && it.nodes == ["node-none"])
    })
    .await?;
    n.merge(Kind::Service, "web", json!({"spec": {"trafficDistribution": null}}))?;
    until("none at all", || is_bare(&n, 6)).await
}

/// Which Nodes count for `Auto`, and that each change of one is noticed (`TestSetNodes`, `TestUpdateNode`,
/// `Test_checkNodeTopologyDistribution`).
#[tokio::test(flavor = "multi_thread")]
async fn which_nodes() -> Result<()> {
    let server = server(Options::default(), &[("node-a", "zone-a"), ("node-b", "zone-b")]).await?;
    let world = World::join(Path::new(BINARY), server, &[]).await?;
    let n = Namespace::new(world.embedded()?, "nodes")?;
    let mut service = build::service("", "web");
    service["metadata"]["annotations"] = json!({"service.kubernetes.io/topology-mode": "Auto"});
    n.put(service)?;
    for number in 0..12 {
        pod(&n, number, if number % 2 == 0 { "a" } else { "b" })?;
    }
    let node = |name: &str, zone: &str, cpu: &str, ready: bool, role: Option<&str>| {
        let mut node = build::node(name, zone);
        if zone.is_empty() {
            node["metadata"]["labels"] = json!({});
        }
        if let Some(role) = role {
            node["metadata"]["labels"][format!("node-role.kubernetes.io/{role}")] = json!("");
        }
        node["status"]["allocatable"]["cpu"] = json!(cpu);
        if cpu.is_empty() {
            node["status"]["allocatable"] = json!({"memory": "8Gi"});
        }
        node["status"]["conditions"][0]["status"] = json!(if ready { "True" } else { "False" });
        n.put(node).map(drop)
    };
    let halves = || are(&n, &[("zone-a", 6), ("zone-b", 6)]);
    let quarters = || are(&n, &[("zone-a", 9), ("zone-b", 3)]);
    let none = || is_bare(&n, 12);
    until("halves", halves).await?;
    node("node-a", "zone-a", "12", true, None)?;
    until("three times the CPU", quarters).await?;
    node("node-b2", "zone-b", "8000m", false, None)?;
    world.cluster.settle().await?;
    assert!(quarters(), "a Node that is not ready does not count");
    node("node-b2", "zone-b", "8000m", true, None)?;
    until("ready", halves).await?;
    for role in ["control-plane", "master"] {
        node("node-b2", "zone-b", "8", true, Some(role))?;
        until(role, quarters).await?;
        node("node-b2", "zone-b", "8", true, None)?;
        until("no role", halves).await?;
    }
    node("node-c", "", "4", false, None)?;
    world.cluster.settle().await?;
    assert!(halves(), "without zone, and not ready");
    node("node-c", "", "4", true, None)?;
    until("without zone", none).await?;
    node("node-c", "", "4", true, Some("control-plane"))?;
    until("without zone, and a control plane", halves).await?;
    for cpu in ["", "0"] {
        n.delete(Kind::Node, "node-c", None)?;
        until("gone", halves).await?;
        node("node-c", "zone-b", cpu, true, None)?;
        until("without CPU", none).await?;
    }
    n.delete(Kind::Node, "node-c", None)?;
    until("and gone", halves).await?;
    n.delete(Kind::Node, "node-b2", None)?;
    until("three quarters again", quarters).await?;
    node("node-b", "zone-a", "4", true, None)?;
    until("one zone", none).await?;
    node("node-b", "zone-b", "4", true, None)?;
    until("two zones", quarters).await?;
    // An endpoint without a zone, of a Service that lists such: no hints for that Service.
    n.merge(Kind::Service, "web", json!({"spec": {"publishNotReadyAddresses": true}}))?;
    pod(&n, 12, "unknown")?;
    until("an endpoint without zone", || is_bare(&n, 13)).await?;
    n.delete(Kind::Pod, "p-012", Some(0))?;
    until("and without it", quarters).await
}

/// However endpoints are spread and change: each zone has its share, to one endpoint, so that none is loaded more than
/// a fifth above the average, or nobody has hints (`TestAddHints`, `Test_redistributeHints`, `Test_getHintsByZone` and their like).
#[tokio::test(flavor = "multi_thread")]
async fn no_zone_is_overloaded() -> Result<()> {
    let seed = 7_u64;
    let mut state = seed;
    // A step of a linear congruential generator (Knuth's MMIX) is random enough here.
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((state >> 33) % below.max(1) as u64).unwrap_or_default()
    };
    for round in 0..2 {
        let server = server(Options::default(), &[]).await?;
        let cpu: Vec<usize> = ZONES.iter().map(|_| 2 + random(6)).collect();
        let nodes = Namespace::new(&server, "nodes")?;
        for (zone, cpu) in ZONES.iter().zip(&cpu) {
            let mut node = build::node(&format!("node-{zone}"), &format!("zone-{zone}"));
            node["status"]["allocatable"]["cpu"] = json!(cpu.to_string());
            nodes.put(node)?;
        }
        let world = World::join(Path::new(BINARY), server, &["--max-endpoints-per-slice", "6"]).await?;
        let mut spaces = Vec::new();
        for number in 0..8 {
            let n = Namespace::new(world.embedded()?, &format!("spread-{number}"))?;
            let mut service = build::service("", "web");
            service["metadata"]["annotations"] = json!({"service.kubernetes.io/topology-mode": "Auto"});
            n.put(service)?;
            let count = 4 + random(40);
            for number in 0..count {
                pod(&n, number, ZONES.get(random(4)).copied().unwrap_or("a"))?;
            }
            spaces.push((n, count));
        }
        let total: usize = cpu.iter().sum();
        // Upstream's bound: a zone with a share of `cpu/total` of n endpoints has at least n·share/1.2 of them.
        let least = |cpu: usize, ready: usize| (cpu * ready * 10).div_ceil(total * 12);
        let wrong = |n: &Namespace, count: usize| {
            let all = hinted(n);
            let ready = all.iter().filter(|endpoint| endpoint.ready).count();
            let needed: usize = cpu.iter().map(|cpu| least(*cpu, ready)).sum();
            if all.len() != count {
                return Some(format!("{} of {count}", all.len()));
            }
            if ready < ZONES.len() || needed > ready {
                return (!is_bare(n, count)).then(|| format!("{}: hints where there can be none", n.name));
            }
            let Some(shares) = shares(n) else { return Some(format!("{}: without hints", n.name)) };
            ZONES.iter().zip(&cpu).find_map(|(zone, cpu)| {
                let has = shares.get(&format!("zone-{zone}")).copied().unwrap_or_default();
                // Whole endpoints cannot be split: upstream moves none for less than half of one, so a zone that wants
                // little more than what it has may lack one.
                (has + 1 < least(*cpu, ready))
                    .then(|| format!("{}: {shares:?} of {ready} by {cpu:?}, round {round}", n.name))
            })
        };
        for _ in 0..4 {
            let all = || spaces.iter().filter_map(|(n, count)| wrong(n, *count)).collect::<Vec<_>>();
            let _ = until("shares", || all().is_empty()).await;
            world.cluster.settle().await?;
            ensure!(all().is_empty(), "seed {seed}: {:?}", all());
            for (n, count) in &mut spaces {
                for _ in 0..6 {
                    turn(n, random(*count), random(3) > 0)?;
                }
                for _ in 0..random(4) {
                    pod(n, *count, ZONES.get(random(3)).copied().unwrap_or("a"))?;
                    *count += 1;
                }
            }
        }
    }
    Ok(())
}
