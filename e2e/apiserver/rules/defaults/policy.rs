//! Defaults of autoscalers and network policies.

use serde_json::Value;

use crate::apiserver::rules::value::{at, ensure_object, items, items_mut, set_default};

pub(super) fn autoscaler(object: &mut Value) {
    set_default(object, &["spec", "minReplicas"], 1);
    if at(object, &["spec", "metrics"]).is_none() {
        let usual = serde_json::json!([{
            "type": "Resource",
            "resource": { "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 80 } },
        }]);
        set_default(object, &["spec", "metrics"], usual);
    }
    ensure_object(object, &["status"]);
}

pub(super) fn network_policy(object: &mut Value) {
    ensure_object(object, &["spec"]);
    ensure_object(object, &["spec", "podSelector"]);
    for direction in ["ingress", "egress"] {
        for rule in items_mut(object, &["spec", direction]) {
            for port in items_mut(rule, &["ports"]) {
                set_default(port, &["protocol"], "TCP");
            }
        }
    }
    let out = !items(object, &["spec", "egress"]).is_empty();
    let kinds: Vec<&str> = if out { vec!["Ingress", "Egress"] } else { vec!["Ingress"] };
    set_default(object, &["spec", "policyTypes"], kinds);
}
