//! Callsign as a process that is looked at from outside.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use callsign_e2e::harness::process::{Callsign, Signal};

/// The CPU that a process at rest may use within [`QUIET`].
const REST: Duration = Duration::from_millis(60);
const QUIET: Duration = Duration::from_secs(2);

/// A process under test.
pub(crate) struct Process {
    pub(crate) callsign: Callsign,
    /// When it was started.
    pub(crate) began: Instant,
}

/// What a process takes, bytes.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    /// VmRSS.
    pub(crate) rest: u64,
    /// VmHWM.
    pub(crate) peak: u64,
}

impl Process {
    pub(crate) fn start(arguments: &[&str]) -> Result<Self> {
        let binary = std::env::var_os("CALLSIGN_BENCH_BINARY")
            .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_callsign")), PathBuf::from);
        Ok(Self { callsign: Callsign::start(&binary, arguments)?, began: Instant::now() })
    }

    /// A command with its listeners on free ports.
    pub(crate) fn command(command: &str, kubeconfig: &str) -> Result<Self> {
        let any = "127.0.0.1:0";
        let mut arguments = vec![command, "--kubeconfig", kubeconfig, "--lameduck", "0"];
        arguments.extend(["--health-listen", any, "--ready-listen", any, "--metrics-listen", any]);
        if command != "controller" {
            arguments.extend(["--listen", any]);
        }
        Self::start(&arguments)
    }

    pub(crate) async fn stop(mut self) -> Result<()> {
        self.callsign.signal(Signal::SIGTERM)?;
        self.callsign.ended(Duration::from_secs(10)).await?;
        Ok(())
    }

    /// Waits until it rests, and has said this: what it takes then, and how long that took.
    pub(crate) async fn at_rest(&self, said: &str) -> Result<(Memory, Duration)> {
        let began = Instant::now();
        let mut before = self.cpu()?;
        loop {
            tokio::time::sleep(QUIET).await;
            let now = self.cpu()?;
            if now.saturating_sub(before) < REST && self.callsign.said().contains(said) {
                break;
            }
            before = now;
        }
        Ok((self.memory()?, began.elapsed().saturating_sub(QUIET)))
    }

    pub(crate) fn memory(&self) -> Result<Memory> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()?))?;
        let field = |name| -> Result<u64> {
            let line = status.lines().find(|line| line.starts_with(name)).context("a line of the status")?;
            Ok(line.split_whitespace().nth(1).context("a number")?.parse::<u64>()? * 1024)
        };
        Ok(Memory { rest: field("VmRSS")?, peak: field("VmHWM")? })
    }

    /// Has VmHWM start over from what there is now.
    pub(crate) fn forget_peak(&self) -> Result<()> {
        Ok(std::fs::write(format!("/proc/{}/clear_refs", self.id()?), "5")?)
    }

    /// User and system time so far.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        cpu(&self.id()?.to_string())
    }

    fn id(&self) -> Result<u32> {
        self.callsign.id().with_context(|| format!("callsign has ended:\n{}", self.callsign.said()))
    }
}

/// User and system time of a process (`self`: of this one, and so of the API server) so far.
pub(crate) fn cpu(process: &str) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // Fields 14 and 15, in ticks of 10 ms; the second field, in brackets, may hold spaces.
    let (_, fields) = stat.rsplit_once(')').context("the state of the process")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(Duration::from_millis(ticks * 10))
}

pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// What is above an empty process for each of many things, bytes.
pub(crate) fn each(memory: Memory, empty: Option<Memory>, things: usize) -> String {
    let above = empty.map(|empty| memory.rest.saturating_sub(empty.rest));
    above.map_or_else(String::new, |above| format!("{:.0}", above as f64 / things.max(1) as f64))
}
