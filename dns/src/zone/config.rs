//! What a zone serves, as one typed value: the options of CoreDNS's `kubernetes` plugin.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use callsign_shared::{
    index::Source,
    labels::Labels,
    name::{Key, Name as Text},
};
use hickory_proto::rr::Name;
use ipnet::IpNet;

/// Everything that decides which names there are and what they say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneConfig {
    /// The zones, in the order they were written. The first that is not a reverse zone is the primary one: PTR records
    /// point into it.
    pub zones: Vec<Name>,
    /// TTL of every record, and of negative answers. At most 3600.
    pub ttl: u32,
    /// Whether `a-b-c-d.<namespace>.pod.<zone>` exists.
    pub pods: Pods,
    /// Where the endpoints of Services with a selector come from.
    pub source: Source,
    /// Name endpoints without a hostname after their pod instead of their address.
    pub endpoint_pod_names: bool,
    /// Whether endpoints are served at all: without them headless Services have no names.
    pub endpoints: bool,
    /// Whether a Service with a cluster IP but no ready endpoint has no name.
    pub ignore_empty_service: bool,
    /// The namespaces that are served; empty means all.
    pub namespaces: BTreeSet<Text>,
    /// Serve only namespaces that carry these labels.
    pub namespace_labels: Option<Selector>,
    /// Serve only Services, slices and pods that carry these labels.
    pub labels: Option<Selector>,
    /// This process's own addresses: the zones' name servers are the Services that have one of them as an endpoint, or
    /// these addresses themselves.
    pub own_addresses: Vec<IpAddr>,
}

/// Names of pods made from their addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pods {
    /// There are none.
    #[default]
    Disabled,
    /// Any address in any namespace that exists.
    Insecure,
    /// Only addresses of pods, in their own namespace.
    Verified,
}

/// A label selector: every requirement must hold. An empty one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(pub Vec<Requirement>);

/// One requirement of a [`Selector`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// `key in (values)`, and `key = value`.
    In(Text, Vec<Text>),
    /// `key notin (values)`, and `key != value`: also holds where the key is absent.
    NotIn(Text, Vec<Text>),
    /// `key`
    Exists(Text),
    /// `!key`
    Absent(Text),
}

/// Why a zone cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ZoneError {
    /// Not a domain name.
    #[error("zone {0:?} is not a domain name")]
    NotAName(String),
    /// Only reverse zones: there would be nothing for PTR records to point to.
    #[error("at least one zone must not be a reverse zone")]
    NoPrimary,
}

impl ZoneConfig {
    /// The usual configuration for a cluster domain: the domain and both reverse trees, a TTL of 30 seconds, insecure
    /// pod names.
    ///
    /// # Errors
    /// When `domain` is not a domain name, or is a reverse zone.
    pub fn cluster(domain: &str) -> Result<Self, ZoneError> {
        Self::zones([domain, "in-addr.arpa", "ip6.arpa"])
    }

    /// The usual configuration for these zones. An address range stands for its reverse zones.
    ///
    /// # Errors
    /// When one is not a domain name, or all are reverse zones.
    pub fn zones<'a>(zones: impl IntoIterator<Item = &'a str>) -> Result<Self, ZoneError> {
        let mut names: Vec<Name> = Vec::new();
        for text in zones {
            match text.parse::<IpNet>() {
                Ok(range) => names.extend(reverse_zones(range)),
                Err(_) => names.push(zone_name(text)?),
            }
        }
        Self::named(names)
    }

    /// The usual configuration for zones whose names have been read.
    ///
    /// # Errors
    /// When all are reverse zones.
    pub fn named(zones: Vec<Name>) -> Result<Self, ZoneError> {
        if zones.iter().all(is_reverse) {
            return Err(ZoneError::NoPrimary);
        }
        Ok(Self {
            zones,
            ttl: 30,
            pods: Pods::Insecure,
            source: Source::default(),
            endpoint_pod_names: false,
            endpoints: true,
            ignore_empty_service: false,
            namespaces: BTreeSet::new(),
            namespace_labels: None,
            labels: None,
            own_addresses: Vec::new(),
        })
    }

    /// Whether the namespace is among those that are served, as far as its name tells.
    pub(super) fn serves(&self, key: &Key) -> bool {
        self.namespaces.is_empty() || self.namespaces.contains(&key.namespace)
    }
}

impl Selector {
    /// Whether an object with these labels is selected.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => labels.get(key).is_some_and(|value| values.contains(value)),
            Requirement::NotIn(key, values) => labels.get(key).is_none_or(|value| !values.contains(value)),
            Requirement::Exists(key) => labels.contains_key(key),
            Requirement::Absent(key) => !labels.contains_key(key),
        })
    }
}

