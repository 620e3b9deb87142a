//! Every command in a cluster of pods.
//!
//! Pods are as a Deployment's ReplicaSet and the kubelet make them: a few kilobytes of JSON each. Those of headless Services
//! have hostnames. `a pod` is what is above the same process in the empty cluster, divided by the pods.

use std::time::Instant;

use anyhow::Result;
use callsign_e2e::{
    apiserver::{ApiServer, Options, Running},
    harness::{build, cluster::Cluster, world::client},
};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use crate::{
    NAMESPACES, NODES, list_anew, namespace_name, node_name,
    process::{Memory, Process, each, mib},
    put,
};

/// Requests at once, where objects are made over HTTP.
const AT_ONCE: usize = 32;

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

pub(crate) async fn run(numbers: &[usize]) -> Result<()> {
    let mut numbers = numbers.iter().copied();
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
    let kubeconfig = kubeconfig.display().to_string();
    println!("{} Services ({} % headless), {} pods", size.services, size.headless, size.pods);
    println!("{:<24} {:>9} {:>9} {:>9} {:>9}", "", "RSS MiB", "peak MiB", "B a pod", "seconds");
    let mut empty = Vec::new();
    for command in ["controller", "serve", "dns"] {
        let process = Process::command(command, &kubeconfig)?;
        empty.push(measure(&process, &format!("{command}: empty"), None, size.pods).await?);
        process.stop().await?;
    }
    let began = Instant::now();
    fill(&server, size).await?;
    println!("{:<24} {:>39.1}", "objects made", began.elapsed().as_secs_f64());
    for (command, empty) in ["controller", "serve", "dns"].into_iter().zip(&empty) {
        let rows: &[&str] = if command == "controller" { &["first start", "restart"] } else { &["start"] };
        for row in rows {
            let process = Process::command(command, &kubeconfig)?;
            measure(&process, &format!("{command}: {row}"), Some(*empty), size.pods).await?;
            if let (Server::Embedded(server), true) = (&server, *row != "first start") {
                process.forget_peak()?;
                list_anew(server).await?;
                measure(&process, &format!("{command}: new lists"), Some(*empty), size.pods).await?;
            }
            process.stop().await?;
        }
    }
    if let Server::Other(cluster) = &server {
        for namespace in 0..NAMESPACES {
            cluster.delete(&build::namespace(&namespace_name(namespace))).await?;
        }
    }
    Ok(())
}

/// Waits until the process rests, and prints its memory.
async fn measure(process: &Process, row: &str, empty: Option<Memory>, pods: usize) -> Result<Memory> {
    let (memory, took) = process.at_rest("synced").await?;
    println!(
        "{row:<24} {:>9.1} {:>9.1} {:>9} {:>9.1}",
        mib(memory.rest),
        mib(memory.peak),
        each(memory, empty, pods),
        took.as_secs_f64(),
    );
    Ok(memory)
}

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
