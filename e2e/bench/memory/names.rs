//! DNS alone, in a cluster of headless Services with many endpoints.
//!
//! Each headless Service has one slice, whose endpoints have hostnames as a StatefulSet's pods do. All other Services have
//! a cluster IP. Nothing else is there: such a process sees Services, Namespaces and EndpointSlices.
//!
//! `peak/RSS` is of the row. `an endpoint` is what is above the same process in the empty cluster. `answer` and `cpu` are
//! from exec to the first right answers about the last Service and the last endpoint, seconds of the clock and of the
//! process; `API cpu` is what the API server used meanwhile, which is this process. No question asked before that may be
//! answered with NXDOMAIN. `lists alone` is how long it takes to read the same lists and nothing else.

use std::{
    fmt::Write as _,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use callsign_e2e::{
    apiserver::{ApiServer, Options, Running, faults::Fault},
    harness::{
        build,
        in_place::{Place, free_port},
        resolver::Resolver,
        world::client,
    },
};
use futures::TryStreamExt;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::{
    NAMESPACES, NODES, list_anew, namespace_name, node_name,
    process::{self, Memory, Process, each, mib},
    put,
};

#[derive(Clone, Copy)]
struct Size {
    services: usize,
    /// How many of them are headless.
    headless: usize,
    /// Endpoints of each headless Service.
    each: usize,
}

/// How the process is started.
#[derive(Clone, Copy, PartialEq)]
enum How {
    /// `callsign dns`
    Command,
    /// `callsign -conf Corefile`
    Corefile,
}

/// The first right answers.
struct Answered {
    after: Duration,
    cpu: Duration,
    server: Duration,
}

pub(crate) async fn run(numbers: &[usize]) -> Result<()> {
    let mut numbers = numbers.iter().copied();
    let services = numbers.next().unwrap_or(10_000);
    let headless = numbers.next().unwrap_or(1_500).min(services);
    let size = Size { services, headless, each: numbers.next().unwrap_or(100) };
    let server = ApiServer::start(Options::default()).await?;
    let place = Place::new(&server)?;
    let endpoints = size.headless * size.each;
    println!("{} Services, {} of them headless with {endpoints} endpoints", size.services, size.headless);
    println!(
        "{:<24} {:>9} {:>9} {:>9} {:>12} {:>9} {:>9} {:>9}",
        "", "RSS MiB", "peak MiB", "peak/RSS", "B/endpoint", "answer s", "cpu s", "API cpu s"
    );
    let mut empty = Vec::new();
    for how in [How::Command, How::Corefile] {
        let (process, _) = start(how, &place).await?;
        let memory = process.at_rest("").await?.0;
        print(&format!("{}: empty", how.name()), memory, None, endpoints, None);
        empty.push(memory);
        process.stop().await?;
    }
    fill(&server, size)?;
    for streaming in [true, false] {
        let refuse = Fault::RefuseStreamingLists { refuse: !streaming };
        server.faults().set(refuse).map_err(anyhow::Error::msg)?;
        if streaming {
            let (before, began) = (process::cpu("self")?, Instant::now());
            let bytes = read(&place).await?;
            println!(
                "{:<24} {:>9.1} MiB {:>38.2} {:>19.2}",
                "lists alone",
                mib(bytes),
                began.elapsed().as_secs_f64(),
                (process::cpu("self")? - before).as_secs_f64()
            );
        }
        for (how, empty) in [How::Command, How::Corefile].into_iter().zip(&empty) {
            let name = format!("{}{}", how.name(), if streaming { "" } else { ", pages" });
            let server_before = process::cpu("self")?;
            let (process, address) = start(how, &place).await?;
            let answered = answered(&process, address, server_before, size).await?;
            let memory = process.at_rest("").await?.0;
            print(&format!("{name}: start"), memory, Some(*empty), endpoints, Some(&answered));
            process.forget_peak()?;
            list_anew(&server).await?;
            let memory = process.at_rest("").await?.0;
            print(&format!("{name}: new lists"), memory, Some(*empty), endpoints, None);
            process.stop().await?;
        }
    }
    Ok(())
}

fn print(row: &str, memory: Memory, empty: Option<Memory>, endpoints: usize, answered: Option<&Answered>) {
    let mut line = format!(
        "{row:<24} {:>9.1} {:>9.1} {:>9.2} {:>12}",
        mib(memory.rest),
        mib(memory.peak),
        memory.peak as f64 / memory.rest as f64,
        each(memory, empty, endpoints),
    );
    for time in answered.iter().flat_map(|answered| [answered.after, answered.cpu, answered.server]) {
        let _ = write!(line, " {:>9.2}", time.as_secs_f64());
    }
    println!("{line}");
}

impl How {
    fn name(self) -> &'static str {
        match self {
            Self::Command => "dns",
            Self::Corefile => "-conf",
        }
    }
}

/// Starts the process, and says where it will answer.
async fn start(how: How, place: &Place) -> Result<(Process, SocketAddr)> {
    let kubeconfig = place.path("kubeconfig").display().to_string();
    if how == How::Command {
        let mut process = Process::command("dns", &kubeconfig)?;
        let address = process.callsign.address("dns").await?;
        return Ok((process, address));
    }
    let port = free_port()?;
    let corefile = format!(
        "cluster.local:{port} in-addr.arpa:{port} ip6.arpa:{port} {{
    bind 127.0.0.1
    errors
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        kubeconfig {kubeconfig}
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
    }}
    prometheus 127.0.0.1:{}
    cache 30
    loadbalance
}}
",
        free_port()?
    );
    place.write("Corefile", &corefile)?;
    let process = Process::start(&["-conf", &place.path("Corefile").display().to_string()])?;
    Ok((process, SocketAddr::from(([127, 0, 0, 1], port))))
}

