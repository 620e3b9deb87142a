//! The zones' name servers: the Services that lead to this process.
//!
//! A DNS server of a cluster is reached under a Service. Its name is found by looking for a Service that has one of the
//! process's own addresses as an endpoint. Where there is none (on a node, in a sandbox) the server is `ns.dns.<zone>`
//! with its own addresses. The address of `ns.dns.<zone>`, which every SOA names, is that of all of them.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use callsign_shared::name::Key;
use compact_str::CompactString as Text;

use super::service::{Kind, ServiceNames, ips};

/// A name server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameServer {
    /// Its name, relative to the zone.
    pub name: NameServerName,
    /// Its IPv4 addresses.
    pub v4: Vec<Ipv4Addr>,
    /// Its IPv6 addresses.
    pub v6: Vec<Ipv6Addr>,
}

/// The name of a name server, relative to the zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameServerName {
    /// `ns.dns`
    Default,
    /// A Service, or an endpoint of a headless one.
    Service {
        /// The Service.
        service: Arc<Key>,
        /// The endpoint's label.
        host: Option<Text>,
    },
}

/// The process itself, where no Service leads to it.
pub(super) fn fallback(own: &[IpAddr]) -> Vec<NameServer> {
    if own.is_empty() {
        return Vec::new();
    }
    let v4 = own.iter().filter_map(|ip| if let IpAddr::V4(ip) = ip { Some(*ip) } else { None }).collect();
    let v6 = own.iter().filter_map(|ip| if let IpAddr::V6(ip) = ip { Some(*ip) } else { None }).collect();
    vec![NameServer { name: NameServerName::Default, v4, v6 }]
}

/// The name servers that this Service is, if one of its endpoints is ours.
pub(super) fn of_service(names: &ServiceNames, own: &[IpAddr]) -> Option<Vec<NameServer>> {
    let ours = names.hosts.iter().find(|host| ips(host.v4(), host.v6()).any(|ip| own.contains(&ip)))?;
    let name = |host| NameServerName::Service { service: Arc::clone(&names.key), host };
    match names.kind {
        Kind::ClusterIp => Some(vec![NameServer {
            name: name(None),
            v4: names.own.v4().to_vec(),
            v6: names.own.v6().to_vec(),
        }]),
        Kind::Headless => Some(
            // Of the endpoints those that share a slice with us, which is to say a port.
            (names.hosts.iter())
                .filter(|host| {
                    host.ports() == ours.ports()
                        || host.ports().iter().any(|port| ours.ports().contains(port))
                })
                .map(|host| NameServer {
                    name: name(Some(host.label().into())),
                    v4: host.v4().to_vec(),
                    v6: host.v6().to_vec(),
                })
                .collect(),
        ),
        Kind::External(_) | Kind::Hidden => None,
    }
}
