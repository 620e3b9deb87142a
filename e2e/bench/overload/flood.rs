//! Too much of something, without waiting for answers.

use std::{
    io::{ErrorKind, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use callsign_e2e::harness::resolver::question;
use socket2::{Domain, Socket, Type};

use crate::server::Server;

/// Ports that ask.
const SOCKETS: usize = 32;
/// Questions under way on each, where answers are waited for.
const DEPTH: usize = 8;
/// Questions that are sent before the clock is looked at.
const BURST: u64 = 32;
/// Connections that dawdle.
const CONNECTIONS: usize = 10_000;
/// Addresses that they come from.
const CLIENTS: usize = 100;

/// What there is too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Questions for names of the cluster.
    Cluster,
    /// Questions for names, each another one, whose upstream never answers.
    Dead,
    /// Questions for names that a template makes.
    Template,
    /// Connections that send a byte now and then.
    Connections,
    /// The first and the last.
    Both,
}

/// A flood, until it is dropped.
pub(crate) struct Flood {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl Flood {
    /// Starts one, of so many questions a second.
    pub(crate) fn start(kind: Kind, server: SocketAddr, names: &Arc<[String]>, rate: f64) -> Self {
        let mut flood = Self { stop: Arc::default(), asked: Arc::default(), threads: Vec::new() };
        if kind != Kind::Connections {
            let (stop, asked, names) = (Arc::clone(&flood.stop), Arc::clone(&flood.asked), Arc::clone(names));
            let work = move || ask(kind, server, &names, rate, &stop, &asked);
            flood.threads.push(std::thread::spawn(work));
        }
        if matches!(kind, Kind::Connections | Kind::Both) {
            let stop = Arc::clone(&flood.stop);
            flood.threads.push(std::thread::spawn(move || dawdle(server, &stop)));
        }
        flood
    }

    /// How many questions were asked so far.
    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if let Ok(Err(error)) = thread.join() {
                println!("    the flood ended early: {error:#}");
            }
        }
    }
}

fn sockets(server: SocketAddr) -> Result<Vec<UdpSocket>> {
    let socket = |_| {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(server)?;
        anyhow::Ok(socket)
    };
    (0..SOCKETS).map(socket).collect()
}

fn questions(kind: Kind, names: &[String]) -> Result<Vec<Vec<u8>>> {
    let one = |at: usize| match kind {
        Kind::Dead => question("h00000000.example.com.", "A", None),
        Kind::Template => question(&format!("host-{at}.made.test."), "A", None),
        _ => question(names.get(at % names.len()).context("a name")?, "A", None),
    };
    (0..4096).map(one).collect()
}

/// Asks so many questions a second, and reads no answers: what its kernel does not take is gone.
fn ask(
    kind: Kind,
    server: SocketAddr,
    names: &[String],
    rate: f64,
    stop: &AtomicBool,
    asked: &AtomicU64,
) -> Result<()> {
    let sockets = sockets(server)?;
    for socket in &sockets {
        socket.set_nonblocking(true)?;
    }
    let mut questions = questions(kind, names)?;
    let (started, mut sent) = (Instant::now(), 0_u64);
    while !stop.load(Ordering::Relaxed) {
        if sent as f64 > started.elapsed().as_secs_f64() * rate {
            std::thread::sleep(Duration::from_micros(100));
            continue;
        }
        for _ in 0..BURST {
            let at = sent as usize;
            let count = questions.len();
            let (Some(socket), Some(question)) = (sockets.get(at % SOCKETS), questions.get_mut(at % count))
            else {
                continue;
            };
            if kind == Kind::Dead {
                // Each name is another one: nothing is known of it, and none is under way.
                let digits = format!("{:08x}", sent as u32);
                if let Some(place) = question.get_mut(14..22) {
                    place.copy_from_slice(digits.as_bytes());
                }
            }
            match socket.send(question) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("the server is gone"),
            }
            sent += 1;
        }
        asked.store(sent, Ordering::Relaxed);
    }
    Ok(())
}

/// Opens connections from many addresses, and sends a byte on each in turn. What is ended is opened anew.
fn dawdle(server: SocketAddr, stop: &AtomicBool) -> Result<()> {
    let mut open: Vec<Option<TcpStream>> = Vec::new();
    open.resize_with(CONNECTIONS, || None);
    let mut next = 0_usize;
    while !stop.load(Ordering::Relaxed) {
        // All of them in about a second.
        for _ in 0..CONNECTIONS / 100 {
            let at = next % CONNECTIONS;
            next += 1;
            let Some(place) = open.get_mut(at) else { continue };
            let alive = place.as_mut().is_some_and(|stream| stream.write_all(b"\0").is_ok());
            if !alive {
                *place = connect(server, at).ok();
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// A connection that may not be there yet.
fn connect(server: SocketAddr, number: usize) -> Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    // Ports are not enough for thousands a second otherwise.
    socket.set_linger(Some(Duration::ZERO))?;
    let client = Ipv4Addr::new(127, 0, 2, (number % CLIENTS) as u8 + 1);
    socket.bind(&SocketAddr::from((client, 0)).into())?;
    socket.set_nonblocking(true)?;
    match socket.connect(&server.into()) {
        Err(error) if error.raw_os_error() != Some(115) && error.kind() != ErrorKind::WouldBlock => {
            Err(error.into())
        }
        _ => Ok(socket.into()),
    }
}

/// How many answers a second there are to as many questions as are answered.
///
/// # Errors
/// When the server is gone.
pub(crate) fn peak(server: &Server, kind: Kind, names: &[String], time: Duration) -> Result<f64> {
    let sockets = sockets(server.dns)?;
    for socket in &sockets {
        socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    }
    let questions = questions(kind, names)?;
    let (mut next, mut buffer) = (0_usize, [0; 1500]);
    let mut ask = |socket: &UdpSocket| -> Result<()> {
        socket.send(questions.get(next % questions.len()).context("a question")?)?;
        next += 1;
        Ok(())
    };
    for socket in &sockets {
        for _ in 0..DEPTH {
            ask(socket)?;
        }
    }
    let (before, started) = (server.answered()?, Instant::now());
    while started.elapsed() < time {
        for socket in &sockets {
            for _ in 0..DEPTH {
                // One that is lost makes room too.
                let _ = socket.recv(&mut buffer);
                ask(socket)?;
            }
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    Ok((server.answered()? - before) / seconds)
}
