//! EndpointSlices for processes that only answer: of an endpoint nothing but what is in an answer.
//!
//! DNS asks of an endpoint whether it is ready, its addresses, its hostname, and in one mode the name of its pod. A process
//! without controllers writes no slices, so it has no use for Nodes, zones, hints and identities, for owners and for who
//! else wrote. Without them, and in columns, an endpoint takes little more than its addresses and texts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use compact_str::CompactString;
use serde::{Deserialize, de::IgnoredAny};
use smallvec::SmallVec;

use super::{
    AddressType, Conditions, Decode, DecodeError, EndpointPort, EndpointSlice, Meta, SliceAddress,
    meta::{WireMeta, fitted, null_is_default},
    slice::read_address,
    well_known,
};
use crate::{labels::Labels, texts::Texts};

/// An EndpointSlice that is read for what is in answers: its endpoints are in [`EndpointSlice::ready`]. With `TARGETS`
/// the names of what they stand for too.
#[derive(Clone, Debug)]
pub struct AnsweredSlice<const TARGETS: bool>(EndpointSlice);

/// The addresses of a slice's endpoints that are ready, each by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadyAddresses {
    addresses: Addresses,
    /// The endpoint's hostname for each of them, empty where it has none. No texts at all: none has one.
    hostnames: Texts,
    /// Likewise the names of what they stand for.
    targets: Texts,
}

/// Addresses, in the form that takes the least.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Addresses {
    V4(Box<[Ipv4Addr]>),
    V6(Box<[Ipv6Addr]>),
    Any(Box<[SliceAddress]>),
}

impl<const TARGETS: bool> From<AnsweredSlice<TARGETS>> for EndpointSlice {
    fn from(slice: AnsweredSlice<TARGETS>) -> Self {
        slice.0
    }
}

impl ReadyAddresses {
    /// Each address with the endpoint's hostname and the name of what it stands for.
    pub fn iter(&self) -> impl Iterator<Item = (SliceAddress, Option<&str>, Option<&str>)> {
        (0..self.addresses.len()).filter_map(|at| {
            let hostname = self.hostnames.get(at).filter(|text| !text.is_empty());
            let target = self.targets.get(at).filter(|text| !text.is_empty());
            Some((self.addresses.get(at)?, hostname, target))
        })
    }
}

impl Addresses {
    fn len(&self) -> usize {
        match self {
            Self::V4(list) => list.len(),
            Self::V6(list) => list.len(),
            Self::Any(list) => list.len(),
        }
    }

    fn get(&self, at: usize) -> Option<SliceAddress> {
        match self {
            Self::V4(list) => list.get(at).map(|ip| SliceAddress::Ip(IpAddr::V4(*ip))),
            Self::V6(list) => list.get(at).map(|ip| SliceAddress::Ip(IpAddr::V6(*ip))),
            Self::Any(list) => list.get(at).cloned(),
        }
    }
}

impl Default for Addresses {
    fn default() -> Self {
        Self::V4(Box::default())
    }
}

impl From<Vec<SliceAddress>> for Addresses {
    fn from(list: Vec<SliceAddress>) -> Self {
        let v4 = |address: &SliceAddress| match address {
            SliceAddress::Ip(IpAddr::V4(ip)) => Some(*ip),
            _ => None,
        };
        let v6 = |address: &SliceAddress| match address {
            SliceAddress::Ip(IpAddr::V6(ip)) => Some(*ip),
            _ => None,
        };
        if let Some(list) = list.iter().map(v4).collect() {
            Self::V4(list)
        } else if let Some(list) = list.iter().map(v6).collect() {
            Self::V6(list)
        } else {
            Self::Any(list.into())
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound = "T: Deserialize<'de>")]
struct Wire<T> {
    #[serde(default, deserialize_with = "null_is_default")]
    metadata: WireMeta,
    #[serde(default)]
    address_type: AddressType,
    #[serde(default, deserialize_with = "null_is_default")]
    endpoints: Vec<Endpoint<T>>,
    ports: Option<Vec<EndpointPort>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound = "T: Deserialize<'de>")]
struct Endpoint<T> {
    #[serde(default, deserialize_with = "null_is_default")]
    addresses: SmallVec<[CompactString; 1]>,
    #[serde(default, deserialize_with = "null_is_default")]
    conditions: Conditions,
    hostname: Option<CompactString>,
    target_ref: Option<T>,
}

#[derive(Deserialize)]
struct TargetName {
    #[serde(default)]
    name: CompactString,
}

/// What is read of `targetRef`.
trait ReadTarget: for<'de> Deserialize<'de> {
    fn name(&self) -> &str;
}

impl ReadTarget for TargetName {
    fn name(&self) -> &str {
        &self.name
    }
}

impl ReadTarget for IgnoredAny {
    fn name(&self) -> &str {
        ""
    }
}

