//! Who a candidate is, and whether the process that another identity names is dead.
//!
//! ```text
//!   web-0_4f3c5a1be08d42aa-effffffc-effffffa-3039-3ade68b1
//!   host  boot             pid ns   time ns  pid  start
//! ```
//!
//! An identity stands for one process of one boot. A candidate of the same boot and the same namespaces can look for that
//! process; if it is gone, or its number is another's by now, the holder is certainly dead and its lease need not be waited
//! out. So a process that was killed and is started again leads at once. What is only likely does not count: a process that
//! is stopped, or may not be looked at, lives.
//!
//! The namespaces' numbers may be given anew after a namespace has ended. That does no harm: then its processes have ended.
//! The time namespace is in it because start times are told in it.

use std::fmt;

/// The longest host name in an identity.
const LONGEST_HOST: usize = 63;

/// How many digits of the boot id are kept: of its 122 random bits about 60.
const BOOT_DIGITS: usize = 16;

/// Where process numbers mean the same.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    /// The beginning of the boot id, hexadecimal.
    boot: String,
    pids: u64,
    times: u64,
}

/// A process, told apart from every other of its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    place: Place,
    id: u32,
    /// Clock ticks from the boot to its start.
    started: u64,
}

/// What there is of a process number now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// No process has it.
    Nothing,
    /// A process has it that was started then, in clock ticks from the boot.
    Started(u64),
    /// The process that was started then has ended, and nobody has asked how.
    Ended(u64),
    /// There is a process; more cannot be told.
    Unknown,
}

/// The name that a candidate holds a lease under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    name: String,
    process: Option<Process>,
}

impl Identity {
    /// The identity of this process. Without `/proc`, or with that of another namespace, its second part is random and says
    /// nothing.
    pub fn of_this_process() -> Self {
        Self::new(&proc::host(), proc::this(), fastrand::u64(..))
    }

