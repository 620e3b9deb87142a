//! Memory of a large cluster: at rest, and at its peak while objects come in.
//!
//! ```text
//! cargo bench --bench memory [-- SERVICES PODS HEADLESS]
//! ```
//!
//! 10,000 Services and 150,000 pods unless told otherwise, and 10 of 100 Services headless, whose pods have hostnames. Pods
//! are as a Deployment's ReplicaSet and the kubelet make them: a few kilobytes of JSON each. The API server is the
//! embedded one, in this process; with `CALLSIGN_E2E_KUBECONFIG` it is that cluster, objects are made over its API in
//! namespaces `memory-N`, and lists are not forced. Callsign is a process of its own; `CALLSIGN_BENCH_BINARY` names another build.
//!
//! `RSS` is VmRSS when the process has come to rest, `peak` VmHWM since the row began, `a pod` what is above the same
//! process in the empty cluster, divided by the pods.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use callsign_e2e::{
    apiserver::{
        ApiServer, Key, Options, Part, Patch, Running, WriteOptions, faults::Fault, kind::Kind,
        rules::error::ApiError,
    },
    harness::{
        build,
        cluster::Cluster,
        process::{Callsign, Signal},
        world::client,
    },
};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

/// How many namespaces the Services are spread over.
const NAMESPACES: usize = 100;
/// How many Nodes the pods are on.
const NODES: usize = 1000;
/// Requests at once, where objects are made over HTTP.
const AT_ONCE: usize = 32;
/// The CPU that a process at rest may use within [`QUIET`].
const REST: Duration = Duration::from_millis(60);
const QUIET: Duration = Duration::from_secs(2);

#[derive(Clone, Copy)]
struct Size {
    services: usize,
    pods: usize,
    /// Of a hundred Services.
    headless: usize,
}

/// The API server.
enum Server {
    Embedded(Box<Running>),
    Other(Cluster),
}

#[tokio::main]
async fn main() -> Result<()> {
    // `cargo bench` passes `--bench`; what is a number is ours.
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let size = Size {
        services: numbers.next().unwrap_or(10_000),
        pods: numbers.next().unwrap_or(150_000),
        headless: numbers.next().unwrap_or(10),
    };
    let folder = tempfile::tempdir()?;
    let kubeconfig = folder.path().join("kubeconfig");
    let server = match std::env::var_os("CALLSIGN_E2E_KUBECONFIG") {
        Some(other) => {
            std::fs::copy(other, &kubeconfig)?;
            Server::Other(Cluster::new(client(&kubeconfig).await?))
        }
        None => {
            let server = ApiServer::start(Options::default()).await?;
            std::fs::write(&kubeconfig, server.kubeconfig())?;
            Server::Embedded(Box::new(server))
        }
    };
    println!("{} Services ({} % headless), {} pods", size.services, size.headless, size.pods);
    println!("{:<24} {:>9} {:>9} {:>9} {:>9}", "", "RSS MiB", "peak MiB", "B a pod", "seconds");
    let mut empty = Vec::new();
    for command in ["controller", "serve", "dns"] {
        let mut process = start(command, &kubeconfig)?;
        empty.push(measure(&process, &format!("{command}: empty"), None, size.pods).await?);
        stop(&mut process).await?;
    }
    let began = Instant::now();
    fill(&server, size).await?;
    println!("{:<24} {:>39.1}", "objects made", began.elapsed().as_secs_f64());
    for (command, empty) in ["controller", "serve", "dns"].into_iter().zip(&empty) {
        let rows: &[&str] = if command == "controller" { &["first start", "restart"] } else { &["start"] };
        for row in rows {
            let mut process = start(command, &kubeconfig)?;
            measure(&process, &format!("{command}: {row}"), Some(*empty), size.pods).await?;
            if let (Server::Embedded(server), true) = (&server, *row != "first start") {
                forget_peak(&process)?;
                list_anew(server).await?;
                measure(&process, &format!("{command}: new lists"), Some(*empty), size.pods).await?;
            }
            stop(&mut process).await?;
        }
    }
    if let Server::Other(cluster) = &server {
        for namespace in 0..NAMESPACES {
            cluster.delete(&build::namespace(&namespace_name(namespace))).await?;
        }
    }
    Ok(())
}

