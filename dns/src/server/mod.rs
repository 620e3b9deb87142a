//! Sockets around the answer: UDP and TCP on every listen address.
//!
//! ```text
//!   udp socket ─┐                    ┌─ Reply, written in place
//!   udp socket ─┼─ bytes ─▶ Handler ─┼─ Silent
//!   tcp stream ─┘                    └─ Later: a future, for what has to be waited for
//! ```
//!
//! A [`Handler`] answers what it knows at once, in the thread or task that received it: no queue and no task in between. What has to
//! wait (a name that is forwarded) is a future of its own, and how many of those there are is the handler's to bound.
//!
//! Nothing a client does costs an unbounded amount: datagrams are answered or dropped, connections are counted in total
//! and by client, own what is half read and half sent and nothing while they are idle, and end when a request, an answer or
//! the wait between two takes too long. Questions that wait for others have so many [`places`].

mod front;
mod https;
mod knobs;
mod metrics;
mod places;
mod service;
mod tcp;
mod tls;
mod udp;

use std::{
    any::Any,
    future::Future,
    io,
    net::{Ipv6Addr, SocketAddr},
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::OwnedSemaphorePermit;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use front::{Front, Shared};
pub use metrics::{Metrics, Tallies};
pub use service::{LoadError, Loaded, Service, Settings};
pub use tls::{ClientAuth, TlsFiles};

use self::knobs::Knobs;
use crate::{answer::Transport, block::Scheme};

/// Answers requests.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request, which came at this time: into `out`, which is cleared first, or later. Must not block.
    fn handle(&self, request: &[u8], from: Peer, came: Instant, out: &mut Vec<u8>) -> Handled;

    /// A request was not handled because the handler panicked. What may be in `out` is not sent unless this says so.
    fn panicked(
        &self,
        _request: &[u8],
        _from: Peer,
        _panic: &(dyn Any + Send),
        _out: &mut Vec<u8>,
    ) -> Handled {
        Handled::Silent
    }
}

/// What became of a request.
pub enum Handled {
    /// The answer is in the buffer.
    Reply,
    /// There is no answer.
    Silent,
    /// The answer comes later, if at all.
    Later(Later),
}

/// Messages that are waited for.
pub type Later = Pin<Box<dyn Future<Output = Replies> + Send>>;

/// Messages to send: one, none, or over TCP as many as a zone transfer needs.
#[derive(Debug, Default)]
pub struct Replies {
    messages: std::vec::IntoIter<Vec<u8>>,
    /// What a transfer holds until it has been sent.
    turn: Option<Arc<OwnedSemaphorePermit>>,
}

impl Replies {
    /// These messages, and what is held until they have been sent.
    pub fn new(messages: Vec<Vec<u8>>, turn: Option<Arc<OwnedSemaphorePermit>>) -> Self {
        Self { messages: messages.into_iter(), turn }
    }
}

impl Iterator for Replies {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let next = self.messages.next();
        if next.is_none() {
            self.turn = None;
        }
        next
    }
}

/// Who asks, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The client.
    pub address: SocketAddr,
    /// The address of ours that was asked.
    pub local: SocketAddr,
    /// How the request came.
    pub transport: Transport,
}

/// Bounds on what clients may cost.
#[derive(Clone, Debug)]
pub struct Limits {
    /// UDP sockets on each address: the kernel spreads clients over them, the runtime over cores.
    pub udp_sockets: usize,
    /// TCP connections in total, of a listener. Where there are as many, the one that has been idle for longest makes room for
    /// the next.
    pub tcp_connections: usize,
    /// TCP connections from one client: one IPv4 address, or one IPv6 network of 64 bits. Where there are as many, one of its
    /// own makes room.
    pub tcp_connections_per_client: usize,
    /// How long a connection may go without a whole request.
    pub tcp_idle: Duration,
    /// How long an answer may take to be accepted by the client.
    pub tcp_write: Duration,
    /// How long a request may take from its first byte to its last.
    pub tcp_read: Duration,
    /// How long the handshake of TLS may take.
    pub tls_handshake: Duration,
    /// How many requests of a connection are answered before it is ended; `None` for any number.
    pub tcp_queries: Option<NonZeroUsize>,
    /// The largest request over TCP.
    pub tcp_request: usize,
    /// Requests of one connection that may wait for their answers at once.
    pub tcp_waiting: usize,
    /// How long open connections have to finish after the server was told to stop.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            udp_sockets: std::thread::available_parallelism().map_or(1, usize::from).clamp(1, 16),
            tcp_connections: 4096,
            tcp_connections_per_client: 256,
            tcp_idle: Duration::from_secs(10),
            tcp_write: Duration::from_secs(5),
            tcp_read: Duration::from_secs(5),
            tls_handshake: Duration::from_secs(5),
            tcp_queries: None,
            tcp_request: 16 << 10,
            tcp_waiting: 64,
            grace: Duration::from_secs(2),
        }
    }
}

/// Bound sockets, not served yet.
#[derive(Debug)]
pub struct Server<H> {
    handler: Arc<H>,
    knobs: Arc<Knobs>,
    udp: Vec<udp::Socket>,
    tcp: Vec<tokio::net::TcpListener>,
    addresses: Vec<SocketAddr>,
}

