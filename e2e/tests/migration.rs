//! From CoreDNS to Callsign and back under questions that never pause, as `docs/migrate-from-coredns.md` tells it.
//!
//! The Deployments, the Service and their pods are objects of the embedded API server with RBAC on; workloads make the pods, a
//! Callsign in kube-controller-manager's place makes the endpoints, and the pods' containers are processes of this machine:
//! the chart's Callsign with its own account and Corefile, and a stand-in for CoreDNS. Clients ask through kube-dns's
//! EndpointSlices all the time; not one of their answers may be wrong or missing.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use callsign_e2e::{
    apiserver::{AccessOptions, Options, Running, access::Access, kind::Kind, manifest},
    harness::{
        build,
        in_place::Place,
        kubelet::{self, Container, Kubelet, PORTS, Runtime, Started},
        process::{Callsign, Signal},
        proxy::{Clients, Counts, Known},
        scrape::{self, Metrics},
        stand_in::{Said, StandIn},
        upstream::Upstream,
        world::{World, eventually},
    },
};
use futures::future::BoxFuture;
use hickory_proto::{op::ResponseCode, rr::RecordType};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::process::Command;

const BINARY: &str = env!("CARGO_BIN_EXE_callsign");
const SYSTEM: &str = "kube-system";
const COREFILE: &str = include_str!("../../dns/tests/corefiles/kubeadm-1.33/Corefile");
/// How long questions are asked in a phase of which shares are taken.
const PHASE: Duration = Duration::from_secs(3);
/// CoreDNS's lameduck time here.
const LAMEDUCK: Duration = Duration::from_secs(1);

/// What runs in the pods, by their image.
struct Images {
    accounts: Accounts,
    /// What CoreDNS's answers are made of.
    behind: SocketAddr,
    /// Who knows the names of others.
    upstream: SocketAddr,
    folder: PathBuf,
    /// The next Callsign that starts cannot reach the API server.
    cut_off: AtomicBool,
    objects: parking_lot::Mutex<Vec<Value>>,
}

/// The tokens of pods' accounts.
struct Accounts {
    access: Arc<Access>,
    kubeconfig: Box<dyn Fn(&Path) -> String + Send + Sync>,
}

impl Runtime for Images {
    fn start(&self, pod: Value, address: Ipv4Addr) -> BoxFuture<'_, Result<Box<dyn Container>>> {
        Box::pin(async move {
            let image = pod.pointer("/spec/containers/0/image").and_then(Value::as_str).unwrap_or_default();
            if image.contains("coredns") {
                return Ok(Box::new(Old(self.coredns(address).await?)) as Box<dyn Container>);
            }
            Ok(Box::new(self.callsign(&pod, address)?) as Box<dyn Container>)
        })
    }
}

impl Images {
    /// CoreDNS denies a namespace to questions that are not for addresses, which Callsign does not.
    async fn coredns(&self, address: Ipv4Addr) -> Result<StandIn> {
        let address = SocketAddr::from((address, 53 + PORTS));
        StandIn::before_at(address, self.behind, |question, reply, _| {
            let asked = question.queries.first();
            let is_namespace = asked.is_some_and(|query| {
                query.query_type() == RecordType::TXT
                    && query.name().to_string() == "default.svc.cluster.local."
            });
            if is_namespace {
                reply.metadata.response_code = ResponseCode::NXDomain;
            }
            Said::Now
        })
        .await
    }

