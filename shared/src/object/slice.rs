//! EndpointSlices: what proxies read, what the controller writes, and what DNS answers from where it does not.

use std::net::IpAddr;

use compact_str::{CompactString, format_compact};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::{
    Decode, DecodeError, EndpointPort, Family, ForeignWrites, Meta, OwnerReference, ReadyAddresses, Target,
    address::parse_ip,
    meta::{WireMeta, fitted, null_is_default},
    well_known,
    writers::Writers,
};
use crate::{
    labels::Labels,
    name::{Key, Name},
};

/// An EndpointSlice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointSlice {
    /// Name, identity, version, labels.
    pub meta: Meta,
    /// All annotations: an update keeps those of others.
    pub annotations: Labels,
    /// All owners.
    pub owners: Vec<OwnerReference>,
    /// All finalizers: an update keeps them.
    pub finalizers: Vec<Name>,
    /// What its addresses are.
    pub address_type: AddressType,
    /// The endpoints, in the order they were written.
    pub endpoints: Vec<SliceEndpoint>,
    /// Of a slice that is only [answered](super::AnsweredSlice), what is in the place of `endpoints`.
    pub ready: Option<Box<ReadyAddresses>>,
    /// The ports of every endpoint in it; `None` where the field is null or absent.
    pub ports: Option<Vec<EndpointPort>>,
    /// Who else wrote it.
    pub foreign: Option<Box<ForeignWrites>>,
}

/// `addressType`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AddressType {
    /// `IPv4`
    #[default]
    #[serde(rename = "IPv4")]
    V4,
    /// `IPv6`
    #[serde(rename = "IPv6")]
    V6,
    /// `FQDN`
    #[serde(rename = "FQDN")]
    Fqdn,
    /// Anything else: kept, never answered, removed from Services that are ours.
    #[serde(other)]
    Other,
}

/// One endpoint of a slice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SliceEndpoint {
    /// Its addresses, all fungible; normally one.
    pub addresses: SmallVec<[SliceAddress; 1]>,
    /// Ready, serving, terminating, each of which may be unknown.
    pub conditions: Conditions,
    /// Its name under the Service.
    pub hostname: Option<Name>,
    /// What it stands for, usually a Pod.
    pub target: Option<Target>,
    /// The Node it is on.
    pub node: Option<Name>,
    /// The zone it is in.
    pub zone: Option<Name>,
    /// Which consumers it should serve.
    pub hints: Option<Box<Hints>>,
}

/// An address of a slice's endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SliceAddress {
    /// In slices of type IPv4 and IPv6.
    Ip(IpAddr),
    /// In slices of type FQDN.
    Name(Name),
}

/// `conditions` of an endpoint. `ready: None` is to be read as true.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Conditions {
    /// May receive traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
    /// Is able to, though it may be terminating.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<bool>,
    /// Is being deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminating: Option<bool>,
}

/// `hints`: zones and nodes whose consumers should prefer this endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hints {
    /// Zones.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub for_zones: Vec<ForName>,
    /// Nodes.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub for_nodes: Vec<ForName>,
}

/// An entry of [`Hints`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ForName {
    /// The zone or node.
    pub name: Name,
}

impl EndpointSlice {
    /// The Service it belongs to, by its label; slices without the label belong to none.
    pub fn service(&self) -> Option<Key> {
        let name = self.meta.labels.get(well_known::SERVICE_NAME).filter(|name| !name.is_empty())?;
        Some(Key { namespace: self.meta.key.namespace.clone(), name: name.clone() })
    }

    /// Who writes it.
    pub fn managed_by(&self) -> Option<&Name> {
        self.meta.labels.get(well_known::SLICE_MANAGED_BY)
    }

    /// Whether a selector made it, or it was mirrored from Endpoints: one of upstream's controllers, and so ours, writes
    /// it.
    pub fn is_controllers(&self) -> bool {
        self.managed_by()
            .is_some_and(|by| by == well_known::SLICE_CONTROLLER || by == well_known::MIRRORING_CONTROLLER)
    }
}

impl SliceEndpoint {
    /// Whether it is to be answered and sent traffic: `ready` is true or unknown.
    pub fn is_ready(&self) -> bool {
        self.conditions.ready != Some(false)
    }
}

impl AddressType {
    /// As the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
            Self::Fqdn => "FQDN",
            Self::Other => "",
        }
    }
}

