//! UDP: several sockets on each address, each with a thread of its own.
//!
//! ```text
//!   socket ──▶ batch of requests ──▶ Handler, one after another ──▶ batch of replies ──▶ socket
//!                                        └ Later: a task of the runtime, which sends by itself
//! ```
//!
//! The sockets of an address share its port (SO_REUSEPORT); the kernel sends each client to one of them. A thread takes what
//! has arrived with one call, which waits where there is nothing, and sends the replies with another: under load a question
//! costs a fraction of a call, and a lone one costs two and is answered at once. A socket on a wildcard address learns from the packet info (IP_PKTINFO, RFC 3542) which
//! address was asked and answers from it: a client takes no answer from another address.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Once,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use callsign_mmsg::{Asked, Batch, Exchange, Wait};
use futures::FutureExt;
use nix::sys::socket::{Shutdown, setsockopt, shutdown, sockopt};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use super::{Handled, Handler, Later, Peer, Replies, handle_at, metrics::Place};
use crate::answer::Transport;

/// A UDP socket that answers from the address that was asked.
#[derive(Debug)]
pub(super) struct Socket {
    socket: std::net::UdpSocket,
    /// What it is bound to.
    address: SocketAddr,
}

/// A thread that answers. Dropping it ends the thread after the batch that it is at.
#[derive(Debug)]
pub(super) struct Serving {
    socket: Arc<Socket>,
    told: Arc<AtomicBool>,
}

/// What a thread works with.
struct Worker {
    socket: Arc<Socket>,
    handler: Arc<dyn Handler>,
    /// Answers that are waited for.
    tasks: TaskTracker,
    /// To end.
    told: Arc<AtomicBool>,
}

/// The room for waiting datagrams that is asked of the kernel, which may give less.
const KERNEL_BUFFER: usize = 1 << 20;
/// Larger than any request; the rest of a longer one is cut off and it is then malformed.
const REQUEST: usize = 4096;
/// Datagrams that are taken at once: enough that calls cost little, and few enough that the first need not wait for the last.
const BATCH: usize = 32;
/// How many datagrams a socket that is to go still takes: more than its buffer holds of small ones.
const LAST: usize = 4096;
/// For how long it waits for them.
const LINGERING: Duration = Duration::from_millis(20);
/// The port of discard: nothing is sent there, and nothing comes from there.
const NOBODY: u16 = 9;
const PAUSE: Duration = Duration::from_millis(10);
/// How often, and how long apart, an answer that was waited for is offered to a full socket.
const OFFERS: usize = 5;
const OFFER_PAUSE: Duration = Duration::from_millis(1);

/// Binds the sockets of one address. With `ours` the port may be one of this process, whose sockets are about to go.
pub(super) fn bind(address: SocketAddr, count: usize, ours: bool) -> io::Result<Vec<Socket>> {
    if !ours {
        // Sharing a port lets a second process of the same user in unnoticed: first see whether it is free.
        drop(open(address, false)?);
    }
    (0..count.max(1)).map(|_| Socket::new(open(address, true)?, address)).collect()
}

fn open(address: SocketAddr, shared: bool) -> io::Result<socket2::Socket> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Answers datagrams until what it returns is dropped. Called within the runtime that answers are waited for in. Not generic, so
/// that it is compiled in this crate, for speed, however the program around it is.
///
/// # Errors
/// When there is no thread to be had.
pub(super) fn serve(socket: Socket, handler: Arc<dyn Handler>, tasks: TaskTracker) -> io::Result<Serving> {
    let (socket, told) = (Arc::new(socket), Arc::new(AtomicBool::new(false)));
    let runtime = Handle::current();
    // Whoever waits for the tasks waits for the thread too.
    let token = tasks.token();
    let worker = Worker { socket: Arc::clone(&socket), handler, tasks, told: Arc::clone(&told) };
    thread::Builder::new().name("dns-udp".to_owned()).spawn(move || {
        let _inside = runtime.enter();
        let _place = Place::take();
        // Where that is not to be had, answers wait a little for what else is computed.
        let _ = callsign_mmsg::take_short_turns();
        worker.run();
        drop(token);
    })?;
    Ok(Serving { socket, told })
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.told.store(true, Ordering::Release);
        self.socket.leave();
    }
}