/// Whether a zone is one of addresses: at or below `in-addr.arpa` or `ip6.arpa`.
pub(crate) fn is_reverse(zone: &Name) -> bool {
    let mut labels = zone.iter().rev();
    let last = labels.next().unwrap_or_default();
    let before = labels.next().unwrap_or_default();
    last.eq_ignore_ascii_case(b"arpa")
        && (before.eq_ignore_ascii_case(b"in-addr") || before.eq_ignore_ascii_case(b"ip6"))
}

fn zone_name(text: &str) -> Result<Name, ZoneError> {
    let mut name = Name::from_ascii(text).map_err(|_| ZoneError::NotAName(text.to_owned()))?.to_lowercase();
    name.set_fqdn(true);
    Ok(name)
}

/// The reverse zones of an address range. A range that ends inside a label becomes the zones of its parts: reverse zones
/// are cut at octets (IPv4) and nibbles (IPv6).
pub fn reverse_zones(range: IpNet) -> Vec<Name> {
    match range {
        IpNet::V4(range) => {
            let octets = range.prefix_len().div_ceil(8);
            let parts = range.subnets(octets * 8).into_iter().flatten();
            parts.map(|part| v4_zone(part.network(), usize::from(octets))).collect()
        }
        IpNet::V6(range) => {
            let nibbles = range.prefix_len().div_ceil(4);
            let parts = range.subnets(nibbles * 4).into_iter().flatten();
            parts.map(|part| v6_zone(part.network(), usize::from(nibbles))).collect()
        }
    }
}

fn v4_zone(network: Ipv4Addr, octets: usize) -> Name {
    let kept = network.octets().into_iter().take(octets).rev().map(|octet| octet.to_string());
    reverse_name(kept, "in-addr")
}

fn v6_zone(network: Ipv6Addr, nibbles: usize) -> Name {
    let all = network.octets().into_iter().flat_map(|octet| [octet >> 4, octet & 0xf]);
    let kept: Vec<String> = all.take(nibbles).map(|nibble| format!("{nibble:x}")).collect();
    reverse_name(kept.into_iter().rev(), "ip6")
}

fn reverse_name(labels: impl Iterator<Item = String>, tree: &str) -> Name {
    let labels = labels.chain([tree.to_owned(), "arpa".to_owned()]);
    Name::from_labels(labels.map(String::into_bytes)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reverse(range: &str) -> Vec<String> {
        reverse_zones(range.parse().unwrap()).iter().map(Name::to_ascii).collect()
    }

    #[test]
    fn ranges_become_reverse_zones() {
        assert_eq!(reverse("10.96.0.0/16"), ["96.10.in-addr.arpa."]);
        assert_eq!(reverse("10.0.0.0/8"), ["10.in-addr.arpa."]);
        assert_eq!(reverse("10.4.0.0/15"), ["4.10.in-addr.arpa.", "5.10.in-addr.arpa."]);
        assert_eq!(reverse("10.0.0.0/17").len(), 128);
        assert_eq!(
            reverse("fd00:10:96::/112"),
            ["0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.9.0.0.0.1.0.0.0.0.d.f.ip6.arpa."]
        );
        assert_eq!(reverse("fd00::/7").len(), 2);
    }

    #[test]
    fn zones_need_a_primary_and_names() {
        assert_eq!(ZoneConfig::zones(["in-addr.arpa"]).unwrap_err(), ZoneError::NoPrimary);
        assert!(matches!(ZoneConfig::zones(["a..b"]).unwrap_err(), ZoneError::NotAName(_)));
        let config = ZoneConfig::zones(["Cluster.Local", "10.96.0.0/16"]).unwrap();
        assert_eq!(config.zones[0].to_ascii(), "cluster.local.");
        assert!(is_reverse(&config.zones[1]) && !is_reverse(&config.zones[0]));
    }

    #[test]
    fn selectors() {
        let labels: Labels = [("team", "core"), ("app", "x")].into_iter().collect();
        let holds = |requirement| Selector(vec![requirement]).matches(&labels);
        assert!(holds(Requirement::In("team".into(), vec!["core".into(), "web".into()])));
        assert!(!holds(Requirement::NotIn("team".into(), vec!["core".into()])));
        assert!(holds(Requirement::NotIn("tier".into(), vec!["core".into()])));
        assert!(holds(Requirement::Exists("app".into())) && !holds(Requirement::Absent("app".into())));
        assert!(Selector::default().matches(&Labels::default()));
    }
}
