//! The control messages of a datagram: which address it was sent to, or is sent from.

use std::{
    mem,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::Asked;

/// Room for the packet info of either family.
#[repr(C, align(8))]
pub(crate) struct Control([u8; Self::SIZE]);

impl Default for Control {
    fn default() -> Self {
        Self([0; Self::SIZE])
    }
}

impl Control {
    /// Bytes: more than the larger of the two takes (40), with room for what else a socket may have been asked for.
    pub(crate) const SIZE: usize = 128;

    pub(crate) fn pointer(&mut self) -> *mut libc::c_void {
        self.0.as_mut_ptr().cast()
    }

    /// The address that is in what the kernel wrote, which has this length.
    pub(crate) fn read(&self, length: usize) -> Option<Asked> {
        let mut rest = self.0.get(..length.min(Self::SIZE))?;
        // Each round takes at least a header.
        while rest.len() >= HEADER {
            // SAFETY: there are at least as many bytes as a header has; it is read without regard to its alignment.
            let header = unsafe { rest.as_ptr().cast::<libc::cmsghdr>().read_unaligned() };
            let total = header.cmsg_len as usize;
            let data = rest.get(HEADER..total)?;
            match (header.cmsg_level, header.cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) if data.len() >= mem::size_of::<libc::in_pktinfo>() => {
                    // SAFETY: there are enough bytes; they are read without regard to their alignment.
                    let info = unsafe { data.as_ptr().cast::<libc::in_pktinfo>().read_unaligned() };
                    let address = Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes());
                    return Some(Asked { address: address.into(), interface: 0 });
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO)
                    if data.len() >= mem::size_of::<libc::in6_pktinfo>() =>
                {
                    // SAFETY: there are enough bytes; they are read without regard to their alignment.
                    let info = unsafe { data.as_ptr().cast::<libc::in6_pktinfo>().read_unaligned() };
                    let address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                    let interface = if address.is_unicast_link_local() { info.ipi6_ifindex } else { 0 };
                    return Some(Asked { address: address.into(), interface: interface as u32 });
                }
                _ => {}
            }
            rest = rest.get(total.next_multiple_of(mem::size_of::<usize>())..).unwrap_or_default();
        }
        None
    }

    /// Writes the address to send from; how long that is.
    pub(crate) fn write(&mut self, asked: Asked) -> usize {
        match asked.address {
            IpAddr::V4(address) => self.put(
                libc::IPPROTO_IP,
                libc::IP_PKTINFO,
                libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(address.octets()) },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                },
            ),
            IpAddr::V6(address) => self.put(
                libc::IPPROTO_IPV6,
                libc::IPV6_PKTINFO,
                libc::in6_pktinfo {
                    ipi6_addr: libc::in6_addr { s6_addr: address.octets() },
                    ipi6_ifindex: asked.interface as _,
                },
            ),
        }
    }

    fn put<T: Copy>(&mut self, level: libc::c_int, kind: libc::c_int, data: T) -> usize {
        const { assert!(HEADER + mem::size_of::<libc::in6_pktinfo>() <= Self::SIZE) };
        let total = HEADER + mem::size_of::<T>();
        // SAFETY: a header is numbers, for all of which zero is a value.
        let mut header: libc::cmsghdr = unsafe { mem::zeroed() };
        header.cmsg_len = total as _;
        header.cmsg_level = level;
        header.cmsg_type = kind;
        let place = self.0.as_mut_ptr();
        // SAFETY: the buffer is longer than a header and aligned for it.
        unsafe { place.cast::<libc::cmsghdr>().write(header) };
        // SAFETY: the data begins behind the header, within the buffer.
        let behind = unsafe { place.add(HEADER) };
        // SAFETY: the buffer is longer than header and data, whose alignment plays no part.
        unsafe { behind.cast::<T>().write_unaligned(data) };
        total.next_multiple_of(mem::size_of::<usize>())
    }
}

/// Bytes of a header, as `CMSG_LEN(0)` counts them.
const HEADER: usize = mem::size_of::<libc::cmsghdr>().next_multiple_of(mem::size_of::<usize>());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let v4 = Asked { address: "192.0.2.7".parse().unwrap(), interface: 0 };
        let v6 = Asked { address: "2001:db8::7".parse().unwrap(), interface: 0 };
        let link = Asked { address: "fe80::7".parse().unwrap(), interface: 3 };
        for asked in [v4, v6, link] {
            let mut control = Control::default();
            let length = control.write(asked);
            assert_eq!(control.read(length), Some(asked));
            for shorter in 0..length - 8 {
                assert_eq!(control.read(shorter), None, "{shorter} bytes of {length}");
            }
        }
        assert_eq!(Control::default().read(Control::SIZE), None, "headers of no length");
    }

    #[test]
    fn the_layout_is_the_systems() {
        // SAFETY: plain arithmetic.
        let length = unsafe { libc::CMSG_LEN(0) };
        assert_eq!(HEADER, length as usize);
        // SAFETY: plain arithmetic.
        let space = unsafe { libc::CMSG_SPACE(mem::size_of::<libc::in_pktinfo>() as u32) };
        let v4 = Asked { address: "192.0.2.7".parse().unwrap(), interface: 0 };
        assert_eq!(Control::default().write(v4), space as usize);
    }
}
