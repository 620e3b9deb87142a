//! `callsign check` against the embedded API server: installations that are well in each mode, with real processes behind their
//! pods, and what is told of each thing that is wrong.

#![expect(clippy::indexing_slicing, reason = "a field of JSON that is not there is null")]

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use callsign_e2e::{
    apiserver::{AccessOptions, ApiServer, Options, Running},
    harness::{
        cluster::Cluster,
        process::Callsign,
        world::{client, eventually},
    },
};
use serde_json::{Value, json};
use tokio::process::Command;

const BINARY: &str = env!("CARGO_BIN_EXE_callsign");

/// An API server that wants to know who asks, and what stands around it.
struct Town {
    server: Running,
    cluster: Cluster,
    folder: tempfile::TempDir,
    running: Vec<Callsign>,
}

/// What a run said.
#[derive(Debug)]
struct Said {
    code: i32,
    text: String,
    errors: String,
}

impl Said {
    fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.text).with_context(|| format!("{self:?}"))
    }

    /// The codes of all findings.
    fn codes(&self) -> Result<BTreeSet<String>> {
        let json = self.json()?;
        let categories = json["categories"].as_array().into_iter().flatten();
        let findings = categories.flat_map(|category| category["findings"].as_array().into_iter().flatten());
        Ok(findings.filter_map(|finding| finding["code"].as_str().map(str::to_owned)).collect())
    }
}

/// Runs `callsign` to its end, with nothing of this process's environment.
async fn run(arguments: &[&str]) -> Result<Said> {
    let mut command = Command::new(BINARY);
    command.env_clear().env("LANG", "C.UTF-8").args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(60), command.output()).await??;
    Ok(Said {
        code: output.status.code().context("ended by a signal")?,
        text: String::from_utf8(output.stdout)?,
        errors: String::from_utf8(output.stderr)?,
    })
}

impl Town {
    /// A cluster of kubeadm's form without a DNS server: a Node, kube-controller-manager, kube-dns's Service, CoreDNS's Corefile.
    async fn new() -> Result<Self> {
        Self::with(Options { access: Some(AccessOptions::default()), ..Options::default() }).await
    }

    async fn with(options: Options) -> Result<Self> {
        let server = ApiServer::start(options).await?;
        let folder = tempfile::tempdir()?;
        let kubeconfig = folder.path().join("kubeconfig");
        std::fs::write(&kubeconfig, server.kubeconfig())?;
        let cluster = Cluster::new(client(&kubeconfig).await?);
        let town = Self { server, cluster, folder, running: Vec::new() };
        for object in base() {
            town.put(object).await?;
        }
        Ok(town)
    }

    fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    async fn put(&self, object: Value) -> Result<()> {
        self.cluster.apply(&object).await
    }

    /// The objects of `callsign manifest`.
    async fn install(&self, arguments: &[&str]) -> Result<()> {
        let said = run(&[&["manifest"], arguments].concat()).await?;
        ensure!(said.code == 0, "{said:?}");
        let file = self.folder.path().join("callsign.yaml");
        let manifests = callsign_e2e::apiserver::manifest::parse(&file, &said.text)?;
        ensure!(manifests.unknown.is_empty(), "{:?}", manifests.unknown);
        for manifest in manifests.objects {
            let mut object = manifest.value;
            if object["kind"] == "Deployment" {
                let replicas = object["spec"]["replicas"].clone();
                object["status"] = json!({"replicas": replicas, "readyReplicas": replicas});
            }
            self.put(object).await?;
        }
        Ok(())
    }

