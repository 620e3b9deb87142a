//! Every Corefile that distributions ship: it starts, syncs, answers the cluster's names, forwards the others, counts, is
//! reloaded when the ConfigMap's link changes, and is kept when the next one is bad.
//!
//! The files are those of `dns/tests/corefiles`, at home on loopback: ports, folders and upstreams are this test's.

use std::{net::SocketAddr, os::unix::fs::symlink, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use callsign_e2e::{
    apiserver::{ApiServer, Options, Running},
    harness::{
        in_place::{Place, free_port},
        process::{Callsign, Signal},
        scrape,
        upstream::Upstream,
    },
};

const BINARY: &str = env!("CARGO_BIN_EXE_callsign");
const CLUSTER: &str = "kubernetes.default.svc.cluster.local.";
const EXAMPLE: &str = "www.example.org.";
const PATIENCE: Duration = Duration::from_secs(20);

/// One distribution's files in a pod's volume.
struct Shipped {
    place: Place,
    #[expect(dead_code, reason = "the API server runs as long as this")]
    server: Running,
    upstream: Upstream,
    cluster: Option<SocketAddr>,
    /// Of health, readiness and metrics.
    pages: [u16; 3],
    /// How many volumes there have been.
    volumes: u32,
}

/// What is particular about a distribution.
#[derive(Clone, Copy)]
struct Particular {
    /// Its folder.
    name: &'static str,
    /// It has a `kubernetes` block; without one it forwards the cluster's names too.
    kubernetes: bool,
    /// `/ready` is served.
    ready: bool,
}

const PLAIN: Particular = Particular { name: "", kubernetes: true, ready: true };

impl Shipped {
    /// `cluster` is where the cluster's DNS is, for those that forward to it.
    async fn unpack(particular: Particular, cluster: Option<SocketAddr>) -> Result<Self> {
        let server = ApiServer::start(Options::default()).await?;
        let upstream = Upstream::of_example().await?;
        let place = Place::new(&server)?;
        let pages = [free_port()?, free_port()?, free_port()?];
        let mut shipped = Self { place, server, upstream, cluster, pages, volumes: 0 };
        shipped.place.write("hosts", "192.0.2.9 api.internal.minimal.k8s.local\n")?;
        let files = shipped.files(particular.name)?;
        shipped.mount(&files)?;
        Ok(shipped)
    }

    /// The files of a distribution, at home here: name and text.
    fn files(&self, name: &str) -> Result<Vec<(String, String)>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("dns/tests/corefiles").join(name);
        let (mut files, mut waiting) = (Vec::new(), vec![folder.clone()]);
        while let Some(next) = waiting.pop() {
            for entry in std::fs::read_dir(&next).with_context(|| next.display().to_string())? {
                let path = entry?.path();
                if path.is_dir() {
                    waiting.push(path);
                } else {
                    let name = path.strip_prefix(&folder)?.display().to_string();
                    files.push((name, self.at_home(&std::fs::read_to_string(&path)?)));
                }
            }
        }
        Ok(files)
    }

    /// The text with this test's ports, folders and upstream in the place of a cluster's.
    fn at_home(&self, text: &str) -> String {
        let port = self.place.port;
        let [health, ready, metrics] = self.pages;
        let cluster = self.cluster.map(|address| address.to_string()).unwrap_or_default();
        let here = [
            ("/etc/resolv.conf", self.upstream.address.to_string()),
            ("169.254.20.20", cluster),
            ("169.254.20.10 169.254.20.11", "127.0.0.1".to_owned()),
            (":5353", format!(":{port}")),
            (":53 ", format!(":{port} ")),
            ("/etc/coredns/", format!("{}/", self.place.path("").display())),
            ("/rootfs/etc/hosts", self.place.path("hosts").display().to_string()),
        ];
        let mut home = String::new();
        for line in text.lines() {
            let braces = if line.trim_end().ends_with('{') { " {" } else { "" };
            match line.split_whitespace().next() {
                Some("health") => home.push_str(&format!("    health 127.0.0.1:{health}{braces}")),
                Some("ready") => home.push_str(&format!("    ready 127.0.0.1:{ready}")),
                Some("prometheus") => home.push_str(&format!("    prometheus 127.0.0.1:{metrics}")),
                // As fast as it may be.
                Some("reload") if braces.is_empty() && !line.contains("15s") => {
                    home.push_str("    reload 2s 1s");
                }
                Some("lameduck") => home.push_str("        lameduck 100ms"),
                _ => {
                    let replaced =
                        here.iter().fold(line.to_owned(), |line, (from, to)| line.replace(from, to));
                    home.push_str(&replaced);
                }
            }
            home.push('\n');
        }
        home
    }

    /// Puts files where a ConfigMap's are: each a link through `..data`, which is swapped as a whole.
    fn mount(&mut self, files: &[(String, String)]) -> Result<()> {
        self.volumes += 1;
        let volume = format!("..volume_{}", self.volumes);
        for (name, text) in files {
            self.place.write(&format!("{volume}/{name}"), text)?;
            let link = self.place.path(name);
            if !link.is_symlink() {
                if let Some(parent) = link.parent() {
                    std::fs::create_dir_all(parent)?;
                }
                symlink(self.place.path("..data").join(name), &link)?;
            }
        }
        let next = self.place.path("..data_tmp");
        symlink(&volume, &next)?;
        std::fs::rename(next, self.place.path("..data"))?;
        Ok(())
    }

    fn page(&self, at: usize) -> SocketAddr {
        let port = self.pages.get(at).copied().unwrap_or_default();
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    /// Everything answers.
    async fn check(&self, callsign: &Callsign, particular: Particular) -> Result<()> {
        let said = || callsign.said();
        let resolver = self.place.answers(callsign, CLUSTER, "A").await?;
        let answer = resolver.ask(CLUSTER, "A").await?;
        ensure!(answer.answer.iter().any(|line| line.ends_with(" A 10.96.0.1")), "{answer:?}");
        let absent = resolver.ask("nosuch.default.svc.cluster.local.", "A").await?;
        ensure!(absent.rcode == "NXDOMAIN" && absent.authority.len() == 1, "{absent:?}");
        if particular.kubernetes {
            let version = resolver.ask("dns-version.cluster.local.", "TXT").await?;
            ensure!(version.answer.len() == 1, "{version:?}");
        }
        let pointer = resolver.ask("1.0.96.10.in-addr.arpa.", "PTR").await?;
        ensure!(pointer.answer.iter().any(|line| line.ends_with(CLUSTER)), "{pointer:?}");
        let before = self.upstream.asked();
        let answer = resolver.ask(EXAMPLE, "A").await?;
        ensure!(answer.answer.iter().any(|line| line.ends_with(" A 203.0.113.7")), "{answer:?}\n{}", said());
        let other = resolver.ask("7.113.0.203.in-addr.arpa.", "PTR").await?;
        ensure!(other.answer.iter().any(|line| line.ends_with(EXAMPLE)), "{other:?}\n{}", said());
        let again = resolver.ask(EXAMPLE, "A").await?;
        ensure!(again.rcode == "NOERROR", "{again:?}");
        // Health checks and probes for loops aside, a name is asked for once and then cached.
        ensure!(self.upstream.asked() <= before + 6, "{} questions", self.upstream.asked() - before);
        ensure!(scrape::get(self.page(0), "/health").await?.0 == 200, "health\n{}", said());
        if particular.ready {
            ensure!(scrape::get(self.page(1), "/ready").await?.0 == 200, "ready\n{}", said());
        }
        let metrics = scrape::Metrics::of(self.page(2)).await?;
        for family in ["coredns_dns_requests_total", "coredns_build_info", "process_start_time_seconds"] {
            ensure!(metrics.samples.keys().any(|sample| sample.starts_with(family)), "no {family}");
        }
        Ok(())
    }
}

/// Waits until the answers for the cluster's name have this TTL.
async fn has_ttl(shipped: &Shipped, callsign: &Callsign, ttl: u32) -> Result<()> {
    let resolver = shipped.place.answers(callsign, CLUSTER, "A").await?;
    let wanted = format!("{CLUSTER} {ttl} A 10.96.0.1");
    let waiting = async {
        while !resolver.ask(CLUSTER, "A").await.is_ok_and(|answer| answer.answer.contains(&wanted)) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.with_context(|| callsign.said())
}

async fn serves(particular: Particular) -> Result<()> {
    let mut shipped = Shipped::unpack(particular, None).await?;
    let callsign = shipped.place.start(Path::new(BINARY), &[])?;
    shipped.check(&callsign, particular).await?;
    // The ConfigMap changes: its link is swapped, and the file is read again by itself.
    let files = shipped.files(particular.name)?;
    let with = |line: &str| -> Vec<(String, String)> {
        files.iter().map(|(name, text)| (name.clone(), changed(name, text, line))).collect()
    };
    shipped.mount(&with("ttl 17"))?;
    has_ttl(&shipped, &callsign, 17).await?;
    shipped.check(&callsign, particular).await?;
    // A bad one is refused with its file and line; everything goes on as it was.
    shipped.mount(&with("ttl nonsense"))?;
    callsign.signal(Signal::SIGUSR1)?;
    let refused = async {
        while !callsign.said().lines().any(|line| line.contains("Corefile:") && line.contains("nonsense")) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.with_context(|| callsign.said())?;
    has_ttl(&shipped, &callsign, 17).await?;
    shipped.check(&callsign, particular).await?;
    // And a good one after it is taken.
    shipped.mount(&with("ttl 19"))?;
    callsign.signal(Signal::SIGUSR1)?;
    has_ttl(&shipped, &callsign, 19).await?;
    shipped.check(&callsign, particular).await?;
    ends(callsign).await
}

/// A Corefile with another line in its `kubernetes` block, in the place of the TTL there.
fn changed(name: &str, text: &str, line: &str) -> String {
    let at = text.find("    kubernetes ").filter(|_| name == "Corefile");
    let Some((head, rest)) = at.and_then(|at| text.split_at_checked(at)) else { return text.to_owned() };
    let (block, rest) = rest.split_once('\n').unwrap_or((rest, ""));
    let (options, rest) = rest.split_once('}').unwrap_or((rest, ""));
    format!("{head}{block}\n        {line}\n{}}}{rest}", options.replace("ttl 30", ""))
}

async fn ends(mut callsign: Callsign) -> Result<()> {
    callsign.signal(Signal::SIGTERM)?;
    let status = callsign.ended(PATIENCE).await?;
    ensure!(status.success(), "{status}\n{}", callsign.said());
    Ok(())
}

macro_rules! shipped {
    ($($test:ident: $name:literal),* $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $test() -> Result<()> {
            serves(Particular { name: $name, ..PLAIN }).await
        }
    )*};
}

shipped! {
    kubeadm_1_33: "kubeadm-1.33",
    kubeadm_1_32: "kubeadm-1.32",
    kops: "kops",
    kops_gossip: "kops-gossip",
    kops_ipv6: "kops-ipv6",
    k3s: "k3s",
    rke2: "rke2",
    helm: "helm",
    deployment: "deployment",
    aks: "aks",
    openshift: "openshift",
    minikube: "minikube",
}

/// NodeLocal DNSCache's blocks forward to the cluster's DNS, and have no cluster of their own.
#[tokio::test(flavor = "multi_thread")]
async fn nodelocaldns() -> Result<()> {
    let central = Shipped::unpack(Particular { name: "kubeadm-1.33", ..PLAIN }, None).await?;
    let cluster = central.place.start(Path::new(BINARY), &[])?;
    central.place.answers(&cluster, CLUSTER, "A").await?;
    let particular = Particular { name: "nodelocaldns", kubernetes: false, ready: false };
    let mut shipped = Shipped::unpack(particular, Some(central.place.dns())).await?;
    let callsign = shipped.place.start(Path::new(BINARY), &[])?;
    shipped.check(&callsign, particular).await?;
    let mut files = shipped.files(particular.name)?;
    for (_, text) in &mut files {
        *text = text.replacen("cache {", "nonsense\n    cache {", 1);
    }
    shipped.mount(&files)?;
    callsign.signal(Signal::SIGUSR1)?;
    let refused = async {
        while !callsign.said().contains("Unknown directive 'nonsense'") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.with_context(|| callsign.said())?;
    shipped.check(&callsign, particular).await?;
    ends(callsign).await?;
    ends(cluster).await
}
