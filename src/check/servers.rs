//! `servers`: Callsign's own pods: whether they are up, synced and well, and enough of them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    codes,
    facts::{Cluster, Pages},
    finding::Item,
    objects::{ContainerStatus, Deployment, Pod, Terminated, Waiting},
    rights::Duty,
    software,
};

/// The share of its limit from which on memory is told.
const NEAR: f64 = 0.9;
/// The share of SERVFAIL that is told, and of how many answers at least.
const FAILURES: f64 = 0.05;
const ENOUGH_ANSWERS: f64 = 200.0;
/// How often a pod may restart before it is told.
const RESTARTS: u32 = 3;
/// How long a text of a log or a status may be.
const LONGEST: usize = 300;

/// What there is to say of Callsign's pods.
pub(super) fn check(namespace: &str, cluster: &Cluster) -> Vec<Item> {
    let pods = match &cluster.own {
        Ok(pods) => pods,
        Err(missing) => return vec![Item::not_checked("Callsign's pods", missing)],
    };
    let pods: Vec<&Pod> = pods.iter().filter(|pod| !pod.is_leaving() && Duty::of(pod).is_some()).collect();
    if pods.is_empty() {
        return vec![codes::SERVERS_NONE.is(
            format!("there is no Callsign pod in {namespace} or behind the Service"),
            "install it (docs/install.md), name its namespace with -n, or ask with --pre what an installation needs",
        )];
    }
    let mut items = Vec::new();
    let mut well: Vec<String> = Vec::new();
    for pod in &pods {
        let pages = cluster.pages.get(&pod.metadata.path()).cloned().unwrap_or_default();
        let found = of_pod(pod, &pages);
        if found.is_empty() {
            let version = software::version(&pages).map(|version| format!(" {version}")).unwrap_or_default();
            well.push(format!("{}{version}", pod.metadata.name));
        }
        items.extend(found);
    }
    if !well.is_empty() {
        let plural = if well.len() == 1 { "" } else { "s" };
        items.insert(
            0,
            Item::good(format!("{} pod{plural} ready and well: {}", well.len(), clip(&well.join(", ")))),
        );
    }
    items.extend(unseen(cluster, &pods));
    items.extend(versions(cluster, &pods));
    items.extend(nodes(&pods));
    items.extend(replicas(cluster));
    items.extend(budget(cluster, &pods));
    items.extend(leaders(cluster, &pods));
    items
}

/// What is wrong with one pod.
fn of_pod(pod: &Pod, pages: &Pages) -> Vec<Item> {
    let name = pod.metadata.path();
    if let Some(item) = stopped(&name, pod, pages) {
        return vec![item];
    }
    let mut items = Vec::new();
    match &pages.ready {
        Ok((200, _)) if pod.is_ready() => {}
        Ok((200, _)) => items.push(codes::SERVER_NOT_READY.is(
            format!("{name} says it is ready, and the kubelet does not (yet)"),
            "if that stays: the readiness probe asks another port or path than the Corefile's `ready`, or takes longer \
             than its timeout",
        )),
        Ok((status, body)) => items.push(codes::SERVER_NOT_READY.is(
            format!("{name} is not ready: {}", if body.trim().is_empty() { status.to_string() } else { clip(body) }),
            "what it names could not be listed yet: if it is forbidden see `permissions`, else whether the API server \
             can be reached from the pod (NetworkPolicy, KUBERNETES_SERVICE_HOST)",
        )),
        Err(_) if pod.is_ready() => {}
        Err(_) => items.push(codes::SERVER_NOT_READY.is(
            format!("{name} is not ready{}", condition(pod)),
            format!("kubectl -n {} logs {} tells why", pod.metadata.namespace, pod.metadata.name),
        )),
    }
    let restarts: u32 = pod.status.container_statuses.iter().map(|status| status.restart_count).sum();
    if let Some(ended) = last_ended(pod).filter(|ended| is_out_of_memory(ended)) {
        items.push(out_of_memory(&name, pod, ended));
    } else if restarts >= RESTARTS {
        items.push(codes::SERVER_RESTARTS.is(
            format!(
                "{name} has restarted {restarts} times{}",
                last_ended(pod).map(ending).unwrap_or_default()
            ),
            format!("kubectl -n {} logs {} --previous", pod.metadata.namespace, pod.metadata.name),
        ));
    }
    items.extend(figures(&name, pod, pages));
    items
}