    /// A pod of a Deployment with a process behind it.
    async fn start(&mut self, deployment: &str, name: &str, node: &str) -> Result<SocketAddr> {
        let ip = address();
        let found = self.cluster.list(callsign_e2e::apiserver::kind::Kind::Deployment).await?;
        let found = found.into_iter().find(|found| found["metadata"]["name"] == deployment);
        let template = found.with_context(|| deployment.to_owned())?["spec"]["template"].clone();
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": "kube-system", "name": name, "labels": template["metadata"]["labels"]},
            "spec": template["spec"], "status": running(ip, true),
        });
        pod["spec"]["nodeName"] = json!(node);
        let container = &template["spec"]["containers"][0];
        let command = container["args"][0].as_str().context("a command")?;
        let at = |port: u16| format!("{ip}:{port}");
        let kubeconfig = self.kubeconfig().display().to_string();
        let mut arguments: Vec<String> = vec![command.to_owned(), "--kubeconfig".to_owned(), kubeconfig];
        for (flag, port) in [("--health-listen", 8080), ("--ready-listen", 8181), ("--metrics-listen", 9153)]
        {
            arguments.extend([flag.to_owned(), at(port)]);
        }
        if command != "controller" {
            arguments.extend(["--listen".to_owned(), at(1053)]);
        }
        if command != "dns" {
            arguments.extend([format!("--leader-elect-identity={name}"), "--guard-wait=1s".to_owned()]);
        }
        let process = Callsign::start(Path::new(BINARY), &arguments)?;
        self.running.push(process);
        eventually("ready", async || {
            let (status, body) = callsign_e2e::harness::scrape::get(at(8181).parse()?, "/ready").await?;
            ensure!(status == 200, "{body}");
            Ok(())
        })
        .await?;
        self.put(pod).await?;
        Ok(SocketAddr::from((ip, 1053)))
    }

    /// Runs `check` as the administrator.
    async fn check(&self, arguments: &[&str]) -> Result<Said> {
        self.check_as(&self.kubeconfig(), arguments).await
    }

    async fn check_as(&self, kubeconfig: &Path, arguments: &[&str]) -> Result<Said> {
        let kubeconfig = kubeconfig.display().to_string();
        run(&[&["check", "--kubeconfig", &kubeconfig, "--external", "none"], arguments].concat()).await
    }

    /// A kubeconfig for a ServiceAccount of kube-system.
    async fn account(&self, name: &str) -> Result<PathBuf> {
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"namespace": "kube-system", "name": name}});
        self.put(account).await?;
        let issued = self.server.access().issue("kube-system", name, 3600, None, &[]);
        let issued = issued.map_err(|error| anyhow::anyhow!("{error:?}"))?;
        let token = self.folder.path().join(format!("{name}.token"));
        std::fs::write(&token, issued.token)?;
        let kubeconfig = self.folder.path().join(format!("{name}.kubeconfig"));
        std::fs::write(&kubeconfig, self.server.kubeconfig_of_file(&token))?;
        Ok(kubeconfig)
    }
}

/// An address of loopback that no other test of this machine has.
fn address() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [low, high, ..] = std::process::id().to_le_bytes();
    Ipv4Addr::new(127, high.wrapping_add(100) | 1, low, NEXT.fetch_add(1, Ordering::Relaxed))
}

fn running(ip: Ipv4Addr, ready: bool) -> Value {
    json!({
        "phase": "Running", "podIP": ip.to_string(), "podIPs": [{"ip": ip.to_string()}, {"ip": format!("fd00::{:x}", u32::from(ip) & 0xffff)}],
        "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}],
        "containerStatuses": [{"name": "callsign", "ready": ready, "restartCount": 0, "image": "", "imageID": "",
            "state": {"running": {}}}],
    })
}

const ALL_ON: &str = "--controllers=*,bootstrapsigner,tokencleaner";
const OFF: &str =
    "--controllers=*,-endpoints-controller,-endpointslice-controller,-endpointslice-mirroring-controller";

fn manager(flags: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "kube-system", "name": format!("kube-controller-manager-{}", flags.len()), "labels": {"component": "kube-controller-manager"}},
        "spec": {"nodeName": "a", "containers": [{"name": "kube-controller-manager", "image": "registry.k8s.io/kube-controller-manager:v1.36.0",
            "command": ["kube-controller-manager", flags]}]},
        "status": {"phase": "Running"}})
}

