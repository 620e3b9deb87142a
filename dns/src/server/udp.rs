//! UDP: several sockets on each address, each with its own task.
//!
//! The sockets of an address share its port (SO_REUSEPORT); the kernel sends each client to one of them. A socket on a
//! wildcard address learns from the packet info (IP_PKTINFO, RFC 3542) which address was asked and answers from it: a
//! client takes no answer from another address. Sockets on a single address need none of that and use plain calls.

use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsRawFd,
    sync::Arc,
    time::Duration,
};

use futures::FutureExt;
use nix::{
    libc,
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt, sockopt,
    },
};
use tokio::{io::Interest, net::UdpSocket};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Handled, Handler, Peer, handle};
use crate::answer::Transport;

/// A UDP socket that answers from the address that was asked.
#[derive(Debug)]
pub(super) struct Socket {
    socket: UdpSocket,
    /// What it is bound to.
    address: SocketAddr,
    wildcard: bool,
}

/// The address that a datagram was sent to, where the socket's own does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asked {
    address: IpAddr,
    /// Of a link-local address the interface.
    interface: u32,
}

/// The room for waiting datagrams that is asked of the kernel, which may give less.
const KERNEL_BUFFER: usize = 1 << 20;
/// Larger than any request; the rest of a longer one is cut off and it is then malformed.
const REQUEST: usize = 4096;
/// How many datagrams a socket that is to go still takes: more than its buffer holds of small ones.
const LAST: usize = 4096;
/// For how long it waits for them.
const LINGERING: Duration = Duration::from_millis(20);
const PAUSE: Duration = Duration::from_millis(10);

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
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Answers datagrams until told to stop.
pub(super) async fn serve<H: Handler>(
    socket: Socket,
    handler: Arc<H>,
    worker: usize,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    let socket = Arc::new(socket);
    let mut request = vec![0; REQUEST];
    let mut out = Vec::with_capacity(REQUEST);
    let (mut left, mut lingered) = (LAST, false);
    loop {
        let received = if stop.is_cancelled() {
            // What was there already is answered before the socket goes. The runtime need not have heard of it.
            match socket.receive_with_info(&mut request) {
                Ok(received) if left > 0 => {
                    left -= 1;
                    Ok(received)
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && !lingered => {
                    lingered = true;
                    tokio::time::sleep(LINGERING).await;
                    continue;
                }
                _ => return,
            }
        } else {
            tokio::select! {
                () = stop.cancelled() => {
                    socket.leave().await;
                    continue;
                }
                received = socket.receive(&mut request) => received,
            }
        };
        let (length, address, asked) = match received {
            Ok(received) => received,
            Err(error) => {
                tracing::warn!(%error, "receiving over UDP failed");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let local =
            asked.map_or(socket.address, |asked| SocketAddr::new(asked.address, socket.address.port()));
        let from = Peer { address, local, transport: Transport::Udp, worker };
        match handle(&*handler, request.get(..length).unwrap_or_default(), from, &mut out) {
            Handled::Reply => socket.send(&out, address, asked).await,
            Handled::Silent => {}
            Handled::Later(mut later) => {
                // Mostly there is nothing to wait for: a file's zone, hosts, a name that is rewritten.
                if let Some(replies) = (&mut later).now_or_never() {
                    for reply in replies {
                        socket.send(&reply, address, asked).await;
                    }
                    continue;
                }
                let socket = Arc::clone(&socket);
                tasks.spawn(async move {
                    for reply in later.await {
                        socket.send(&reply, address, asked).await;
                    }
                });
            }
        }
    }
}

impl Socket {
    fn new(socket: socket2::Socket, address: SocketAddr) -> io::Result<Self> {
        // What the system does not give is not worth failing for.
        let _ = socket.set_recv_buffer_size(KERNEL_BUFFER);
        let _ = socket.set_send_buffer_size(KERNEL_BUFFER);
        let wildcard = address.ip().is_unspecified();
        match address {
            SocketAddr::V4(_) if wildcard => setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?,
            SocketAddr::V6(_) if wildcard => setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?,
            _ => {}
        }
        let socket = UdpSocket::from_std(socket.into())?;
        Ok(Self { address: socket.local_addr()?, socket, wildcard })
    }

    /// Leaves new datagrams to other sockets of the port: a connected socket takes those of one peer, here of nobody. What
    /// it has already stays.
    async fn leave(&self) {
        let ip = match self.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        // The port is discard's; nothing is sent there. Where it cannot be connected, it goes with what it gets.
        let _ = self.socket.connect(SocketAddr::new(ip, 9)).await;
    }

    async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr, Option<Asked>)> {
        if !self.wildcard {
            let (length, from) = self.socket.recv_from(buffer).await?;
            return Ok((length, from, None));
        }
        self.socket.async_io(Interest::READABLE, || self.receive_with_info(buffer)).await
    }

    fn receive_with_info(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr, Option<Asked>)> {
        let mut space = nix::cmsg_space!(libc::in6_pktinfo, libc::in_pktinfo);
        let mut buffers = [IoSliceMut::new(buffer)];
        let received = recvmsg::<SockaddrStorage>(
            self.socket.as_raw_fd(),
            &mut buffers,
            Some(&mut space),
            MsgFlags::empty(),
        )?;
        let from = received.address.as_ref().and_then(socket_address);
        let from = from.ok_or_else(|| io::Error::other("a datagram without a sender"))?;
        let mut asked = None;
        for message in received.cmsgs()? {
            match message {
                ControlMessageOwned::Ipv4PacketInfo(info) => {
                    let address = Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes());
                    asked = Some(Asked { address: address.into(), interface: 0 });
                }
                ControlMessageOwned::Ipv6PacketInfo(info) => {
                    let address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                    let interface = if address.is_unicast_link_local() { info.ipi6_ifindex } else { 0 };
                    asked = Some(Asked { address: address.into(), interface });
                }
                _ => {}
            }
        }
        Ok((received.bytes, from, asked))
    }

    /// Sends an answer. One that cannot be sent is lost: the client asks again.
    async fn send(&self, reply: &[u8], to: SocketAddr, asked: Option<Asked>) {
        let sent = match asked {
            None => self.socket.send_to(reply, to).await,
            Some(asked) => {
                self.socket.async_io(Interest::WRITABLE, || self.send_from(reply, to, asked)).await
            }
        };
        if let Err(error) = sent {
            tracing::debug!(%error, client = %to, "sending over UDP failed");
        }
    }

    fn send_from(&self, reply: &[u8], to: SocketAddr, asked: Asked) -> io::Result<usize> {
        let (fd, reply, to) = (self.socket.as_raw_fd(), [IoSlice::new(reply)], SockaddrStorage::from(to));
        let send = |info| sendmsg(fd, &reply, &[info], MsgFlags::empty(), Some(&to));
        let sent = match asked.address {
            IpAddr::V4(address) => send(ControlMessage::Ipv4PacketInfo(&libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(address.octets()) },
                ipi_addr: libc::in_addr { s_addr: 0 },
            })),
            IpAddr::V6(address) => send(ControlMessage::Ipv6PacketInfo(&libc::in6_pktinfo {
                ipi6_addr: libc::in6_addr { s6_addr: address.octets() },
                ipi6_ifindex: asked.interface,
            })),
        };
        Ok(sent?)
    }
}

fn socket_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::from((v4.ip(), v4.port())));
    v4.or_else(|| {
        let v6 = address.as_sockaddr_in6()?;
        Some(std::net::SocketAddrV6::new(v6.ip(), v6.port(), v6.flowinfo(), v6.scope_id()).into())
    })
}
