//! Scripts at random: Services, pods, Nodes, Endpoints and slices come, change and go, by hand and by others, while watches
//! lag, break and leave things out and writes are refused or lost. At rest the objects are what follows from the last state and from nothing
//! else: what the planners of the controller would write is nothing, and who is listed is what a plain reading of the
//! rules says.
//!
//! `CALLSIGN_E2E_SEEDS` says how many scripts are tried; a failure names its seed, and `CALLSIGN_E2E_FIRST_SEED` starts
//! there.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Result, ensure};
use callsign_controller::{Limits, endpoints, plan::Inputs, slices};
use callsign_e2e::{
    apiserver::{
        Options, Running, Scope,
        faults::{Fault, Requests},
        kind::Kind,
    },
    harness::{
        build,
        namespace::{Namespace, list, server},
        world::{World, eventually},
    },
};
use callsign_shared::{Index, index::Indexed, object};
use fastrand::Rng;
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_callsign");
const LIMITS: Limits = Limits { endpoints_per_slice: 4, mirrored_per_subset: 5 };
const SERVICES: [&str; 3] = ["web", "api", "old"];
const PODS: u32 = 10;
const NODES: [&str; 4] = ["node-a", "node-b", "node-c", "node-x"];
const KINDS: [&str; 6] = ["pods", "services", "nodes", "endpoints", "endpointslices", "namespaces"];

#[tokio::test(flavor = "multi_thread")]
async fn everything_at_once() -> Result<()> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("CALLSIGN_E2E_FIRST_SEED").unwrap_or(1);
    for seed in first..first + number("CALLSIGN_E2E_SEEDS").unwrap_or(2) {
        play(seed).await.map_err(|error| error.context(format!("seed {seed}")))?;
    }
    Ok(())
}

async fn play(seed: u64) -> Result<()> {
    let mut random = Rng::with_seed(seed);
    let options = Options { garbage: true, ..Options::default() };
    let server = server(options, &[("node-a", "zone-a"), ("node-b", "zone-b")]).await?;
    let flags = ["--max-endpoints-per-slice", "4", "--mirroring-max-endpoints-per-subset", "5"];
    let world = World::join(Path::new(BINARY), server, &flags).await?;
    let running = world.embedded()?;
    let spaces = ["one", "two"].map(|name| Namespace::new(running, name));
    let spaces = spaces.into_iter().collect::<Result<Vec<_>>>()?;
    let (mut done, all) = (0, 500);
    for _ in 0..all {
        let Some(n) = random.choice(&spaces) else { continue };
        let outcome = match random.u32(0..100) {
            0..30 => new_pod(n, &mut random),
            30..55 => change_pod(n, &mut random),
            55..65 => new_service(n, &mut random),
            65..77 => change_service(n, &mut random),
            77..84 => by_hand(n, &mut random),
            84..88 => node(n, &mut random),
            _ => trouble(&world, &mut random),
        };
        // What is not there cannot be changed; that is as well.
        done += u32::from(outcome.is_ok());
        if random.bool() {
            tokio::time::sleep(Duration::from_millis(random.u64(0..12))).await;
        }
    }
    ensure!(done > all / 2, "{done} of {all} steps did anything");
    running.faults().clear();
    // What was never told of is in the next list.
    world.fault(Fault::ExpireVersions)?;
    world.fault(Fault::DropWatches { abrupt: false })?;
    let right = || {
        let wrong = wrong(running, &spaces);
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(())
    };
    eventually("everything is right", async || right()).await?;
    world.cluster.settle().await?;
    right()
}

fn ready(random: &mut Rng) -> Value {
    build::status_conditions(random.u32(0..3) > 0)
}

fn pod_name(random: &mut Rng) -> String {
    format!("p-{}", random.u32(0..PODS))
}

fn labels(random: &mut Rng) -> Value {
    json!({"app": random.choice(["web", "api", "none"]), "tier": random.choice(["x", "y"])})
}

fn new_pod(n: &Namespace, random: &mut Rng) -> Result<()> {
    let name = pod_name(random);
    if random.bool() {
        let _ = n.delete(Kind::Pod, &name, Some(0));
    }
    let last = random.u32(1..40);
    let (four, six) = (format!("10.1.0.{last}"), format!("fd00::{last}"));
    let ips = match random.u32(0..6) {
        0 => vec![],
        1 => vec![four, six],
        2 => vec![six, four],
        _ => vec![four],
    };
    let status = json!({
        "phase": "Running", "conditions": ready(random).get("conditions"), "podIP": ips.first(),
        "podIPs": ips.iter().map(|ip| json!({ "ip": ip })).collect::<Vec<_>>(),
    });
    let port = random.choice([8080, 9090]);
    let named = if random.bool() { json!([{"name": "main", "containerPort": port}]) } else { json!([]) };
    n.put(json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels(random)},
        "spec": {"nodeName": random.choice(NODES), "terminationGracePeriodSeconds": 3600,
            "containers": [{"name": "c", "image": "i", "ports": named}]},
        "status": status,
    }))
    .map(drop)
}