    /// What the chart says, with the pod's own account, on the pod's own address.
    fn callsign(&self, pod: &Value, address: Ipv4Addr) -> Result<New> {
        let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str);
        let uid = text("/metadata/uid").context("a uid")?;
        let folder = self.folder.join(uid);
        let file = self.kubeconfig(uid, text("/spec/serviceAccountName").context("an account")?)?;
        if self.cut_off.swap(false, Ordering::Relaxed) {
            let kubeconfig = std::fs::read_to_string(&file)?;
            let line = kubeconfig.lines().find(|line| line.contains("server:")).context("server")?;
            std::fs::write(&file, kubeconfig.replace(line, "    server: https://127.0.0.1:9"))?;
        }
        std::fs::write(folder.join("Corefile"), moved(&self.corefile(pod)?, address, self.upstream))?;
        let arguments = pod.pointer("/spec/containers/0/args").and_then(Value::as_array).context("args")?;
        let arguments = arguments.iter().filter_map(Value::as_str).map(|argument| match argument {
            "/etc/callsign/Corefile" | "/etc/coredns/Corefile" => {
                folder.join("Corefile").display().to_string()
            }
            other => other.to_owned(),
        });
        let file = file.display().to_string();
        let variables = [("CALLSIGN_LOG_FORMAT", "json"), ("CALLSIGN_KUBECONFIG", file.as_str())];
        let process = Callsign::start_with(Path::new(BINARY), arguments, variables)?;
        Ok(New { process, ready: SocketAddr::from((address, 8181 + PORTS)) })
    }

    /// A kubeconfig of its own for an account of the system's.
    fn kubeconfig(&self, folder: &str, account: &str) -> Result<PathBuf> {
        let folder = self.folder.join(folder);
        std::fs::create_dir_all(&folder)?;
        let issued = self.accounts.access.issue(SYSTEM, account, 3600, None, &[]);
        let (token, file) = (folder.join("token"), folder.join("kubeconfig"));
        std::fs::write(&token, issued.map_err(|error| anyhow!("{error:?}"))?.token)?;
        std::fs::write(&file, (self.accounts.kubeconfig)(&token))?;
        Ok(file)
    }

    /// The Corefile of the ConfigMap that the pod mounts.
    fn corefile(&self, pod: &Value) -> Result<String> {
        let map = pod.pointer("/spec/volumes").and_then(Value::as_array).context("volumes")?;
        let map = map
            .iter()
            .find_map(|volume| volume.pointer("/configMap/name")?.as_str())
            .context("a ConfigMap")?;
        let objects = self.objects.lock();
        let found = objects.iter().rev().find(|object| {
            object["kind"] == "ConfigMap"
                && object.pointer("/metadata/name").and_then(Value::as_str) == Some(map)
        });
        let text = found.and_then(|object| object.pointer("/data/Corefile")?.as_str());
        Ok(text.context("a Corefile")?.to_owned())
    }
}

/// A Corefile on one address of this machine, its ports moved up.
fn moved(corefile: &str, address: Ipv4Addr, upstream: SocketAddr) -> String {
    let port = |port: u16| port + PORTS;
    corefile
        .replace("/etc/resolv.conf", &upstream.to_string())
        .replace(".:53 {", &format!(".:{} {{\n    bind {address}", port(53)))
        .replace(".:1053 {", &format!(".:{} {{\n    bind {address}", port(1053)))
        .replace("health {", &format!("health {address}:{} {{", port(8080)))
        .replace("    ready\n", &format!("    ready {address}:{}\n", port(8181)))
        .replace("prometheus :9153", &format!("prometheus {address}:{}", port(9153)))
}

/// The stand-in for CoreDNS.
struct Old(StandIn);

impl Container for Old {
    fn is_ready(&mut self) -> BoxFuture<'_, bool> {
        Box::pin(std::future::ready(true))
    }

    fn end(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            tokio::time::sleep(LAMEDUCK).await;
            drop(self.0);
        })
    }
}

/// A Callsign.
struct New {
    process: Callsign,
    ready: SocketAddr,
}

impl Container for New {
    fn is_ready(&mut self) -> BoxFuture<'_, bool> {
        Box::pin(
            async move { scrape::get(self.ready, "/ready").await.is_ok_and(|(status, _)| status == 200) },
        )
    }

    fn end(mut self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let _ = self.process.signal(Signal::SIGTERM);
            let _ = self.process.ended(Duration::from_secs(30)).await;
        })
    }
}

