//! Endpoints: the older form of a Service's endpoints, written by hand or by the controller.

use serde::{Deserialize, Serialize};

use super::{
    AddressText, Decode, DecodeError, EndpointPort, ForeignWrites, Meta, Target,
    meta::{WireMeta, fitted, null_is_default},
    well_known,
    writers::Writers,
};
use crate::{labels::Labels, name::Name};

/// An Endpoints object. Its name is its Service's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// Name, identity, version, labels.
    pub meta: Meta,
    /// All annotations.
    pub annotations: Labels,
    /// Finalizers and owners are others' and are kept by an update.
    pub finalizers: Vec<Name>,
    /// All owners.
    pub owners: Vec<super::OwnerReference>,
    /// The subsets, in the order they were written.
    pub subsets: Vec<Subset>,
    /// Who else wrote it.
    pub foreign: Option<Box<ForeignWrites>>,
}

/// Addresses that share ports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subset {
    /// Addresses that may receive traffic.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<EndpointsAddress>,
    /// Addresses that may not.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub not_ready_addresses: Vec<EndpointsAddress>,
    /// The ports of all of them.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<EndpointPort>,
}

/// One address of a subset. The text is kept as written: these objects are often made by hand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointsAddress {
    /// The IP address.
    #[serde(default)]
    pub ip: AddressText,
    /// Its name under the Service.
    #[serde(default, skip_serializing_if = "Name::is_empty", deserialize_with = "null_is_default")]
    pub hostname: Name,
    /// The Node it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_name: Option<Name>,
    /// What it stands for, usually a Pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<Target>,
}

impl Subset {
    fn fitted(mut self) -> Self {
        self.addresses.shrink_to_fit();
        self.not_ready_addresses.shrink_to_fit();
        self.ports.shrink_to_fit();
        self
    }
}

impl Endpoints {
    /// Whether it is to be mirrored as far as it says itself: not told to skip, not a leader election lock (KEP-752).
    pub fn asks_for_mirror(&self) -> bool {
        self.meta.labels.get(well_known::SKIP_MIRROR).is_none_or(|value| value != "true")
            && !self.annotations.contains_key(well_known::LEADER)
    }
}

#[derive(Deserialize)]
struct Wire {
    #[serde(default, deserialize_with = "null_is_default")]
    metadata: WireMeta<Writers>,
    #[serde(default, deserialize_with = "null_is_default")]
    subsets: Vec<Subset>,
}

impl Decode for Endpoints {
    type Api = k8s_openapi::api::core::v1::Endpoints;

    fn decode(json: &str) -> Result<Self, DecodeError> {
        let mut wire: Wire = serde_json::from_str(json)?;
        Ok(Self {
            annotations: std::mem::take(&mut wire.metadata.annotations),
            finalizers: std::mem::take(&mut wire.metadata.finalizers),
            owners: std::mem::take(&mut wire.metadata.owner_references),
            foreign: wire.metadata.managed_fields.0.take(),
            subsets: fitted(wire.subsets.into_iter().map(Subset::fitted).collect()),
            meta: wire.metadata.into(),
        })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subset_is_written_as_it_was_read() {
        let subset = r#"{"addresses":[{"ip":"192.0.2.1","hostname":"east"}],"notReadyAddresses":[{"ip":"192.0.2.9","nodeName":""}],"ports":[{"name":"http","port":8080,"protocol":"TCP"}]}"#;
        let endpoints =
            Endpoints::decode(&format!(r#"{{"metadata":{{"name":"e"}},"subsets":[{subset}]}}"#)).unwrap();
        assert_eq!(serde_json::to_string(&endpoints.subsets[0]).unwrap(), subset);
        assert!(endpoints.asks_for_mirror());
    }

    #[test]
    fn locks_and_skipped_ones_are_not_mirrored() {
        for metadata in [
            r#"{"labels":{"endpointslice.kubernetes.io/skip-mirror":"true"}}"#,
            r#"{"annotations":{"control-plane.alpha.kubernetes.io/leader":"{}"}}"#,
        ] {
            assert!(!Endpoints::decode(&format!(r#"{{"metadata":{metadata}}}"#)).unwrap().asks_for_mirror());
        }
    }
}
