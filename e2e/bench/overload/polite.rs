//! Those who ask modestly meanwhile, and look after the server.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use callsign_e2e::harness::resolver::question;

use crate::server::{Server, get};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// What became of questions of one kind.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) asked: usize,
    pub(crate) lost: usize,
    /// Of those that were answered, milliseconds.
    latencies: Vec<f64>,
}

impl Seen {
    /// The share that was answered.
    pub(crate) fn percent(&self) -> f64 {
        (self.asked - self.lost) as f64 / self.asked.max(1) as f64 * 100.0
    }

    /// The latency that this share is below, milliseconds.
    pub(crate) fn at(&self, share: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        self.latencies.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
    }

    fn add(&mut self, started: Instant, answered: bool) {
        self.asked += 1;
        match answered {
            true => self.latencies.push(started.elapsed().as_secs_f64() * 1e3),
            false => self.lost += 1,
        }
    }
}

/// What they all saw.
pub(crate) struct All {
    pub(crate) udp: Seen,
    pub(crate) tcp: Seen,
    pub(crate) health: Seen,
    pub(crate) metrics: Seen,
}

/// Those who ask, until they are asked to end.
pub(crate) struct Polite {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Seen>>,
}

impl Polite {
    pub(crate) fn start(server: &Server, names: &Arc<[String]>) -> Self {
        let (dns, health, metrics) = (server.dns, server.health, server.metrics);
        let mut polite = Self { stop: Arc::default(), threads: Vec::new() };
        let of = Arc::clone(names);
        polite.every(Duration::from_millis(5), move |at| {
            of.get(at % of.len()).is_some_and(|name| is_answered(dns, name, PATIENCE).unwrap_or_default())
        });
        let (of, mut stream) = (Arc::clone(names), None);
        polite.every(Duration::from_millis(20), move |at| {
            let Some(name) = of.get(at % of.len()) else { return false };
            let answer = over_tcp(&mut stream, dns, name);
            if answer.is_err() {
                stream = None;
            }
            answer.is_ok()
        });
        polite.every(Duration::from_millis(50), move |_| get(health, "/health", PATIENCE).is_ok());
        polite.every(Duration::from_millis(500), move |_| get(metrics, "/metrics", PATIENCE).is_ok());
        polite
    }

    /// Does something every so often.
    fn every(&mut self, pause: Duration, mut work: impl FnMut(usize) -> bool + Send + 'static) {
        let stop = Arc::clone(&self.stop);
        self.threads.push(std::thread::spawn(move || {
            let mut seen = Seen::default();
            while !stop.load(Ordering::Relaxed) {
                let started = Instant::now();
                let answered = work(seen.asked);
                seen.add(started, answered);
                std::thread::sleep(pause.saturating_sub(started.elapsed()));
            }
            seen.latencies.sort_by(f64::total_cmp);
            seen
        }));
    }

    /// What they saw.
    pub(crate) fn end(self) -> All {
        self.stop.store(true, Ordering::Relaxed);
        let mut seen = self.threads.into_iter().map(|thread| thread.join().unwrap_or_default());
        let mut next = || seen.next().unwrap_or_default();
        All { udp: next(), tcp: next(), health: next(), metrics: next() }
    }
}

/// Whether a question is answered in time, over UDP from a port of its own, as stub resolvers ask.
///
/// # Errors
/// When there is no socket to be had.
pub(crate) fn is_answered(server: SocketAddr, name: &str, patience: Duration) -> Result<bool> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(patience))?;
    let question = question(name, "A", None)?;
    socket.send(&question)?;
    let mut buffer = [0; 1500];
    let length = socket.recv(&mut buffer).unwrap_or_default();
    Ok(buffer.get(..length).is_some_and(|answer| answer.get(..2) == question.get(..2) && is_good(answer)))
}

/// NOERROR, with something in it.
fn is_good(answer: &[u8]) -> bool {
    answer.get(3).is_some_and(|flags| flags & 0xf == 0) && answer.get(6..8) != Some(&[0, 0])
}

fn over_tcp(kept: &mut Option<TcpStream>, server: SocketAddr, name: &str) -> Result<Vec<u8>> {
    let stream = match kept {
        Some(stream) => stream,
        None => {
            let stream = TcpStream::connect_timeout(&server, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            kept.insert(stream)
        }
    };
    let question = question(name, "A", None)?;
    let length = u16::try_from(question.len())?.to_be_bytes();
    stream.write_all(&[&length, question.as_slice()].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer)?;
    anyhow::ensure!(is_good(&answer), "not an answer");
    Ok(answer)
}

/// Waits until all names are answered.
///
/// # Errors
/// When they are not.
pub(crate) fn until_answered(server: SocketAddr, names: &[String], patience: Duration) -> Result<()> {
    let started = Instant::now();
    for name in [names.first(), names.last()].into_iter().flatten() {
        while !is_answered(server, name, Duration::from_millis(100))? {
            if started.elapsed() > patience {
                bail!("{name} is not answered");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

/// Waits until there is a name, asked for over UDP and TCP in turn: whichever of them is flooded.
///
/// # Errors
/// When there is none in time.
pub(crate) fn until_there(server: SocketAddr, name: &str, patience: Duration) -> Result<()> {
    let (started, mut stream) = (Instant::now(), None);
    while !is_answered(server, name, Duration::from_millis(100))?
        && over_tcp(&mut stream, server, name).is_err()
    {
        anyhow::ensure!(started.elapsed() < patience, "{name} does not get known");
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}
