//! What an object lists, in one form for both kinds.

use compact_str::{CompactString, format_compact};

use crate::{
    labels::Labels,
    membership::Membership,
    name::Name,
    object::{
        AddressType, Decode, EndpointSlice, Endpoints, Family, ForeignWrites, Hints, OwnerReference,
        SliceAddress, TargetRef,
    },
};

/// An endpoint that an object lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<'a> {
    /// Its address.
    pub address: CompactString,
    /// What it stands for.
    pub target: Option<&'a TargetRef>,
    /// May receive traffic.
    pub ready: bool,
    /// Is being deleted.
    pub terminating: bool,
    /// Is able to receive traffic.
    pub serving: Option<bool>,
    /// Its name under the Service.
    pub hostname: Option<&'a Name>,
    /// The Node it is on.
    pub node: Option<&'a Name>,
    /// The zone it is in.
    pub zone: Option<&'a Name>,
    /// Whom it would rather serve.
    pub hints: Option<&'a Hints>,
}

/// An object that lists endpoints.
pub trait Listing: Decode {
    /// Its kind.
    const KIND: &'static str;

    /// Its annotations.
    fn annotations(&self) -> &Labels;

    /// Its owners.
    fn owners(&self) -> &[OwnerReference];

    /// Who else wrote it.
    fn foreign(&self) -> Option<&ForeignWrites>;

    /// Its family; `None` where it has several or none.
    fn family(&self) -> Option<Family>;

    /// Whether its ports are others than those of `other`.
    fn has_other_ports(&self, other: &Self) -> bool;

    /// Its endpoints, in its order. One that it lists more than once is told by its first place.
    fn listed(&self) -> Vec<Listed<'_>>;

    /// Whether the member is listed in objects of this kind.
    fn lists(member: &Membership, family: Family) -> bool;
}

impl Listing for EndpointSlice {
    const KIND: &'static str = "EndpointSlice";

    fn annotations(&self) -> &Labels {
        &self.annotations
    }

    fn owners(&self) -> &[OwnerReference] {
        &self.owners
    }

    fn foreign(&self) -> Option<&ForeignWrites> {
        self.foreign.as_deref()
    }

    fn family(&self) -> Option<Family> {
        match self.address_type {
            AddressType::V4 => Some(Family::V4),
            AddressType::V6 => Some(Family::V6),
            AddressType::Fqdn | AddressType::Other => None,
        }
    }

    fn has_other_ports(&self, other: &Self) -> bool {
        self.ports.as_deref().unwrap_or_default() != other.ports.as_deref().unwrap_or_default()
    }

    fn listed(&self) -> Vec<Listed<'_>> {
        let listed = self.endpoints.iter().map(|endpoint| Listed {
            address: match endpoint.addresses.first() {
                Some(SliceAddress::Ip(ip)) => format_compact!("{ip}"),
                Some(SliceAddress::Name(name)) => CompactString::from(name.as_str()),
                None => CompactString::default(),
            },
            target: endpoint.target.as_deref(),
            ready: endpoint.is_ready(),
            terminating: endpoint.conditions.terminating == Some(true),
            serving: endpoint.conditions.serving,
            hostname: endpoint.hostname.as_ref(),
            node: endpoint.node.as_ref(),
            zone: endpoint.zone.as_ref(),
            hints: endpoint.hints.as_deref(),
        });
        listed.collect()
    }

    fn lists(member: &Membership, family: Family) -> bool {
        member.in_slices(family)
    }
}

impl Listing for Endpoints {
    const KIND: &'static str = "Endpoints";

    fn annotations(&self) -> &Labels {
        &self.annotations
    }

    fn owners(&self) -> &[OwnerReference] {
        &self.owners
    }

    fn foreign(&self) -> Option<&ForeignWrites> {
        self.foreign.as_deref()
    }

    fn family(&self) -> Option<Family> {
        let mut addresses =
            self.subsets.iter().flat_map(|subset| subset.addresses.iter().chain(&subset.not_ready_addresses));
        addresses.find_map(|address| address.ip.ip()).map(Family::of)
    }

    fn has_other_ports(&self, other: &Self) -> bool {
        let ports = |endpoints: &Self| -> Vec<_> {
            let mut ports: Vec<_> = endpoints.subsets.iter().flat_map(|s| s.ports.clone()).collect();
            ports.sort();
            ports.dedup();
            ports
        };
        !self.subsets.is_empty() && !other.subsets.is_empty() && ports(self) != ports(other)
    }

    fn listed(&self) -> Vec<Listed<'_>> {
        let ready = |ready: bool| {
            self.subsets.iter().flat_map(move |subset| {
                let addresses = if ready { &subset.addresses } else { &subset.not_ready_addresses };
                addresses.iter().map(move |address| (address, ready))
            })
        };
        let listed = ready(true).chain(ready(false)).map(|(address, ready)| Listed {
            address: address.ip.with_text(|text| CompactString::from(text)),
            target: address.target_ref.as_deref(),
            ready,
            terminating: false,
            serving: None,
            hostname: Some(&address.hostname).filter(|name| !name.is_empty()),
            node: address.node_name.as_ref(),
            zone: None,
            hints: None,
        });
        listed.collect()
    }

    fn lists(member: &Membership, family: Family) -> bool {
        member.in_endpoints(family)
    }
}
