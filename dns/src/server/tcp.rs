//! TCP: requests one after another on a connection, each behind its length (RFC 7766).
//!
//! A client may send the next request before it has the answer to the last. Answers that are there at once go out in
//! order; those that are waited for go out when they come (RFC 7766 6.2.1.1), and while too many are waited for no more is
//! read. A client that sends slowly, reads slowly or does nothing has one deadline each, counted from its last whole
//! request: a byte a minute buys no time.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures::stream::{FuturesUnordered, StreamExt};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Handled, Handler, Later, Limits, Peer, handle};
use crate::answer::Transport;

const BACKLOG: i32 = 1024;
const PAUSE: Duration = Duration::from_millis(50);

/// Binds a listener.
pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Connections of a server that has just ended must not keep the next one from starting.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Counts connections, in total and by client.
#[derive(Debug)]
pub(super) struct Gate {
    total: usize,
    per_client: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    clients: HashMap<IpAddr, usize>,
}

/// A place for one connection, given back when dropped.
#[derive(Debug)]
struct Place {
    gate: Arc<Gate>,
    client: IpAddr,
}

impl Gate {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            total: limits.tcp_connections,
            per_client: limits.tcp_connections_per_client,
            open: Mutex::default(),
        }
    }

    fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let client = network(address);
        let mut open = self.open.lock();
        let ours = open.clients.get(&client).copied().unwrap_or_default();
        if open.total >= self.total || ours >= self.per_client {
            return None;
        }
        open.total += 1;
        open.clients.insert(client, ours + 1);
        Some(Place { gate: Arc::clone(self), client })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.gate.open.lock();
        open.total = open.total.saturating_sub(1);
        if let Some(ours) = open.clients.get_mut(&self.client) {
            *ours = ours.saturating_sub(1);
            if *ours == 0 {
                open.clients.remove(&self.client);
            }
        }
    }
}

/// What counts as one client: of IPv6 a network of 64 bits, whose addresses are one host's to choose.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => v4.into(),
            None => Ipv6Addr::from(u128::from(v6) >> 64 << 64).into(),
        },
    }
}

/// The connections of one listener.
pub(super) struct Connections<H> {
    pub(super) handler: Arc<H>,
    pub(super) limits: Arc<Limits>,
    pub(super) gate: Arc<Gate>,
    pub(super) worker: usize,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
}

impl<H: Handler> Connections<H> {
    /// Accepts connections until told to stop.
    pub(super) async fn accept(self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Mostly: no more file descriptors. Connections that end will free some.
                    tracing::warn!(%error, "accepting over TCP failed");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let Some(place) = self.gate.enter(address.ip()) else {
                tracing::debug!(client = %address, "too many TCP connections");
                continue;
            };
            // A connection that has no address any more is closed by what is read from it.
            let local = stream.local_addr().unwrap_or(address);
            let connection = Connection {
                handler: Arc::clone(&self.handler),
                limits: Arc::clone(&self.limits),
                from: Peer { address, local, transport: Transport::Tcp, worker: self.worker },
                stream,
                read: Vec::new(),
                write: Vec::new(),
                _place: place,
            };
            self.tasks.spawn(connection.serve(self.stop.clone()));
        }
    }
}

struct Connection<H> {
    handler: Arc<H>,
    limits: Arc<Limits>,
    from: Peer,
    stream: TcpStream,
    /// What has been read and is not answered yet.
    read: Vec<u8>,
    /// The answer being made.
    write: Vec<u8>,
    _place: Place,
}

impl<H: Handler> Connection<H> {
    async fn serve(mut self, stop: CancellationToken) {
        let _ = self.stream.set_nodelay(true);
        let mut waiting: FuturesUnordered<Later> = FuturesUnordered::new();
        let mut deadline = Instant::now() + self.limits.tcp_idle;
        let mut stopping = false;
        loop {
            // Everything that is here already, before anything is waited for.
            while waiting.len() < self.limits.tcp_waiting {
                let request = match self.take_request() {
                    Ok(Some(request)) => request,
                    Ok(None) => break,
                    Err(TooLong) => return,
                };
                match handle(&*self.handler, &request, self.from, &mut self.write) {
                    Handled::Reply => {
                        let reply = std::mem::take(&mut self.write);
                        if self.send(&reply).await.is_err() {
                            return;
                        }
                        self.write = reply;
                    }
                    Handled::Silent => {}
                    Handled::Later(later) => waiting.push(later),
                }
                deadline = Instant::now() + self.limits.tcp_idle;
            }
            if stopping && waiting.is_empty() {
                return;
            }
            let may_read = waiting.len() < self.limits.tcp_waiting && !stopping;
            tokio::select! {
                Some(replies) = waiting.next(), if !waiting.is_empty() => {
                    for reply in replies {
                        if self.send(&reply).await.is_err() {
                            return;
                        }
                    }
                    deadline = Instant::now() + self.limits.tcp_idle;
                }
                read = timeout_at(deadline, self.stream.read_buf(&mut self.read)), if may_read => match read {
                    Ok(Ok(length)) if length > 0 => {}
                    // The client has said all it has to say, and may still be owed answers.
                    Ok(Ok(_)) => stopping = true,
                    Ok(Err(_)) => return,
                    Err(_) if waiting.is_empty() => return,
                    Err(_) => deadline = Instant::now() + self.limits.tcp_idle,
                },
                () = stop.cancelled(), if !stopping => stopping = true,
            }
        }
    }

    /// The next whole request; `None` while it is not all here.
    fn take_request(&mut self) -> Result<Option<Vec<u8>>, TooLong> {
        let [high, low, rest @ ..] = self.read.as_slice() else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if length > self.limits.tcp_request {
            return Err(TooLong);
        }
        let Some(request) = rest.get(..length).map(<[u8]>::to_vec) else { return Ok(None) };
        self.read.drain(..length + 2);
        Ok(Some(request))
    }

    /// Sends one answer behind its length, in one piece.
    async fn send(&mut self, reply: &[u8]) -> io::Result<()> {
        let length =
            u16::try_from(reply.len()).map_err(|_| io::Error::other("an answer of more than 65535 bytes"))?;
        let mut framed = Vec::with_capacity(reply.len() + 2);
        framed.extend_from_slice(&length.to_be_bytes());
        framed.extend_from_slice(reply);
        timeout(self.limits.tcp_write, self.stream.write_all(&framed)).await?
    }
}

/// A request announced more bytes than any request has.
struct TooLong;
