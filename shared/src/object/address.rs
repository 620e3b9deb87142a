//! IP addresses as Kubernetes reads them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// An IP family, spelled as in `spec.ipFamilies` and `addressType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Family {
    /// `IPv4`
    #[serde(rename = "IPv4")]
    V4,
    /// `IPv6`
    #[serde(rename = "IPv6")]
    V6,
}

impl Family {
    /// The family of `ip`.
    pub fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// `IPv4` or `IPv6`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

/// Reads an address as `netutils.ParseIPSloppy` does: leading zeros in IPv4 octets are decimal, and an IPv4-mapped IPv6
/// address is its IPv4 address. Old objects may hold such text; the API server no longer accepts it for new ones.
pub fn parse_ip(text: &str) -> Option<IpAddr> {
    let ip = match text.parse::<IpAddr>() {
        Ok(ip) => ip,
        Err(_) => IpAddr::V4(sloppy_v4(text)?),
    };
    Some(match ip {
        IpAddr::V6(v6) => canonical(v6),
        v4 @ IpAddr::V4(_) => v4,
    })
}

/// Whether an address means this host or this link. The API server refuses Endpoints and EndpointSlices that list one, as
/// a whole (Kubernetes `pkg/apis/core/validation`, `ValidateNonSpecialIP`).
pub fn is_special(ip: IpAddr) -> bool {
    let of_link = match ip {
        IpAddr::V4(v4) => v4.is_link_local() || v4.octets().starts_with(&[224, 0, 0]),
        // fe80::/10, and multicast of link scope whatever its flags.
        IpAddr::V6(v6) => v6.is_unicast_link_local() || matches!(v6.octets(), [0xff, b, ..] if b & 0x0f == 2),
    };
    of_link || ip.is_unspecified() || ip.is_loopback()
}

fn canonical(v6: Ipv6Addr) -> IpAddr {
    v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)
}

fn sloppy_v4(text: &str) -> Option<Ipv4Addr> {
    let mut octets = [0_u8; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let part = parts.next()?;
        if part.is_empty() || part.len() > 16 || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        *octet = part.parse().ok()?;
    }
    parts.next().is_none().then(|| Ipv4Addr::from(octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_this_host_and_link_are_special() {
        for text in [
            "0.0.0.0",
            "::",
            "127.0.0.1",
            "::1",
            "169.254.9.9",
            "fe80::1",
            "febf::1",
            "224.0.0.251",
            "ff02::1",
            "ff12::1",
        ] {
            assert!(is_special(text.parse().unwrap()), "{text}");
        }
        for text in ["10.0.0.1", "fd00::1", "224.0.1.1", "fec0::1", "ff05::1", "169.253.0.1"] {
            assert!(!is_special(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn reads_what_kubernetes_reads() {
        let cases = [
            ("10.0.0.1", Some("10.0.0.1")),
            ("010.000.0.01", Some("10.0.0.1")),
            ("::ffff:10.0.0.1", Some("10.0.0.1")),
            ("fd00:0:0::1", Some("fd00::1")),
            ("10.0.0.256", None),
            ("10.0.0", None),
            ("10.0.0.1.2", None),
            ("10.0.0.+1", None),
            ("", None),
            ("None", None),
        ];
        for (text, wanted) in cases {
            assert_eq!(parse_ip(text).map(|ip| ip.to_string()).as_deref(), wanted, "{text}");
        }
    }
}
