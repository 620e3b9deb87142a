//! Where a page is: `[HOST]:PORT`, bound so that a reload can replace it without a gap.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs},
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// Where a page is. A wildcard of IPv6 means both families.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Address(SocketAddr);

const BACKLOG: i32 = 128;

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self(address)
    }
}

impl Address {
    /// Reads `[HOST]:PORT`. A name stands for its first address, of IPv4 if it has one (Go's `net.Listen`).
    ///
    /// # Errors
    /// When the name has no address.
    pub(crate) fn resolve(text: &str) -> io::Result<Self> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("address {text}: {error}"));
        let invalid = || named(io::Error::new(io::ErrorKind::InvalidInput, "want [HOST]:PORT"));
        let (host, port) = text.rsplit_once(':').ok_or_else(invalid)?;
        let port: u16 = port.parse().map_err(|_| invalid())?;
        if host.is_empty() {
            return Ok(Self((Ipv6Addr::UNSPECIFIED, port).into()));
        }
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let mut all: Vec<SocketAddr> = (host, port).to_socket_addrs().map_err(named)?.collect();
        all.sort_by_key(SocketAddr::is_ipv6);
        let first = all.first().copied();
        first.map(Self).ok_or_else(|| named(io::Error::new(io::ErrorKind::NotFound, "no such host")))
    }

    pub(super) fn port(&self) -> u16 {
        self.0.port()
    }

    /// Listens. Where there is no IPv6, its wildcard is that of IPv4. With `ours` the port may be one of this process.
    ///
    /// # Errors
    /// When the port is somebody else's, or the address is not this machine's.
    pub(super) fn bind(self, ours: bool) -> io::Result<TcpListener> {
        let bound = match listen(self.0, ours) {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse && self.0.ip().is_unspecified() => {
                listen((Ipv4Addr::UNSPECIFIED, self.0.port()).into(), ours)
            }
            bound => bound,
        };
        bound.map_err(|error| {
            io::Error::new(error.kind(), format!("cannot listen on {} (tcp): {error}", self.0))
        })
    }
}

fn listen(address: SocketAddr, ours: bool) -> io::Result<TcpListener> {
    if !ours {
        // Sharing a port lets in another process of the same user unnoticed: first see whether it is free.
        open(address, false)?.listen(BACKLOG)?;
    }
    let socket = open(address, true)?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn open(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    // Connections of a process that has just ended must not keep the next one from starting.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_go_reads_them() {
        let read = |text| Address::resolve(text).map(|address| address.0.to_string());
        assert_eq!(read(":8080").unwrap(), "[::]:8080");
        assert_eq!(read("127.0.0.2:1").unwrap(), "127.0.0.2:1");
        assert_eq!(read("[::1]:80").unwrap(), "[::1]:80");
        assert_eq!(read("localhost:9153").unwrap(), "127.0.0.1:9153");
        assert!(read("9153").is_err() && read("host.invalid:1").is_err() && read(":http").is_err());
    }

    #[tokio::test]
    async fn a_port_of_somebody_else_is_not_shared() {
        let first = Address::resolve("127.0.0.1:0").unwrap().bind(false).unwrap();
        let address = Address::from(first.local_addr().unwrap());
        let error = address.bind(false).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&address.0.to_string()), "{error}");
        // A reload that goes from one address of a port to all of them.
        assert!(Address::resolve(&format!("0.0.0.0:{}", address.port())).unwrap().bind(true).is_ok());
        // Whoever does not share is kept out by us.
        assert!(std::net::TcpListener::bind(address.0).is_err());
    }
}
