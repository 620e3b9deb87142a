//! The `Warning` headers that go with an answer.

use serde_json::Value;

use crate::apiserver::kind::Kind;

/// What the server warns of when this object is read or written; each text is one header.
pub fn warnings(kind: Kind, _object: Option<&Value>) -> Vec<String> {
    match kind {
        Kind::Endpoints => {
            vec!["v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice".to_owned()]
        }
        _ => Vec::new(),
    }
}
