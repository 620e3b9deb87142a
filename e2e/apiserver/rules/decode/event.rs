//! The two faces of an Event: `v1`, which is stored, and `events.k8s.io/v1`.

use serde_json::{Value, json};

/// Fields that change their name between `events.k8s.io/v1` and `v1`.
const NAMES: &[(&str, &str)] = &[
    ("note", "message"),
    ("regarding", "involvedObject"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
];

/// An `events.k8s.io/v1` Event as the `v1` Event that is stored.
pub fn event_to_core(event: &Value) -> Value {
    rename(event, "v1", NAMES.iter().map(|(new, core)| (*new, *core)))
}

/// A stored Event as `events.k8s.io/v1` shows it.
pub fn event_from_core(event: &Value) -> Value {
    rename(event, "events.k8s.io/v1", NAMES.iter().map(|(new, core)| (*core, *new)))
}

fn rename<'a>(event: &Value, version: &str, names: impl Iterator<Item = (&'a str, &'a str)>) -> Value {
    let mut event = event.clone();
    if let Some(map) = event.as_object_mut() {
        for (from, to) in names {
            if let Some(value) = map.remove(from) {
                map.insert(to.to_owned(), value);
            }
        }
        map.insert("apiVersion".to_owned(), json!(version));
    }
    event
}
