//! Memory of a large cluster, and how long it takes to be known: at rest, and at its peak while objects come in.
//!
//! ```text
//! cargo bench --bench memory [-- [pods] SERVICES PODS HEADLESS]     # every command; 10,000, 150,000 and 10 of 100
//! cargo bench --bench memory -- names [SERVICES HEADLESS EACH]      # DNS alone; 10,000, 1,500 of them, 100 endpoints each
//! ```
//!
//! The API server is the embedded one, in this process; with `CALLSIGN_E2E_KUBECONFIG` the first form is about that cluster:
//! objects are made over its API in namespaces `memory-N`, and lists are not forced. Callsign is a process of its own;
//! `CALLSIGN_BENCH_BINARY` names another build.
//!
//! `RSS` is VmRSS when the process has come to rest, `peak` VmHWM since the row began.

mod names;
mod pods;
mod process;

use std::time::Duration;

use anyhow::{Context, Result};
use callsign_e2e::apiserver::{
    Key, Part, Patch, Running, WriteOptions, faults::Fault, kind::Kind, rules::error::ApiError,
};
use serde_json::{Value, json};

/// How many namespaces the Services are spread over.
const NAMESPACES: usize = 100;
/// How many Nodes the pods are on.
const NODES: usize = 1000;

#[tokio::main]
async fn main() -> Result<()> {
    // `cargo bench` passes `--bench`; what is a number or a shape is ours.
    let words: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Vec<usize> = words.iter().filter_map(|word| word.parse().ok()).collect();
    if words.iter().any(|word| word == "names") {
        names::run(&numbers).await
    } else {
        pods::run(&numbers).await
    }
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