fn node(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
        "status": {"nodeInfo": {"operatingSystem": "linux", "architecture": "amd64", "machineID": "", "systemUUID": "", "bootID": "",
            "kernelVersion": "", "osImage": "", "containerRuntimeVersion": "", "kubeletVersion": "", "kubeProxyVersion": ""}}})
}

fn service() -> Value {
    json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": "kube-system", "name": "kube-dns", "labels": {"k8s-app": "kube-dns"}},
        "spec": {"clusterIP": "10.96.0.10", "selector": {"k8s-app": "kube-dns"}, "ports": [
            {"name": "dns", "protocol": "UDP", "port": 53, "targetPort": 53},
            {"name": "dns-tcp", "protocol": "TCP", "port": 53, "targetPort": 53}]}})
}

fn corefile(text: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "kube-system", "name": "coredns"},
        "data": {"Corefile": text}})
}

const KUBEADM: &str = ".:53 {\n    errors\n    health {\n       lameduck 5s\n    }\n    ready\n    kubernetes cluster.local in-addr.arpa ip6.arpa {\n       pods insecure\n       fallthrough in-addr.arpa ip6.arpa\n       ttl 30\n    }\n    prometheus :9153\n    forward . /etc/resolv.conf {\n       max_concurrent 1000\n    }\n    cache 30\n    loop\n    reload\n    loadbalance\n}\n";

fn coredns(name: &str, ready: bool) -> Value {
    let ip = Ipv4Addr::new(10, 244, 0, name.bytes().last().unwrap_or(1));
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "kube-system", "name": name, "labels": {"k8s-app": "kube-dns"}},
        "spec": {"nodeName": "a", "containers": [{"name": "coredns", "image": "registry.k8s.io/coredns/coredns:v1.13.1",
            "args": ["-conf", "/etc/coredns/Corefile"]}]},
        "status": running(ip, ready)})
}

fn slice(endpoints: &[(&str, &str, bool)]) -> Value {
    let endpoints: Vec<Value> = endpoints
        .iter()
        .map(|(name, ip, ready)| {
            json!({"addresses": [ip], "conditions": {"ready": ready},
                "targetRef": {"kind": "Pod", "namespace": "kube-system", "name": name}})
        })
        .collect();
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"namespace": "kube-system", "name": "kube-dns-x", "labels": {"kubernetes.io/service-name": "kube-dns",
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}},
        "addressType": "IPv4", "endpoints": endpoints,
        "ports": [{"name": "dns", "protocol": "UDP", "port": 53}, {"name": "dns-tcp", "protocol": "TCP", "port": 53}]})
}

fn base() -> Vec<Value> {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}});
    vec![namespace, node("a"), node("b"), manager(ALL_ON), service(), corefile(KUBEADM)]
}

/// A budget over all pods of the chart.
fn budget() -> Value {
    json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"namespace": "kube-system", "name": "callsign"},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app.kubernetes.io/name": "callsign"}}}})
}

fn wanted(codes: &[&str]) -> BTreeSet<String> {
    codes.iter().map(|code| (*code).to_owned()).collect()
}