/// What keeps a pod from running at all.
fn stopped(name: &str, pod: &Pod, pages: &Pages) -> Option<Item> {
    let statuses = &pod.status.container_statuses;
    let waiting = |status: &ContainerStatus| {
        let waiting = status.state.waiting.clone()?;
        (!["ContainerCreating", "PodInitializing", ""].contains(&waiting.reason.as_str())).then_some(waiting)
    };
    if let Some(waiting) = statuses.iter().find_map(waiting) {
        return Some(cannot_start(name, pod, &waiting, pages));
    }
    let now = statuses.iter().find_map(|status| status.state.terminated.as_ref());
    if let Some(ended) = now {
        return Some(ended_with(name, pod, ended, pages));
    }
    let scheduled = pod.status.conditions.iter().find(|condition| condition.kind == "PodScheduled");
    scheduled.filter(|condition| condition.status == "False").map(|condition| {
        codes::SERVER_PENDING.is(
            format!("{name} has no node: {}", clip(&condition.message)),
            "free or add a node, or change nodeSelector, tolerations or requests",
        )
    })
}

fn cannot_start(name: &str, pod: &Pod, waiting: &Waiting, pages: &Pages) -> Item {
    let why = format!("{}: {}", waiting.reason, clip(&waiting.message));
    match waiting.reason.as_str() {
        "ImagePullBackOff" | "ErrImagePull" | "InvalidImageName" | "ErrImageNeverPull" => codes::SERVER_IMAGE.is(
            format!("{name}: {why}"),
            "check the image's name and tag, whether the node can reach the registry, and imagePullSecrets; on kind \
             load it with `kind load docker-image`",
        ),
        "CrashLoopBackOff" => match last_ended(pod) {
            Some(ended) => ended_with(name, pod, ended, pages),
            None => codes::SERVER_CRASHES.is(format!("{name}: {why}"), logs(pod)),
        },
        _ if waiting.message.contains("operation not permitted") => port_forbidden(name, &waiting.message),
        "CreateContainerConfigError" => codes::SERVER_CRASHES.is(
            format!("{name}: {why}"),
            "the ConfigMap, Secret or user that it names is not as the pod wants it",
        ),
        _ => codes::SERVER_CRASHES.is(format!("{name}: {why}"), logs(pod)),
    }
}

/// A container that ended, with the cure for what it said.
fn ended_with(name: &str, pod: &Pod, ended: &Terminated, pages: &Pages) -> Item {
    if is_out_of_memory(ended) {
        return out_of_memory(name, pod, ended);
    }
    let log = pages.last_words.as_deref().unwrap_or_default();
    let said = format!("{}\n{log}", ended.message);
    let lower = said.to_lowercase();
    if lower.contains("permission denied") || lower.contains("operation not permitted") {
        return port_forbidden(name, &said);
    }
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).map(clip);
    let message = match last {
        Some(last) => format!("{name} ended with code {}: {last}", ended.exit_code),
        None => match &pages.last_words {
            Err(missing) => {
                format!("{name} ended with code {} (why is not known: {missing})", ended.exit_code)
            }
            Ok(_) => format!("{name} ended with code {}", ended.exit_code),
        },
    };
    let cure = match ended.exit_code {
        2 => {
            "the configuration is refused: `callsign config check` on the Corefile names the line".to_owned()
        }
        5 => {
            "somebody else has the port: with hostNetwork two servers on one node, or a resolver of the node"
                .to_owned()
        }
        _ => logs(pod),
    };
    codes::SERVER_CRASHES.is(message, cure)
}

