//! Disruption budgets, autoscalers and priority classes.

use serde_json::{Value, json};

use crate::apiserver::rules::value::{at, flag, items, number, text};

pub(super) fn budget(object: &Value, name: Value, age: Value) -> Vec<Value> {
    let bound = |key: &str| match at(object, &["spec", key]) {
        None => json!("N/A"),
        Some(Value::String(percent)) => json!(percent),
        Some(number) => json!(number.to_string()),
    };
    let allowed = number(object, &["status", "disruptionsAllowed"]).unwrap_or_default();
    vec![name, bound("minAvailable"), bound("maxUnavailable"), json!(allowed), age]
}

pub(super) fn autoscaler(object: &Value, name: Value, age: Value) -> Vec<Value> {
    let target = |key: &str| text(object, &["spec", "scaleTargetRef", key]);
    let count = |path: &[&str]| number(object, path);
    let least = count(&["spec", "minReplicas"]).map_or_else(|| "<unset>".to_owned(), |it| it.to_string());
    // Nobody measures anything here.
    let targets: Vec<String> = items(object, &["spec", "metrics"]).iter().map(wanted).collect();
    vec![
        name,
        json!(format!("{}/{}", target("kind"), target("name"))),
        json!(if targets.is_empty() { "<none>".to_owned() } else { targets.join(", ") }),
        json!(least),
        json!(count(&["spec", "maxReplicas"]).unwrap_or_default()),
        json!(count(&["status", "currentReplicas"]).unwrap_or_default()),
        age,
    ]
}

pub(super) fn priority_class(object: &Value, name: Value, age: Value) -> Vec<Value> {
    vec![
        name,
        json!(number(object, &["value"]).unwrap_or_default()),
        json!(flag(object, &["globalDefault"])),
        age,
        json!(text(object, &["preemptionPolicy"])),
    ]
}

fn wanted(metric: &Value) -> String {
    let kind = text(metric, &["type"]);
    let mut source = String::from(kind);
    if let Some(first) = source.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    let target = at(metric, &[&source, "target"]);
    let percent = target.and_then(|target| number(target, &["averageUtilization"]));
    let value = target.map(|target| text(target, &["averageValue"])).unwrap_or_default();
    match (kind, percent) {
        ("Resource" | "ContainerResource", Some(percent)) => {
            format!("{}: <unknown>/{percent}%", text(metric, &[&source, "name"]))
        }
        ("Resource" | "ContainerResource", None) => {
            format!("{}: <unknown>/{value}", text(metric, &[&source, "name"]))
        }
        _ => format!("<unknown>/{value}"),
    }
}