async fn healthy(mode: &str, deployments: &[&str]) -> Result<()> {
    let mut town = Town::new().await?;
    let install = town.check(&["--pre", "--mode", mode, "--strategy", "join", "-o", "json"]).await?;
    // Nobody answers DNS yet; kube-controller-manager's controllers are on.
    let before = if mode == "dns" { vec!["CHK404"] } else { vec!["CHK404", "CHK606"] };
    ensure!(install.codes()? == wanted(&before) && install.code == 1, "{install:?}");
    if mode != "dns" {
        town.cluster.delete(&manager(ALL_ON)).await?;
        town.put(manager(OFF)).await?;
        let install = town.check(&["--pre", "--mode", mode, "--strategy", "join", "-o", "json"]).await?;
        ensure!(install.codes()? == wanted(&["CHK404"]), "{install:?}");
        // Slices take no loopback addresses: pods stand behind it by their other family.
        town.cluster.delete(&service()).await?;
        let mut service = service();
        service["spec"]["ipFamilies"] = json!(["IPv6"]);
        service["spec"]["clusterIP"] = Value::Null;
        town.put(service).await?;
    }
    town.install(&["--mode", mode, "--service", "join"]).await?;
    town.put(budget()).await?;
    let mut servers = Vec::new();
    for deployment in deployments {
        for node in ["a", "b"] {
            servers.push(town.start(deployment, &format!("{deployment}-{node}"), node).await?);
        }
    }
    if mode == "dns" {
        let endpoints = [("callsign-a", "10.244.0.1", true), ("callsign-b", "10.244.0.2", true)];
        town.put(slice(&endpoints)).await?;
    }
    let server = servers.last().context("a server")?.to_string();
    eventually("all is good", async || {
        let said = town.check(&["--server", &server, "-o", "json"]).await?;
        let json = said.json()?;
        ensure!(said.codes()?.is_empty() && said.code == 0, "{said:?}");
        ensure!(json["summary"]["notChecked"] == 0, "{said:?}");
        ensure!(json["result"] == "good" && json["exitCode"] == 0, "{said:?}");
        Ok(())
    })
    .await?;
    let text = town.check(&["--server", &server]).await?.text;
    for line in [
        "✓ http".to_owned(),
        "ServiceAccount kube-system/callsign, for".to_owned(),
        "/etc/callsign/Corefile: accepted".to_owned(),
        "behind it: 2 Callsign".to_owned(),
        format!("{} pods ready and well: callsign-a 0.1.0", servers.len()),
        if mode == "dns" {
            "✓ kube-controller-manager writes endpoints"
        } else {
            "✓ Callsign writes endpoints"
        }
        .to_owned(),
        "kubernetes.default.svc.cluster.local is 10.96.0.1, as its Service says".to_owned(),
        "0 errors, 0 warnings, 0 not checked".to_owned(),
    ] {
        ensure!(text.contains(&line), "{line}\n{text}");
    }
    // A cluster IP says nothing from outside, whoever answers there.
    let outside = town.check(&["-o", "json"]).await?;
    let answers = outside.json()?["categories"][6].clone();
    ensure!(
        outside.code == 0 && answers["name"] == "answers" && answers["findings"] == json!([]),
        "{outside:?}"
    );
    ensure!(
        answers["notChecked"][0]["why"].as_str().is_some_and(|why| why.contains("--server")),
        "{outside:?}"
    );
    ensure!(!text.contains('\u{1b}'), "no colour in a pipe: {text}");
    ensure!(town.check(&["--server", &server, "-o", "short"]).await?.text.is_empty());
    Ok(())
}

#[tokio::test]
async fn dns_is_well() -> Result<()> {
    healthy("dns", &["callsign"]).await
}

#[tokio::test]
async fn all_in_one_is_well() -> Result<()> {
    healthy("all-in-one", &["callsign"]).await
}

#[tokio::test]
async fn split_is_well() -> Result<()> {
    healthy("split", &["callsign-controller", "callsign"]).await
}

/// What is different, what is looked at, and what has to be found.
struct Scenario {
    name: &'static str,
    put: Vec<Value>,
    delete: Vec<Value>,
    arguments: &'static [&'static str],
    codes: &'static [&'static str],
}

fn scenario(
    name: &'static str,
    arguments: &'static [&'static str],
    codes: &'static [&'static str],
) -> Scenario {
    Scenario { name, put: Vec::new(), delete: Vec::new(), arguments, codes }
}

fn with(put: Vec<Value>, scenario: Scenario) -> Scenario {
    Scenario { put, ..scenario }
}

fn change(mut object: Value, pointer: &str, value: Value) -> Value {
    if let Some(field) = object.pointer_mut(pointer) {
        *field = value;
    }
    object
}