impl<H: Handler> Server<H> {
    /// Binds UDP and TCP on every address. Port 0 is any port that is free for both. The IPv6 wildcard address is left out
    /// where there is no IPv6, unless it is the only one.
    ///
    /// Must be called within a runtime.
    ///
    /// # Errors
    /// When a socket cannot be bound; the message names the address and the protocol, the kind is the system's.
    pub fn bind(addresses: &[SocketAddr], handler: Arc<H>, limits: Limits) -> io::Result<Self> {
        Self::bind_as(Arc::new(Knobs::plain(limits)), addresses, handler, false)
    }

    /// Binds what the knobs say: UDP and TCP, or TCP alone. With `ours` the ports may be ones of this process, whose
    /// listeners are about to go.
    fn bind_as(knobs: Arc<Knobs>, addresses: &[SocketAddr], handler: Arc<H>, ours: bool) -> io::Result<Self> {
        let mut server = Self { handler, knobs, udp: Vec::new(), tcp: Vec::new(), addresses: Vec::new() };
        for address in addresses {
            if *address == SocketAddr::from((Ipv6Addr::UNSPECIFIED, address.port()))
                && addresses.len() > 1
                && !has_ipv6()
            {
                tracing::warn!(%address, "not listened on: this machine has no IPv6");
                continue;
            }
            let (listener, sockets) = if server.knobs.scheme == Scheme::Dns {
                bind_both(*address, server.knobs.limits.load().udp_sockets, ours)?
            } else {
                let listener = tcp::bind(*address, ours).map_err(|error| named(error, *address, "TCP"))?;
                (listener, Vec::new())
            };
            server.addresses.push(listener.local_addr()?);
            server.tcp.push(listener);
            server.udp.extend(sockets);
        }
        Ok(server)
    }

    /// The addresses that are listened on, in the order given, with the ports they got.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Serves until told to stop. Then no request is taken any more, and connections get a moment to finish.
    pub async fn run(self, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        let mut threads = Vec::new();
        for socket in self.udp {
            let handler: Arc<dyn Handler> = Arc::<H>::clone(&self.handler);
            match udp::serve(socket, handler, tasks.clone()) {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    tracing::error!(%error, "no thread for UDP: a part of the clients gets no answers");
                }
            }
        }
        let gate = Arc::new(tcp::Gate::new(Arc::clone(&self.knobs.tcp)));
        for listener in self.tcp {
            let connections = tcp::Connections {
                handler: Arc::clone(&self.handler),
                knobs: Arc::clone(&self.knobs),
                gate: Arc::clone(&gate),
                tasks: tasks.clone(),
                stop: stop.clone(),
            };
            tasks.spawn(connections.accept(listener));
        }
        stop.cancelled().await;
        gate.stop();
        drop(threads);
        tasks.close();
        let grace = self.knobs.limits.load().grace;
        if tokio::time::timeout(grace, tasks.wait()).await.is_err() {
            tracing::debug!(left = tasks.len(), "connections were cut");
        }
    }
}

/// Runs the handler for a request that has just come.
fn handle<H: Handler>(handler: &H, request: &[u8], from: Peer, out: &mut Vec<u8>) -> Handled {
    handle_at(handler, request, from, Instant::now(), out)
}

/// Runs the handler. A request that makes it panic must not take the socket's thread or task with it.
fn handle_at<H: Handler + ?Sized>(
    handler: &H,
    request: &[u8],
    from: Peer,
    came: Instant,
    out: &mut Vec<u8>,
) -> Handled {
    catch_unwind(AssertUnwindSafe(|| handler.handle(request, from, came, out))).unwrap_or_else(|panic| {
        tracing::debug!(client = %from.address, bytes = request.len(), "a request made the handler panic");
        let told = AssertUnwindSafe(|| handler.panicked(request, from, &*panic, out));
        catch_unwind(told).unwrap_or(Handled::Silent)
    })
}

/// Whether the kernel has IPv6 at all.
fn has_ipv6() -> bool {
    std::net::UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok()
}

/// How often a free port of one protocol may turn out to be taken in the other.
const PORT_ATTEMPTS: usize = 16;

fn bind_both(
    address: SocketAddr,
    sockets: usize,
    ours: bool,
) -> io::Result<(tokio::net::TcpListener, Vec<udp::Socket>)> {
    let mut attempt = 0;
    loop {
        let listener = tcp::bind(address, ours).map_err(|error| named(error, address, "TCP"))?;
        let bound = listener.local_addr()?;
        match udp::bind(bound, sockets, ours) {
            Ok(sockets) => return Ok((listener, sockets)),
            Err(error)
                if address.port() == 0
                    && error.kind() == io::ErrorKind::AddrInUse
                    && attempt < PORT_ATTEMPTS =>
            {
                attempt += 1;
            }
            Err(error) => return Err(named(error, address, "UDP")),
        }
    }
}

fn named(error: io::Error, address: SocketAddr, protocol: &str) -> io::Error {
    let why = match error.kind() {
        io::ErrorKind::AddrInUse => "the port is in use".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "not permitted (ports below 1024 need CAP_NET_BIND_SERVICE)".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        _ => error.to_string(),
    };
    io::Error::new(error.kind(), format!("cannot listen on {address} ({protocol}): {why}"))
}

#[cfg(test)]
mod tests;