fn port_forbidden(name: &str, said: &str) -> Item {
    let line = said.lines().rev().find(|line| {
        let line = line.to_lowercase();
        line.contains("permission denied") || line.contains("operation not permitted")
    });
    codes::SERVER_PORT.is(
        format!("{name}: {}", clip(line.unwrap_or(said))),
        "port 53 needs the capability NET_BIND_SERVICE: add it in the container's securityContext, or serve on port \
         1053 behind a Service of its own",
    )
}

fn out_of_memory(name: &str, pod: &Pod, ended: &Terminated) -> Item {
    let limit = limit(pod).map(|bytes| format!(" (limit {})", mebibytes(bytes))).unwrap_or_default();
    codes::SERVER_MEMORY.is(
        format!("{name} was ended for want of memory{limit}, code {}", ended.exit_code),
        "raise the memory limit: docs/benchmarks.md has what it takes for how many endpoints",
    )
}

fn is_out_of_memory(ended: &Terminated) -> bool {
    ended.reason == "OOMKilled"
}

/// How the container that ended last did.
fn last_ended(pod: &Pod) -> Option<&Terminated> {
    pod.status.container_statuses.iter().find_map(|status| status.last_state.terminated.as_ref())
}

fn ending(ended: &Terminated) -> String {
    format!(", last with code {} {}", ended.exit_code, ended.reason).trim_end().to_owned()
}

fn condition(pod: &Pod) -> String {
    let ready = pod.status.conditions.iter().find(|condition| condition.kind == "Ready");
    let said = ready.map(|ready| format!("{} {}", ready.reason, ready.message)).unwrap_or_default();
    if said.trim().is_empty() { String::new() } else { format!(": {}", clip(&said)) }
}

fn logs(pod: &Pod) -> String {
    format!("kubectl -n {} logs {} --previous", pod.metadata.namespace, pod.metadata.name)
}

/// What its metrics tell.
fn figures(name: &str, pod: &Pod, pages: &Pages) -> Vec<Item> {
    let Ok(metrics) = &pages.metrics else { return Vec::new() };
    let mut items = Vec::new();
    let mut told = |metric: &str, item: &dyn Fn(f64) -> Item| {
        let count = metrics.sum(metric);
        if count > 0.0 {
            items.push(item(count));
        }
    };
    told("coredns_reload_failed_total", &|count| {
        codes::SERVER_RELOAD.is(
            format!("{name}: a changed Corefile was refused {count} times since its start"),
            "what was served before is served on: see `corefile` for what is wrong with the ConfigMap now",
        )
    });
    told("callsign_dns_loop_detected", &|_| {
        codes::COREFILE_LOOP.is(
            format!("{name}: what it forwards comes back to it; such names are SERVFAIL, the cluster's are answered"),
            "its log names the upstream: forward to the resolver behind it, or set kubelet's resolvConf",
        )
    });
    told("callsign_dns_questions_dropped_total", &|count| {
        codes::SERVER_DROPPED.is(
            format!("{name}: {count} questions that waited for others were dropped since its start"),
            "upstreams are slower than questions come: look at coredns_proxy_request_duration_seconds, add replicas",
        )
    });
    told("coredns_panics_total", &|count| {
        codes::SERVER_PANIC.is(
            format!("{name}: {count} panics since its start"),
            "please report it with the lines of the log around it; the question was answered SERVFAIL",
        )
    });
    told("callsign_controller_fuse_blown", &|_| {
        codes::SERVER_FUSE.is(
            format!("{name}: nothing is written, since most ready endpoints would be removed"),
            "that is right if most pods have gone; if not, the API server's lists are not: look at its log. It goes on \
             by itself when a fresh list agrees",
        )
    });
    let all = metrics.sum("coredns_dns_responses_total");
    let failed = metrics.sum_where("coredns_dns_responses_total", "rcode", "SERVFAIL");
    if all >= ENOUGH_ANSWERS && failed / all > FAILURES {
        items.push(codes::SERVER_FAILURES.is(
            format!("{name}: {:.0} % of {all} answers since its start are SERVFAIL", 100.0 * failed / all),
            "upstreams that do not answer, most likely: see `answers` for an external name, and forward's metrics",
        ));
    }
    let resident = metrics.sum("process_resident_memory_bytes");
    if let Some(limit) = limit(pod).filter(|limit| resident > NEAR * limit) {
        items.push(codes::SERVER_NEAR_LIMIT.is(
            format!("{name}: {} of {} are used", mebibytes(resident), mebibytes(limit)),
            "raise the memory limit before the kernel ends the pod",
        ));
    }
    items
}