fn decode<T: ReadTarget>(json: &str) -> Result<EndpointSlice, DecodeError> {
    let wire: Wire<T> = serde_json::from_str(json)?;
    let (mut addresses, mut owners) = (Vec::new(), Vec::new());
    // What is not ready is read too: a slice with a bad address is refused in every process.
    for endpoint in &wire.endpoints {
        for address in &endpoint.addresses {
            let address = read_address(wire.address_type, address)?;
            if endpoint.conditions.ready != Some(false) {
                addresses.push(address);
                owners.push(endpoint);
            }
        }
    }
    let texts = |of: fn(&Endpoint<T>) -> &str| -> Texts {
        let texts = owners.iter().map(|endpoint| of(endpoint));
        if texts.clone().all(str::is_empty) { Texts::default() } else { texts.collect() }
    };
    let ready = ReadyAddresses {
        addresses: addresses.into(),
        hostnames: texts(|endpoint| endpoint.hostname.as_deref().unwrap_or_default()),
        targets: texts(|endpoint| endpoint.target_ref.as_ref().map_or("", T::name)),
    };
    // When the change behind the slice happened is told of by DNS as well.
    let trigger = wire.metadata.annotations.get(well_known::LAST_CHANGE_TRIGGER_TIME);
    let annotations: Labels =
        trigger.map(|time| (well_known::LAST_CHANGE_TRIGGER_TIME, time.clone())).into_iter().collect();
    Ok(EndpointSlice {
        annotations,
        address_type: wire.address_type,
        ready: Some(Box::new(ready)),
        ports: wire.ports.map(fitted),
        meta: wire.metadata.into(),
        ..EndpointSlice::default()
    })
}

impl<const TARGETS: bool> Decode for AnsweredSlice<TARGETS> {
    type Api = <EndpointSlice as Decode>::Api;

    fn decode(json: &str) -> Result<Self, DecodeError> {
        if TARGETS { decode::<TargetName>(json) } else { decode::<IgnoredAny>(json) }.map(Self)
    }

    fn meta(&self) -> &Meta {
        &self.0.meta
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        ServiceView,
        index::{Published, Source},
    };

    fn endpoint(addresses: &'static [&'static str]) -> impl Strategy<Value = Value> {
        (
            prop::collection::vec(prop::sample::select(addresses), 0..3),
            prop::sample::select(vec![Value::Null, json!({}), json!({"ready": true}), json!({"ready": false, "serving": true})]),
            prop::sample::select(vec![Value::Null, json!(""), json!("web-0")]),
            prop::sample::select(vec![Value::Null, json!({}), json!({"kind": "Pod", "name": "web-0-x", "uid": "u"})]),
        )
            .prop_map(|(addresses, conditions, hostname, target)| {
                json!({"addresses": addresses, "conditions": conditions, "hostname": hostname, "targetRef": target,
                    "nodeName": "n", "zone": "z", "hints": {"forZones": [{"name": "z"}]}})
            })
    }

    fn slice() -> impl Strategy<Value = Value> {
        let of = |kind: &'static str, addresses| {
            prop::collection::vec(endpoint(addresses), 0..4).prop_map(move |endpoints| (kind, endpoints))
        };
        let typed = prop_oneof![
            of("IPv4", &["10.0.0.1", "010.0.0.2"]),
            of("IPv6", &["fd00::1", "::ffff:10.0.0.1"]),
            of("FQDN", &["a.example"]),
            of("Else", &["x"]),
        ];
        let ports = prop::sample::select(vec![Value::Null, json!([]), json!([{"name": "a", "port": 80}])]);
        (typed, ports).prop_map(|((kind, endpoints), ports)| {
            json!({
                "metadata": {"name": "s-1", "namespace": "n", "resourceVersion": "7",
                    "labels": {"kubernetes.io/service-name": "s", "a": "b"},
                    "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": "2026-01-02T03:04:05Z", "c": "d"}},
                "addressType": kind, "endpoints": endpoints, "ports": ports,
            })
        })
    }

    fn view(slice: EndpointSlice) -> ServiceView {
        ServiceView {
            slices: std::sync::Arc::new(vec![std::sync::Arc::new(slice)]),
            ..ServiceView::default()
        }
    }

    proptest! {
        /// What is answered of a slice is the same, however much of it is kept.
        #[test]
        fn the_same_is_published(slice in slice()) {
            let json = slice.to_string();
            let whole = EndpointSlice::decode(&json).unwrap();
            let named = EndpointSlice::from(AnsweredSlice::<true>::decode(&json).unwrap());
            let bare = EndpointSlice::from(AnsweredSlice::<false>::decode(&json).unwrap());
            for kept in [&named, &bare] {
                prop_assert_eq!((&kept.meta, &kept.ports, kept.address_type), (&whole.meta, &whole.ports, whole.address_type));
                let trigger = |slice: &EndpointSlice| slice.annotations.get(well_known::LAST_CHANGE_TRIGGER_TIME).cloned();
                prop_assert_eq!(trigger(kept), trigger(&whole));
                prop_assert!(kept.endpoints.is_empty());
            }
            let (whole, named, bare) = (view(whole), view(named), view(bare));
            // A name that is empty is none.
            let wanted: Vec<Published<'_>> = whole.published(Source::Slices).into_iter()
                .map(|one| Published { target: one.target.filter(|name| !name.is_empty()), ..one }).collect();
            prop_assert_eq!(&named.published(Source::Slices), &wanted);
            let wanted: Vec<_> = wanted.into_iter().map(|one| Published { target: None, ..one }).collect();
            prop_assert_eq!(bare.published(Source::Slices), wanted);
        }
    }

    #[test]
    fn a_bad_address_is_refused_though_nobody_is_ready() {
        let json = r#"{"addressType":"IPv4","endpoints":[{"addresses":["x"],"conditions":{"ready":false}}]}"#;
        assert!(AnsweredSlice::<false>::decode(json).is_err() && EndpointSlice::decode(json).is_err());
    }
}
