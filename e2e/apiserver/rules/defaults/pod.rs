//! Defaults of pods and of the pod templates of workloads.

use serde_json::{Value, json};

use crate::apiserver::rules::value::{
    at, ensure_object, entries, flag, items, items_mut, set, set_default, text,
};

/// Defaults of a Pod.
pub(super) fn defaults(pod: &mut Value) {
    for path in [["spec", "containers"], ["spec", "initContainers"]] {
        for container in items_mut(pod, &path) {
            requests_from_limits(container);
        }
    }
    set_default(pod, &["spec", "enableServiceLinks"], true);
    if let Some(spec) = pod.get_mut("spec") {
        pod_spec(spec);
    }
    ensure_object(pod, &["status"]);
    one_and_many(pod, "podIP", "podIPs");
    one_and_many(pod, "hostIP", "hostIPs");
}

/// The single address and the first of the list are one; the single one wins, as in the conversion to the internal type.
fn one_and_many(pod: &mut Value, one: &str, many: &str) {
    let single = text(pod, &["status", one]).to_owned();
    let first =
        items(pod, &["status", many]).first().map(|item| text(item, &["ip"])).unwrap_or_default().to_owned();
    if single.is_empty() && !first.is_empty() {
        set(pod, &["status", one], first);
    } else if !single.is_empty() && single != first {
        set(pod, &["status", many], json!([{ "ip": single }]));
    }
}

/// Defaults of a `PodSpec`.
pub(super) fn pod_spec(spec: &mut Value) {
    if !spec.is_object() {
        return;
    }
    set_default(spec, &["dnsPolicy"], "ClusterFirst");
    set_default(spec, &["restartPolicy"], "Always");
    set_default(spec, &["terminationGracePeriodSeconds"], 30);
    set_default(spec, &["schedulerName"], "default-scheduler");
    ensure_object(spec, &["securityContext"]);
    // The deprecated twin is kept in step.
    let account = match (text(spec, &["serviceAccountName"]), text(spec, &["serviceAccount"])) {
        ("", twin) => twin.to_owned(),
        (name, _) => name.to_owned(),
    };
    if !account.is_empty() {
        set(spec, &["serviceAccountName"], account.as_str());
        set(spec, &["serviceAccount"], account);
    }
    let host_network = flag(spec, &["hostNetwork"]);
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for container in items_mut(spec, &[list]) {
            self::container(container, host_network);
        }
    }
    for volume in items_mut(spec, &["volumes"]) {
        self::volume(volume);
    }
}

fn container(container: &mut Value, host_network: bool) {
    if !container.is_object() {
        return;
    }
    let image = text(container, &["image"]);
    let policy = if always_pulled(image) { "Always" } else { "IfNotPresent" };
    set_default(container, &["imagePullPolicy"], policy);
    set_default(container, &["terminationMessagePath"], "/dev/termination-log");
    set_default(container, &["terminationMessagePolicy"], "File");
    ensure_object(container, &["resources"]);
    for port in items_mut(container, &["ports"]) {
        set_default(port, &["protocol"], "TCP");
        if let (true, Some(number)) = (host_network, port.get("containerPort").cloned()) {
            set_default(port, &["hostPort"], number);
        }
    }
    for variable in items_mut(container, &["env"]) {
        if at(variable, &["valueFrom", "fieldRef"]).is_some() {
            set_default(variable, &["valueFrom", "fieldRef", "apiVersion"], "v1");
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.get_mut(name) {
            self::probe(probe);
        }
    }
    for hook in ["postStart", "preStop"] {
        if let Some(get) =
            container.get_mut("lifecycle").and_then(|l| l.get_mut(hook)).and_then(|h| h.get_mut("httpGet"))
        {
            http_get(get);
        }
    }
}

fn probe(probe: &mut Value) {
    for (key, value) in
        [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
    {
        if at(probe, &[key]).is_none_or(|value| value == 0) {
            set(probe, &[key], value);
        }
    }
    if let Some(get) = probe.get_mut("httpGet") {
        http_get(get);
    }
    if let Some(grpc) = probe.get_mut("grpc") {
        set_default(grpc, &["service"], "");
    }
}

fn http_get(get: &mut Value) {
    set_default(get, &["path"], "/");
    set_default(get, &["scheme"], "HTTP");
}

fn volume(volume: &mut Value) {
    if volume.as_object().is_some_and(|map| map.keys().all(|key| key == "name")) {
        set(volume, &["emptyDir"], json!({}));
    }
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        if at(volume, &[source]).is_some() {
            set_default(volume, &[source, "defaultMode"], 0o644);
        }
    }
    if at(volume, &["hostPath"]).is_some() {
        set_default(volume, &["hostPath", "type"], "");
    }
    for item in items_mut(volume, &["downwardAPI", "items"]) {
        if at(item, &["fieldRef"]).is_some() {
            set_default(item, &["fieldRef", "apiVersion"], "v1");
        }
    }
}

/// What has a limit and no request requests its limit.
fn requests_from_limits(container: &mut Value) {
    let limits: Vec<(String, Value)> = entries(container, &["resources", "limits"])
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    for (name, limit) in limits {
        set_default(container, &["resources", "requests", &name], limit);
    }
}

/// Images without a tag, or tagged `latest`, are pulled always; a digest is as good as a tag.
fn always_pulled(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    let last = image.rsplit('/').next().unwrap_or_default();
    match last.split_once(':') {
        Some((_, tag)) => tag == "latest",
        None => true,
    }
}