impl From<Family> for AddressType {
    fn from(family: Family) -> Self {
        match family {
            Family::V4 => Self::V4,
            Family::V6 => Self::V6,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    #[serde(default, deserialize_with = "null_is_default")]
    metadata: WireMeta<Writers>,
    #[serde(default)]
    address_type: AddressType,
    #[serde(default, deserialize_with = "null_is_default")]
    endpoints: Vec<WireEndpoint>,
    ports: Option<Vec<EndpointPort>>,
}

/// An endpoint on the wire, both ways.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct WireEndpoint {
    #[serde(default, deserialize_with = "null_is_default")]
    addresses: SmallVec<[CompactString; 1]>,
    #[serde(default, deserialize_with = "null_is_default")]
    conditions: Conditions,
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_ref: Option<Target>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_name: Option<Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hints: Option<Box<Hints>>,
}

impl Decode for EndpointSlice {
    type Api = k8s_openapi::api::discovery::v1::EndpointSlice;

    fn decode(json: &str) -> Result<Self, DecodeError> {
        let mut wire: Wire = serde_json::from_str(json)?;
        let address_type = wire.address_type;
        let read = |text: CompactString| read_address(address_type, &text);
        let mut endpoints = Vec::with_capacity(wire.endpoints.len());
        for endpoint in wire.endpoints {
            endpoints.push(SliceEndpoint {
                addresses: endpoint.addresses.into_iter().map(read).collect::<Result<_, DecodeError>>()?,
                conditions: endpoint.conditions,
                hostname: endpoint.hostname.filter(|name| !name.is_empty()),
                target: endpoint.target_ref,
                node: endpoint.node_name,
                zone: endpoint.zone,
                hints: endpoint.hints,
            });
        }
        Ok(Self {
            endpoints,
            ready: None,
            annotations: std::mem::take(&mut wire.metadata.annotations),
            owners: std::mem::take(&mut wire.metadata.owner_references),
            finalizers: std::mem::take(&mut wire.metadata.finalizers),
            foreign: wire.metadata.managed_fields.0.take(),
            address_type,
            ports: wire.ports.map(fitted),
            meta: wire.metadata.into(),
        })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

/// An address of a slice of this type.
///
/// # Errors
/// When it is none.
pub(super) fn read_address(kind: AddressType, text: &str) -> Result<SliceAddress, DecodeError> {
    match kind {
        AddressType::V4 | AddressType::V6 => parse_ip(text)
            .map(SliceAddress::Ip)
            .ok_or_else(|| DecodeError(format!("endpoints: {text:?} is not an IP address"))),
        AddressType::Fqdn | AddressType::Other => Ok(SliceAddress::Name(text.into())),
    }
}

impl Serialize for SliceEndpoint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = |address: &SliceAddress| match address {
            SliceAddress::Ip(ip) => format_compact!("{ip}"),
            SliceAddress::Name(name) => CompactString::from(name.as_str()),
        };
        WireEndpoint {
            addresses: self.addresses.iter().map(text).collect(),
            conditions: self.conditions,
            hostname: self.hostname.clone(),
            target_ref: self.target.clone(),
            node_name: self.node.clone(),
            zone: self.zone.clone(),
            hints: self.hints.clone(),
        }
        .serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_written_as_it_was_read() {
        let endpoint = r#"{"addresses":["10.0.0.1"],"conditions":{"ready":true,"serving":true,"terminating":false},"hostname":"h","targetRef":{"kind":"Pod","namespace":"n","name":"p","uid":"u"},"nodeName":"a","zone":"z","hints":{"forZones":[{"name":"z"}]}}"#;
        let slice = EndpointSlice::decode(&format!(
            r#"{{"metadata":{{"name":"s-1","namespace":"n","labels":{{"kubernetes.io/service-name":"s"}}}},"addressType":"IPv4","endpoints":[{endpoint}],"ports":null}}"#
        ))
        .unwrap();
        assert_eq!(slice.service(), Some(Key::new("n", "s")));
        assert_eq!(slice.ports, None);
        assert_eq!(serde_json::to_string(&slice.endpoints[0]).unwrap(), endpoint);
    }

    #[test]
    fn unknown_readiness_is_ready() {
        let slice =
            EndpointSlice::decode(r#"{"addressType":"FQDN","endpoints":[{"addresses":["a.b"]}]}"#).unwrap();
        assert!(slice.endpoints[0].is_ready());
        assert_eq!(slice.endpoints[0].addresses[0], SliceAddress::Name("a.b".into()));
    }

    #[test]
    fn a_slice_with_a_bad_address_is_refused() {
        assert!(
            EndpointSlice::decode(r#"{"addressType":"IPv4","endpoints":[{"addresses":["x"]}]}"#).is_err()
        );
    }
}