/// What pods did not tell, each reason once.
fn unseen(cluster: &Cluster, pods: &[&Pod]) -> Vec<Item> {
    let mut items = Vec::new();
    let pages = || pods.iter().filter_map(|pod| cluster.pages.get(&pod.metadata.path()));
    let mut tell = |what: &str, reasons: BTreeSet<String>| {
        items.extend(reasons.into_iter().map(|why| Item::not_checked(what, why)));
    };
    tell(
        "what pods say at /ready",
        pages().filter_map(|pages| pages.ready.as_ref().err()).map(ToString::to_string).collect(),
    );
    let refused = pages().filter_map(|pages| pages.metrics.as_ref().err()).map(ToString::to_string);
    tell("the metrics of pods", refused.collect());
    items
}

fn versions(cluster: &Cluster, pods: &[&Pod]) -> Vec<Item> {
    let mut versions: BTreeMap<String, usize> = BTreeMap::new();
    for pages in pods.iter().filter_map(|pod| cluster.pages.get(&pod.metadata.path())) {
        if let Some(version) = software::version(pages) {
            *versions.entry(version.to_owned()).or_default() += 1;
        }
    }
    if versions.len() < 2 {
        return Vec::new();
    }
    let told: Vec<String> = versions.iter().map(|(version, count)| format!("{count} of {version}")).collect();
    vec![codes::SERVER_VERSIONS.is(
        format!("pods run different versions: {}", told.join(", ")),
        "nothing while a rollout goes on; else see why it stopped: kubectl rollout status",
    )]
}

fn nodes(pods: &[&Pod]) -> Vec<Item> {
    let running: Vec<&&Pod> = pods.iter().filter(|pod| !pod.spec.node_name.is_empty()).collect();
    let nodes: BTreeSet<&str> = running.iter().map(|pod| pod.spec.node_name.as_str()).collect();
    match (nodes.first(), nodes.len()) {
        (Some(node), 1) if running.len() > 1 => vec![codes::SERVER_ONE_NODE.is(
            format!("all {} pods are on node {node}: names go with it", running.len()),
            "keep the chart's topologySpreadConstraints, and delete one pod once there is another node",
        )],
        _ => Vec::new(),
    }
}

fn replicas(cluster: &Cluster) -> Vec<Item> {
    let deployments = match &cluster.deployments {
        Ok(deployments) => deployments,
        Err(missing) => return vec![Item::not_checked("Callsign's Deployments", missing)],
    };
    let short = |deployment: &Deployment| {
        let wanted = deployment.spec.replicas.unwrap_or(1);
        let ready = deployment.status.ready_replicas;
        let path = deployment.metadata.path();
        if wanted == 0 {
            return Some(codes::SERVER_REPLICAS.is(
                format!("Deployment {path} is scaled to zero"),
                format!(
                    "kubectl -n {} scale deployment {} --replicas=2",
                    deployment.metadata.namespace, deployment.metadata.name
                ),
            ));
        }
        (ready < wanted).then(|| {
            codes::SERVER_REPLICAS.is(
                format!("Deployment {path}: {ready} of {wanted} pods are ready"),
                "nothing while a rollout goes on; else the pods above tell why, or kubectl describe replicaset",
            )
        })
    };
    deployments.iter().filter_map(short).collect()
}

