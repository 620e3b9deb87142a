//! NetworkPolicies (`pkg/apis/networking/validation`).

use serde_json::Value;

use super::{names, protocol};
use crate::apiserver::rules::error::FieldError;
use crate::apiserver::rules::value::{at, items, strings, text};

pub(super) fn check(policy: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        for (index, rule) in items(policy, &["spec", direction]).iter().enumerate() {
            let field = format!("spec.{direction}[{index}]");
            for (index, port) in items(rule, &["ports"]).iter().enumerate() {
                errors.extend(self::port(port, &format!("{field}.ports[{index}]")));
            }
            for (index, peer) in items(rule, &[peers]).iter().enumerate() {
                errors.extend(self::peer(peer, &format!("{field}.{peers}[{index}]")));
            }
        }
    }
    for (index, kind) in strings(policy, &["spec", "policyTypes"]).into_iter().enumerate() {
        if !matches!(kind, "Ingress" | "Egress") {
            let field = format!("spec.policyTypes[{index}]");
            errors.push(FieldError::not_supported(field, kind, &["Egress", "Ingress"]));
        }
    }
    errors
}

fn port(port: &Value, field: &str) -> Vec<FieldError> {
    let mut errors: Vec<FieldError> =
        protocol(text(port, &["protocol"]), format!("{field}.protocol")).into_iter().collect();
    let field = format!("{field}.port");
    match at(port, &["port"]) {
        Some(Value::String(name)) => {
            let wrong = names::port_name(name);
            errors.extend(wrong.into_iter().map(|why| FieldError::invalid(&*field, name.as_str(), why)));
        }
        Some(Value::Number(number)) => {
            let wrong = names::port_number(number.as_i64().unwrap_or_default());
            errors.extend(wrong.into_iter().map(|why| FieldError::invalid(&*field, number.clone(), why)));
        }
        _ => {}
    }
    errors
}

fn peer(peer: &Value, field: &str) -> Vec<FieldError> {
    let selects = at(peer, &["podSelector"]).is_some() || at(peer, &["namespaceSelector"]).is_some();
    let block = at(peer, &["ipBlock"]);
    if block.is_some() && selects {
        let detail = "may not specify both ipBlock and another peer";
        return vec![FieldError::forbidden(field, detail)];
    }
    if block.is_none() && !selects {
        return vec![FieldError::required(field, "must specify a peer")];
    }
    let Some(block) = block else { return Vec::new() };
    let cidrs = std::iter::once(text(block, &["cidr"])).chain(strings(block, &["except"]));
    cidrs
        .filter(|cidr| cidr.parse::<ipnet::IpNet>().is_err())
        .map(|cidr| {
            let detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
            FieldError::invalid(format!("{field}.ipBlock.cidr"), cidr, detail)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ports_and_peers() {
        let wrong = |spec: Value| check(&json!({ "spec": spec })).len();
        let good = json!({
            "ingress": [{ "ports": [{ "protocol": "UDP", "port": 53 }, { "protocol": "TCP", "port": "dns-tcp" }] }, {}],
            "egress": [{ "to": [{ "ipBlock": { "cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"] } }] }],
            "policyTypes": ["Ingress", "Egress"],
        });
        assert_eq!(wrong(good), 0);
        assert_eq!(wrong(json!({ "ingress": [{ "ports": [{ "protocol": "UDP", "port": 0 }] }] })), 1);
        assert_eq!(wrong(json!({ "ingress": [{ "from": [{}] }] })), 1);
        assert_eq!(wrong(json!({ "egress": [{ "to": [{ "ipBlock": { "cidr": "here" } }] }] })), 1);
        assert_eq!(wrong(json!({ "policyTypes": ["Sideways"] })), 1);
    }
}
