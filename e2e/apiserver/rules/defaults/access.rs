//! Defaults of role bindings.

use serde_json::Value;

use crate::apiserver::kind::RBAC;
use crate::apiserver::rules::value::{items_mut, set_default, text};

pub(super) fn binding(object: &mut Value) {
    set_default(object, &["roleRef", "apiGroup"], RBAC);
    for subject in items_mut(object, &["subjects"]) {
        if matches!(text(subject, &["kind"]), "User" | "Group") {
            set_default(subject, &["apiGroup"], RBAC);
        }
    }
}
