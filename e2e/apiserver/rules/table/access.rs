//! Role bindings.

use serde_json::{Value, json};

use crate::apiserver::rules::value::{items, text};

pub(super) fn binding(object: &Value, name: Value, age: Value) -> Vec<Value> {
    let role = format!("{}/{}", text(object, &["roleRef", "kind"]), text(object, &["roleRef", "name"]));
    let subjects = |kind: &str| {
        let all = items(object, &["subjects"]).iter().filter(|it| text(it, &["kind"]) == kind);
        let names: Vec<String> = all
            .map(|it| match text(it, &["namespace"]) {
                "" => text(it, &["name"]).to_owned(),
                namespace => format!("{namespace}/{}", text(it, &["name"])),
            })
            .collect();
        json!(names.join(", "))
    };
    vec![name, json!(role), age, subjects("User"), subjects("Group"), subjects("ServiceAccount")]
}
