//! Namespaces: they exist, they end.

use serde::Deserialize;

use super::{
    Decode, DecodeError, Meta,
    meta::{WireMeta, null_is_default},
};

/// A Namespace. Its labels are in [`Meta`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Name, labels, whether it is being deleted.
    pub meta: Meta,
}

#[derive(Deserialize)]
struct Wire {
    #[serde(default, deserialize_with = "null_is_default")]
    metadata: WireMeta,
}

impl Decode for Namespace {
    type Api = k8s_openapi::api::core::v1::Namespace;

    fn decode(json: &str) -> Result<Self, DecodeError> {
        let wire: Wire = serde_json::from_str(json)?;
        Ok(Self { meta: wire.metadata.into() })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}
