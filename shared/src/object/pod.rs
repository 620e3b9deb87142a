//! Pods: what makes one an endpoint.

use std::{
    borrow::Cow,
    net::IpAddr,
    sync::{Arc, LazyLock},
};

use compact_str::CompactString;
use serde::Deserialize;
use smallvec::SmallVec;

use super::{
    Decode, DecodeError, Family, Meta, Protocol, Stamp,
    address::parse_ip,
    meta::{WireMeta, null_is_default},
};
use crate::{
    intern::{Handle, Interner},
    name::Name,
};

/// A Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Name, identity, labels, whether it is being deleted.
    pub meta: Meta,
    /// `spec.nodeName`, once it is scheduled.
    pub node: Option<Name>,
    /// `spec.hostname`.
    pub hostname: Option<Name>,
    /// `spec.subdomain`.
    pub subdomain: Option<Name>,
    /// `status.podIPs`, or `status.podIP` alone where that list is empty, in order. The first is the primary address.
    pub ips: SmallVec<[IpAddr; 1]>,
    /// `spec.hostNetwork`: its addresses are its node's, and others have them too.
    pub host_network: bool,
    /// `status.phase`.
    pub phase: Phase,
    /// The Ready condition.
    pub readiness: Readiness,
    /// Named ports: those of containers in their order, then those of sidecars (init containers that restart always).
    pub ports: Arc<[ContainerPort]>,
}

/// `status.phase`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Anything that has not ended: Pending, Running, Unknown or absent.
    #[default]
    Live,
    /// `Succeeded`
    Succeeded,
    /// `Failed`
    Failed,
}

/// The Ready condition of a pod. Absent is not ready.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Status is True.
    pub ready: bool,
    /// When it last turned. Seconds resolution.
    pub since: Option<Stamp>,
    /// Why it is not ready, in the kubelet's words. Kept only while it is not.
    pub message: Option<Name>,
}

/// A named port of a container.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ContainerPort {
    /// Its name.
    pub name: Name,
    /// Its number.
    pub number: i32,
    /// Its protocol: a named target port matches name and protocol.
    pub protocol: Protocol,
}

/// Pods of a template have the same ports.
static PORTS: LazyLock<Interner<Arc<[ContainerPort]>>> = LazyLock::new(Interner::new);

impl Handle for Arc<[ContainerPort]> {
    type Value = [ContainerPort];

    fn make(ports: &[ContainerPort]) -> Self {
        ports.into()
    }

    fn value(&self) -> &[ContainerPort] {
        self
    }

    fn holders(&self) -> usize {
        Self::strong_count(self)
    }

    fn is(&self, other: &Self) -> bool {
        Self::ptr_eq(self, other)
    }
}

impl Pod {
    /// Whether it ran to its end: such a pod is never an endpoint.
    pub fn finished(&self) -> bool {
        self.phase != Phase::Live
    }

    /// All its addresses of `family`, in order.
    pub fn addresses(&self, family: Family) -> impl Iterator<Item = IpAddr> + '_ {
        self.ips.iter().copied().filter(move |ip| Family::of(*ip) == family)
    }
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(default, deserialize_with = "null_is_default")]
    metadata: WireMeta,
    #[serde(default, deserialize_with = "null_is_default")]
    spec: Spec,
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    status: Status<'a>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    node_name: Option<Name>,
    hostname: Option<Name>,
    subdomain: Option<Name>,
    #[serde(default, deserialize_with = "null_is_default")]
    host_network: bool,
    #[serde(default, deserialize_with = "null_is_default")]
    containers: Vec<Container>,
    #[serde(default, deserialize_with = "null_is_default")]
    init_containers: Vec<Container>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    restart_policy: Option<CompactString>,
    #[serde(default, deserialize_with = "null_is_default")]
    ports: Vec<Port>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Port {
    #[serde(default, deserialize_with = "null_is_default")]
    name: Name,
    #[serde(default, deserialize_with = "null_is_default")]
    container_port: i32,
    #[serde(default, deserialize_with = "null_is_default")]
    protocol: Protocol,
}

#[derive(Default, Deserialize)]
struct Status<'a> {
    #[serde(default, deserialize_with = "null_is_default")]
    phase: CompactString,
    #[serde(default, rename = "podIP", deserialize_with = "null_is_default")]
    pod_ip: CompactString,
    #[serde(default, rename = "podIPs", deserialize_with = "null_is_default")]
    pod_ips: Vec<PodIp>,
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    conditions: Vec<Condition<'a>>,
}

