//! TCP and TLS: requests one after another on a connection, each behind its length (RFC 7766, RFC 7858).
//!
//! ```text
//!   listener ─▶ gate: a place, by client and in total ─▶ a task for each connection ─▶ connection.rs: answers
//!                 └ full: the longest idle one goes        ├ TLS: handshake first, in its time
//!                                                          └ HTTPS: https.rs instead
//! ```
//!
//! What a connection may cost, whatever the client does, is a number of bytes and of seconds: see [`connection`]. What the
//! kernel buffers for it is bounded too: by [`RECEIVE`] and [`SEND`], which each connection inherits from its listener.

mod connection;
mod gate;
mod wire;

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(super) use self::gate::{Gate, Slot, network};
use self::{
    connection::{Connection, End},
    gate::Place,
    wire::Wire,
};
use super::{Handler, Limits, Peer, https::Https, knobs::Knobs};
use crate::{answer::Transport, block::Scheme};

/// Connections that nobody has accepted yet. Where they come faster than they are accepted, each waits for all of these: a
/// longer queue is a longer wait, in front of which clients have given up.
const BACKLOG: i32 = 1024;
/// How long nothing is accepted after accepting failed for want of something.
const PAUSE: Duration = Duration::from_millis(20);
/// How often that is told at most.
const TELL: Duration = Duration::from_secs(10);
/// What the kernel may hold of requests that are not read, and of answers that the client does not take, bytes; Linux
/// doubles both for its own needs. Without these it grows them to megabytes for each connection.
const RECEIVE: usize = 64 << 10;
const SEND: usize = 128 << 10;
/// How long the goodbye of a connection may take, and how much a client that is still sending is listened to meanwhile: a
/// connection that ends with unread requests ends with a reset, which takes answers with it that are under way.
const GOODBYE: Duration = Duration::from_secs(1);
const LISTENED: usize = 256 << 10;

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
    // What the system does not give is not worth failing for.
    let _ = socket.set_recv_buffer_size(RECEIVE);
    let _ = socket.set_send_buffer_size(SEND);
    let _ = socket.set_tcp_nodelay(true);
    socket.bind(&address.into())?;
    Ok(socket)
}

/// The connections of one listener.
pub(super) struct Connections<H> {
    pub(super) handler: Arc<H>,
    pub(super) knobs: Arc<Knobs>,
    pub(super) gate: Arc<Gate>,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
}

impl<H: Handler> Connections<H> {
    /// Accepts connections until told to stop.
    pub(super) async fn accept(self, listener: TcpListener) {
        let mut told: Option<Instant> = None;
        // What a connection to a wildcard address was sent to is its own to say.
        let bound = listener.local_addr().ok().filter(|address| !address.ip().is_unspecified());
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) if is_of_one_connection(&error) => continue,
                Err(error) => {
                    // No more file descriptors, or no memory: a connection that is idle gives some back.
                    if told.is_none_or(|told| told.elapsed() > TELL) {
                        tracing::warn!(%error, "accepting over TCP failed; idle connections are ended");
                        told = Some(Instant::now());
                    }
                    self.gate.make_room();
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let limits = self.knobs.limits.load_full();
            let Some(place) = self.gate.enter(address.ip(), &limits) else {
                tracing::debug!(client = %address, "too many TCP connections");
                stream.abort();
                continue;
            };
            // A connection that has no address any more is closed by what is read from it.
            let local = bound.or_else(|| stream.local_addr().ok()).unwrap_or(address);
            let from = Peer { address, local, transport: Transport::Tcp };
            let handler = Arc::clone(&self.handler);
            if self.knobs.scheme == Scheme::Dns && self.knobs.tls.load().is_none() {
                // Nothing but what it needs: this is what there may be thousands of.
                let connection = Connection::new(stream, handler, limits, from, place);
                self.tasks.spawn(speak(connection));
            } else {
                let (knobs, stop) = (Arc::clone(&self.knobs), self.stop.clone());
                self.tasks.spawn(begin(stream, handler, limits, knobs, from, place, stop));
            }
        }
    }
}

/// Whether an error of `accept` is one of the connection that was to be accepted, which the next call does not see again
/// (`accept(2)`, "Error handling").
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, PermissionDenied, TimedOut};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | PermissionDenied | TimedOut)
}

/// Serves a connection in the listener's way of speaking, where that is not plain DNS.
async fn begin<H: Handler>(
    stream: TcpStream,
    handler: Arc<H>,
    limits: Arc<Limits>,
    knobs: Arc<Knobs>,
    from: Peer,
    place: Place,
    stop: CancellationToken,
) {
    let Some(tls) = knobs.tls.load_full() else {
        return converse(stream, handler, limits, &knobs, from, place, stop).await;
    };
    let handshake = Box::pin(timeout(limits.tls_handshake, TlsAcceptor::from(tls).accept(stream)));
    let shaken = tokio::select! {
        () = place.end() => return,
        shaken = handshake => shaken,
    };
    match shaken {
        Ok(Ok(stream)) => Box::pin(converse(stream, handler, limits, &knobs, from, place, stop)).await,
        Ok(Err(error)) => tracing::debug!(client = %from.address, %error, "no TLS"),
        Err(_) => tracing::debug!(client = %from.address, "no TLS in time"),
    }
}

async fn converse<H: Handler, S: Wire>(
    stream: S,
    handler: Arc<H>,
    limits: Arc<Limits>,
    knobs: &Knobs,
    from: Peer,
    place: Place,
    stop: CancellationToken,
) {
    if knobs.scheme == Scheme::Https {
        let (metrics, slot) = (Arc::clone(&knobs.https), Arc::clone(place.slot()));
        let serving = Box::pin(Https { handler, limits, from, metrics, slot }.serve(stream, stop));
        return tokio::select! {
            () = serving => {}
            () = place.leave() => {}
        };
    }
    speak(Connection::new(stream, handler, limits, from, place)).await;
}

/// Answers, and says goodbye.
async fn speak<H: Handler, S: Wire>(mut connection: Connection<H, S>) {
    let end = connection.serve().await;
    let (mut stream, _place) = connection.into_parts();
    match end {
        // What the client does not take is not kept for it by the kernel either.
        End::Broken => stream.abort(),
        End::Idle => {
            let _ = timeout(GOODBYE, stream.shutdown()).await;
        }
        End::Answered => {
            let _ = timeout(GOODBYE, async {
                // TLS ends with a word of its own.
                stream.shutdown().await?;
                let (mut scrap, mut listened) = (vec![0; 4096], 0);
                while listened < LISTENED {
                    match stream.read(&mut scrap).await? {
                        0 => break,
                        length => listened += length,
                    }
                }
                io::Result::Ok(())
            })
            .await;
        }
    }
}