fn change_pod(n: &Namespace, random: &mut Rng) -> Result<()> {
    let name = pod_name(random);
    let patch = match random.u32(0..12) {
        0..6 => json!({"status": ready(random)}),
        6 => json!({"status": {"phase": random.choice(["Failed", "Succeeded"])}}),
        7 | 8 => json!({"metadata": {"labels": labels(random)}}),
        9 => json!({"metadata": {"annotations": {"note": random.u32(0..9).to_string()}}}),
        10 => return n.delete(Kind::Pod, &name, None),
        _ => return n.delete(Kind::Pod, &name, Some(0)),
    };
    n.merge(Kind::Pod, &name, patch).map(drop)
}

fn service_ports(random: &mut Rng) -> Value {
    match random.u32(0..4) {
        0 => json!([{"name": "a", "port": 80, "targetPort": "main"}]),
        1 => {
            json!([{"name": "a", "port": 80, "targetPort": "main"}, {"name": "b", "port": 81, "protocol": "UDP"}])
        }
        _ => json!([{"name": "a", "port": 80, "targetPort": 8080}]),
    }
}

fn selector(random: &mut Rng) -> Value {
    match random.u32(0..5) {
        0 => Value::Null,
        1 => json!({"tier": "x", "app": null}),
        _ => json!({"app": random.choice(["web", "api"]), "tier": null}),
    }
}

fn new_service(n: &Namespace, random: &mut Rng) -> Result<()> {
    let name = random.choice(SERVICES).unwrap_or("web");
    let _ = n.delete(Kind::Service, name, None);
    let mut selector = selector(random);
    if let Some(selector) = selector.as_object_mut() {
        selector.retain(|_, value| !value.is_null());
    }
    let spec = json!({"selector": selector, "ports": service_ports(random),
        "publishNotReadyAddresses": random.u32(0..4) == 0, "clusterIP": random.bool().then_some("None"),
        "ipFamilyPolicy": random.choice(["SingleStack", "PreferDualStack"])});
    n.put(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})).map(drop)
}

fn change_service(n: &Namespace, random: &mut Rng) -> Result<()> {
    let name = random.choice(SERVICES).unwrap_or("web");
    let annotation = "service.kubernetes.io/topology-mode";
    let patch = match random.u32(0..9) {
        0 | 1 => json!({"spec": {"selector": selector(random)}}),
        2 => json!({"spec": {"ports": service_ports(random)}}),
        3 => json!({"spec": {"publishNotReadyAddresses": random.bool()}}),
        4 => json!({"metadata": {"labels": {"team": random.choice(["shop", "ops"])}}}),
        5 => {
            json!({"spec": {"trafficDistribution": random.choice([Some("PreferSameZone"), Some("PreferSameNode"), None])}})
        }
        6 => json!({"metadata": {"annotations": {annotation: random.choice([Some("Auto"), None])}}}),
        7 => {
            json!({"spec": {"type": "ExternalName", "externalName": "example.org", "clusterIP": null, "clusterIPs": null,
            "ipFamilies": null, "ipFamilyPolicy": null}})
        }
        _ => return n.delete(Kind::Service, name, None),
    };
    n.merge(Kind::Service, name, patch).map(drop)
}