/// Cuts all watches, and has the server refuse the versions that they would go on from.
async fn list_anew(server: &Running) -> Result<()> {
    let requests = || {
        let of = |verb| server.faults().requests_of(verb, "services");
        of("watch") + of("list")
    };
    let before = requests();
    for fault in [Fault::ExpireVersions, Fault::DropWatches { abrupt: true }] {
        server.faults().set(fault).map_err(anyhow::Error::msg)?;
    }
    // One that is refused, and the list.
    while requests() < before + 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

// === The process ===

fn start(command: &str, kubeconfig: &Path) -> Result<Callsign> {
    let binary = std::env::var_os("CALLSIGN_BENCH_BINARY")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_callsign")), PathBuf::from);
    let kubeconfig = kubeconfig.display().to_string();
    let any = "127.0.0.1:0";
    let mut arguments = vec![command, "--kubeconfig", &kubeconfig, "--lameduck", "0"];
    arguments.extend(["--health-listen", any, "--ready-listen", any, "--metrics-listen", any]);
    if command != "controller" {
        arguments.extend(["--listen", any]);
    }
    Callsign::start(&binary, arguments)
}

async fn stop(process: &mut Callsign) -> Result<()> {
    process.signal(Signal::SIGTERM)?;
    process.ended(Duration::from_secs(10)).await?;
    Ok(())
}

/// Waits until the process rests, and prints its memory. Gives its VmRSS, bytes.
async fn measure(process: &Callsign, row: &str, empty: Option<u64>, pods: usize) -> Result<u64> {
    let began = Instant::now();
    let mut before = cpu(process)?;
    loop {
        tokio::time::sleep(QUIET).await;
        let now = cpu(process)?;
        if now.saturating_sub(before) < REST && process.said().contains("\"synced\"") {
            break;
        }
        before = now;
    }
    let (rss, peak) = (memory(process, "VmRSS")?, memory(process, "VmHWM")?);
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let each = empty.map(|empty| (rss.saturating_sub(empty) as f64 / pods.max(1) as f64).round().to_string());
    println!(
        "{row:<24} {:>9.1} {:>9.1} {:>9} {:>9.1}",
        mib(rss),
        mib(peak),
        each.unwrap_or_default(),
        began.elapsed().saturating_sub(QUIET).as_secs_f64(),
    );
    Ok(rss)
}

/// User and system time so far.
fn cpu(process: &Callsign) -> Result<Duration> {
    let id = process.id().with_context(|| format!("callsign has ended:\n{}", process.said()))?;
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
    // Fields 14 and 15, in ticks of 10 ms; the second field, in brackets, may hold spaces.
    let (_, fields) = stat.rsplit_once(')').context("the state of the process")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(Duration::from_millis(ticks * 10))
}

/// A field of `/proc/PID/status`, in bytes.
fn memory(process: &Callsign, field: &str) -> Result<u64> {
    let id = process.id().context("callsign has ended")?;
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find(|line| line.starts_with(field)).context("a line of the status")?;
    Ok(line.split_whitespace().nth(1).context("a number")?.parse::<u64>()? * 1024)
}

/// Has VmHWM start over from what there is now.
fn forget_peak(process: &Callsign) -> Result<()> {
    let id = process.id().context("callsign has ended")?;
    Ok(std::fs::write(format!("/proc/{id}/clear_refs"), "5")?)
}

// === The objects ===

async fn fill(server: &Server, size: Size) -> Result<()> {
    let cluster_wide = (0..NAMESPACES)
        .map(|namespace| build::namespace(&namespace_name(namespace)))
        .chain((0..NODES).map(|node| build::node(&node_name(node), &format!("zone-{}", node % 3))));
    let services = (0..size.services).map(|service| self::service(service, size));
    let pods = (0..size.pods).map(|pod| self::pod(pod, size));
    match server {
        Server::Embedded(server) => {
            cluster_wide.chain(services).chain(pods).try_for_each(|object| put(server, object))
        }
        Server::Other(cluster) => {
            for objects in [cluster_wide.collect::<Vec<_>>(), services.collect(), pods.collect()] {
                stream::iter(objects)
                    .map(|object| async move { cluster.apply(&object).await })
                    .buffer_unordered(AT_ONCE)
                    .try_collect::<()>()
                    .await?;
            }
            Ok(())
        }
    }
}

/// Creates the object, and writes its status as its own step, as the kubelet does.
fn put(server: &Running, mut object: Value) -> Result<()> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
    let kind = Kind::of(&text("/apiVersion"), &text("/kind")).context("a known kind")?;
    let refused = |error: ApiError| anyhow::anyhow!("{}", error.to_status());
    let status = object.as_object_mut().and_then(|fields| fields.remove("status"));
    let by = WriteOptions::by("bench");
    server.store().create(kind, &namespace, object, &by).map_err(refused)?;
    if let Some(status) = status {
        let patch = Patch::Merge(json!({"status": status}));
        server
            .store()
            .patch(kind, &Key::new(&namespace, &name), Part::Status, &patch, &by)
            .map_err(refused)?;
    }
    Ok(())
}

fn namespace_name(namespace: usize) -> String {
    format!("memory-{namespace}")
}

fn node_name(node: usize) -> String {
    format!("ip-10-0-{}-{}.eu-central-1.compute.internal", node / 250, node % 250)
}

fn service_name(service: usize) -> String {
    format!("web-{service}")
}

fn is_headless(service: usize, size: Size) -> bool {
    service % 100 < size.headless
}

