//! Pods: the status column tells the most telling thing about the containers.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{age, or_none};
use crate::apiserver::rules::value::{at, flag, items, number, text};

/// What the containers of a pod say.
#[derive(Default)]
struct Summary {
    ready: usize,
    total: usize,
    restarts: i64,
    last_restart: String,
    status: String,
}

pub(super) fn cells(pod: &Value, name: Value, age: Value, now: Timestamp) -> Vec<Value> {
    let summary = summarise(pod);
    let restarts = if summary.restarts != 0 && !summary.last_restart.is_empty() {
        format!("{} ({} ago)", summary.restarts, age::since(&summary.last_restart, now))
    } else {
        summary.restarts.to_string()
    };
    let address =
        items(pod, &["status", "podIPs"]).first().map(|first| text(first, &["ip"])).unwrap_or_default();
    vec![
        name,
        json!(format!("{}/{}", summary.ready, summary.total)),
        json!(summary.status),
        json!(restarts),
        age,
        json!(or_none(address)),
        json!(or_none(text(pod, &["spec", "nodeName"]))),
        json!(or_none(text(pod, &["status", "nominatedNodeName"]))),
        json!(gates(pod)),
    ]
}

fn summarise(pod: &Value) -> Summary {
    let sidecars: BTreeSet<&str> = items(pod, &["spec", "initContainers"])
        .iter()
        .filter(|container| text(container, &["restartPolicy"]) == "Always")
        .map(|container| text(container, &["name"]))
        .collect();
    let phase = text(pod, &["status", "phase"]);
    let reason = text(pod, &["status", "reason"]);
    let mut summary = Summary {
        total: items(pod, &["spec", "containers"]).len() + sidecars.len(),
        status: if reason.is_empty() { phase } else { reason }.to_owned(),
        ..Summary::default()
    };
    let gated = condition(pod, "PodScheduled")
        .is_some_and(|scheduled| text(scheduled, &["reason"]) == "SchedulingGated");
    if gated {
        "SchedulingGated".clone_into(&mut summary.status);
    }
    let (initializing, sidecar_restarts) = init_containers(pod, &sidecars, &mut summary);
    if !initializing || is_true(pod, "Initialized") {
        summary.restarts = sidecar_restarts;
        containers(pod, &mut summary);
    }
    if at(pod, &["metadata", "deletionTimestamp"]).is_some() {
        if reason == "NodeLost" {
            "Unknown".clone_into(&mut summary.status);
        } else if !matches!(phase, "Succeeded" | "Failed") {
            "Terminating".clone_into(&mut summary.status);
        }
    }
    summary
}

/// Whether a container of the initialisation still runs or has failed, and how often sidecars were restarted.
fn init_containers(pod: &Value, sidecars: &BTreeSet<&str>, summary: &mut Summary) -> (bool, i64) {
    let count = items(pod, &["spec", "initContainers"]).len();
    let mut sidecar_restarts = 0;
    for (index, status) in items(pod, &["status", "initContainerStatuses"]).iter().enumerate() {
        count_restarts(status, summary);
        let sidecar = sidecars.contains(text(status, &["name"]));
        if sidecar {
            sidecar_restarts += number(status, &["restartCount"]).unwrap_or_default();
        }
        let waiting = text(status, &["state", "waiting", "reason"]);
        if let Some(ended) = at(status, &["state", "terminated"]) {
            if number(ended, &["exitCode"]).unwrap_or_default() == 0 {
                continue;
            }
            summary.status = format!("Init:{}", exit(ended));
        } else if sidecar && flag(status, &["started"]) {
            summary.ready += usize::from(flag(status, &["ready"]));
            continue;
        } else if !matches!(waiting, "" | "PodInitializing") {
            summary.status = format!("Init:{waiting}");
        } else {
            summary.status = format!("Init:{index}/{count}");
        }
        return (true, sidecar_restarts);
    }
    (false, sidecar_restarts)
}

fn containers(pod: &Value, summary: &mut Summary) {
    let mut running = false;
    for status in items(pod, &["status", "containerStatuses"]).iter().rev() {
        count_restarts(status, summary);
        let waiting = text(status, &["state", "waiting", "reason"]);
        if !waiting.is_empty() {
            waiting.clone_into(&mut summary.status);
        } else if let Some(ended) = at(status, &["state", "terminated"]) {
            summary.status = exit(ended);
        } else if flag(status, &["ready"]) && at(status, &["state", "running"]).is_some() {
            running = true;
            summary.ready += 1;
        }
    }
    if summary.status == "Completed" && running {
        let status = if is_true(pod, "Ready") { "Running" } else { "NotReady" };
        status.clone_into(&mut summary.status);
    }
}

fn count_restarts(status: &Value, summary: &mut Summary) {
    summary.restarts += number(status, &["restartCount"]).unwrap_or_default();
    let ended = text(status, &["lastState", "terminated", "finishedAt"]);
    if ended > summary.last_restart.as_str() {
        ended.clone_into(&mut summary.last_restart);
    }
}

fn exit(ended: &Value) -> String {
    let reason = text(ended, &["reason"]);
    let signal = number(ended, &["signal"]).unwrap_or_default();
    if !reason.is_empty() {
        reason.to_owned()
    } else if signal != 0 {
        format!("Signal:{signal}")
    } else {
        format!("ExitCode:{}", number(ended, &["exitCode"]).unwrap_or_default())
    }
}

fn gates(pod: &Value) -> String {
    let gates = items(pod, &["spec", "readinessGates"]);
    if gates.is_empty() {
        return super::NONE.to_owned();
    }
    let held = gates.iter().filter(|gate| is_true(pod, text(gate, &["conditionType"]))).count();
    format!("{held}/{}", gates.len())
}

fn condition<'a>(pod: &'a Value, kind: &str) -> Option<&'a Value> {
    items(pod, &["status", "conditions"]).iter().find(|condition| text(condition, &["type"]) == kind)
}

fn is_true(pod: &Value, kind: &str) -> bool {
    condition(pod, kind).is_some_and(|condition| text(condition, &["status"]) == "True")
}
