//! Socket addresses between Rust's form and the kernel's.

use std::{
    mem,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
};

/// An address of no family.
pub(crate) fn nothing() -> libc::sockaddr_storage {
    // SAFETY: an address is numbers, for all of which zero is a value.
    unsafe { mem::zeroed() }
}

/// The kernel's form of an address, and its length.
pub(crate) fn to_raw(address: SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    let mut raw = nothing();
    let length = match address {
        SocketAddr::V4(v4) => {
            let name = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                sin_zero: [0; 8],
            };
            // SAFETY: a storage is as large and aligned as any address.
            unsafe { (&raw mut raw).cast::<libc::sockaddr_in>().write(name) };
            mem::size_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(v6) => {
            let name = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            };
            // SAFETY: a storage is as large and aligned as any address.
            unsafe { (&raw mut raw).cast::<libc::sockaddr_in6>().write(name) };
            mem::size_of::<libc::sockaddr_in6>()
        }
    };
    (raw, length as libc::socklen_t)
}

/// An address of the kernel's; `None` for families other than IP.
pub(crate) fn from_raw(raw: &libc::sockaddr_storage, length: libc::socklen_t) -> Option<SocketAddr> {
    let length = length as usize;
    match i32::from(raw.ss_family) {
        libc::AF_INET if length >= mem::size_of::<libc::sockaddr_in>() => {
            // SAFETY: the family says what it is, and a storage is as large and aligned as any address.
            let name = unsafe { (&raw const *raw).cast::<libc::sockaddr_in>().read() };
            let ip = Ipv4Addr::from(name.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddr::from((ip, u16::from_be(name.sin_port))))
        }
        libc::AF_INET6 if length >= mem::size_of::<libc::sockaddr_in6>() => {
            // SAFETY: the family says what it is, and a storage is as large and aligned as any address.
            let name = unsafe { (&raw const *raw).cast::<libc::sockaddr_in6>().read() };
            let ip = Ipv6Addr::from(name.sin6_addr.s6_addr);
            let port = u16::from_be(name.sin6_port);
            Some(SocketAddrV6::new(ip, port, name.sin6_flowinfo, name.sin6_scope_id).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back_as_they_were() {
        for text in
            ["127.0.0.1:53", "255.255.255.255:65535", "[::1]:1", "[fe80::1%3]:5353", "[2001:db8::7]:0"]
        {
            let address: SocketAddr = text.parse().unwrap();
            let (raw, length) = to_raw(address);
            assert_eq!(from_raw(&raw, length), Some(address));
            assert_eq!(from_raw(&raw, 2), None, "half an address");
        }
        assert_eq!(from_raw(&nothing(), 128), None);
    }
}
