//! What answers from the cache cost: CPU-seconds per million, of Callsign and of unbound, side by side.
//!
//! ```text
//! cargo bench --bench cached [-- MILLIONS]
//! ```
//!
//! Both are caching forwarders on loopback in front of the same upstream, which is in this process and answers everything.
//! They are asked for external names that they know already, by the same load in turn, and each answer is looked at. The
//! CPU time is that of the process's threads (`/proc/PID/task/*/schedstat`): the kernel's share of receiving and sending
//! is in it. Where there is no unbound (the Debian package is `unbound`), Callsign is measured alone.

use std::{
    net::{SocketAddr, UdpSocket},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use callsign_e2e::harness::{in_place::free_port, process::Callsign};

const NAMES: usize = 1000;
/// Sockets of the load, and questions under way on each.
const SOCKETS: usize = 16;
const DEPTH: usize = 8;
const ROUNDS: usize = 5;
/// The length of the OPT of a question.
const OPT: usize = 11;
const PATIENCE: Duration = Duration::from_secs(20);

/// One of those that are measured.
struct Contender {
    name: &'static str,
    address: SocketAddr,
    process: u32,
    /// CPU-seconds per million answers, and answers per second, of each round.
    rounds: Vec<(f64, f64)>,
}

/// A process that is killed when it is dropped.
struct Unbound(Child);

impl Drop for Unbound {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let millions: f64 = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(0.5);
    let answers = (millions * 1e6) as usize;
    let upstream = Upstream::start()?;
    let folder = tempfile::tempdir()?;
    let (callsign, address) = start_callsign(folder.path(), upstream.address)?;
    let process = callsign.id().context("callsign has ended")?;
    let mut contenders = vec![Contender { name: "callsign", address, process, rounds: Vec::new() }];
    let unbound = match start_unbound(folder.path(), upstream.address) {
        Ok((unbound, address)) => {
            let process = unbound.0.id();
            contenders.push(Contender { name: "unbound", address, process, rounds: Vec::new() });
            Some(unbound)
        }
        Err(error) => {
            println!("unbound is not measured: {error:#}");
            None
        }
    };
    for contender in &contenders {
        let warm = warm(contender.address);
        warm.with_context(|| format!("{}\n{}", contender.name, callsign.said()))?;
    }
    let asked = upstream.asked.load(Ordering::Relaxed);
    println!("{NAMES} names, {answers} answers a round, {ROUNDS} rounds in turn");
    for _ in 0..ROUNDS {
        for contender in &mut contenders {
            let before = cpu(contender.process)?;
            let started = Instant::now();
            let answered = load(contender.address, answers)?;
            let seconds = started.elapsed().as_secs_f64();
            let used = (cpu(contender.process)? - before).as_secs_f64();
            contender.rounds.push((used / answered as f64 * 1e6, answered as f64 / seconds));
        }
    }
    let more = upstream.asked.load(Ordering::Relaxed) - asked;
    ensure!(more < NAMES as u64 / 10, "the upstream was asked {more} times for names that were to be known");
    println!(
        "{:<10} {:>22} {:>22} {:>14} {:>10}",
        "", "CPU-s per 1M answers", "least - most", "answers/s", "RSS"
    );
    for contender in &contenders {
        let costs = sorted(contender.rounds.iter().map(|(cost, _)| *cost));
        let rates = sorted(contender.rounds.iter().map(|(_, rate)| *rate));
        let [least, middle, most] =
            [0, ROUNDS / 2, ROUNDS - 1].map(|at| costs.get(at).copied().unwrap_or_default());
        let rate = rates.get(ROUNDS / 2).copied().unwrap_or_default();
        let range = format!("{least:.2} - {most:.2}");
        let memory = memory(contender.process)?;
        println!("{:<10} {middle:>22.2} {range:>22} {rate:>14.0} {memory:>6.1} MiB", contender.name);
    }
    drop(unbound);
    Ok(())
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

fn start_callsign(folder: &Path, upstream: SocketAddr) -> Result<(Callsign, SocketAddr)> {
    let port = free_port()?;
    let file = folder.join("Corefile");
    let text = format!(".:{port} {{\n    bind 127.0.0.1\n    cache 3600\n    forward . {upstream}\n}}\n");
    std::fs::write(&file, text)?;
    let file = file.display().to_string();
    let callsign = Callsign::start(Path::new(env!("CARGO_BIN_EXE_callsign")), ["-conf", &file])?;
    Ok((callsign, ([127, 0, 0, 1], port).into()))
}

fn start_unbound(folder: &Path, upstream: SocketAddr) -> Result<(Unbound, SocketAddr)> {
    let port = free_port()?;
    let file = folder.join("unbound.conf");
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let text = format!(
        "server:\n  interface: 127.0.0.1\n  port: {port}\n  access-control: 127.0.0.0/8 allow\n  username: \"\"\n  \
         chroot: \"\"\n  directory: \"{folder}\"\n  pidfile: \"\"\n  use-syslog: no\n  verbosity: 0\n  \
         num-threads: {threads}\n  so-reuseport: yes\n  do-not-query-localhost: no\n  module-config: \"iterator\"\n  \
         do-ip6: no\n  minimal-responses: yes\nremote-control:\n  control-enable: no\nforward-zone:\n  name: \".\"\n  \
         forward-addr: {ip}@{upstream_port}\n",
        folder = folder.display(),
        ip = upstream.ip(),
        upstream_port = upstream.port(),
    );
    std::fs::write(&file, text)?;
    let mut command = Command::new("unbound");
    command.arg("-d").arg("-c").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().context("cannot start it (Debian: apt-get install unbound)")?;
    Ok((Unbound(child), ([127, 0, 0, 1], port).into()))
}

/// Answers every question with an address that is true for an hour.
struct Upstream {
    address: SocketAddr,
    asked: Arc<AtomicU64>,
}

impl Upstream {
    fn start() -> Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let upstream = Self { address: socket.local_addr()?, asked: Arc::default() };
        let asked = Arc::clone(&upstream.asked);
        std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                asked.fetch_add(1, Ordering::Relaxed);
                if let Some(reply) = buffer.get(..length).and_then(reply) {
                    let _ = socket.send_to(&reply, from);
                }
            }
        });
        Ok(upstream)
    }
}

