//! Every Corefile that distributions ship: it starts, syncs, answers the cluster's names, forwards the others, counts, is
//! reloaded when the ConfigMap's link changes, and is kept when the next one is bad.
//!
//! The files are those of `dns/tests/corefiles`, at home on loopback: ports, folders and upstreams are this test's.

#![expect(clippy::panic, reason = "a test may panic, its helpers too")]

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
    server: Running,
    upstream: Upstream,
    /// Of health, readiness and metrics.
    pages: [u16; 3],
    /// How many volumes there have been.
    volumes: u32,
}

/// What is particular about a distribution.
#[derive(Clone, Copy)]
struct Particular {
    /// Its folder or file.
    name: &'static str,
    /// Names outside of the cluster are answered.
    forwards: bool,
    /// `/ready` is served.
    ready: bool,
}

const PLAIN: Particular = Particular { name: "", forwards: true, ready: true };

impl Shipped {
    async fn unpack(particular: Particular) -> Result<Self> {
        let server = ApiServer::start(Options::default()).await?;
        let upstream = Upstream::of_example().await?;
        let place = Place::new(&server)?;
        let pages = [free_port()?, free_port()?, free_port()?];
        let mut shipped = Self { place, server, upstream, pages, volumes: 0 };
        let files = shipped.files(particular.name)?;
        shipped.mount(&files)?;
        Ok(shipped)
    }

    /// The files of a distribution, at home here: name and text.
    fn files(&self, name: &str) -> Result<Vec<(String, String)>> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("dns/tests/corefiles");
        let (folder, file) = (root.join(name), root.join(format!("{name}.corefile")));
        let mut files = Vec::new();
        if folder.is_dir() {
            let mut waiting = vec![folder.clone()];
            while let Some(next) = waiting.pop() {
                for entry in std::fs::read_dir(&next)? {
                    let path = entry?.path();
                    if path.is_dir() {
                        waiting.push(path);
                    } else {
                        let name = path.strip_prefix(&folder)?.display().to_string();
                        files.push((name, self.at_home(&std::fs::read_to_string(&path)?)));
                    }
                }
            }
        } else {
            let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
            files.push(("Corefile".to_owned(), self.at_home(&text)));
        }
        Ok(files)
    }

    /// The text with this test's ports, folders and upstream in the place of a cluster's.
    fn at_home(&self, text: &str) -> String {
        let (port, upstream) = (self.place.port, self.upstream.address);
        let [health, ready, metrics] = self.pages;
        let mut home = String::new();
        for line in text.lines() {
            let indent: String = line.chars().take_while(|c| c.is_whitespace()).collect();
            let mut words = line.split_whitespace();
            let braces = if line.trim_end().ends_with('{') { " {" } else { "" };
            let line = match words.next() {
                Some("health") => format!("{indent}health 127.0.0.1:{health}{braces}"),
                Some("ready") => format!("{indent}ready 127.0.0.1:{ready}"),
                Some("prometheus") => format!("{indent}prometheus 127.0.0.1:{metrics}"),
                // As fast as it may be.
                Some("reload") => format!("{indent}reload 2s 1s"),
                Some("lameduck") => format!("{indent}lameduck 100ms"),
                Some("bind") => format!("{indent}bind 127.0.0.1"),
                Some("forward") => {
                    let zone = words.next().unwrap_or(".");
                    format!("{indent}forward {zone} {upstream}{braces}")
                }
                _ => line
                    .replace(":5353", &format!(":{port}"))
                    .replace(":53 ", &format!(":{port} "))
                    .replace("/etc/coredns", &self.place.path("").display().to_string())
                    .replace("/rootfs/etc/hosts", &self.place.path("hosts").display().to_string()),
            };
            home.push_str(&line);
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
        let pointer = resolver.ask("1.0.96.10.in-addr.arpa.", "PTR").await?;
        ensure!(pointer.answer.iter().any(|line| line.ends_with(CLUSTER)), "{pointer:?}");
        if particular.forwards {
            let before = self.upstream.asked();
            let answer = resolver.ask(EXAMPLE, "A").await?;
            ensure!(
                answer.answer.iter().any(|line| line.ends_with(" A 203.0.113.7")),
                "{answer:?}\n{}",
                said()
            );
            let other = resolver.ask("7.113.0.203.in-addr.arpa.", "PTR").await?;
            ensure!(other.answer.iter().any(|line| line.ends_with(EXAMPLE)), "{other:?}\n{}", said());
            let again = resolver.ask(EXAMPLE, "A").await?;
            ensure!(again.rcode == "NOERROR", "{again:?}");
            // Health checks, loops and retries aside, a name is asked for once and then cached.
            ensure!(self.upstream.asked() <= before + 4, "{} questions", self.upstream.asked() - before);
        }
        ensure!(scrape::get(self.page(0), "/health").await?.0 == 200, "health\n{}", said());
        if particular.ready {
            ensure!(scrape::get(self.page(1), "/ready").await?.0 == 200, "ready\n{}", said());
        }
        let metrics = scrape::Metrics::of(self.page(2)).await?;
        for family in ["coredns_dns_requests_total", "coredns_build_info", "process_start_time_seconds"] {
            ensure!(metrics.samples.keys().any(|sample| sample.starts_with(family)), "{family}\n{metrics:?}");
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
    let mut shipped = Shipped::unpack(particular).await?;
    let mut callsign = shipped.place.start(Path::new(BINARY), &[])?;
    shipped.check(&callsign, particular).await?;
    // The ConfigMap changes: its link is swapped, and the file is read again by itself.
    let files = shipped.files(particular.name)?;
    let with = |line: &str| -> Vec<(String, String)> {
        let changed = |(name, text): &(String, String)| {
            let mut text = text.clone();
            if let Some(at) = text.find("    kubernetes ").filter(|_| name == "Corefile") {
                let end = text.get(at..).and_then(|rest| rest.find('\n')).map_or(text.len(), |end| at + end);
                let kept = text.get(end..).unwrap_or_default().replacen("ttl 30", "", 1);
                text.truncate(end);
                text.push_str(&format!("\n        {line}{kept}"));
            }
            (name.clone(), text)
        };
        files.iter().map(changed).collect()
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
    callsign.signal(Signal::SIGTERM)?;
    let status = callsign.ended(PATIENCE).await?;
    ensure!(status.success(), "{status}\n{}", callsign.said());
    shipped.server.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn kubeadm() -> Result<()> {
    serves(Particular { name: "kubeadm", ..PLAIN }).await
}