/// What a person does to Endpoints and slices.
fn by_hand(n: &Namespace, random: &mut Rng) -> Result<()> {
    let name = random.choice(SERVICES).unwrap_or("web");
    let mut addresses = || {
        let count = random.usize(1..8);
        (0..count).map(|_| json!({"ip": format!("192.0.2.{}", random.u32(1..20))})).collect::<Vec<_>>()
    };
    let subsets = json!([{"addresses": addresses(), "ports": [{"name": "a", "port": 80}]},
        {"addresses": addresses(), "notReadyAddresses": addresses(), "ports": [{"name": "b", "port": 81}]}]);
    let slices = n.slices(name);
    let slice =
        random.choice(&slices).and_then(|slice| slice.pointer("/metadata/name")?.as_str().map(str::to_owned));
    let slice = slice.unwrap_or_default();
    match random.u32(0..7) {
        0 | 1 => n.put(json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": name}, "subsets": subsets})).map(drop),
        2 => n.merge(Kind::Endpoints, name, json!({ "subsets": subsets })).map(drop),
        3 => n.delete(Kind::Endpoints, name, None),
        4 => n.delete(Kind::EndpointSlice, &slice, None),
        5 => n.merge(Kind::EndpointSlice, &slice, json!({"endpoints": []})).map(drop),
        _ => n.merge(Kind::EndpointSlice, &slice, json!({"metadata": {"labels": {"stray": "x"}}})).map(drop),
    }
}

fn node(n: &Namespace, random: &mut Rng) -> Result<()> {
    let name = random.choice(NODES).unwrap_or("node-a");
    if random.u32(0..4) == 0 {
        return n.delete(Kind::Node, name, None);
    }
    let mut node = build::node(name, random.choice(["zone-a", "zone-b", "zone-c"]).unwrap_or("zone-a"));
    if let Some(cpu) = node.pointer_mut("/status/allocatable/cpu") {
        *cpu = json!(random.u32(1..8).to_string());
    }
    n.put(node).map(drop)
}

fn trouble(world: &World, random: &mut Rng) -> Result<()> {
    let kind = random.choice(KINDS).unwrap_or("pods").to_owned();
    let ours = random.choice(["endpoints", "endpointslices"]).unwrap_or("endpoints");
    let requests = Requests::of(random.choice(["create", "update", "delete", "get"]).unwrap_or("get"), ours);
    let times = random.u32(1..4);
    world.fault(match random.u32(0..13) {
        0..3 => {
            let status = random.choice([403, 409, 500]).unwrap_or(500);
            Fault::Answer { requests, times, status, retry_after: None }
        }
        3 | 4 => Fault::LoseResponse { requests, times: 1 },
        5 => Fault::DelayResponse { requests, times, milliseconds: random.u64(1..80) },
        6 => Fault::DropWatches { abrupt: random.bool() },
        7 => Fault::ExpireVersions,
        8 => Fault::Hold { kind: Some(kind) },
        9 | 10 => Fault::Release { kind: None },
        11 => Fault::SkipEvents { kind, times: 1 },
        _ => Fault::DelayWatch { kind: Some(kind), milliseconds: random.u64(0..150) },
    })
}

/// What is not as it should be.
fn wrong(running: &Running, spaces: &[Namespace]) -> Vec<String> {
    let mut wrong = to_be_written(running);
    for n in spaces {
        for name in SERVICES {
            let Some(service) = n.get(Kind::Service, name) else { continue };
            let Some((in_endpoints, in_slices)) = wanted(running, n, &service) else { continue };
            let found = (n.endpoints(name).unwrap_or_default(), n.endpoints_in_slices(name));
            if found != (in_endpoints.clone(), in_slices.clone()) {
                wrong.push(format!(
                    "{}/{name}\n wanted {in_endpoints:?} {in_slices:?}\n found {found:?}",
                    n.name
                ));
            }
        }
    }
    wrong
}

/// The writes that the planners would make, starting from nothing but the objects.
fn to_be_written(running: &Running) -> Vec<String> {
    fn load<T: Indexed>(index: &Index, running: &Running, kind: Kind, wrong: &mut Vec<String>) {
        for object in running.store().list(kind, Scope::All).0 {
            match T::decode(&object.value.to_string()) {
                Ok(object) => index.apply(object),
                Err(error) => wrong.push(error.to_string()),
            }
        }
    }
    let (index, mut wrong) = (Index::new(), Vec::new());
    load::<object::Namespace>(&index, running, Kind::Namespace, &mut wrong);
    load::<object::Node>(&index, running, Kind::Node, &mut wrong);
    load::<object::Service>(&index, running, Kind::Service, &mut wrong);
    load::<object::Pod>(&index, running, Kind::Pod, &mut wrong);
    load::<object::Endpoints>(&index, running, Kind::Endpoints, &mut wrong);
    load::<object::EndpointSlice>(&index, running, Kind::EndpointSlice, &mut wrong);
    let nodes = index.nodes();
    let zones = slices::Zones::of(nodes.iter().map(Arc::as_ref));
    let taken = BTreeSet::new();
    let inputs = Inputs {
        limits: LIMITS,
        trigger: None,
        zones: zones.as_ref(),
        taken: &taken,
        namespace_ending: false,
    };
    for view in index.views() {
        let of_slices = slices::plan(&view, &inputs).writes;
        wrong.extend(of_slices.iter().map(|write| format!("to be written: {write:?}")));
        let of_endpoints = endpoints::plan(&view, &inputs).writes;
        wrong.extend(of_endpoints.iter().map(|write| format!("to be written: {write:?}")));
    }
    wrong
}

/// Who is to be listed in Endpoints and in slices, in the harness's lines. `None` for a Service without selector.
fn wanted(running: &Running, n: &Namespace, service: &Value) -> Option<(Vec<String>, Vec<String>)> {
    let spec = service.get("spec")?;
    let selector = spec.get("selector")?.as_object().filter(|selector| !selector.is_empty())?;
    if spec.get("type")? == "ExternalName" {
        return None;
    }
    let families: Vec<&str> = list(spec, "ipFamilies").filter_map(Value::as_str).collect();
    let publish = spec.get("publishNotReadyAddresses") == Some(&json!(true));
    let (mut in_slices, mut offers) =
        (Vec::new(), BTreeMap::<String, BTreeMap<(String, String), bool>>::new());
    for pod in running.store().list(Kind::Pod, Scope::Namespace(&n.name)).0 {
        let pod = &pod.value;
        let at = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let selected = selector
            .iter()
            .all(|(key, value)| pod.pointer(&format!("/metadata/labels/{key}")) == Some(value));
        if !selected || matches!(at("/status/phase"), "Failed" | "Succeeded") {
            continue;
        }
        let status = pod.get("status")?;
        let is = |it: &Value, field: &str, text: &str| it.get(field).and_then(Value::as_str) == Some(text);
        let serving =
            list(status, "conditions").any(|it| is(it, "type", "Ready") && is(it, "status", "True"));
        let terminating = !at("/metadata/deletionTimestamp").is_empty();
        let ports: Vec<String> = list(spec, "ports").filter_map(|port| port_line(port, pod)).collect();
        let on_known_node = running.store().get(Kind::Node, "", at("/spec/nodeName")).is_some();
        for (place, family) in families.iter().enumerate() {
            let ips = list(status, "podIPs").filter_map(|entry| entry.get("ip")?.as_str());
            let Some(ip) = ips.into_iter().find(|ip| ip.contains(':') == (*family == "IPv6")) else {
                continue;
            };
            if publish || on_known_node {
                let letter = |holds, letter| if holds { letter } else { '-' };
                let ready = letter(publish || (serving && !terminating), 'r');
                let (serving, terminating) = (letter(serving, 's'), letter(terminating, 't'));
                let mut sorted = ports.clone();
                sorted.sort();
                let ports = if sorted.is_empty() { "-".to_owned() } else { sorted.join(",") };
                in_slices.push((*family, format!("{ip} {ready}{serving}{terminating} {ports}")));
            }
            if place == 0 && (publish || !terminating) {
                for port in &ports {
                    let identity = (ip.to_owned(), at("/metadata/uid").to_owned());
                    offers.entry(port.clone()).or_default().insert(identity, publish || serving);
                }
            }
        }
    }
    // Ports that the same pods have are one subset.
    let mut subsets: BTreeMap<&BTreeMap<(String, String), bool>, Vec<&str>> = BTreeMap::new();
    for (port, offer) in &offers {
        subsets.entry(offer).or_default().push(port);
    }
    let mut in_endpoints = Vec::new();
    for (offer, ports) in subsets {
        let line = |((ip, _), ready): (&(String, String), &bool)| {
            format!("{}{ip} {}", if *ready { "" } else { "!" }, ports.join(","))
        };
        in_endpoints.extend(offer.iter().map(line));
    }
    let bare = families.iter().filter(|family| !in_slices.iter().any(|(of, _)| of == *family));
    let bare: Vec<String> = bare.map(|family| format!("{family} empty")).collect();
    let mut in_slices: Vec<String> = in_slices.into_iter().map(|(_, line)| line).chain(bare).collect();
    in_slices.sort();
    in_endpoints.sort();
    Some((in_endpoints, in_slices))
}

/// A port of the Service at a pod, as the harness writes it.
fn port_line(port: &Value, pod: &Value) -> Option<String> {
    let text = |field: &str| port.get(field).and_then(Value::as_str).unwrap_or_default();
    let number = match port.get("targetPort")? {
        Value::String(name) => {
            let containers = list(pod.get("spec")?, "containers");
            let mut declared = containers.flat_map(|container| list(container, "ports"));
            let is = |it: &&Value| {
                it.get("name").and_then(Value::as_str) == Some(name)
                    && it.get("protocol") == port.get("protocol")
            };
            declared.find(is)?.get("containerPort")?.to_string()
        }
        number => number.to_string(),
    };
    Some(format!("{}:{number}/{}", text("name"), text("protocol")))
}