/// Asks until the last Service and the last endpoint are answered.
async fn answered(
    process: &Process,
    address: SocketAddr,
    server_before: Duration,
    size: Size,
) -> Result<Answered> {
    let resolver = Resolver::new(address).await?;
    let mut names = Vec::new();
    if size.services > size.headless {
        names.push(owner(size.services - 1));
    }
    if size.headless > 0 && size.each > 0 {
        let service = size.headless - 1;
        names.push(format!("{}.{}", hostname(service, size.each - 1), owner(service)));
    }
    for name in names {
        loop {
            // Nobody may listen yet.
            let Ok(reply) = resolver.ask(&name, "A").await else {
                ensure!(process.began.elapsed() < Duration::from_secs(60), "{}", process.callsign.said());
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            };
            if !reply.answer.is_empty() {
                break;
            }
            ensure!(reply.rcode != "NXDOMAIN", "{name} was denied before it was known");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let after = process.began.elapsed();
    Ok(Answered { after, cpu: process.cpu()?, server: process::cpu("self")? - server_before })
}

/// Reads the lists that the process reads, all at once as it does; the bytes.
async fn read(place: &Place) -> Result<u64> {
    let client = client(&place.path("kubeconfig")).await?;
    let lists = ["/api/v1/namespaces", "/api/v1/services", "/apis/discovery.k8s.io/v1/endpointslices"];
    let lists = lists.map(|path| {
        let client = client.clone();
        async move {
            let query = "watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=60";
            let request = http::Request::get(format!("{path}?{query}")).body(kube::client::Body::empty())?;
            let mut body = client.send(request).await?.into_body().into_data_stream();
            let mut bytes = 0;
            while let Some(chunk) = body.try_next().await? {
                bytes += chunk.len() as u64;
                // The bookmark that ends the list is its last line.
                let end = chunk.len().saturating_sub(600);
                if String::from_utf8_lossy(chunk.get(end..).unwrap_or_default()).contains("k8s.io/initial-events-end") {
                    break;
                }
            }
            anyhow::Ok(bytes)
        }
    });
    Ok(futures::future::try_join_all(lists).await?.into_iter().sum())
}

// === The objects ===

fn service_name(service: usize) -> String {
    format!("web-{service}")
}

fn owner(service: usize) -> String {
    format!("{}.{}.svc.cluster.local.", service_name(service), namespace_name(service % NAMESPACES))
}

fn hostname(service: usize, ordinal: usize) -> String {
    format!("{}-{ordinal}", service_name(service))
}

fn fill(server: &Running, size: Size) -> Result<()> {
    let namespaces = (0..NAMESPACES).map(|namespace| build::namespace(&namespace_name(namespace)));
    let services = (0..size.services).map(|service| self::service(service, size));
    let slices = (0..size.headless).map(|service| slice(service, size));
    namespaces.chain(services).chain(slices).try_for_each(|object| put(server, object))
}

fn service(service: usize, size: Size) -> Value {
    let name = service_name(service);
    let mut spec = json!({
        "selector": {"app.kubernetes.io/name": name, "app.kubernetes.io/instance": name},
        "ports": [{"name": "http", "port": 80, "targetPort": "http"}, {"name": "metrics", "port": 9090, "targetPort": 9090}],
    });
    if let (true, Some(spec)) = (service < size.headless, spec.as_object_mut()) {
        spec.insert("clusterIP".to_owned(), json!("None"));
    }
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": namespace_name(service % NAMESPACES), "name": name,
            "labels": {"app.kubernetes.io/name": name, "app.kubernetes.io/managed-by": "Helm"}},
        "spec": spec,
    })
}

/// The slice of a headless Service, as upstream's controller writes it for a StatefulSet.
fn slice(service: usize, size: Size) -> Value {
    let (name, namespace) = (service_name(service), namespace_name(service % NAMESPACES));
    let endpoint = |ordinal: usize| {
        let at = service * size.each + ordinal;
        json!({
            "addresses": [format!("10.{}.{}.{}", 64 + at / 62_500, at / 250 % 250, at % 250 + 1)],
            "conditions": {"ready": true, "serving": true, "terminating": false},
            "hostname": hostname(service, ordinal),
            "nodeName": node_name(at % NODES),
            "targetRef": {"kind": "Pod", "namespace": namespace, "name": hostname(service, ordinal),
                "uid": format!("6ba7b810-9dad-11d1-80b4-{at:012x}")},
            "zone": format!("zone-{}", at % NODES % 3),
        })
    };
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "namespace": namespace, "name": format!("{name}-{:05x}", service * 7919 % 0xf_ffff), "generateName": format!("{name}-"),
            "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": "2026-01-02T03:04:05Z"},
            "labels": {"app.kubernetes.io/name": name, "app.kubernetes.io/managed-by": "Helm",
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                "kubernetes.io/service-name": name, "service.kubernetes.io/headless": ""},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": name,
                "uid": format!("6ba7b811-9dad-11d1-80b4-{service:012x}"), "controller": true, "blockOwnerDeletion": true}],
        },
        "addressType": "IPv4",
        "endpoints": (0..size.each).map(endpoint).collect::<Vec<_>>(),
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}, {"name": "metrics", "port": 9090, "protocol": "TCP"}],
    })
}