fn budget(cluster: &Cluster, pods: &[&Pod]) -> Vec<Item> {
    let budgets = match &cluster.budgets {
        Ok(budgets) => budgets,
        Err(missing) => return vec![Item::not_checked("PodDisruptionBudgets", missing)],
    };
    let serving: Vec<&&Pod> =
        pods.iter().filter(|pod| pod.metadata.label("app.kubernetes.io/component") != "controller").collect();
    if serving.len() < 2 {
        return Vec::new();
    }
    let covers = |pod: &Pod| {
        budgets.iter().any(|budget| {
            budget.metadata.namespace == pod.metadata.namespace
                && budget.spec.selector.selects(&pod.metadata.labels)
        })
    };
    if serving.iter().any(|pod| covers(pod)) {
        return Vec::new();
    }
    vec![codes::SERVER_BUDGET.is(
        "no PodDisruptionBudget selects the pods: draining nodes may take all of them at once",
        "set podDisruptionBudget in the chart: maxUnavailable 1",
    )]
}

/// Of each installation that writes, exactly one pod leads.
fn leaders(cluster: &Cluster, pods: &[&Pod]) -> Vec<Item> {
    let mut installations: BTreeMap<(String, String), Vec<&Pod>> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| Duty::of(pod) == Some(Duty::Writer)) {
        let instance = pod.metadata.label("app.kubernetes.io/instance").to_owned();
        installations.entry((pod.metadata.namespace.clone(), instance)).or_default().push(pod);
    }
    let mut items = Vec::new();
    for ((namespace, instance), pods) in installations {
        let known: Vec<_> = pods
            .iter()
            .filter_map(|pod| cluster.pages.get(&pod.metadata.path())?.metrics.as_ref().ok())
            .filter(|metrics| metrics.has("leader_election_master_status"))
            .collect();
        // Some that do not tell could be the one.
        let all_told = known.len() == pods.len();
        let leaders =
            known.iter().filter(|metrics| metrics.sum("leader_election_master_status") > 0.0).count();
        let what = format!("of the {} pods of {namespace}/{instance} that may write", pods.len());
        match leaders {
            0 if all_told => items.push(codes::SERVER_NO_LEADER.is(
                format!("none {what} leads: no endpoint is written"),
                "for a few seconds after a crash that is so; else look at the Lease (kubectl get lease) and at \
                 `permissions`",
            )),
            0 => {}
            1 => items.push(Item::good(format!("one {what} leads"))),
            more => items.push(codes::SERVER_LEADERS.is(
                format!("{more} {what} lead"),
                "they use Leases of different names or namespaces: give all the same --leader-elect-resource-name",
            )),
        }
    }
    items
}

/// The memory limit of a pod's server, bytes.
fn limit(pod: &Pod) -> Option<f64> {
    let limit = software::container(pod)?.resources.limits.get("memory")?;
    match limit {
        Value::String(text) => quantity(text),
        number => number.as_f64(),
    }
}

/// `170Mi`, `1G`, `134217728` in bytes.
fn quantity(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 12] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("m", 1e-3),
        ("", 1.0),
    ];
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(split)?;
    let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit)?;
    Some(number.parse::<f64>().ok()? * scale)
}

fn mebibytes(bytes: f64) -> String {
    format!("{:.0} MiB", bytes / 1_048_576.0)
}

fn clip(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.chars().count() <= LONGEST {
        return text;
    }
    text.chars().take(LONGEST).chain(std::iter::once('…')).collect()
}

#[cfg(test)]
mod tests;