/// A Callsign pod that runs nowhere: what its status says is all there is.
fn callsign(name: &str, args: &[&str], status: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "kube-system", "name": name,
            "labels": {"app.kubernetes.io/name": "callsign", "app.kubernetes.io/instance": "callsign"}},
        "spec": {"nodeName": "a", "serviceAccountName": "callsign", "containers": [{"name": "callsign",
            "image": "ghcr.io/callsign-dns/callsign:0.1.0", "args": args,
            "resources": {"limits": {"memory": "128Mi"}}}]},
        "status": status})
}

fn stopped(state: Value, last: Value) -> Value {
    json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}],
        "containerStatuses": [{"name": "callsign", "ready": false, "restartCount": 4, "image": "", "imageID": "",
            "state": state, "lastState": last}]})
}

fn waits(reason: &str, message: &str) -> Value {
    json!({"waiting": {"reason": reason, "message": message}})
}

fn ended(code: i32, reason: &str, message: &str) -> Value {
    json!({"terminated": {"exitCode": code, "reason": reason, "message": message}})
}

fn scenarios() -> Vec<Scenario> {
    let core = |from: &str, to: &str| corefile(&KUBEADM.replace(from, to));
    let crash = |code, reason, message| {
        let status = stopped(waits("CrashLoopBackOff", "back-off"), ended(code, reason, message));
        vec![callsign("callsign-x", &["dns"], status)]
    };
    let one = || vec![coredns("coredns-1", true), slice(&[("coredns-1", "10.244.0.49", true)])];
    let ready = |name: &str| callsign(name, &["controller"], running(Ipv4Addr::new(10, 244, 0, 9), true));
    let namespace = |label: &str| {
        vec![
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system", "labels": {"pod-security.kubernetes.io/enforce": label}}}),
        ]
    };
    const CORE: &[&str] = &["--only", "corefile", "--pre"];
    const SERVICE: &[&str] = &["--only", "service"];
    const SERVERS: &[&str] = &["--only", "servers"];
    const WRITERS: &[&str] = &["--only", "controllers"];
    const INSTALL: &[&str] = &["--only", "install", "--pre"];
    vec![
        scenario("a good Corefile", CORE, &[]),
        with(vec![core("errors", "erors")], scenario("a typo", CORE, &["CHK301"])),
        with(vec![core("errors", "etcd")], scenario("a refused directive", CORE, &["CHK301"])),
        with(vec![core("errors", "pprof")], scenario("no effect", CORE, &["CHK302"])),
        with(vec![core("cluster.local", "k8s.local")], scenario("another domain", CORE, &["CHK303"])),
        with(vec![core("/etc/resolv.conf", "127.0.0.53")], scenario("a loop", CORE, &["CHK304"])),
        with(
            vec![core("/etc/resolv.conf", "10.96.0.10")],
            scenario("a loop by the Service", CORE, &["CHK304"]),
        ),
        with(vec![core("    ready\n", "")], scenario("no ready", CORE, &["CHK305"])),
        with(
            vec![
                core("errors", "import custom/*.override"),
                json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "kube-system", "name": "coredns-custom"},
                    "data": {"a.override": "nosuch\n"}}),
            ],
            scenario("a bad import", CORE, &["CHK301"]),
        ),
        with(one(), scenario("one server", SERVICE, &[])),
        scenario("nobody behind", SERVICE, &["CHK404"]),
        with(vec![coredns("coredns-1", false)], scenario("nobody ready", SERVICE, &["CHK404", "CHK406"])),
        with(vec![coredns("coredns-1", true)], scenario("not written", SERVICE, &["CHK404", "CHK407"])),
        with(
            vec![
                coredns("coredns-1", true),
                change(
                    coredns("callsign-2", true),
                    "/spec/containers/0/image",
                    json!("ghcr.io/callsign-dns/callsign:0.1.0"),
                ),
                slice(&[("coredns-1", "10.244.0.49", true), ("callsign-2", "10.244.0.50", true)]),
            ],
            scenario("a canary", SERVICE, &["CHK405"]),
        ),
        Scenario { delete: vec![service()], ..scenario("no Service", SERVICE, &["CHK401"]) },
        with(
            [one(), vec![change(service(), "/spec/ports/1/port", json!(54))]].concat(),
            scenario("no TCP", SERVICE, &["CHK402"]),
        ),
        scenario("no pod", SERVERS, &["CHK501"]),
        with(
            crash(2, "Error", "callsign: Corefile:3 - Unknown directive"),
            scenario("a crash", SERVERS, &["CHK503"]),
        ),
        with(crash(137, "OOMKilled", ""), scenario("no memory", SERVERS, &["CHK504"])),
        with(
            crash(2, "Error", "0.0.0.0:53: Permission denied (os error 13)"),
            scenario("port 53", SERVERS, &["CHK506"]),
        ),
        with(
            vec![callsign(
                "callsign-x",
                &["dns"],
                stopped(waits("ImagePullBackOff", "not found"), json!({})),
            )],
            scenario("no image", SERVERS, &["CHK505"]),
        ),
        scenario("kube-controller-manager writes", WRITERS, &[]),
        with(vec![ready("callsign-1")], scenario("two kinds of writers", WRITERS, &["CHK601"])),
        Scenario {
            delete: vec![manager(ALL_ON)],
            put: vec![manager(OFF)],
            ..scenario("nobody writes", WRITERS, &["CHK602"])
        },
        Scenario {
            delete: vec![manager(ALL_ON)],
            put: vec![
                manager(OFF),
                ready("callsign-1"),
                change(
                    ready("callsign-2"),
                    "/metadata/labels",
                    json!({"app.kubernetes.io/name": "callsign", "app.kubernetes.io/instance": "other"}),
                ),
            ],
            ..scenario("two installations write", WRITERS, &["CHK603"])
        },
        scenario("nothing in the way", INSTALL, &[]),
        with(
            vec![callsign("callsign-1", &["dns"], running(Ipv4Addr::new(10, 244, 0, 9), true))],
            scenario("there already", INSTALL, &["CHK801"]),
        ),
        with(namespace("strict"), scenario("no such level", INSTALL, &["CHK804"])),
        Scenario { delete: vec![node("b")], ..scenario("one node", INSTALL, &["CHK806"]) },
        scenario("no namespace", &["--only", "install", "--pre", "-n", "elsewhere"], &["CHK807"]),
        scenario(
            "controllers that are on",
            &["--only", "controllers", "--pre", "--mode", "split"],
            &["CHK606"],
        ),
    ]
}

