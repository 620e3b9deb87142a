//! Loading manifests: what `kubectl apply` does to an object, and its status too if it states one.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Part, Patch, WriteOptions};
use crate::apiserver::kind::Kind;
use crate::apiserver::object::{Key, Object};
use crate::apiserver::rules::ApiError;
use crate::apiserver::rules::value::{at, remove, set_default, text};
use crate::apiserver::store::Store;

const MANAGER: &str = "callsign-sandbox";

/// What became of an object that was loaded.
#[derive(Clone, Debug)]
pub enum Loaded {
    /// It is new.
    Created(Arc<Object>),
    /// It was there, and is different now.
    Configured(Arc<Object>),
    /// It was there like this.
    Unchanged(Arc<Object>),
}

impl Loaded {
    /// The object as it is now.
    pub fn object(&self) -> &Arc<Object> {
        let (Self::Created(object) | Self::Configured(object) | Self::Unchanged(object)) = self;
        object
    }
}

impl Store {
    /// Makes or changes an object to what a manifest says, in the namespace `default` if it names none. A status is
    /// written to the status subresource afterwards, as no create takes one.
    ///
    /// # Errors
    /// As the API says them; 404 for a kind this server does not know.
    pub fn load(&self, mut object: Value) -> Result<Loaded, ApiError> {
        let (api_version, name) = (text(&object, &["apiVersion"]), text(&object, &["kind"]));
        let Some(kind) = Kind::of(api_version, name) else {
            let message = format!("no matches for kind {name:?} in version {api_version:?}");
            return Err(ApiError { message, ..ApiError::no_such_path() });
        };
        if kind.info().namespaced {
            set_default(&mut object, &["metadata", "namespace"], "default");
        }
        let options = WriteOptions::by(MANAGER);
        let status = remove(&mut object, &["status"]).filter(|_| kind.info().status);
        let key = Key::of(&object);
        let before = self.get(kind, &key.namespace, &key.name);
        let done = if key.name.is_empty() {
            self.create(kind, &key.namespace, object, &options)?
        } else {
            let patch = Patch::Apply { object, force: true };
            self.patch(kind, &key, Part::Main, &patch, &options)?
        };
        let mut now = done.object;
        if let Some(status) = status.filter(|status| at(status, &[]).is_some()) {
            let patch = Patch::Merge(json!({ "status": status }));
            now = self.patch(kind, &now.key.clone(), Part::Status, &patch, &options)?.object;
        }
        Ok(match before {
            None => Loaded::Created(now),
            Some(before) if before.version == now.version => Loaded::Unchanged(now),
            Some(_) => Loaded::Configured(now),
        })
    }
}
