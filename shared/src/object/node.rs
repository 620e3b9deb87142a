//! Nodes: the zone an endpoint is in, and what topology hints weigh zones by.

use compact_str::CompactString;
use serde::Deserialize;

use super::{
    Decode, DecodeError, Meta,
    meta::{WireMeta, null_is_default},
    well_known,
};
use crate::{labels::Labels, name::Name};

/// Labels that take a Node out of the sums of topology hints.
const EXCLUDED_ROLES: [&str; 2] = ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"];

/// A Node. Labels are not kept; what they decide is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Name and identity; `labels` is empty.
    pub meta: Meta,
    /// Label `topology.kubernetes.io/zone`, if it is not empty.
    pub zone: Option<Name>,
    /// Condition Ready is True.
    pub ready: bool,
    /// Allocatable CPU in thousandths, if it is set.
    pub cpu_millis: Option<u64>,
    /// Whether it carries a control plane role, and so does not count for topology hints.
    pub control_plane: bool,
}

#[derive(Deserialize)]
struct Wire {
    #[serde(default, deserialize_with = "null_is_default")]
    metadata: WireMeta,
    #[serde(default, deserialize_with = "null_is_default")]
    status: Status,
}

#[derive(Default, Deserialize)]
struct Status {
    #[serde(default, deserialize_with = "null_is_default")]
    conditions: Vec<Condition>,
    #[serde(default)]
    allocatable: Labels,
}

#[derive(Deserialize)]
struct Condition {
    #[serde(default, rename = "type")]
    kind: CompactString,
    #[serde(default)]
    status: CompactString,
}

impl Decode for Node {
    type Api = k8s_openapi::api::core::v1::Node;

    fn decode(json: &str) -> Result<Self, DecodeError> {
        let mut wire: Wire = serde_json::from_str(json)?;
        let labels = std::mem::take(&mut wire.metadata.labels);
        Ok(Self {
            zone: labels.get(well_known::ZONE).filter(|zone| !zone.is_empty()).cloned(),
            ready: wire.status.conditions.iter().any(|c| c.kind == "Ready" && c.status == "True"),
            cpu_millis: wire.status.allocatable.get("cpu").and_then(|quantity| cpu_millis(quantity)),
            control_plane: EXCLUDED_ROLES.iter().any(|role| labels.contains_key(role)),
            meta: wire.metadata.into(),
        })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

/// Reads a CPU quantity: `4`, `0.5`, `1500m`. Other suffixes do not occur for CPU.
fn cpu_millis(quantity: &str) -> Option<u64> {
    if let Some(millis) = quantity.strip_suffix('m') {
        return millis.parse().ok();
    }
    let (whole, fraction) = quantity.split_once('.').unwrap_or((quantity, ""));
    let whole: u64 = whole.parse().ok()?;
    let mut millis = 0_u64;
    for (digit, scale) in fraction.bytes().zip([100, 10, 1]) {
        millis += u64::from(digit.is_ascii_digit().then_some(digit - b'0')?) * scale;
    }
    whole.checked_mul(1000)?.checked_add(millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_zone_readiness_and_cpu() {
        let node = Node::decode(
            r#"{"metadata":{"name":"a","labels":{"topology.kubernetes.io/zone":"z1"}},
                "status":{"allocatable":{"cpu":"1500m"},"conditions":[{"type":"Ready","status":"True"}]}}"#,
        )
        .unwrap();
        assert_eq!(node.zone.as_deref(), Some("z1"));
        assert!(node.ready && !node.control_plane);
        assert_eq!(node.cpu_millis, Some(1500));
    }

    #[test]
    fn cpu_quantities() {
        for (text, wanted) in
            [("4", Some(4000)), ("0.5", Some(500)), ("250m", Some(250)), ("x", None), ("1.x", None)]
        {
            assert_eq!(cpu_millis(text), wanted, "{text}");
        }
    }
}
