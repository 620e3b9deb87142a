//! Bodies: the lean objects as the API server takes them.
//!
//! Lean objects know every field that a controller sets. What they do not know (managed fields, creation time) is the
//! API server's to keep when an update leaves it out.

use callsign_shared::{
    Labels, Name,
    object::{
        AddressType, Decode, EndpointPort, EndpointSlice, Endpoints, Meta, OwnerReference, ResourceVersion,
        SliceEndpoint, Subset, Uid,
    },
};
use kube::Resource;
use serde::Serialize;

/// An object the controller writes.
pub trait Body: Decode {
    /// The object as JSON.
    ///
    /// # Errors
    /// When it cannot be serialized, which no value of these types causes.
    fn body(&self) -> Result<Vec<u8>, serde_json::Error>;
}

impl Body for EndpointSlice {
    fn body(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&SliceBody {
            api_version: <Self as Decode>::Api::api_version(&()).as_ref(),
            kind: <Self as Decode>::Api::kind(&()).as_ref(),
            metadata: metadata(&self.meta, &self.annotations, &self.owners, &self.finalizers),
            address_type: self.address_type,
            endpoints: &self.endpoints,
            ports: self.ports.as_deref(),
        })
    }
}

impl Body for Endpoints {
    fn body(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&EndpointsBody {
            api_version: <Self as Decode>::Api::api_version(&()).as_ref(),
            kind: <Self as Decode>::Api::kind(&()).as_ref(),
            metadata: metadata(&self.meta, &self.annotations, &self.owners, &self.finalizers),
            subsets: &self.subsets,
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SliceBody<'a> {
    api_version: &'a str,
    kind: &'a str,
    metadata: Metadata<'a>,
    address_type: AddressType,
    endpoints: &'a [SliceEndpoint],
    ports: Option<&'a [EndpointPort]>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EndpointsBody<'a> {
    api_version: &'a str,
    kind: &'a str,
    metadata: Metadata<'a>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    subsets: &'a [Subset],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    name: &'a Name,
    namespace: &'a Name,
    #[serde(skip_serializing_if = "Uid::is_empty")]
    uid: &'a Uid,
    #[serde(skip_serializing_if = "ResourceVersion::is_empty")]
    resource_version: &'a ResourceVersion,
    #[serde(skip_serializing_if = "Labels::is_empty")]
    labels: &'a Labels,
    #[serde(skip_serializing_if = "Labels::is_empty")]
    annotations: &'a Labels,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    owner_references: &'a [OwnerReference],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    finalizers: &'a [Name],
}

fn metadata<'a>(
    meta: &'a Meta,
    annotations: &'a Labels,
    owner_references: &'a [OwnerReference],
    finalizers: &'a [Name],
) -> Metadata<'a> {
    Metadata {
        name: &meta.key.name,
        namespace: &meta.key.namespace,
        uid: &meta.uid,
        resource_version: &meta.resource_version,
        labels: &meta.labels,
        annotations,
        owner_references,
        finalizers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_read_back_as_it_was() {
        let slice = EndpointSlice::decode(
            r#"{"metadata":{"name":"s-1","namespace":"n","uid":"u","resourceVersion":"7","labels":{"a":"b"},
                 "annotations":{"c":"d"},"finalizers":["f"],
                 "ownerReferences":[{"apiVersion":"v1","kind":"Service","name":"s","uid":"v","controller":true}]},
                "addressType":"IPv6","endpoints":[{"addresses":["fd00::1"],"conditions":{"ready":true}}],
                "ports":[{"name":"","port":80,"protocol":"UDP"}]}"#,
        )
        .unwrap();
        assert_eq!(EndpointSlice::decode(std::str::from_utf8(&slice.body().unwrap()).unwrap()), Ok(slice));
        let endpoints = Endpoints::decode(
            r#"{"metadata":{"name":"s","namespace":"n","resourceVersion":"7"},
                "subsets":[{"addresses":[{"ip":"10.0.0.1","nodeName":"a"}],"ports":[{"port":80,"protocol":"TCP"}]}]}"#,
        )
        .unwrap();
        let body = endpoints.body().unwrap();
        assert_eq!(Endpoints::decode(std::str::from_utf8(&body).unwrap()), Ok(endpoints));
    }

    #[test]
    fn a_new_object_has_no_identity() {
        let mut slice = EndpointSlice::default();
        slice.meta.key = callsign_shared::Key::new("n", "s-1");
        assert_eq!(
            String::from_utf8(slice.body().unwrap()).unwrap(),
            r#"{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{"name":"s-1","namespace":"n"},"addressType":"IPv4","endpoints":[],"ports":null}"#
        );
    }
}