fn service(service: usize, size: Size) -> Value {
    let name = service_name(service);
    let mut spec = json!({
        "selector": {"app.kubernetes.io/name": name, "app.kubernetes.io/instance": name},
        "ports": [{"name": "http", "port": 80, "targetPort": "http"}, {"name": "metrics", "port": 9090, "targetPort": 9090}],
    });
    if let (true, Some(spec)) = (is_headless(service, size), spec.as_object_mut()) {
        spec.insert("clusterIP".to_owned(), json!("None"));
    }
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": namespace_name(service % NAMESPACES), "name": name,
            "labels": {"app.kubernetes.io/name": name, "app.kubernetes.io/managed-by": "Helm"}},
        "spec": spec,
    })
}

/// Five digits of the alphabet that Kubernetes' own generated names use, different for each number.
fn suffix(number: usize) -> String {
    const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    // Multiplied by a number without a common factor, so that neighbours differ in all places.
    let mut rest = number.wrapping_mul(7_368_787) % 27_usize.pow(5);
    (0..5)
        .map(|_| {
            let digit = ALPHABET.get(rest % 27).copied().unwrap_or_default();
            rest /= 27;
            char::from(digit)
        })
        .collect()
}

fn pod(pod: usize, size: Size) -> Value {
    let service = pod % size.services;
    let app = service_name(service);
    let hash = format!("7f9c6d{service:04x}");
    let name = format!("{app}-{hash}-{}", suffix(pod));
    let node = node_name(pod / 3 % NODES);
    let ip = format!("10.{}.{}.{}", 64 + pod / 62_500, pod / 250 % 250, pod % 250 + 1);
    let condition = |kind: &str| json!({"type": kind, "status": "True", "lastProbeTime": null, "lastTransitionTime": "2026-01-02T03:04:05Z"});
    let probe = |path: &str| json!({"httpGet": {"path": path, "port": "http", "scheme": "HTTP"}, "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3});
    let env = |name: &str, value: &str| json!({"name": name, "value": value});
    let mut object = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "namespace": namespace_name(service % NAMESPACES), "name": name, "generateName": format!("{app}-{hash}-"),
            "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "9090",
                "checksum/config": "6f1ed002ab5595859014ebf0951522d9a5d7a1d0c1b1e7a3f4d5c6b7a8990011"},
            "labels": {"app.kubernetes.io/name": app, "app.kubernetes.io/instance": app, "app.kubernetes.io/version": "1.27.3",
                "app.kubernetes.io/managed-by": "Helm", "pod-template-hash": hash},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{app}-{hash}"),
                "uid": format!("6ba7b810-9dad-11d1-80b4-{service:012x}"), "controller": true, "blockOwnerDeletion": true}],
        },
        "spec": {
            "nodeName": node, "serviceAccountName": app, "restartPolicy": "Always", "dnsPolicy": "ClusterFirst",
            "containers": [{
                "name": "web", "image": format!("registry.example.com/team/{app}:1.27.3"),
                "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"},
                    {"name": "metrics", "containerPort": 9090, "protocol": "TCP"}],
                "env": [env("LOG_LEVEL", "info"), env("DATABASE_HOST", "postgres.databases.svc.cluster.local"),
                    env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector.observability:4317")],
                "resources": {"limits": {"memory": "512Mi"}, "requests": {"cpu": "100m", "memory": "256Mi"}},
                "readinessProbe": probe("/ready"), "livenessProbe": probe("/health"),
                "volumeMounts": [{"name": "token", "readOnly": true, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}],
            }],
            "volumes": [{"name": "token", "emptyDir": {}}],
        },
        "status": {
            "phase": "Running", "hostIP": "10.0.0.1", "podIP": ip, "podIPs": [{"ip": ip}], "qosClass": "Burstable",
            "startTime": "2026-01-02T03:04:00Z",
            "conditions": [condition("PodReadyToStartContainers"), condition("Initialized"), condition("Ready"),
                condition("ContainersReady"), condition("PodScheduled")],
            "containerStatuses": [{
                "name": "web", "ready": true, "started": true, "restartCount": 0,
                "image": format!("registry.example.com/team/{app}:1.27.3"),
                "imageID": "registry.example.com/team/web@sha256:0f1ed002ab5595859014ebf0951522d9a5d7a1d0c1b1e7a3f4d5c6b7a8990011",
                "containerID": "containerd://5f1ed002ab5595859014ebf0951522d9a5d7a1d0c1b1e7a3f4d5c6b7a8990011",
                "state": {"running": {"startedAt": "2026-01-02T03:04:04Z"}},
            }],
        },
    });
    let spec = object.pointer_mut("/spec").and_then(Value::as_object_mut);
    if let (true, Some(spec)) = (is_headless(service, size), spec) {
        spec.insert("hostname".to_owned(), json!(format!("web-{}", pod / size.services)));
        spec.insert("subdomain".to_owned(), json!(app));
    }
    object
}
