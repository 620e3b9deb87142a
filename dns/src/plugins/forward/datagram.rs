//! One question over UDP: its own socket, port and id.
//!
//! An answer has to name an id and arrive at a port that only the upstream has been told (RFC 5452 9.2). Both come from a
//! cryptographic generator; the socket is connected, so that the kernel drops what others send. What does not answer the
//! question is ignored and the wait goes on: a forger must not be able to end it.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::{
    io::Interest,
    net::UdpSocket,
    time::{Instant, timeout_at},
};

use super::{
    failure::Failure,
    question::{Case, Header, Question},
};

/// Longer replies than we offered to take happen; this holds what still comes in one piece.
const REPLY: usize = 4096;
/// The first port to ask from: those below are for services, a cluster's node ports among them.
const PORTS_FROM: u16 = 32_768;
/// How often a port that is taken is followed by another guess, before the system chooses.
const PORT_ATTEMPTS: usize = 8;
/// Asks; gives back a reply that answers the question, or is too long to tell the whole answer.
pub(super) async fn exchange(
    upstream: SocketAddr,
    question: &Question,
    edns: bool,
    case: Case,
    end: Instant,
) -> Result<Vec<u8>, Failure> {
    let socket = open(upstream).await.map_err(|error| Failure::dial("udp", upstream, &error))?;
    let local = socket.local_addr().ok();
    let failed = |operation, error: &io::Error| Failure::of(operation, "udp", local, upstream, error);
    let id = rand::random();
    {
        let message = question.write(id, edns);
        let sent = timeout_at(end, socket.send(message.get(2..).unwrap_or_default())).await;
        sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|error| failed("write", &error))?;
    }
    // However many datagrams there are to ignore, the end is the end.
    while Instant::now() < end {
        let received = timeout_at(end, receive(&socket)).await;
        let (reply, from) = received
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|error| failed("read", &error))?;
        // What came before the socket was connected may be anybody's.
        let from_upstream = (from.ip(), from.port()) == (upstream.ip(), upstream.port());
        let misread = edns && question.is_misread_by(id, &reply);
        if from_upstream && (misread || question.is_answered_by(id, &reply, case)) {
            return Ok(reply);
        }
        tracing::trace!(%upstream, length = reply.len(), "a datagram that does not answer the question is ignored");
    }
    Err(failed("read", &io::ErrorKind::TimedOut.into()))
}

/// The next datagram. Questions that wait are many where an upstream is dead: what they do without is a buffer.
async fn receive(socket: &UdpSocket) -> io::Result<(Vec<u8>, SocketAddr)> {
    socket.ready(Interest::READABLE | Interest::ERROR).await?;
    let mut buffer = vec![0; REPLY];
    let (length, from) = socket.recv_from(&mut buffer).await?;
    buffer.truncate(length);
    Ok((buffer, from))
}

/// Whether the whole answer has to be asked for over a stream.
pub(super) fn is_cut(reply: &[u8]) -> bool {
    reply.len() >= REPLY || Header::read(reply).is_some_and(Header::is_truncated)
}

async fn open(upstream: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr =
        if upstream.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let mut socket = None;
    for _ in 0..PORT_ATTEMPTS {
        match UdpSocket::bind((any, rand::random::<u16>() | PORTS_FROM)).await {
            Ok(bound) => {
                socket = Some(bound);
                break;
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(error),
        }
    }
    let socket = match socket {
        Some(socket) => socket,
        None => UdpSocket::bind((any, 0)).await?,
    };
    socket.connect(upstream).await?;
    Ok(socket)
}
