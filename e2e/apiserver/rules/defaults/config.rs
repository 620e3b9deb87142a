//! Secrets: what is written as text is stored as data, and never read back.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::apiserver::rules::value::{remove, set, set_default};

pub(super) fn secret(object: &mut Value) {
    if let Some(Value::Object(texts)) = remove(object, &["stringData"]) {
        for (key, text) in texts {
            let data = BASE64_STANDARD.encode(text.as_str().unwrap_or_default());
            set(object, &["data", &key], data);
        }
    }
    set_default(object, &["type"], "Opaque");
}
