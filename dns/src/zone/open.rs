//! Names of ports that leave the port or the protocol open: `_._tcp.<service>`, `_http._.<service>`, `_._.<service>`.
//!
//! CoreDNS reads each of both labels with or without its underscore, and takes what is empty then for any
//! (`plugin/kubernetes/parse.go`, `matchPortAndProtocol`). They are asked for so rarely that they are made from the index
//! when somebody asks, and only the last few are kept.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use callsign_shared::{
    index::ServiceView,
    object::{ClusterIp, Protocol},
};

use compact_str::CompactString as Text;
use parking_lot::Mutex;

use super::{
    config::ZoneConfig,
    node::Node,
    service::{Endpoints, Found, Kind, ServiceNames, own_node},
};

/// What a name asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Open<'a> {
    /// The port's name in lower case; empty is any.
    pub(super) port: &'a str,
    /// `None` is any.
    pub(super) protocol: Option<Protocol>,
}

/// How many are kept.
const KEPT: usize = 256;

/// The Service, the port and the protocol.
type Asked = (Text, Text, Option<Protocol>);

/// A Service's names and what is at one of them; `None` where it has no such port.
type Made = Option<(Arc<ServiceNames>, Arc<Node>)>;

/// What was made for the last few, each with what it was made of. That is not held, only recognised: a view to which
/// nobody else holds on is edited where it is, but never one of which this is known here.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<HashMap<Asked, (Weak<ServiceView>, Made)>>);

impl Known {
    /// What is at a name of this Service.
    pub(super) fn get(&self, config: &ZoneConfig, view: &Arc<ServiceView>, open: Open<'_>) -> Made {
        let key = (super::service_key(&view.key), Text::new(open.port), open.protocol);
        if let Some((basis, made)) = self.0.lock().get(&key)
            && std::ptr::eq(basis.as_ptr(), Arc::as_ptr(view))
        {
            return made.clone();
        }
        let made = ServiceNames::build_open(config, view, open);
        let made = made.map(|(names, node)| (Arc::new(names), Arc::new(node)));
        // What leaves is freed when the lock is not held any more, and never more than one: it may be large.
        let _left = {
            let mut kept = self.0.lock();
            let full = kept.len() >= KEPT && !kept.contains_key(&key);
            let any = kept.keys().next().filter(|_| full).cloned();
            let pushed_out = any.and_then(|any| kept.remove(&any));
            let replaced = kept.insert(key, (Arc::downgrade(view), made.clone()));
            pushed_out.or(replaced)
        };
        made
    }
}

impl Open<'_> {
    /// Whether it asks for whatever there is.
    pub(super) fn is_any(self) -> bool {
        self.port.is_empty() && self.protocol.is_none()
    }

    pub(super) fn takes(self, name: &str, protocol: Protocol) -> bool {
        (self.port.is_empty() || name.eq_ignore_ascii_case(self.port))
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
        let node = match &names.kind {
            Kind::ClusterIp => {
                let service = view.service.as_ref()?;
                let ClusterIp::Addresses(ips) = &service.cluster_ip else { return None };
                let ports = service.ports.iter().filter(|port| open.takes(&port.name, port.protocol));
                let numbers: Vec<i32> = ports.map(|port| port.port).collect();
                (!numbers.is_empty()).then(|| own_node(ips, numbers.into_iter(), false, None))?
            }
            Kind::Headless => {
                let view = super::service::select(config, view)?;
                let published = view.published(config.source);
                let endpoints = Endpoints::gather(config, published);
                let mut found = Found::default();
                for (one, host) in &endpoints.published {
                    let name = |port: &callsign_shared::object::EndpointPort| {
                        open.takes(port.name.as_deref().unwrap_or_default(), port.protocol)
                    };
                    for port in one.ports.iter().filter(|port| name(port)) {
                        found.add(one, *host, port);
                    }
                }
                (!found.is_empty()).then(|| found.finish(&endpoints.hosts, None))?
            }
            Kind::External(_) | Kind::Hidden => return None,
        };
        Some((names, node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_new_name_pushes_out_one_that_was_kept_and_no_more() {
        let (config, index) = (testing::zone_config(), testing::index());
        let view = index.view(&callsign_shared::Key::new("ns", "heads")).unwrap();
        let known = Known::default();
        let ask = |port: &str| known.get(&config, &view, Open { port, protocol: None });
        for number in 0..KEPT + 10 {
            assert!(ask(&format!("none-{number}")).is_none());
        }
        assert_eq!(known.0.lock().len(), KEPT);
        let (made, again) = (ask("web").unwrap(), ask("web").unwrap());
        assert!(Arc::ptr_eq(&made.1, &again.1), "it is made once");
        assert_eq!(known.0.lock().len(), KEPT);
    }
}