#[tokio::test]
async fn each_thing_that_is_wrong_is_told() -> Result<()> {
    let mut wrong = Vec::new();
    for scenario in scenarios() {
        let town = Town::new().await?;
        for object in &scenario.delete {
            town.cluster.delete(object).await?;
        }
        for object in scenario.put {
            town.put(object).await.with_context(|| scenario.name)?;
        }
        let said =
            town.check(&[scenario.arguments, &["-o", "json", "--fail-on", "warning"]].concat()).await?;
        let code = i32::from(!scenario.codes.is_empty());
        if said.codes()? != wanted(scenario.codes) || said.code != code {
            wrong.push(format!("{}: wanted {:?}\n{said:?}", scenario.name, scenario.codes));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    Ok(())
}

#[tokio::test]
async fn rights_are_held_against_the_table() -> Result<()> {
    let town = Town::new().await?;
    town.install(&["--mode", "all-in-one"]).await?;
    let pod = callsign("callsign-1", &["serve"], running(Ipv4Addr::new(10, 244, 0, 9), true));
    town.put(pod).await?;
    let look = async || town.check(&["--only", "permissions", "-o", "json"]).await;
    let good = look().await?;
    ensure!(good.codes()?.is_empty() && good.code == 0, "{good:?}");
    // Too much, then too little.
    let binding = |role: &str| {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "more"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": "callsign", "namespace": "kube-system"}]})
    };
    let all = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "all"},
        "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]});
    town.put(all).await?;
    town.put(binding("all")).await?;
    ensure!(look().await?.codes()? == wanted(&["CHK203"]), "{:?}", look().await?);
    town.cluster.delete(&binding("all")).await?;
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "callsign"},
        "rules": [{"apiGroups": [""], "resources": ["services", "namespaces", "nodes", "endpoints"], "verbs": ["*"]},
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}]});
    town.put(role).await?;
    let poor = look().await?;
    ensure!(poor.code == 1, "{poor:?}");
    let codes = poor.codes()?;
    ensure!(codes.contains("CHK201") && codes.contains("CHK202"), "{poor:?}");
    ensure!(poor.text.contains("update endpointslices.discovery.k8s.io"), "{poor:?}");
    Ok(())
}