#[derive(Deserialize)]
struct PodIp {
    #[serde(default, deserialize_with = "null_is_default")]
    ip: CompactString,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition<'a> {
    #[serde(default, rename = "type")]
    kind: CompactString,
    #[serde(default)]
    status: CompactString,
    last_transition_time: Option<Stamp>,
    #[serde(borrow, default)]
    message: Option<Cow<'a, str>>,
}

impl Decode for Pod {
    type Api = k8s_openapi::api::core::v1::Pod;

    fn decode(json: &str) -> Result<Self, DecodeError> {
        let wire: Wire<'_> = serde_json::from_str(json)?;
        let texts = wire.status.pod_ips.iter().map(|entry| &entry.ip).filter(|ip| !ip.is_empty());
        let mut ips = texts.map(|text| read_ip(text)).collect::<Result<SmallVec<_>, _>>()?;
        if ips.is_empty() && !wire.status.pod_ip.is_empty() {
            ips.push(read_ip(&wire.status.pod_ip)?);
        }
        let sidecars =
            wire.spec.init_containers.into_iter().filter(|c| c.restart_policy.as_deref() == Some("Always"));
        let ports = (wire.spec.containers.into_iter().chain(sidecars))
            .flat_map(|container| container.ports)
            .filter(|port| !port.name.is_empty())
            .map(|port| ContainerPort {
                name: port.name,
                number: port.container_port,
                protocol: port.protocol,
            })
            .collect::<SmallVec<[_; 8]>>();
        let ready = wire.status.conditions.into_iter().find(|condition| condition.kind == "Ready");
        Ok(Self {
            meta: wire.metadata.into(),
            node: wire.spec.node_name.filter(|name| !name.is_empty()),
            hostname: wire.spec.hostname.filter(|name| !name.is_empty()),
            subdomain: wire.spec.subdomain.filter(|name| !name.is_empty()),
            ips,
            host_network: wire.spec.host_network,
            phase: match wire.status.phase.as_str() {
                "Succeeded" => Phase::Succeeded,
                "Failed" => Phase::Failed,
                _ => Phase::Live,
            },
            readiness: ready.map(Readiness::from).unwrap_or_default(),
            ports: PORTS.get(&ports),
        })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

impl From<Condition<'_>> for Readiness {
    fn from(condition: Condition<'_>) -> Self {
        let ready = condition.status == "True";
        let message = condition.message.filter(|text| !ready && !text.is_empty()).map(Name::from);
        Self { ready, since: condition.last_transition_time, message }
    }
}

fn read_ip(text: &str) -> Result<IpAddr, DecodeError> {
    parse_ip(text).ok_or_else(|| DecodeError(format!("status.podIPs: {text:?} is not an IP address")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_decides() {
        let pod = Pod::decode(
            r#"{"metadata":{"name":"p","namespace":"n","uid":"u","resourceVersion":"7","labels":{"a":"b"},
                 "managedFields":[{"fieldsV1":{"f:x":{}}}],"deletionTimestamp":"2026-01-01T00:00:00Z"},
                "spec":{"nodeName":"node","hostname":"h","subdomain":"s","hostNetwork":true,"volumes":[{"name":"v"}],
                 "initContainers":[{"name":"i","ports":[{"name":"no","containerPort":1}]},
                   {"name":"j","restartPolicy":"Always","ports":[{"name":"side","containerPort":2,"protocol":"UDP"}]}],
                 "containers":[{"name":"c","ports":[{"containerPort":9},{"name":"web","containerPort":8080}]}]},
                "status":{"phase":"Running","podIP":"10.0.0.1","podIPs":[{"ip":"10.0.0.1"},{"ip":"fd00::1"}],
                 "conditions":[{"type":"Ready","status":"False","message":"probe failed",
                   "lastTransitionTime":"2026-01-01T00:00:00Z"}]}}"#,
        )
        .unwrap();
        assert_eq!(pod.meta.key.to_string(), "n/p");
        assert!(pod.meta.deleting && !pod.finished() && !pod.readiness.ready && pod.host_network);
        assert_eq!(pod.readiness.message.as_deref(), Some("probe failed"));
        let ports: Vec<_> = pod.ports.iter().map(|p| (p.name.as_str(), p.number, p.protocol)).collect();
        assert_eq!(ports, [("web", 8080, Protocol::Tcp), ("side", 2, Protocol::Udp)]);
        assert_eq!(pod.addresses(Family::V6).map(|ip| ip.to_string()).collect::<Vec<_>>(), ["fd00::1"]);
    }

    #[test]
    fn a_bad_address_names_itself() {
        let error = Pod::decode(r#"{"metadata":{"name":"p"},"status":{"podIP":"10.0.0"}}"#).unwrap_err();
        assert_eq!(error.to_string(), r#"status.podIPs: "10.0.0" is not an IP address"#);
    }
}
