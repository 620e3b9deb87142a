//! Which core runs what, and what a server has used of it.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

/// The cores of this machine that are used: one for the server, one for the load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    pub(crate) server: usize,
    pub(crate) client: usize,
}

impl Cores {
    /// The first two that this process may use.
    ///
    /// # Errors
    /// When there is one only.
    pub(crate) fn here() -> Result<Self> {
        let [server, client, ..] = *allowed()? else {
            bail!("server and load need a core each, and this process may use one only");
        };
        Ok(Self { server, client })
    }
}

/// The cores that this thread may use.
///
/// # Errors
/// When the system does not say.
pub(crate) fn allowed() -> Result<Vec<usize>> {
    let set = sched_getaffinity(Pid::from_raw(0))?;
    Ok((0..CpuSet::count()).filter(|core| set.is_set(*core).unwrap_or_default()).collect())
}

/// Keeps this thread, and what it starts from now on, to some cores.
///
/// # Errors
/// When the system does not let it.
pub(crate) fn keep_to(cores: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    cores.iter().try_for_each(|core| set.set(*core))?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// A process and all that it has started.
pub(crate) fn family(of: u32) -> Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(process) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // One may be gone by now.
        let Ok(stat) = fs::read_to_string(format!("/proc/{process}/stat")) else { continue };
        // Behind the name, which may have blanks and brackets, the state and the parent.
        let parent =
            stat.rsplit_once(')').and_then(|(_, fields)| fields.split_whitespace().nth(1)?.parse().ok());
        parents.extend(parent.map(|parent: u32| (process, parent)));
    }
    let mut family = vec![of];
    let mut at = 0;
    while let Some(parent) = family.get(at).copied() {
        family.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(process, _)| *process));
        at += 1;
    }
    Ok(family)
}

/// The CPU time of each thread of some processes: its number, its name and the time.
pub(crate) fn threads(processes: &[u32]) -> Result<Vec<(u32, String, Duration)>> {
    let mut threads = Vec::new();
    for process in processes {
        let tasks = fs::read_dir(format!("/proc/{process}/task"));
        for task in tasks.with_context(|| format!("process {process} has ended"))? {
            let task = task?;
            let Some(number) = task.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let Some((name, time)) = thread(&task.path()) else { continue };
            threads.push((number, name, time));
        }
    }
    Ok(threads)
}

/// The first number of `schedstat` is the time on a core, in nanoseconds.
fn thread(task: &Path) -> Option<(String, Duration)> {
    let name = fs::read_to_string(task.join("comm")).ok()?;
    let stat = fs::read_to_string(task.join("schedstat")).ok()?;
    let time = stat.split_whitespace().next()?.parse().ok()?;
    Some((name.trim().to_owned(), Duration::from_nanos(time)))
}

/// The CPU time of some processes so far.
pub(crate) fn spent(processes: &[u32]) -> Result<Duration> {
    let threads = threads(processes)?;
    ensure!(!threads.is_empty(), "the server has ended");
    Ok(threads.into_iter().map(|(_, _, time)| time).sum())
}

/// The CPU time of this thread so far.
pub(crate) fn own() -> Result<Duration> {
    let (_, time) = thread(Path::new("/proc/thread-self")).context("/proc/thread-self/schedstat")?;
    Ok(time)
}