    /// An identity of the operator's choice. Nobody else may have it at the same time.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), process: None }
    }

    fn new(host: &str, process: Option<Process>, random: u64) -> Self {
        let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        let host: String = host.chars().filter(plain).take(LONGEST_HOST).collect();
        let name = match &process {
            Some(process) => format!("{host}_{process}"),
            None => format!("{host}_{random:016x}"),
        };
        Self { name, process }
    }

    /// As it is written into the Lease.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the process that `holder` names is certainly dead.
    pub fn sees_dead(&self, holder: &str) -> bool {
        self.sees_dead_if(holder, proc::find)
    }

    fn sees_dead_if(&self, holder: &str, find: impl FnOnce(u32) -> Found) -> bool {
        let Some(own) = &self.process else { return false };
        let Some(other) = Process::named_in(holder) else { return false };
        if own.place != other.place {
            return false;
        }
        match find(other.id) {
            Found::Nothing | Found::Ended(_) => true,
            Found::Started(started) => started != other.started,
            Found::Unknown => false,
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Process {
    /// Reads what [`Identity::new`] wrote.
    fn named_in(identity: &str) -> Option<Self> {
        let (_, unique) = identity.rsplit_once('_')?;
        let mut parts = unique.split('-');
        let boot = parts.next()?.to_owned();
        let mut number = || u64::from_str_radix(parts.next()?, 16).ok();
        let (pids, times, id, started) = (number()?, number()?, number()?, number()?);
        let whole = parts.next().is_none() && boot.len() == BOOT_DIGITS;
        let place = Place { boot, pids, times };
        whole.then_some(Self { place, id: u32::try_from(id).ok()?, started })
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place: Place { boot, pids, times }, id, started } = self;
        write!(f, "{boot}-{pids:x}-{times:x}-{id:x}-{started:x}")
    }
}

/// What the kernel says. Linux says it in `/proc`; elsewhere there is nothing to read.
mod proc {
    use std::fs;

    use nix::{errno::Errno, sys::signal::kill, unistd::Pid};

    use super::{BOOT_DIGITS, Found, Place, Process};

    pub(super) fn host() -> String {
        nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    pub(super) fn this() -> Option<Process> {
        let id = std::process::id();
        // A `/proc` of an outer namespace has another number for us too.
        let status = fs::read_to_string("/proc/self/status").ok()?;
        if super::numbers(&status) != Some(id.to_string().as_str()) {
            return None;
        }
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let boot: String = boot.chars().filter(char::is_ascii_hexdigit).take(BOOT_DIGITS).collect();
        let place = Place { boot, pids: namespace("pid")?, times: namespace("time").unwrap_or(0) };
        let (started, _) = super::stat(&fs::read_to_string("/proc/self/stat").ok()?)?;
        (place.boot.len() == BOOT_DIGITS).then_some(Process { place, id, started })
    }

    /// `pid:[4026531836]`
    fn namespace(kind: &str) -> Option<u64> {
        let link = fs::read_link(format!("/proc/self/ns/{kind}")).ok()?;
        link.to_str()?.strip_prefix(kind)?.strip_prefix(":[")?.strip_suffix(']')?.parse().ok()
    }

    pub(super) fn find(id: u32) -> Found {
        // `/proc` may hide what others run; signals do not lie about it. Zero and what is negative would mean groups.
        let Some(pid) = i32::try_from(id).ok().filter(|id| *id > 0) else { return Found::Unknown };
        if kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH) {
            return Found::Nothing;
        }
        let Ok(stat) = fs::read_to_string(format!("/proc/{id}/stat")) else { return Found::Unknown };
        match super::stat(&stat) {
            Some((started, true)) => Found::Ended(started),
            Some((started, false)) => Found::Started(started),
            None => Found::Unknown,
        }
    }
}

/// The process numbers in `/proc/self/status`, one for each namespace that the mount knows it in.
fn numbers(status: &str) -> Option<&str> {
    Some(status.lines().find_map(|line| line.strip_prefix("NSpid:"))?.trim())
}

/// The start time in `/proc/<pid>/stat`, and whether all of the process has ended.
fn stat(text: &str) -> Option<(u64, bool)> {
    // The name, in parentheses, may hold anything; from behind it fields are separated by blanks. The state is field 3.
    let (_, fields) = text.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).copied();
    let started = field(22)?.parse().ok()?;
    // The first thread may end before others.
    let ended = matches!(field(3)?, "X" | "x") || field(3)? == "Z" && matches!(field(20)?, "0" | "1");
    Some((started, ended))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(id: u32, started: u64) -> Process {
        let place = Place { boot: "4f3c5a1be08d42aa".to_owned(), pids: 0xefff_fffc, times: 0xefff_fffa };
        Process { place, id, started }
    }

    fn identity(process: Option<Process>) -> Identity {
        Identity::new("web-0", process, 7)
    }

    #[test]
    fn a_name_tells_the_process() {
        let one = identity(Some(process(12345, 987_654_321)));
        assert_eq!(one.name(), "web-0_4f3c5a1be08d42aa-effffffc-effffffa-3039-3ade68b1");
        assert_eq!(Process::named_in(one.name()), one.process);
        assert_eq!(identity(None).name(), "web-0_0000000000000007");
        let odd = Identity::new(&format!("a_b c\n{}", "x".repeat(200)), Some(process(1, 2)), 0);
        assert!(odd.name().starts_with("abcxxx") && odd.name().len() < 130, "{odd}");
        assert_eq!(Process::named_in(odd.name()), Some(process(1, 2)));
    }

    #[test]
    fn what_is_no_process_is_not_read_as_one() {
        for name in [
            "",
            "_",
            "web-0",
            "web-0_",
            "web-0_0000000000000007",
            "web-0_6c84fb90-12c4-11e1-840d-7b25c5ee775a",
            "4f3c5a1be08d42aa-effffffc-effffffa-3039-3ade68b1",
            "web-0_4f3c5a1be08d42aa-effffffc-effffffa-3039",
            "web-0_4f3c5a1be08d42aa-effffffc-effffffa-3039-3ade68b1-1",
            "web-0_4f3c-effffffc-effffffa-3039-3ade68b1",
            "web-0_4f3c5a1be08d42aa-effffffc-effffffa-fffffffff-3ade68b1",
            "web-0_4f3c5a1be08d42aa-effffffc-effffffa-x-3ade68b1",
        ] {
            assert_eq!(Process::named_in(name), None, "{name:?}");
        }
    }

    #[test]
    fn only_a_process_of_the_same_place_can_be_seen_dead() {
        let own = identity(Some(process(2, 200)));
        let holder = identity(Some(process(1, 100)));
        let dead = |own: &Identity, holder: &Identity, found| own.sees_dead_if(holder.name(), |_| found);
        for (found, is_dead) in [
            (Found::Nothing, true),
            (Found::Started(100), false),
            (Found::Started(101), true),
            (Found::Ended(100), true),
            (Found::Unknown, false),
        ] {
            assert_eq!(dead(&own, &holder, found), is_dead, "{found:?}");
        }
        for change in [
            |place: &mut Place| place.boot = "4f3c5a1be08d42ab".to_owned(),
            |place: &mut Place| place.pids += 1,
            |place: &mut Place| place.times += 1,
        ] {
            let mut elsewhere = process(1, 100);
            change(&mut elsewhere.place);
            assert!(!dead(&own, &identity(Some(elsewhere)), Found::Nothing));
        }
        assert!(!dead(&own, &identity(None), Found::Nothing), "it says nothing of itself");
        assert!(!dead(&identity(None), &holder, Found::Nothing), "it knows nothing of itself");
        assert!(!dead(&own, &Identity::named("a"), Found::Nothing));
    }

    #[test]
    fn the_kernels_lines_are_read() {
        let line = |state: &str, threads: u32| {
            format!(
                "77 (a ) b) {state} 1 77 77 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 {threads} 0 987654 1000 1 2\n"
            )
        };
        assert_eq!(stat(&line("S", 9)), Some((987_654, false)));
        assert_eq!(stat(&line("T", 9)), Some((987_654, false)), "stopped is not dead");
        assert_eq!(stat(&line("Z", 1)), Some((987_654, true)));
        assert_eq!(stat(&line("Z", 2)), Some((987_654, false)), "a thread of it lives");
        assert_eq!(stat("77 (a) S 1"), None);
        assert_eq!(stat(""), None);
        assert_eq!(numbers("Name:\ta\nNSpid:\t77\t1\n"), Some("77\t1"));
        assert_eq!(numbers("Name:\ta\n"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_child_is_seen_to_live_and_to_die() {
        let own = Identity::of_this_process();
        let Some(this) = own.process.clone() else { panic!("no process in {own}") };
        assert!(!own.sees_dead(own.name()));
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let Found::Started(started) = proc::find(child.id()) else { panic!("not found") };
        let named = Identity::new("x", Some(Process { id: child.id(), started, ..this.clone() }), 0);
        assert!(!own.sees_dead(named.name()), "it lives");
        let earlier = Process { id: child.id(), started: started - 1, ..this };
        assert!(own.sees_dead(Identity::new("x", Some(earlier), 0).name()), "the number is another's");
        child.kill().unwrap();
        while !own.sees_dead(named.name()) {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(own.sees_dead(named.name()), "it is gone");
    }
}
