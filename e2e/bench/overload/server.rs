//! The server that is flooded, in its bounds.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};
use callsign_e2e::harness::in_place::free_port;

/// How often a quota is renewed, microseconds.
const PERIOD: u64 = 10_000;

/// A server that runs, until it is dropped.
pub(crate) struct Server {
    pub(crate) dns: SocketAddr,
    pub(crate) health: SocketAddr,
    pub(crate) metrics: SocketAddr,
    /// How it is kept from having more than its share.
    pub(crate) bounds: String,
    child: Child,
    group: Option<PathBuf>,
    /// The upstream that never says anything.
    _dead: UdpSocket,
}

impl Server {
    /// Starts it with a share of a core.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(binary: &Path, folder: &Path, kubeconfig: &Path, share: f64) -> Result<Self> {
        let dead = UdpSocket::bind("127.0.0.1:0")?;
        let [dns, health, metrics] = [free_port()?, free_port()?, free_port()?];
        let corefile = folder.join("Corefile");
        let text = format!(
            ".:{dns} {{\n bind 127.0.0.1\n health 127.0.0.1:{health}\n \
             prometheus 127.0.0.1:{metrics}\n kubernetes cluster.local\n template IN A made.test {{\n \
             answer \"{{{{ .Name }}}} 60 IN A 192.0.2.1\"\n }}\n forward . {}\n}}\n",
            dead.local_addr()?,
        );
        fs::write(&corefile, text)?;
        let mut command = Command::new(binary);
        command.arg("-conf").arg(&corefile).env("KUBECONFIG", kubeconfig);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(folder.join("log"))?);
        let child = command.spawn().with_context(|| binary.display().to_string())?;
        let (group, bounds) = match quota(child.id(), share) {
            Ok((group, bounds)) => (Some(group), bounds),
            Err(error) => {
                let id = child.id().to_string();
                Command::new("renice").args(["-n", "19", "-p", &id]).stdout(Stdio::null()).status()?;
                Command::new("taskset").args(["-a", "-p", "-c", "0", &id]).stdout(Stdio::null()).status()?;
                (None, format!("one core, niced, as there is no quota to be had ({error:#})"))
            }
        };
        let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        Ok(Self { dns: at(dns), health: at(health), metrics: at(metrics), bounds, child, group, _dead: dead })
    }

    /// What it keeps in memory, MiB.
    ///
    /// # Errors
    /// When it has ended.
    pub(crate) fn memory(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS")).context("the server has ended")?;
        let kib: f64 = line.split_whitespace().nth(1).context("a number")?.parse()?;
        Ok(kib / 1024.0)
    }

    /// How many answers it has given.
    ///
    /// # Errors
    /// When it does not say.
    pub(crate) fn answered(&self) -> Result<f64> {
        let page = get(self.metrics, "/metrics", Duration::from_secs(20))?;
        let lines = page.lines().filter(|line| line.starts_with("coredns_dns_responses_total"));
        Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(group) = &self.group {
            let _ = fs::remove_dir(group);
        }
    }
}

/// Puts a process in a group of its own with a share of a core.
fn quota(process: u32, share: f64) -> Result<(PathBuf, String)> {
    let quota = (PERIOD as f64 * share).max(1000.0) as u64;
    let name = format!("callsign-overload-{process}");
    let unified = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let group = Path::new(if unified { "/sys/fs/cgroup" } else { "/sys/fs/cgroup/cpu" }).join(name);
    fs::create_dir(&group).with_context(|| group.display().to_string())?;
    if unified {
        fs::write(group.join("cpu.max"), format!("{quota} {PERIOD}"))?;
    } else {
        fs::write(group.join("cpu.cfs_period_us"), PERIOD.to_string())?;
        fs::write(group.join("cpu.cfs_quota_us"), quota.to_string())?;
    }
    fs::write(group.join("cgroup.procs"), process.to_string())?;
    Ok((group, format!("a quota of {quota} us in {PERIOD} us")))
}

/// A page over HTTP.
///
/// # Errors
/// When there is no answer in time, or it is not the page.
pub(crate) fn get(from: SocketAddr, path: &str, patience: Duration) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&from, patience)?;
    stream.set_read_timeout(Some(patience))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {from}\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    anyhow::ensure!(text.starts_with("HTTP/1.1 200"), "{}", text.lines().next().unwrap_or_default());
    Ok(text)
}
