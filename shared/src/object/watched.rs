//! What a watch yields: an object, or the reason it could not be read.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::Meta;
use crate::name::Key;

/// An object that can be read from its JSON.
pub trait Decode: Sized + Send + Sync + 'static {
    /// The full type, which knows group, version and plural.
    type Api: Resource<DynamicType = ()>;

    /// Reads the object.
    ///
    /// # Errors
    /// When the text is not JSON or a field has a type that it cannot have.
    fn decode(json: &str) -> Result<Self, DecodeError>;

    /// The object's metadata.
    fn meta(&self) -> &Meta;
}

/// Why an object could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(pub String);

impl From<serde_json::Error> for DecodeError {
    fn from(error: serde_json::Error) -> Self {
        Self(error.to_string())
    }
}

/// An object as it came over a watch. A failure to read it is a value, not an error of the stream: a single bad object
/// must not make the watch of its kind start over for ever.
#[derive(Clone, Debug)]
pub struct Watched<T> {
    /// Name, namespace and version: what the watch itself needs.
    metadata: ObjectMeta,
    /// The object, or why it is not one.
    pub object: Result<T, DecodeError>,
}

impl<T> Watched<T> {
    /// The object's key, known even when the object could not be read.
    pub fn key(&self) -> Key {
        Key::new(
            self.metadata.namespace.as_deref().unwrap_or_default(),
            self.metadata.name.as_deref().unwrap_or_default(),
        )
    }
}

impl<'de, T: Decode> Deserialize<'de> for Watched<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Events and lists are read from whole texts: the object's own is looked at where it is.
        let raw = <&RawValue>::deserialize(deserializer)?;
        let object = T::decode(raw.get());
        let metadata = match &object {
            Ok(object) => {
                let meta = object.meta();
                ObjectMeta {
                    name: Some(meta.key.name.to_string()),
                    namespace: (!meta.key.namespace.is_empty()).then(|| meta.key.namespace.to_string()),
                    resource_version: Some(meta.resource_version.to_string()),
                    ..ObjectMeta::default()
                }
            }
            Err(_) => salvage(raw.get()),
        };
        Ok(Self { metadata, object })
    }
}

/// The identifying metadata of an object that could not be read as a whole.
fn salvage(json: &str) -> ObjectMeta {
    let value: serde_json::Value = serde_json::from_str(json).unwrap_or_default();
    let text = |field: &str| {
        value.pointer(&format!("/metadata/{field}")).and_then(|v| v.as_str()).map(str::to_owned)
    };
    ObjectMeta {
        name: text("name"),
        namespace: text("namespace"),
        resource_version: text("resourceVersion"),
        ..ObjectMeta::default()
    }
}

impl<T: Decode> Resource for Watched<T> {
    type DynamicType = ();
    type Scope = <T::Api as Resource>::Scope;

    fn kind(_: &()) -> Cow<'_, str> {
        T::Api::kind(&())
    }

    fn group(_: &()) -> Cow<'_, str> {
        T::Api::group(&())
    }

    fn version(_: &()) -> Cow<'_, str> {
        T::Api::version(&())
    }

    fn plural(_: &()) -> Cow<'_, str> {
        T::Api::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