/// The question with one address behind it.
fn reply(question: &[u8]) -> Option<Vec<u8>> {
    let name = question.get(12..)?.iter().position(|byte| *byte == 0)?;
    let mut reply = question.get(..12 + name + 5)?.to_vec();
    let flags = [0x80 | question.get(2)?, 0x80];
    reply.get_mut(2..4)?.copy_from_slice(&flags);
    // One question, one answer.
    reply.get_mut(4..12)?.copy_from_slice(&[0, 1, 0, 1, 0, 0, 0, 0]);
    reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0x0e, 0x10, 0, 4, 192, 0, 2, 1]);
    Some(reply)
}

/// A question for the address of a name, with an OPT.
fn question(id: u16, number: usize) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
    for label in [format!("host-{number}"), "example".to_owned(), "com".to_owned()] {
        message.push(label.len() as u8);
        message.extend(label.as_bytes());
    }
    message.extend([0, 0, 1, 0, 1, 0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0]);
    message
}

/// Whether it is the answer to the question of this id: NOERROR, and one record.
fn is_answer(message: &[u8], id: u16) -> bool {
    message.get(..2) == Some(&id.to_be_bytes())
        && message.get(3).is_some_and(|flags| flags & 0x0f == 0)
        && message.get(6..8) == Some(&[0, 1])
}

/// Asks for every name until it is known.
fn warm(address: SocketAddr) -> Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    let started = Instant::now();
    let mut buffer = [0; 1500];
    for number in 0..NAMES {
        let id = number as u16;
        loop {
            // Nobody listens yet, or it takes its time.
            let sent = socket.send(&question(id, number));
            let received = sent.and_then(|_| socket.recv(&mut buffer));
            if received.is_ok_and(|length| is_answer(buffer.get(..length).unwrap_or_default(), id)) {
                break;
            }
            if started.elapsed() > PATIENCE {
                bail!("no answer for host-{number}.example.com");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    Ok(())
}

/// Asks so many questions, always as many under way; how many were answered.
fn load(address: SocketAddr, count: usize) -> Result<usize> {
    let mut sockets = Vec::new();
    for _ in 0..SOCKETS {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(address)?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        sockets.push(socket);
    }
    let questions: Vec<Vec<u8>> = (0..NAMES).map(|number| question(number as u16, number)).collect();
    let mut buffer = [0; 1500];
    let (mut answered, mut lost, mut next) = (0, 0, 0);
    let ask = |socket: &UdpSocket, next: &mut usize| -> Result<()> {
        if let Some(question) = questions.get(*next % NAMES) {
            socket.send(question)?;
        }
        *next += 1;
        Ok(())
    };
    for socket in &sockets {
        for _ in 0..DEPTH {
            ask(socket, &mut next)?;
        }
    }
    while answered < count {
        for socket in &sockets {
            for _ in 0..DEPTH {
                match socket.recv(&mut buffer) {
                    Ok(length) => {
                        let message = buffer.get(..length).unwrap_or_default();
                        let id = message.iter().take(2).fold(0, |id, byte| id << 8 | u16::from(*byte));
                        let asked =
                            questions.get(usize::from(id)).and_then(|asked| asked.get(12..asked.len() - OPT));
                        let same =
                            asked.is_some_and(|asked| message.get(12..12 + asked.len()) == Some(asked));
                        ensure!(
                            same && is_answer(message, id),
                            "not the answer that was to be: {message:02x?}"
                        );
                        answered += 1;
                    }
                    Err(_) => lost += 1,
                }
                ask(socket, &mut next)?;
            }
        }
        ensure!(lost <= count / 1000, "{lost} questions were not answered");
    }
    Ok(answered)
}

/// The CPU time of a process's threads.
fn cpu(process: u32) -> Result<Duration> {
    let mut nanos = 0;
    for task in std::fs::read_dir(format!("/proc/{process}/task"))? {
        // A thread may have ended in between.
        let Ok(text) = std::fs::read_to_string(task?.path().join("schedstat")) else { continue };
        nanos += text.split_whitespace().next().context("a number")?.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanos))
}

/// What a process keeps in memory, MiB.
fn memory(process: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS")).context("a line of the status")?;
    let kib: f64 = line.split_whitespace().nth(1).context("a number")?.parse()?;
    Ok(kib / 1024.0)
}