#[tokio::test]
async fn who_may_nothing_is_told_so_and_nothing_breaks() -> Result<()> {
    let town = Town::new().await?;
    let nobody = town.account("nobody").await?;
    let said = town.check_as(&nobody, &["-o", "json"]).await?;
    ensure!(said.code == 3 && said.codes()?.is_empty(), "{said:?}");
    let json = said.json()?;
    ensure!(json["result"] == "undecided", "{said:?}");
    for category in json["categories"].as_array().into_iter().flatten() {
        let unseen = category["notChecked"].as_array().map_or(0, Vec::len);
        ensure!(unseen > 0 || category["name"] == "api", "{category}");
    }
    ensure!(said.text.contains("may not list pods in kube-system"), "{said:?}");
    let said = town.check_as(&nobody, &["--pre", "-o", "json"]).await?;
    ensure!(said.codes()? == wanted(&["CHK204"]) && said.code == 1, "{said:?}");
    // With a wrong token nothing can be looked at at all.
    let config = std::fs::read_to_string(&nobody)?;
    let token = town.folder.path().join("nobody.token");
    std::fs::write(&token, "wrong")?;
    std::fs::write(&nobody, config)?;
    let said = town.check_as(&nobody, &["-o", "json"]).await?;
    ensure!(said.code == 3 && said.codes()? == wanted(&["CHK104"]), "{said:?}");
    Ok(())
}

/// What a server that cannot be reached is told as.
#[tokio::test]
async fn ways_not_to_reach_the_api_server() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("kubeconfig");
    let look = async |server: &str| {
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters:\n- name: c\n  cluster:\n    server: {server}\ncontexts:\n- name: c\n  context:\n    cluster: c\n    user: u\nusers:\n- name: u\n  user: {{}}\n"
        );
        std::fs::write(&file, text)?;
        let said = run(&["check", "--kubeconfig", &file.display().to_string(), "-o", "json"]).await?;
        ensure!(said.code == 3, "{said:?}");
        said.codes()
    };
    let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    ensure!(look(&format!("http://{free}")).await? == wanted(&["CHK101"]));
    ensure!(look("https://no-such-host.invalid:6443").await? == wanted(&["CHK105"]));
    let tls = ApiServer::start(Options { tls: true, ..Options::default() }).await?;
    ensure!(look(&tls.url()).await? == wanted(&["CHK103"]), "its authority is not known");
    let plain = ApiServer::start(Options::default()).await?;
    ensure!(look(&plain.url().replace("http:", "https:")).await? == wanted(&["CHK103"]));
    // A server that takes the connection and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = silent.local_addr()?;
    let holding = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = silent.accept().await {
            held.push(stream);
        }
    });
    ensure!(look(&format!("http://{address}")).await? == wanted(&["CHK102"]));
    holding.abort();
    Ok(())
}