/// A cluster with CoreDNS behind kube-dns, and clients.
struct Migration {
    world: World,
    images: Arc<Images>,
    kubelet: Kubelet,
    clients: Clients,
    #[expect(dead_code, reason = "they live as long as this")]
    others: (tempfile::TempDir, Upstream, Place, Callsign),
}

impl Migration {
    async fn start() -> Result<Self> {
        let options = Options { access: Some(AccessOptions::default()), tls: true, ..kubelet::options() };
        // In kube-controller-manager's place.
        let world = World::start(Path::new(BINARY), options, &[]).await?;
        let server = world.embedded()?;
        for object in before() {
            server.store().load(object.clone()).map_err(|error| anyhow!("{error:?}\n{object}"))?;
        }
        let folder = tempfile::tempdir()?;
        let upstream = Upstream::of_example().await?;
        // kubeadm's Corefile, as CoreDNS would serve it.
        let place = Place::beside(&world)?;
        let local = format!("127.0.0.1:{}", place.port);
        let corefile = COREFILE
            .replace("/etc/resolv.conf", &upstream.address.to_string())
            .replace(".:53 {", &format!(".:{} {{\n    bind 127.0.0.1", place.port))
            .replace("    health {\n       lameduck 5s\n    }\n    ready\n", "")
            .replace("    prometheus :9153\n", "");
        place.write("Corefile", &corefile)?;
        let behind = place.start(Path::new(BINARY), &[])?;
        place.answers(&behind, "web.default.svc.cluster.local.", "A").await?;
        let kubeconfig = kubeconfig_of(server);
        let images = Arc::new(Images {
            accounts: Accounts { access: Arc::clone(server.access()), kubeconfig: Box::new(kubeconfig) },
            behind: local.parse()?,
            upstream: upstream.address,
            folder: folder.path().to_owned(),
            cut_off: AtomicBool::new(false),
            objects: parking_lot::Mutex::new(before()),
        });
        let kubelet =
            Kubelet::run(Arc::clone(server.store()), SYSTEM, Arc::clone(&images) as Arc<dyn Runtime>);
        let web = server.store().get(Kind::Service, "default", "web").context("web")?;
        let web =
            web.value.pointer("/spec/clusterIP").and_then(Value::as_str).context("an address")?.to_owned();
        let known = |name, kind, rcode, data: &[&str]| Known {
            name,
            kind,
            rcode,
            data: data.iter().map(|&data| data.to_owned()).collect(),
        };
        let questions = vec![
            known("web.default.svc.cluster.local.", "A", "NOERROR", &[&web]),
            known("web.default.svc.cluster.local.", "AAAA", "NOERROR", &[]),
            known(
                "_http._tcp.web.default.svc.cluster.local.",
                "SRV",
                "NOERROR",
                &["0 100 80 web.default.svc.cluster.local."],
            ),
            known("kube-dns.kube-system.svc.cluster.local.", "A", "NOERROR", &["10.96.0.10"]),
            known("10.0.96.10.in-addr.arpa.", "PTR", "NOERROR", &["kube-dns.kube-system.svc.cluster.local."]),
            known("nothing.default.svc.cluster.local.", "A", "NXDOMAIN", &[]),
        ];
        world.answers("web.default.svc.cluster.local.", "A", &[&web]).await?;
        let client = world.cluster.client();
        // CoreDNS first: programs are started when there is DNS.
        let old = |pod: &Started| pod.image.contains("coredns");
        eventually("CoreDNS runs", async || {
            ensure!(kubelet.started().iter().filter(|pod| old(pod)).count() == 2);
            let answer = world.data("kube-dns.kube-system.svc.cluster.local.", "A").await?;
            ensure!(answer == ["10.96.0.10"]);
            Ok(())
        })
        .await?;
        wait_for_endpoints(&world, 2).await?;
        let clients = Clients::start(client, SYSTEM, "kube-dns", kubelet.reacher(), questions);
        eventually("clients", async || {
            ensure!(clients.backends().len() == 2);
            Ok(())
        })
        .await?;
        Ok(Self { world, images, kubelet, clients, others: (folder, upstream, place, behind) })
    }

