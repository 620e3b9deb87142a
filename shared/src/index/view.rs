//! Everything about one Service, joined.

use std::sync::Arc;

use crate::{
    membership::Membership,
    name::Key,
    object::{EndpointPort, EndpointSlice, Endpoints, Service, SliceAddress},
};

/// A Service with its members, the slices that name it and the Endpoints of its name: one consistent value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceView {
    /// The Service's key.
    pub key: Key,
    /// The Service. Slices and Endpoints may be there before it and after it.
    pub service: Option<Arc<Service>>,
    /// A membership for each pod that its selector matches, in the order of the pods' names. Empty unless
    /// [`Service::selects`].
    pub members: Arc<Vec<Arc<Membership>>>,
    /// All slices with its name in their label, whoever wrote them, in the order of their names.
    pub slices: Arc<Vec<Arc<EndpointSlice>>>,
    /// The Endpoints of its name.
    pub endpoints: Option<Arc<Endpoints>>,
}

/// Where the endpoints of Services with a selector are taken from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// From memberships, so that a pod counts when its watch event has been applied, whether or not its slice has been
    /// written; and from slices that neither controller writes.
    Memberships,
    /// From EndpointSlices alone, as CoreDNS does: this process sees no pods or makes no endpoints.
    #[default]
    Slices,
}

/// An address that is published for a Service: an endpoint that is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published<'a> {
    /// The address.
    pub address: SliceAddress,
    /// Its name under the Service.
    pub hostname: Option<&'a str>,
    /// The name of the object it stands for, usually a pod's.
    pub target: Option<&'a str>,
    /// Its ports; none where the Service or the slice has none.
    pub ports: &'a [EndpointPort],
}

impl ServiceView {
    /// Whether nothing is left of it.
    pub(super) fn is_empty(&self) -> bool {
        self.service.is_none() && self.slices.is_empty() && self.endpoints.is_none()
    }

    /// Every ready address of the Service. Consumers must not count one twice: the same address, hostname and port may
    /// come from several slices.
    pub fn published(&self, source: Source) -> Vec<Published<'_>> {
        let mut published = Vec::new();
        let members = match &self.service {
            Some(service) if source == Source::Memberships && service.selects() => Some(service),
            _ => None,
        };
        if let Some(service) = members {
            for family in service.slice_families() {
                for member in self.members.iter().filter(|member| member.answers(family)) {
                    published.extend(member.addresses(family).map(|ip| Published {
                        address: SliceAddress::Ip(ip),
                        hostname: member.hostname.as_deref(),
                        target: Some(member.pod.meta.key.name.as_str()),
                        ports: &member.ports,
                    }));
                }
            }
        }
        for slice in self.slices.iter().filter(|slice| members.is_none() || !slice.is_controllers()) {
            for endpoint in slice.endpoints.iter().filter(|endpoint| endpoint.is_ready()) {
                published.extend(endpoint.addresses.iter().map(|address| Published {
                    address: address.clone(),
                    hostname: endpoint.hostname.as_deref(),
                    target: endpoint.target.as_ref().map(|target| target.name.as_str()),
                    ports: slice.ports.as_deref().unwrap_or_default(),
                }));
            }
            let ready = slice.ready.iter().flat_map(|ready| ready.iter());
            published.extend(ready.map(|(address, hostname, target)| Published {
                address,
                hostname,
                target,
                ports: slice.ports.as_deref().unwrap_or_default(),
            }));
        }
        published
    }
}
