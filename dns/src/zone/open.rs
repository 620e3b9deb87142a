//! Names of ports that leave the port or the protocol open: `_._tcp.<service>`, `_http._.<service>`, `_._.<service>`.
//!
//! CoreDNS reads each of both labels with or without its underscore, and takes what is empty then for any
//! (`plugin/kubernetes/parse.go`, `matchPortAndProtocol`). They are asked for so rarely that nothing is kept for them: they
//! are made from the index when somebody asks.

use callsign_shared::{
    index::ServiceView,
    object::{ClusterIp, Protocol},
};

use super::{
    config::ZoneConfig,
    service::{Endpoints, Found, Kind, Node, ServiceNames, own_node},
};

/// What a name asks for: `None` is any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Open<'a> {
    pub(super) port: Option<&'a str>,
    pub(super) protocol: Option<Protocol>,
}

impl Open<'_> {
    /// Whether it asks for whatever there is.
    pub(super) fn is_any(self) -> bool {
        self.port.is_none() && self.protocol.is_none()
    }

    pub(super) fn takes(self, name: &str, protocol: Protocol) -> bool {
        self.port.is_none_or(|port| name.eq_ignore_ascii_case(port))
            && self.protocol.is_none_or(|asked| asked == protocol)
    }
}

impl ServiceNames {
    /// The Service's names, and what is at this one; `None` where it has no such port.
    pub(super) fn build_open(
        config: &ZoneConfig,
        view: &ServiceView,
        open: Open<'_>,
    ) -> Option<(Self, Node)> {
        let names = Self::build(config, view)?;
        if open.is_any() {
            let has_ports = matches!(names.kind, Kind::ClusterIp | Kind::Headless);
            return has_ports.then(|| (names.clone(), names.own.clone()));
        }
        let node = match &names.kind {
            Kind::ClusterIp => {
                let service = view.service.as_ref()?;
                let ClusterIp::Addresses(ips) = &service.cluster_ip else { return None };
                let ports = service.ports.iter().filter(|port| open.takes(&port.name, port.protocol));
                let numbers: Vec<i32> = ports.map(|port| port.port).collect();
                (!numbers.is_empty()).then(|| own_node(ips, numbers.into_iter(), false))?
            }
            Kind::Headless => {
                let view = super::service::select(config, view)?;
                let published = view.published(config.source);
                let endpoints = Endpoints::gather(config, &published);
                let mut found = Found::default();
                for (one, host) in published.iter().zip(&endpoints.host_of) {
                    let name = |port: &callsign_shared::object::EndpointPort| {
                        open.takes(port.name.as_deref().unwrap_or_default(), port.protocol)
                    };
                    for port in one.ports.iter().filter(|port| name(port)) {
                        found.add(one, *host, port);
                    }
                }
                (!found.is_empty()).then(|| found.finish(&endpoints.hosts))?
            }
            Kind::External(_) | Kind::Hidden => return None,
        };
        Some((names, node))
    }
}