    /// Applies what the chart renders of a preset, and deletes of the release what is no longer in it, as Helm does.
    async fn install(&self, preset: &str, no_longer: &[Value]) -> Result<()> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("charts/golden/{preset}.yaml"));
        let parsed = manifest::parse(&path, &std::fs::read_to_string(&path)?)?;
        ensure!(parsed.unknown.is_empty(), "{:?}", parsed.unknown);
        let is_hook = |object: &Value| object.pointer("/metadata/annotations/helm.sh~1hook").is_some();
        let objects: Vec<Value> =
            parsed.objects.into_iter().map(|object| object.value).filter(|object| !is_hook(object)).collect();
        self.images.objects.lock().extend(objects.iter().cloned());
        // What Deployments need comes first.
        let (last, first): (Vec<&Value>, Vec<&Value>) =
            objects.iter().partition(|object| object["kind"] == "Deployment");
        for object in first.into_iter().chain(last) {
            self.world.cluster.apply(object).await?;
        }
        for object in no_longer {
            self.world.cluster.delete(object).await?;
        }
        Ok(())
    }

    fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.world.cluster.client(), SYSTEM)
    }

    /// `kubectl -n kube-system scale deployment/NAME --replicas=N`
    async fn scale(&self, name: &str, replicas: i32) -> Result<()> {
        let patch = json!({"spec": {"replicas": replicas}});
        self.deployments().patch_scale(name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        Ok(())
    }

    /// `kubectl -n kube-system rollout status deployment/NAME`, and that no other pods are left.
    async fn rolled_out(&self, name: &str) -> Result<()> {
        eventually(&format!("{name} rolled out"), async || {
            let deployment = self.deployments().get(name).await?;
            let wanted = deployment.spec.replicas.unwrap_or_default();
            let status = deployment.status.unwrap_or_default();
            let seen = status.observed_generation >= deployment.metadata.generation;
            let counts = [status.replicas, status.updated_replicas, status.ready_replicas];
            let done = counts.iter().all(|count| count.unwrap_or_default() == wanted);
            ensure!(seen && done, "{status:?}");
            Ok(())
        })
        .await
    }

    /// The pods of a Deployment that are not ending.
    async fn pods(&self, selector: &str) -> Result<Vec<Pod>> {
        let pods: Api<Pod> = Api::namespaced(self.world.cluster.client(), SYSTEM);
        let all = pods.list(&kube::api::ListParams::default().labels(selector)).await?;
        Ok(all.items.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect())
    }

    /// `kubectl -n kube-system label pod NAME k8s-app=VALUE`, or `k8s-app-`.
    async fn label(&self, pod: &Pod, value: Option<&str>) -> Result<()> {
        let pods: Api<Pod> = Api::namespaced(self.world.cluster.client(), SYSTEM);
        let name = pod.metadata.name.as_deref().context("a name")?;
        let patch = json!({"metadata": {"labels": {"k8s-app": value}}});
        pods.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        Ok(())
    }

    /// Who answered since: by `old` and `new`.
    fn shares(&self, before: &Counts) -> BTreeMap<&'static str, u64> {
        let kinds: BTreeMap<IpAddr, &'static str> = (self.kubelet.started().into_iter())
            .map(|pod| (pod.ip, if pod.image.contains("coredns") { "old" } else { "new" }))
            .collect();
        let mut shares = BTreeMap::from([("old", 0), ("new", 0)]);
        for (ip, count) in self.clients.counts().since(before) {
            *shares.entry(kinds.get(&ip).copied().unwrap_or("nobody")).or_default() += count;
        }
        shares
    }

    /// The share of each in a phase of its own.
    async fn phase(&self) -> Result<BTreeMap<&'static str, u64>> {
        // What is under way was asked before.
        tokio::time::sleep(PHASE / 6).await;
        let before = self.clients.counts();
        tokio::time::sleep(PHASE).await;
        self.clients.counts().are_good()?;
        let shares = self.shares(&before);
        ensure!(shares.values().sum::<u64>() > 200, "hardly anything was asked: {shares:?}");
        Ok(shares)
    }

    /// Waits until clients ask these addresses and no others; how long that took.
    async fn asked(&self, wanted: &BTreeSet<IpAddr>) -> Result<Duration> {
        let started = Instant::now();
        eventually("who is asked", async || {
            let asked: BTreeSet<IpAddr> = self.clients.backends().into_iter().collect();
            ensure!(asked == *wanted, "{asked:?}, wanted {wanted:?}");
            Ok(())
        })
        .await?;
        Ok(started.elapsed())
    }

    async fn addresses(&self, selector: &str) -> Result<BTreeSet<IpAddr>> {
        let pods = self.pods(selector).await?;
        let ip = |pod: &Pod| pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok();
        Ok(pods.iter().filter_map(ip).collect())
    }

    /// How many questions for addresses the Callsign at a pod's address has counted.
    async fn counted(&self, ip: IpAddr) -> Result<f64> {
        let metrics = Metrics::of(self.kubelet.reach(ip, 9153)).await?;
        let of_clients = metrics.samples.iter().filter(|(sample, _)| {
            sample.starts_with("coredns_dns_requests_total{") && sample.contains("type=\"A\"")
        });
        Ok(of_clients.map(|(_, count)| count).sum())
    }

    /// As the administrator, or as a pod with the account that the chart makes.
    async fn diff(&self, server: IpAddr, against: IpAddr, as_pod: bool) -> Result<Value> {
        let at = |ip| self.kubelet.reach(ip, 53).to_string();
        let kubeconfig =
            if as_pod { self.images.kubeconfig("diff", "callsign")? } else { self.world.kubeconfig() };
        let output = Command::new(BINARY)
            .args(["diff", "--log-level", "warn", "--rate", "0", "--output", "json", "--kubeconfig"])
            .arg(kubeconfig)
            .args(["--server", &at(server), "--against", &at(against)])
            .output()
            .await?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
        Ok(serde_json::from_str(&text)?)
    }
}