impl Worker {
    fn run(&self) {
        let mut batch = Batch::new(BATCH, REQUEST);
        let mut batched = true;
        let (mut left, mut lingered) = (LAST, false);
        while left > 0 {
            let told = self.told.load(Ordering::Acquire);
            match batch.receive(self.socket.fd(), if told { Wait::No } else { Wait::ForOne }) {
                Ok(count) => {
                    // What was there already is answered before the socket goes.
                    left = if told { left.saturating_sub(count) } else { left };
                    let came = Instant::now();
                    (0..count).for_each(|at| self.answer(&mut batch, at, came));
                    batch.send(self.socket.fd());
                }
                Err(error) if told && !lingered && error.kind() == io::ErrorKind::WouldBlock => {
                    lingered = true;
                    thread::sleep(LINGERING);
                }
                Err(_) if told => return,
                Err(error) => {
                    tracing::warn!(%error, "receiving over UDP failed");
                    thread::sleep(PAUSE);
                }
            }
            if batched != batch.is_batched() {
                batched = batch.is_batched();
                static ONCE: Once = Once::new();
                ONCE.call_once(|| {
                    tracing::warn!("the system forbids recvmmsg: datagrams are taken one by one");
                });
            }
        }
    }

    fn answer(&self, batch: &mut Batch, at: usize, came: Instant) {
        let Some(Exchange { request, from: address, asked, reply: out }) = batch.exchange(at) else { return };
        let own = self.socket.address;
        let local = asked.map_or(own, |asked| SocketAddr::new(asked.address, own.port()));
        let from = Peer { address, local, transport: Transport::Udp };
        match handle_at(&*self.handler, request, from, came, out) {
            Handled::Reply => {}
            Handled::Silent => out.clear(),
            Handled::Later(mut later) => {
                out.clear();
                // Mostly there is nothing to wait for: a file's zone, hosts, a name that is rewritten.
                let polled = catch_unwind(AssertUnwindSafe(|| (&mut later).now_or_never()));
                // What panics here, past the handler, costs its answer and not the socket's thread.
                match polled.unwrap_or_else(|_| Some(Replies::default())) {
                    Some(replies) => replies.for_each(|reply| self.socket.offer(&reply, address, asked)),
                    None => self.wait_for(later, address, asked),
                }
            }
        }
    }

    fn wait_for(&self, later: Later, to: SocketAddr, asked: Option<Asked>) {
        let socket = Arc::clone(&self.socket);
        self.tasks.spawn(async move {
            for reply in later.await {
                socket.send(&reply, to, asked).await;
            }
        });
    }
}

impl Socket {
    fn new(socket: socket2::Socket, address: SocketAddr) -> io::Result<Self> {
        // What the system does not give is not worth failing for.
        let _ = socket.set_recv_buffer_size(KERNEL_BUFFER);
        let _ = socket.set_send_buffer_size(KERNEL_BUFFER);
        match address {
            SocketAddr::V4(v4) if v4.ip().is_unspecified() => {
                setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
            }
            SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
                setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
            }
            _ => {}
        }
        Ok(Self { socket: socket.into(), address })
    }

    /// Leaves new datagrams to other sockets of the port: a connected socket takes those of one peer, here of nobody. What
    /// it has already stays.
    fn leave(&self) {
        let ip = match self.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        // It is the last thing the socket does; where it fails, a few datagrams are lost.
        let _ = self.socket.connect(SocketAddr::new(ip, NOBODY));
        // Whoever waits for it waits no more.
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Read);
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Sends an answer if the socket takes it. One that cannot be sent is lost: the client asks again.
    fn offer(&self, reply: &[u8], to: SocketAddr, asked: Option<Asked>) {
        if let Err(error) = callsign_mmsg::send(self.fd(), reply, to, asked) {
            tracing::debug!(%error, client = %to, "sending over UDP failed");
        }
    }

    /// Sends an answer that was waited for.
    async fn send(&self, reply: &[u8], to: SocketAddr, asked: Option<Asked>) {
        for _ in 0..OFFERS {
            match callsign_mmsg::send(self.fd(), reply, to, asked) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    tokio::time::sleep(OFFER_PAUSE).await;
                }
                Err(error) => {
                    tracing::debug!(%error, client = %to, "sending over UDP failed");
                    return;
                }
                Ok(()) => return,
            }
        }
    }
}
