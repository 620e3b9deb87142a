//! TCP and TLS: requests one after another on a connection, each behind its length (RFC 7766, RFC 7858).
//!
//! A client may send the next request before it has the answer to the last. Answers that are there at once go out in
//! order; those that are waited for go out when they come (RFC 7766 6.2.1.1), and while too many are waited for no more is
//! read. A client that sends slowly, reads slowly or does nothing has one deadline each, counted from its last whole
//! request: a byte a minute buys no time.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    num::NonZeroUsize,
    sync::Arc,
    time::Duration,
};

use futures::stream::{FuturesUnordered, StreamExt};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Handled, Handler, Later, Limits, Peer, handle, https::Https, knobs::Knobs};
use crate::{answer::Transport, block::Scheme};

const BACKLOG: i32 = 1024;
const PAUSE: Duration = Duration::from_millis(50);

/// Binds a listener.
///
/// With `ours` the port may be one of this process, whose listener is about to go.
pub(super) fn bind(address: SocketAddr, ours: bool) -> io::Result<TcpListener> {
    if !ours {
        // Sharing a port lets a second process of the same user in unnoticed: first see whether it is free.
        open(address, false)?.listen(BACKLOG)?;
    }
    let socket = open(address, true)?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn open(address: SocketAddr, shared: bool) -> io::Result<socket2::Socket> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Connections of a server that has just ended must not keep the next one from starting.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Counts connections, in total and by client.
#[derive(Debug, Default)]
pub(super) struct Gate {
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
    fn enter(self: &Arc<Self>, address: IpAddr, limits: &Limits) -> Option<Place> {
        let client = network(address);
        let mut open = self.open.lock();
        let ours = open.clients.get(&client).copied().unwrap_or_default();
        if open.total >= limits.tcp_connections || ours >= limits.tcp_connections_per_client {
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
    pub(super) knobs: Arc<Knobs>,
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
            let Some(place) = self.gate.enter(address.ip(), &self.knobs.limits.load()) else {
                tracing::debug!(client = %address, "too many TCP connections");
                continue;
            };
            // A connection that has no address any more is closed by what is read from it.
            let local = stream.local_addr().unwrap_or(address);
            let from = Peer { address, local, transport: Transport::Tcp, worker: self.worker };
            let (handler, knobs, stop) =
                (Arc::clone(&self.handler), Arc::clone(&self.knobs), self.stop.clone());
            self.tasks.spawn(async move {
                let _place = place;
                let _ = stream.set_nodelay(true);
                begin(stream, handler, &knobs, from, stop).await;
            });
        }
    }
}

/// Serves a connection in the listener's way of speaking.
async fn begin<H: Handler>(
    stream: TcpStream,
    handler: Arc<H>,
    knobs: &Knobs,
    from: Peer,
    stop: CancellationToken,
) {
    let limits = knobs.limits.load_full();
    let Some(tls) = knobs.tls.load_full() else {
        return speak(stream, handler, limits, knobs, from, stop).await;
    };
    let handshake = TlsAcceptor::from(tls).accept(stream);
    let shaken = tokio::select! {
        () = stop.cancelled() => return,
        shaken = timeout(limits.tls_handshake, handshake) => shaken,
    };
    match shaken {
        Ok(Ok(stream)) => Box::pin(speak(stream, handler, limits, knobs, from, stop)).await,
        Ok(Err(error)) => tracing::debug!(client = %from.address, %error, "no TLS"),
        Err(_) => tracing::debug!(client = %from.address, "no TLS in time"),
    }
}

async fn speak<H: Handler, S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    handler: Arc<H>,
    limits: Arc<Limits>,
    knobs: &Knobs,
    from: Peer,
    stop: CancellationToken,
) {
    if knobs.scheme == Scheme::Https {
        let metrics = Arc::clone(&knobs.https);
        return Box::pin(Https { handler, limits, from, metrics }.serve(stream, stop)).await;
    }
    let mut connection = Connection { handler, limits, from, stream, read: Vec::new(), write: Vec::new() };
    connection.serve(stop).await;
    // TLS ends with a word of its own.
    let _ = timeout(connection.limits.tcp_write, connection.stream.shutdown()).await;
}

struct Connection<H, S> {
    handler: Arc<H>,
    limits: Arc<Limits>,
    from: Peer,
    stream: S,
    /// What has been read and is not answered yet.
    read: Vec<u8>,
    /// The answer being made.
    write: Vec<u8>,
}

impl<H: Handler, S: AsyncRead + AsyncWrite + Unpin> Connection<H, S> {
    async fn serve(&mut self, stop: CancellationToken) {
        let mut waiting: FuturesUnordered<Later> = FuturesUnordered::new();
        let mut deadline = Instant::now() + self.limits.tcp_idle;
        let mut stopping = false;
        // When the request that is arriving has to be whole.
        let mut whole: Option<Instant> = None;
        let mut left = self.limits.tcp_queries.map(NonZeroUsize::get);
        loop {
            // Everything that is here already, before anything is waited for.
            while waiting.len() < self.limits.tcp_waiting && left != Some(0) {
                let request = match self.take_request() {
                    Ok(Some(request)) => request,
                    Ok(None) => break,
                    Err(TooLong) => return,
                };
                whole = None;
                left = left.map(|left| left.saturating_sub(1));
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
            stopping |= left == Some(0);
            if stopping && waiting.is_empty() {
                return;
            }
            if self.read.is_empty() {
                whole = None;
            } else if whole.is_none() {
                whole = Some(Instant::now() + self.limits.tcp_read);
            }
            let patience = whole.map_or(deadline, |whole| whole.min(deadline));
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
                read = timeout_at(patience, self.stream.read_buf(&mut self.read)), if may_read => match read {
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
        timeout(self.limits.tcp_write, async {
            self.stream.write_all(&framed).await?;
            self.stream.flush().await
        })
        .await?
    }
}

/// A request announced more bytes than any request has.
struct TooLong;