#[tokio::test]
async fn waiting_ends_when_all_is_good_or_time_is_over() -> Result<()> {
    let town = Town::new().await?;
    let waiting = ["--only", "service", "--wait", "30s", "-o", "json"];
    let late = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        town.put(coredns("coredns-1", true)).await?;
        town.put(slice(&[("coredns-1", "10.244.0.49", true)])).await
    };
    let (said, put) = futures::join!(town.check(&waiting), late);
    put?;
    let said = said?;
    ensure!(said.code == 0, "{said:?}");
    ensure!(said.errors.starts_with("waiting: CHK404 "), "{said:?}");
    ensure!(said.json()?["result"] == "good", "one report, the last: {said:?}");
    let said = town.check(&["--only", "servers", "--wait", "3s", "-o", "json"]).await?;
    ensure!(
        said.code == 4 && said.json()?["result"] == "timeout" && said.json()?["exitCode"] == 4,
        "{said:?}"
    );
    ensure!(said.errors.matches("waiting:").count() == 1, "the same is said once: {said:?}");
    Ok(())
}

#[tokio::test]
async fn answers_need_no_api_server() -> Result<()> {
    let mut town = Town::new().await?;
    town.install(&[]).await?;
    let server = town.start("callsign", "callsign-a", "a").await?.to_string();
    let said =
        run(&["check", "--only", "answers", "--server", &server, "--external", "none", "-o", "json"]).await?;
    ensure!(said.code == 0 && said.codes()?.is_empty(), "{said:?}");
    // Names outside are refused without an upstream: a warning.
    let said = run(&["check", "--only=answers", "--server", &server, "-o", "json"]).await?;
    ensure!(said.code == 0 && said.codes()? == wanted(&["CHK707"]), "{said:?}");
    let said = run(&[
        "check",
        "--only=answers",
        "--server",
        &server,
        "--cluster-domain",
        "other.local",
        "--external=none",
        "-o",
        "json",
    ])
    .await?;
    ensure!(said.code == 1 && said.codes()?.contains("CHK703"), "{said:?}");
    let free = std::net::UdpSocket::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let said = run(&["check", "--only=answers", "--server", &free, "-o", "short"]).await?;
    ensure!(said.code == 1 && said.text.starts_with("error answers CHK701 "), "{said:?}");
    let said = run(&["check", "--only=answers", "-o", "json"]).await?;
    ensure!(said.code == 3, "no server is known: {said:?}");
    Ok(())
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() -> Result<()> {
    for (arguments, wanted) in [
        (vec!["check", "--only", "nothing"], "invalid value 'nothing'"),
        (vec!["check", "--service", "kube-dns"], "want NAMESPACE/NAME"),
        (vec!["check", "--kubeconfig", "/nowhere"], "/nowhere"),
    ] {
        let said = run(&arguments).await?;
        ensure!(said.code == 2 && said.errors.contains(wanted), "{said:?}");
    }
    let town = Town::new().await?;
    let said = town.check(&["--corefile", "/nowhere"]).await?;
    ensure!(said.code == 2 && said.errors.contains("open /nowhere"), "{said:?}");
    Ok(())
}

#[tokio::test]
async fn a_pod_that_may_not_list_says_so() -> Result<()> {
    let mut town = Town::new().await?;
    let nobody = town.account("nobody").await?;
    let ip = address();
    let kubeconfig = nobody.display().to_string();
    let at = |port: u16| format!("{ip}:{port}");
    let (dns, health, ready, metrics) = (at(1053), at(8080), at(8181), at(9153));
    let mut process = Callsign::start(
        Path::new(BINARY),
        [
            "dns",
            "--kubeconfig",
            &kubeconfig,
            "--listen",
            &dns,
            "--health-listen",
            &health,
            "--ready-listen",
            &ready,
            "--metrics-listen",
            &metrics,
        ],
    )?;
    process.address("ready").await?;
    town.running.push(process);
    town.put(callsign("callsign-1", &["dns"], running(ip, false))).await?;
    eventually("it is told", async || {
        let said = town.check(&["--only", "servers", "-o", "json"]).await?;
        ensure!(said.code == 1 && said.codes()?.contains("CHK502"), "{said:?}");
        ensure!(said.text.contains("callsign-1 is not ready: ") && said.text.contains("403"), "{said:?}");
        Ok(())
    })
    .await
}
