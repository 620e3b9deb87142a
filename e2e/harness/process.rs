//! The binary under test as a process of its own.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
pub use nix::sys::signal::Signal;
use nix::unistd::Pid;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    task::JoinSet,
};

/// How long the binary may take to say where it listens.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running `callsign`. Dropping it kills it.
#[derive(Debug)]
pub struct Callsign {
    child: Child,
    output: Arc<Mutex<Output>>,
    readers: JoinSet<()>,
}

/// What the process has said so far.
#[derive(Debug, Default)]
struct Output {
    lines: Vec<String>,
    listening: BTreeMap<String, SocketAddr>,
}

impl Callsign {
    /// Starts `binary` with `arguments`; its log is JSON so that addresses can be read from it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start<S: AsRef<std::ffi::OsStr>>(
        binary: &Path,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<Self> {
        Self::start_with(binary, arguments, [("CALLSIGN_LOG_FORMAT", "json")])
    }

    /// Starts `binary` with `arguments` and variables of the environment.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_with<S: AsRef<std::ffi::OsStr>, V: AsRef<std::ffi::OsStr>>(
        binary: &Path,
        arguments: impl IntoIterator<Item = S>,
        variables: impl IntoIterator<Item = (V, V)>,
    ) -> Result<Self> {
        let mut child = Command::new(binary)
            .args(arguments)
            .envs(variables)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| binary.display().to_string())?;
        let output = Arc::<Mutex<Output>>::default();
        let mut readers = JoinSet::new();
        if let Some(stdout) = child.stdout.take() {
            readers.spawn(collect(stdout, Arc::clone(&output)));
        }
        if let Some(stderr) = child.stderr.take() {
            readers.spawn(collect(stderr, Arc::clone(&output)));
        }
        Ok(Self { child, output, readers })
    }

    /// Waits until it has said where `what` listens (`dns`, `health`, `ready`, `metrics`, `api`).
    ///
    /// # Errors
    /// When it ends before, or takes too long; with everything it said.
    pub async fn address(&mut self, what: &str) -> Result<SocketAddr> {
        let started = Instant::now();
        loop {
            if let Some(address) = self.output.lock().listening.get(what) {
                return Ok(*address);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("callsign ended with {status}:\n{}", self.said());
            }
            if started.elapsed() > PATIENCE {
                bail!("callsign did not say where {what} listens:\n{}", self.said());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Everything it has written to stdout and stderr.
    pub fn said(&self) -> String {
        self.output.lock().lines.join("\n")
    }

    /// Its process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let id = self.id().context("callsign has ended")?;
        Ok(nix::sys::signal::kill(Pid::from_raw(i32::try_from(id)?), signal)?)
    }

    /// Waits until it has ended and everything it said has been read.
    ///
    /// # Errors
    /// When it has not within `patience`.
    pub async fn ended(&mut self, patience: Duration) -> Result<ExitStatus> {
        let ending = async {
            let status = self.child.wait().await;
            while self.readers.join_next().await.is_some() {}
            status
        };
        match tokio::time::timeout(patience, ending).await {
            Ok(status) => Ok(status?),
            Err(_) => bail!("callsign still runs after {patience:?}:\n{}", self.said()),
        }
    }
}

/// Keeps each line; one that says `listening` also gives an address.
async fn collect(stream: impl AsyncRead + Unpin + Send, output: Arc<Mutex<Output>>) {
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut output = output.lock();
        if let Some((what, address)) = listening(&line) {
            output.listening.entry(what).or_insert(address);
        }
        output.lines.push(line);
    }
}

/// `{"fields":{"message":"listening","what":"dns","address":"127.0.0.1:1053"}}` → `dns`, the address.
fn listening(line: &str) -> Option<(String, SocketAddr)> {
    let line: Value = serde_json::from_str(line).ok()?;
    let fields = line.get("fields")?;
    if fields.get("message")?.as_str()? != "listening" {
        return None;
    }
    Some((fields.get("what")?.as_str()?.to_owned(), fields.get("address")?.as_str()?.parse().ok()?))
}
