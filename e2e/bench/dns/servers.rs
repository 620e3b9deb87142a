//! The servers that are measured: each a process of its own with the same names, one worker, and nothing written to logs.

use std::{
    ffi::OsString,
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use callsign_e2e::{
    harness::in_place::free_port,
    load::{
        cluster::Cluster,
        mix::{Edns, Mix},
        outcome::Outcome,
        question::Question,
        zone_file,
    },
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use parking_lot::Mutex;

use crate::{client::Client, cores};

/// How long a server may take to answer the first question.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long it may take to end.
const FAREWELL: Duration = Duration::from_secs(5);

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Floor,
    Nsd,
    Knot,
    CoreDns,
    /// Another build of Callsign.
    Against,
    Callsign,
}

/// The processes of servers that run.
static RUNNING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// A server that runs, until it is dropped.
pub(crate) struct Server {
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
    /// All its processes.
    pub(crate) processes: Vec<u32>,
    child: Child,
    process: Pid,
    log: PathBuf,
}

/// What servers are started with.
#[derive(Clone)]
pub(crate) struct Start<'a> {
    /// For their files.
    pub(crate) folder: &'a Path,
    /// The API server's kubeconfig, and its URL.
    pub(crate) kubeconfig: &'a Path,
    pub(crate) api: String,
    /// Where names of others are forwarded to.
    pub(crate) upstream: SocketAddr,
    pub(crate) cluster: Cluster,
    pub(crate) callsign: &'a Path,
    pub(crate) against: Option<&'a Path>,
    pub(crate) coredns: &'a Path,
    /// The cores they are kept to.
    pub(crate) cores: Vec<usize>,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Nsd => "NSD",
            Self::Knot => "Knot",
            Self::CoreDns => "CoreDNS",
            Self::Against => "Against",
            Self::Callsign => "Callsign",
        }
    }

    /// What has to be installed for it.
    fn package(self) -> &'static str {
        match self {
            Self::Nsd => "Debian: apt-get install nsd",
            Self::Knot => "Debian: apt-get install knot",
            Self::CoreDns => "CALLSIGN_BENCH_COREDNS names a binary",
            Self::Against => "--against names a binary",
            Self::Floor | Self::Callsign => "it is built with this",
        }
    }
}

impl Start<'_> {
    /// The same on other cores.
    pub(crate) fn on(&self, cores: &[usize]) -> Self {
        Self { cores: cores.to_vec(), ..self.clone() }
    }

    /// Starts a server and waits until it knows the cluster.
    ///
    /// # Errors
    /// When it is not there, or does not answer.
    pub(crate) fn start(&self, kind: Kind) -> Result<Server> {
        let port = free_port()?;
        let folder = self.folder.join(format!("{}-{port}", kind.name().to_lowercase()));
        fs::create_dir_all(&folder)?;
        let (program, arguments) = self.command(kind, port, &folder)?;
        let log = folder.join("log");
        let output = File::create(&log)?;
        let mut command = Command::new(&program);
        command.args(arguments).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        command.env("KUBECONFIG", self.kubeconfig);
        // A process is kept to the cores of the thread that starts it, and counts them when it does.
        let before = cores::allowed()?;
        cores::keep_to(&self.cores)?;
        let child = command.spawn();
        cores::keep_to(&before)?;
        let child = child.with_context(|| format!("{} ({})", program.display(), kind.package()))?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let process = Pid::from_raw(i32::try_from(child.id())?);
        RUNNING.lock().push(process);
        let mut server = Server { kind, address, processes: Vec::new(), child, process, log };
        server.wait(&self.cluster)?;
        server.processes = cores::family(server.child.id())?;
        Ok(server)
    }

    fn command(&self, kind: Kind, port: u16, folder: &Path) -> Result<(PathBuf, Vec<OsString>)> {
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        let configured = |name: &str, text: String| -> Result<OsString> {
            let path = folder.join(name);
            fs::write(&path, text)?;
            Ok(path.into())
        };
        Ok(match kind {
            Kind::Floor => (std::env::current_exe()?, words(&["--reflect", &format!("127.0.0.1:{port}")])),
            Kind::Nsd => {
                let config = configured("nsd.conf", nsd(port, folder, &self.zones(folder)?))?;
                (debian("nsd"), [words(&["-d", "-c"]), vec![config]].concat())
            }
            Kind::Knot => {
                let config = configured("knot.conf", knot(port, folder, &self.zones(folder)?))?;
                (debian("knotd"), [words(&["-c"]), vec![config]].concat())
            }
            Kind::CoreDns => {
                let endpoint = format!("endpoint {}\n        ", self.api);
                let config = configured("Corefile", self.corefile(port, &endpoint)?)?;
                (self.coredns.to_owned(), [words(&["-conf"]), vec![config]].concat())
            }
            Kind::Callsign | Kind::Against => {
                let binary = if kind == Kind::Callsign { Some(self.callsign) } else { self.against };
                let config = configured("Corefile", self.corefile(port, "")?)?;
                let binary = binary.context("--against names no binary")?;
                (binary.to_owned(), [words(&["-conf"]), vec![config]].concat())
            }
        })
    }

    /// The files of the zones.
    fn zones(&self, folder: &Path) -> Result<Vec<(&'static str, PathBuf)>> {
        let zones = zone_file::zones(&self.cluster).into_iter();
        zones
            .map(|(origin, text)| {
                let path = folder.join(format!("{origin}.zone"));
                fs::write(&path, text)?;
                Ok((origin, path))
            })
            .collect()
    }

    /// kubeadm's, at home on loopback. What it says of `health` and `ready` is not asked.
    fn corefile(&self, port: u16, kubernetes: &str) -> Result<String> {
        let [health, ready, metrics] = [free_port()?, free_port()?, free_port()?];
        let upstream = self.upstream;
        Ok(format!(
            ".:{port} {{
    bind 127.0.0.1
    errors
    health 127.0.0.1:{health} {{
        lameduck 0s
    }}
    ready 127.0.0.1:{ready}
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        {kubernetes}pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }}
    prometheus 127.0.0.1:{metrics}
    forward . {upstream} {{
        max_concurrent 1000
    }}
    cache 30
    loop
    loadbalance
}}
"
        ))
    }
}