/// The names of CoreDNS's metrics in a text.
fn metrics_of(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("coredns_")).map(str::to_owned).collect()
}

/// Makes kubeconfigs for accounts, after the server has been moved elsewhere.
fn kubeconfig_of(server: &Running) -> impl Fn(&Path) -> String + Send + Sync + 'static {
    const HERE: &str = "/token/of/the/pod";
    let form = server.kubeconfig_of_file(Path::new(HERE));
    move |token| form.replace(HERE, &token.display().to_string())
}

async fn wait_for_endpoints(world: &World, wanted: usize) -> Result<()> {
    eventually("endpoints of kube-dns", async || {
        let slices = world.cluster.list(Kind::EndpointSlice).await?;
        let of_dns =
            slices.iter().filter(|slice| slice.pointer("/metadata/namespace") == Some(&json!(SYSTEM)));
        let endpoints = of_dns.filter_map(|slice| slice.get("endpoints")?.as_array()).flatten();
        let ready = endpoints.filter(|endpoint| endpoint.pointer("/conditions/ready") == Some(&json!(true)));
        let found = ready.count();
        ensure!(found == wanted, "{found}");
        Ok(())
    })
    .await
}

/// What kubeadm has made, and an application.
fn before() -> Vec<Value> {
    let label = json!({"k8s-app": "kube-dns"});
    let port = |name: &str, number: u16, protocol: &str| json!({"name": name, "port": number, "targetPort": number, "protocol": protocol});
    vec![
        build::namespace(SYSTEM),
        build::service("default", "web"),
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"namespace": SYSTEM, "name": "coredns"}, "data": {"Corefile": COREFILE},
        }),
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"namespace": SYSTEM, "name": "kube-dns", "labels": {"k8s-app": "kube-dns"}},
            "spec": {"clusterIP": "10.96.0.10", "selector": label, "ports": [
                port("dns", 53, "UDP"), port("dns-tcp", 53, "TCP"), port("metrics", 9153, "TCP"),
            ]},
        }),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"namespace": SYSTEM, "name": "coredns", "labels": label},
            "spec": {
                "replicas": 2, "selector": {"matchLabels": label},
                "strategy": {"rollingUpdate": {"maxUnavailable": 1}},
                "template": {"metadata": {"labels": label}, "spec": {"containers": [{
                    "name": "coredns", "image": "registry.k8s.io/coredns/coredns:v1.13.1",
                    "ports": [{"containerPort": 53, "protocol": "UDP"}],
                }]}},
            },
        }),
    ]
}

