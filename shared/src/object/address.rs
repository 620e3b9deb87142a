//! IP addresses as Kubernetes reads them.

use std::{
    cmp::Ordering,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use compact_str::{CompactString, format_compact};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::name::Name;

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

/// The text of an address, as it was written. What is an IPv4 address takes four bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct AddressText(Written);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Written {
    /// In the one way in which it is written today.
    V4(Ipv4Addr),
    /// In any other way.
    Text(Name),
}

impl AddressText {
    /// The address that reads `text`.
    pub fn new(text: &str) -> Self {
        // The standard library reads just what it writes.
        Self(text.parse().map_or_else(|_| Written::Text(Name::new(text)), Written::V4))
    }

    /// Does something with the text.
    pub fn with_text<R>(&self, act: impl FnOnce(&str) -> R) -> R {
        match &self.0 {
            Written::V4(ip) => act(&format_compact!("{ip}")),
            Written::Text(text) => act(text),
        }
    }

    /// The address, if it is one. See [`parse_ip`].
    pub fn ip(&self) -> Option<IpAddr> {
        match &self.0 {
            Written::V4(ip) => Some(IpAddr::V4(*ip)),
            Written::Text(text) => parse_ip(text),
        }
    }
}

/// A number's place in the order of texts that go on with something below all digits: a dot, or nothing.
fn place(octet: u8) -> [u8; 3] {
    match octet {
        0..10 => [octet + 1, 0, 0],
        10..100 => [octet / 10 + 1, octet % 10 + 1, 0],
        100.. => [octet / 100 + 1, octet / 10 % 10 + 1, octet % 10 + 1],
    }
}

/// In the order of the texts.
impl Ord for AddressText {
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            (Written::V4(one), Written::V4(other)) => one.octets().map(place).cmp(&other.octets().map(place)),
            _ => self.with_text(|one| other.with_text(|other| one.cmp(other))),
        }
    }
}

impl PartialOrd for AddressText {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Default for AddressText {
    fn default() -> Self {
        Self(Written::Text(Name::default()))
    }
}

impl From<&str> for AddressText {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<IpAddr> for AddressText {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self(Written::V4(ip)),
            IpAddr::V6(ip) => Self(Written::Text(format_compact!("{ip}").into())),
        }
    }
}

impl PartialEq<&str> for AddressText {
    fn eq(&self, text: &&str) -> bool {
        self.with_text(|known| known == *text)
    }
}

impl fmt::Display for AddressText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_text(|text| f.write_str(text))
    }
}

impl fmt::Debug for AddressText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_text(|text| fmt::Debug::fmt(text, f))
    }
}

impl Serialize for AddressText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.with_text(|text| serializer.serialize_str(text))
    }
}

impl<'de> Deserialize<'de> for AddressText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        CompactString::deserialize(deserializer).map(|text| Self::new(&text))
    }
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
    fn texts_are_kept_and_in_their_order() {
        let texts = ["10.0.0.1", "010.0.0.1", "fd00::1", "", "x", "1.2.3", "255.0.10.9"];
        for text in texts {
            assert_eq!(AddressText::new(text).to_string(), text);
            assert!(AddressText::new(text) == text);
        }
        let ip = IpAddr::from([10, 0, 0, 1]);
        assert_eq!(AddressText::from(ip), AddressText::new("10.0.0.1"));
        assert_eq!(AddressText::new("010.0.0.1").ip(), Some(ip));
        assert_eq!(size_of::<AddressText>(), 16);
    }

    proptest::proptest! {
        #[test]
        fn addresses_are_in_the_order_of_their_texts(one: [u8; 4], other: [u8; 4], same in 0..5_usize, odd in "[0-9.:a]{0,6}") {
            let mut other = other;
            other[..same.min(4)].copy_from_slice(&one[..same.min(4)]);
            let text = |octets: [u8; 4]| IpAddr::from(octets).to_string();
            for (one, other) in [(text(one), text(other)), (text(one), odd)] {
                proptest::prop_assert_eq!(AddressText::new(&one).cmp(&AddressText::new(&other)), one.cmp(&other));
            }
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