impl Server {
    /// Waits until it knows names of both zones.
    fn wait(&mut self, cluster: &Cluster) -> Result<()> {
        let started = Instant::now();
        let questions: Vec<Question> = [Mix::Headless, Mix::Ptr]
            .iter()
            .filter_map(|mix| mix.questions(cluster, Edns::Without).into_iter().next())
            .collect();
        loop {
            // Nobody may listen yet.
            let outcomes = Client::new(self.address).and_then(|mut client| client.learn(&questions));
            let outcomes = outcomes.unwrap_or_default();
            let is_known = |outcome: &Outcome| {
                let [answers, _, _] = outcome.counts;
                outcome.code() == Some(0) && (answers > 0 || self.kind == Kind::Floor)
            };
            if !outcomes.is_empty() && outcomes.iter().all(is_known) {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status}:\n{}", self.kind.name(), self.said());
            }
            if started.elapsed() > PATIENCE {
                bail!("{} does not know the cluster: {outcomes:?}\n{}", self.kind.name(), self.said());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The last of what it has written.
    pub(crate) fn said(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // NSD's children end with their parent only when it is asked to.
        let _ = kill(self.process, Signal::SIGTERM);
        RUNNING.lock().retain(|process| *process != self.process);
        let started = Instant::now();
        while started.elapsed() < FAREWELL {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ends all servers; their folders are removed by whoever made them.
pub(crate) fn end_all() {
    for process in RUNNING.lock().drain(..) {
        let _ = kill(process, Signal::SIGTERM);
    }
}

/// Which server this is, in its own words; nothing where it does not say.
pub(crate) fn version(start: &Start<'_>, kind: Kind) -> Option<String> {
    let (program, argument) = match kind {
        Kind::Nsd => (debian("nsd"), "-v"),
        Kind::Knot => (debian("knotd"), "--version"),
        Kind::CoreDns => (start.coredns.to_owned(), "-version"),
        Kind::Floor | Kind::Against | Kind::Callsign => return None,
    };
    let said = Command::new(program).arg(argument).output().ok()?;
    let text = [said.stdout, said.stderr].concat();
    let words = String::from_utf8_lossy(&text);
    let number = words.split(['-', ' ', '\n']).find(|word| {
        word.contains('.') && word.chars().all(|letter| letter.is_ascii_digit() || letter == '.')
    })?;
    Some(format!("{} {number}", kind.name()))
}

/// Servers are where only root's PATH leads.
fn debian(name: &str) -> PathBuf {
    let there = Path::new("/usr/sbin").join(name);
    if there.exists() { there } else { PathBuf::from(name) }
}

/// One worker, no limits of rates, no cookies, no statistics, nothing that was not asked for.
fn nsd(port: u16, folder: &Path, zones: &[(&str, PathBuf)]) -> String {
    let folder = folder.display();
    let mut text = format!(
        "server:\n  server-count: 1\n  ip-address: 127.0.0.1@{port}\n  do-ip6: no\n  username: \"\"\n  chroot: \"\"\n  \
         zonesdir: \"{folder}\"\n  database: \"\"\n  pidfile: \"{folder}/nsd.pid\"\n  xfrdfile: \"{folder}/xfrd\"\n  \
         zonelistfile: \"{folder}/zone.list\"\n  xfrdir: \"{folder}\"\n  logfile: \"{folder}/nsd.log\"\n  verbosity: 0\n  \
         statistics: 0\n  minimal-responses: yes\n  rrl-ratelimit: 0\n  rrl-whitelist-ratelimit: 0\n  hide-version: yes\n\
         remote-control:\n  control-enable: no\n"
    );
    for (origin, path) in zones {
        text.push_str(&format!("zone:\n  name: \"{origin}\"\n  zonefile: \"{}\"\n", path.display()));
    }
    text
}

/// One worker, no modules: no limits of rates, no cookies, no statistics.
fn knot(port: u16, folder: &Path, zones: &[(&str, PathBuf)]) -> String {
    let folder = folder.display();
    let mut text = format!(
        "server:\n    rundir: \"{folder}\"\n    listen: 127.0.0.1@{port}\n    udp-workers: 1\n    tcp-workers: 1\n    \
         background-workers: 1\n\
         database:\n    storage: \"{folder}\"\n\
         template:\n  - id: default\n    storage: \"{folder}\"\n    zonefile-sync: -1\n    zonefile-load: whole\n    \
         journal-content: none\n    semantic-checks: off\n\
         zone:\n"
    );
    for (origin, path) in zones {
        text.push_str(&format!("  - domain: {origin}\n    file: \"{}\"\n", path.display()));
    }
    text
}