const CALLSIGN: &str = "app.kubernetes.io/name=callsign";
const COREDNS: &str = "k8s-app=kube-dns,app.kubernetes.io/name!=callsign";

#[tokio::test(flavor = "multi_thread")]
async fn over_to_callsign_and_back_without_a_lost_answer() -> Result<()> {
    let migration = Migration::start().await?;
    let m = &migration;
    let old = m.addresses(COREDNS).await?;
    let shares = m.phase().await?;
    assert_eq!(shares["new"], 0);

    // Shadow, with CoreDNS's own Corefile: it runs, and nobody asks it.
    m.install("existing-configmap", &[]).await?;
    m.rolled_out("callsign").await?;
    let shares = m.phase().await?;
    assert_eq!(shares["new"], 0, "{shares:?}");
    let shadow: Vec<IpAddr> = m.addresses(CALLSIGN).await?.into_iter().collect();
    assert_eq!(shadow.len(), 2);
    for ip in &shadow {
        assert_eq!(m.counted(*ip).await?, 0.0, "a client asked {ip}");
    }

    // Diff: quiet, but for what is different on purpose.
    let (first, any_old) = (shadow.first().context("a pod")?, old.first().context("a pod")?);
    let report = m.diff(*first, *any_old, false).await?;
    assert_eq!(
        (&report["good"], &report["wanted"]["nodata"]["count"]),
        (&json!(true), &json!(1)),
        "{report:#}"
    );
    assert!(report["equal"].as_u64().unwrap_or_default() > 40, "{report:#}");
    assert!(m.counted(*first).await? > 0.0, "it was asked by diff");

    // A broken canary is alive and carries the label; it is not ready, so nobody asks it.
    m.images.cut_off.store(true, Ordering::Relaxed);
    m.scale("callsign", 3).await?;
    eventually("a third pod", async || {
        ensure!(m.addresses(CALLSIGN).await?.len() == 3);
        Ok(())
    })
    .await?;
    let pods = m.pods(CALLSIGN).await?;
    let ip = |pod: &Pod| -> Option<IpAddr> { pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok() };
    let broken = pods.iter().find(|pod| ip(pod).is_some_and(|ip| !shadow.contains(&ip))).context("it")?;
    m.label(broken, Some("kube-dns")).await?;
    let shares = m.phase().await?;
    assert_eq!(shares["new"], 0, "{shares:?}");
    let (status, why) =
        scrape::get(m.kubelet.reach(ip(broken).context("an address")?, 8181), "/ready").await?;
    assert_eq!(status, 503, "{why}");
    m.label(broken, None).await?;
    m.scale("callsign", 2).await?;
    m.rolled_out("callsign").await?;

    // Canary: one of three answers about a third.
    let pods = m.pods(CALLSIGN).await?;
    let canary = pods.first().context("a pod")?;
    m.label(canary, Some("kube-dns")).await?;
    let mut wanted = old.clone();
    wanted.extend(ip(canary));
    m.asked(&wanted).await?;
    let shares = m.phase().await?;
    let share = shares["new"] as f64 / (shares["new"] + shares["old"]) as f64;
    assert!((0.2..0.47).contains(&share), "{share} {shares:?}");
    // What the guide looks at is there.
    let page = Metrics::of(m.kubelet.reach(ip(canary).context("an address")?, 9153)).await?;
    let looked_at = metrics_of(include_str!("../../docs/migrate-from-coredns.md"));
    assert!(looked_at.len() >= 4, "{looked_at:?}");
    for name in looked_at {
        assert!(page.samples.keys().any(|sample| sample.starts_with(&name)), "{name}");
    }
    // Equal while clients ask both.
    m.diff(ip(canary).context("an address")?, *any_old, true).await?;

    // Cut-over: every pod of the release stands behind kube-dns, then CoreDNS goes.
    let own =
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": SYSTEM, "name": "callsign"}});
    m.install("join-existing-configmap", &[own]).await?;
    m.rolled_out("callsign").await?;
    m.scale("coredns", 0).await?;
    m.asked(&m.addresses(CALLSIGN).await?).await?;
    let shares = m.phase().await?;
    assert_eq!(shares["old"], 0, "{shares:?}");

    // Roll-back: CoreDNS is back, then the label goes. Seconds, and no Service is touched.
    let started = Instant::now();
    m.scale("coredns", 2).await?;
    m.rolled_out("coredns").await?;
    for pod in m.pods(CALLSIGN).await? {
        m.label(&pod, None).await?;
    }
    m.asked(&m.addresses(COREDNS).await?).await?;
    let took = started.elapsed();
    let shares = m.phase().await?;
    assert_eq!(shares["new"], 0, "{shares:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");

    // And over for good.
    for pod in m.pods(CALLSIGN).await? {
        m.label(&pod, Some("kube-dns")).await?;
    }
    let everybody: BTreeSet<IpAddr> =
        m.addresses(CALLSIGN).await?.union(&m.addresses(COREDNS).await?).copied().collect();
    m.asked(&everybody).await?;
    m.world
        .cluster
        .delete(&json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": SYSTEM, "name": "coredns"}}))
        .await?;
    m.asked(&m.addresses(CALLSIGN).await?).await?;
    let shares = m.phase().await?;
    assert_eq!(shares["old"], 0, "{shares:?}");

    let counts = m.clients.counts();
    counts.are_good()?;
    let all: u64 = counts.answered.values().sum();
    assert!(counts.over_tcp > 100 && all > 3000, "{counts:?}");
    println!(
        "{all} questions, {} over TCP, {} asked again, rolled back in {took:?}",
        counts.over_tcp, counts.retried
    );
    assert!(counts.retried * 200 <= all, "{} of {all} questions were asked twice", counts.retried);
    Ok(())
}

/// What the guide warns of: the existing Service sends to port 53, and a pod of an own Service on 1053 does not answer there.
/// It is ready, and so it is asked.
#[tokio::test(flavor = "multi_thread")]
async fn a_canary_on_another_port_loses_questions() -> Result<()> {
    let migration = Migration::start().await?;
    let m = &migration;
    m.install("dns-own", &[]).await?;
    m.rolled_out("callsign").await?;
    let pods = m.pods(CALLSIGN).await?;
    m.label(pods.first().context("a pod")?, Some("kube-dns")).await?;
    eventually("questions are asked again", async || {
        ensure!(m.clients.counts().retried > 10);
        Ok(())
    })
    .await?;
    let shares = m.shares(&Counts::default());
    assert_eq!(shares["new"], 0, "{shares:?}");
    Ok(())
}
