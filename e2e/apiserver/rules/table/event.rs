//! Events.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::age;
use crate::apiserver::rules::value::{number, text};

pub(super) fn cells(event: &Value, name: Value, now: Timestamp) -> Vec<Value> {
    let first = match text(event, &["firstTimestamp"]) {
        "" => text(event, &["eventTime"]),
        time => time,
    };
    let last = match (text(event, &["series", "lastObservedTime"]), text(event, &["lastTimestamp"])) {
        ("", "") => first,
        ("", time) | (time, _) => time,
    };
    let count =
        number(event, &["series", "count"]).or_else(|| number(event, &["count"])).unwrap_or_default().max(1);
    let kind = text(event, &["involvedObject", "kind"]).to_lowercase();
    let target = match text(event, &["involvedObject", "name"]) {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    let source = match (text(event, &["source", "component"]), text(event, &["source", "host"])) {
        ("", _) => {
            let (component, instance) =
                (text(event, &["reportingComponent"]), text(event, &["reportingInstance"]));
            joined(component, instance)
        }
        (component, host) => joined(component, host),
    };
    vec![
        json!(age::since(last, now)),
        json!(text(event, &["type"])),
        json!(text(event, &["reason"])),
        json!(target),
        json!(text(event, &["involvedObject", "fieldPath"])),
        json!(source),
        json!(text(event, &["message"]).trim()),
        json!(age::since(first, now)),
        json!(count),
        name,
    ]
}

fn joined(component: &str, place: &str) -> String {
    if place.is_empty() { component.to_owned() } else { format!("{component}, {place}") }
}
