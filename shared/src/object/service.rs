//! Services: a selector or none, the addresses, the ports.

use std::net::IpAddr;

use compact_str::CompactString;
use serde::Deserialize;
use smallvec::SmallVec;
use thin_vec::ThinVec;

use super::{
    Decode, DecodeError, Family, Meta, Protocol, SliceAddress,
    address::parse_ip,
    meta::{WireMeta, null_is_default},
    well_known,
};
use crate::{labels::Labels, name::Name};

/// A Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Name, identity, labels, creation time.
    pub meta: Meta,
    /// `spec.type`.
    pub kind: ServiceType,
    /// `spec.selector`; empty is none.
    pub selector: Labels,
    /// `spec.clusterIP` and `spec.clusterIPs`.
    pub cluster_ip: ClusterIp,
    /// `spec.ipFamilies` as written; empty on objects of very old servers.
    pub families: SmallVec<[Family; 2]>,
    /// `spec.ports`.
    pub ports: Vec<ServicePort>,
    /// `spec.publishNotReadyAddresses`.
    pub publish_not_ready: bool,
    /// `spec.internalTrafficPolicy` or `spec.externalTrafficPolicy` is `Local`: nodes send traffic to their own endpoints.
    pub local: bool,
    /// `spec.externalName`, as written.
    pub external_name: Name,
    /// `spec.externalIPs`, and of `status.loadBalancer.ingress` the address or else the hostname of each, in order.
    pub outside: ThinVec<SliceAddress>,
    /// `spec.trafficDistribution`.
    pub traffic_distribution: Option<TrafficDistribution>,
    /// Topology hints are asked for by annotation (`Auto` or `auto`).
    pub topology_auto: bool,
}

/// `spec.type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServiceType {
    /// `ClusterIP`, also the meaning of an absent or unknown type
    #[default]
    ClusterIp,
    /// `NodePort`
    NodePort,
    /// `LoadBalancer`
    LoadBalancer,
    /// `ExternalName`
    ExternalName,
}

/// The Service's own addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ClusterIp {
    /// `clusterIP` is empty: an ExternalName Service, or none assigned yet.
    #[default]
    Unset,
    /// `clusterIP: None`: headless.
    Headless,
    /// One address, or one per family, in order.
    Addresses(SmallVec<[IpAddr; 2]>),
}

/// An entry of `spec.ports`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Its name; empty if there is only one.
    pub name: Name,
    /// Its protocol.
    pub protocol: Protocol,
    /// The port at the Service's own address.
    pub port: i32,
    /// The port at the pod.
    pub target: TargetPort,
    /// `appProtocol`.
    pub app_protocol: Option<Name>,
}

/// `targetPort`: a number, or the name of a container's port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetPort {
    /// Used as it is; the pod need not declare it.
    Number(i32),
    /// Looked up in each pod.
    Named(Name),
}

/// `spec.trafficDistribution`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrafficDistribution {
    /// `PreferClose`: the older name of `PreferSameZone`, told apart for those who count.
    PreferClose,
    /// `PreferSameZone`
    PreferSameZone,
    /// `PreferSameNode`
    PreferSameNode,
    /// Anything else: of some implementation, and no hints to us.
    Other,
}

impl Service {
    /// Whether the endpoint controllers make its endpoints: it has a selector and is not an ExternalName.
    pub fn selects(&self) -> bool {
        self.kind != ServiceType::ExternalName && !self.selector.is_empty()
    }

    /// Whether it is an ExternalName Service.
    pub fn is_external(&self) -> bool {
        self.kind == ServiceType::ExternalName
    }

    /// Whether it has no address of its own: `clusterIP` is `None`.
    pub fn is_headless(&self) -> bool {
        self.cluster_ip == ClusterIp::Headless
    }

    /// Whether its endpoints carry the label `service.kubernetes.io/headless`: `clusterIP` is `None` or empty.
    pub fn has_headless_label(&self) -> bool {
        !matches!(self.cluster_ip, ClusterIp::Addresses(_))
    }

    /// The families its slices are made for, primary first: `ipFamilies`, else that of `clusterIP`, else both
    /// (Kubernetes `staging/src/k8s.io/endpointslice/utils.go`).
    pub fn slice_families(&self) -> SmallVec<[Family; 2]> {
        if !self.families.is_empty() {
            return self.families.clone();
        }
        match &self.cluster_ip {
            ClusterIp::Addresses(ips) => ips.iter().take(1).map(|ip| Family::of(*ip)).collect(),
            ClusterIp::Headless | ClusterIp::Unset => SmallVec::from_slice(&[Family::V4, Family::V6]),
        }
    }

    /// Its own addresses; none when it is headless or external.
    pub fn cluster_ips(&self) -> &[IpAddr] {
        match &self.cluster_ip {
            ClusterIp::Addresses(ips) => ips,
            ClusterIp::Headless | ClusterIp::Unset => &[],
        }
    }
}

#[derive(Deserialize)]
struct Wire {
    #[serde(default, deserialize_with = "null_is_default")]
    metadata: WireMeta,
    #[serde(default, deserialize_with = "null_is_default")]
    spec: Spec,
    #[serde(default, deserialize_with = "null_is_default")]
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default, deserialize_with = "null_is_default")]
    load_balancer: LoadBalancer,
}

#[derive(Default, Deserialize)]
struct LoadBalancer {
    #[serde(default, deserialize_with = "null_is_default")]
    ingress: Vec<Ingress>,
}

#[derive(Deserialize)]
struct Ingress {
    #[serde(default, deserialize_with = "null_is_default")]
    ip: CompactString,
    #[serde(default, deserialize_with = "null_is_default")]
    hostname: CompactString,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default, rename = "type", deserialize_with = "null_is_default")]
    kind: CompactString,
    #[serde(default)]
    selector: Labels,
    #[serde(default, rename = "clusterIP", deserialize_with = "null_is_default")]
    cluster_ip: CompactString,
    #[serde(default, rename = "clusterIPs", deserialize_with = "null_is_default")]
    cluster_ips: Vec<CompactString>,
    #[serde(default, deserialize_with = "null_is_default")]
    ip_families: SmallVec<[Family; 2]>,
    #[serde(default, deserialize_with = "null_is_default")]
    ports: Vec<Port>,
    #[serde(default, deserialize_with = "null_is_default")]
    publish_not_ready_addresses: bool,
    #[serde(default, deserialize_with = "null_is_default")]
    internal_traffic_policy: CompactString,
    #[serde(default, deserialize_with = "null_is_default")]
    external_traffic_policy: CompactString,
    #[serde(default, rename = "externalIPs", deserialize_with = "null_is_default")]
    external_ips: Vec<CompactString>,
    #[serde(default, deserialize_with = "null_is_default")]
    external_name: Name,
    #[serde(default, deserialize_with = "null_is_default")]
    traffic_distribution: CompactString,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Port {
    #[serde(default, deserialize_with = "null_is_default")]
    name: Name,
    #[serde(default, deserialize_with = "null_is_default")]
    protocol: Protocol,
    #[serde(default, deserialize_with = "null_is_default")]
    port: i32,
    target_port: Option<IntOrName>,
    app_protocol: Option<Name>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum IntOrName {
    Int(i32),
    Name(Name),
}

impl Decode for Service {
    type Api = k8s_openapi::api::core::v1::Service;

    fn decode(json: &str) -> Result<Self, DecodeError> {
        let wire: Wire = serde_json::from_str(json)?;
        let cluster_ip = match wire.spec.cluster_ip.as_str() {
            "" => ClusterIp::Unset,
            "None" => ClusterIp::Headless,
            first => {
                let rest = wire.spec.cluster_ips.iter().skip(1).map(CompactString::as_str);
                let ips = std::iter::once(first).chain(rest).map(read_cluster_ip);
                ClusterIp::Addresses(ips.collect::<Result<_, _>>()?)
            }
        };
        // The older annotation wins where both are set, whatever it says.
        let annotations = &wire.metadata.annotations;
        let topology = annotations
            .get(well_known::TOPOLOGY_HINTS)
            .or_else(|| annotations.get(well_known::TOPOLOGY_MODE));
        Ok(Self {
            kind: match wire.spec.kind.as_str() {
                "NodePort" => ServiceType::NodePort,
                "LoadBalancer" => ServiceType::LoadBalancer,
                "ExternalName" => ServiceType::ExternalName,
                _ => ServiceType::ClusterIp,
            },
            selector: wire.spec.selector,
            cluster_ip,
            families: each_once(wire.spec.ip_families),
            ports: wire.spec.ports.into_iter().map(ServicePort::from).collect(),
            publish_not_ready: wire.spec.publish_not_ready_addresses,
            local: [&wire.spec.internal_traffic_policy, &wire.spec.external_traffic_policy]
                .into_iter()
                .any(|policy| policy == "Local"),
            external_name: wire.spec.external_name,
            outside: outside(&wire.spec.external_ips, &wire.status.load_balancer.ingress),
            traffic_distribution: match wire.spec.traffic_distribution.as_str() {
                "" => None,
                "PreferClose" => Some(TrafficDistribution::PreferClose),
                "PreferSameZone" => Some(TrafficDistribution::PreferSameZone),
                "PreferSameNode" => Some(TrafficDistribution::PreferSameNode),
                _ => Some(TrafficDistribution::Other),
            },
            topology_auto: topology.is_some_and(|mode| mode == "Auto" || mode == "auto"),
            meta: wire.metadata.into(),
        })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

/// Each family once: a Service that names one twice has no more slices for it.
fn each_once(families: SmallVec<[Family; 2]>) -> SmallVec<[Family; 2]> {
    let mut once = SmallVec::new();
    for family in families {
        if !once.contains(&family) {
            once.push(family);
        }
    }
    once
}

impl From<Port> for ServicePort {
    fn from(wire: Port) -> Self {
        let target = match wire.target_port {
            // The API server defaults an absent or zero target to the port itself.
            None | Some(IntOrName::Int(0)) => TargetPort::Number(wire.port),
            Some(IntOrName::Int(number)) => TargetPort::Number(number),
            Some(IntOrName::Name(name)) if name.is_empty() => TargetPort::Number(wire.port),
            Some(IntOrName::Name(name)) => TargetPort::Named(name),
        };
        Self {
            name: wire.name,
            protocol: wire.protocol,
            port: wire.port,
            target,
            app_protocol: wire.app_protocol,
        }
    }
}

/// Addresses outside of the cluster. What is neither an address nor a name is nobody's to reach, and left out.
fn outside(ips: &[CompactString], ingress: &[Ingress]) -> ThinVec<SliceAddress> {
    let ips = ips.iter().filter_map(|text| parse_ip(text).map(SliceAddress::Ip));
    let ingress = ingress.iter().filter_map(|entry| match entry.ip.as_str() {
        "" if entry.hostname.is_empty() => None,
        "" => Some(SliceAddress::Name(entry.hostname.as_str().into())),
        ip => parse_ip(ip).map(SliceAddress::Ip),
    });
    ips.chain(ingress).collect()
}

fn read_cluster_ip(text: &str) -> Result<IpAddr, DecodeError> {
    parse_ip(text).ok_or_else(|| DecodeError(format!("spec.clusterIP: {text:?} is not an IP address")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(spec: &str) -> Service {
        Service::decode(&format!(r#"{{"metadata":{{"name":"s"}},"spec":{spec}}}"#)).unwrap()
    }

    #[test]
    fn addresses_of_both_families_in_order() {
        let service =
            service(r#"{"clusterIP":"fd00::1","clusterIPs":["fd00::1","10.96.0.1"],"selector":{"a":"b"}}"#);
        let ips: Vec<_> = service.cluster_ips().iter().map(ToString::to_string).collect();
        assert_eq!(ips, ["fd00::1", "10.96.0.1"]);
        assert!(service.selects() && !service.has_headless_label());
        assert_eq!(service.slice_families().as_slice(), [Family::V6]);
    }

    #[test]
    fn a_family_counts_once() {
        let service = service(r#"{"ipFamilies":["IPv6","IPv4","IPv6"]}"#);
        assert_eq!(service.slice_families().as_slice(), [Family::V6, Family::V4]);
    }

    #[test]
    fn addresses_outside_of_the_cluster() {
        let service = Service::decode(
            r#"{"metadata":{"name":"s"},"spec":{"externalIPs":["192.0.2.1","nonsense"]},
                "status":{"loadBalancer":{"ingress":[{"ip":"2001:db8::1"},{"hostname":"lb.example.com"},{}]}}}"#,
        )
        .unwrap();
        let wanted = [
            SliceAddress::Ip("192.0.2.1".parse().unwrap()),
            SliceAddress::Ip("2001:db8::1".parse().unwrap()),
            SliceAddress::Name("lb.example.com".into()),
        ];
        assert_eq!(service.outside.as_slice(), wanted);
    }

    #[test]
    fn an_empty_selector_is_none() {
        assert!(!service(r#"{"selector":{}}"#).selects());
        assert!(!service(r#"{"selector":{"a":"b"},"type":"ExternalName"}"#).selects());
    }

    #[test]
    fn either_policy_keeps_traffic_local() {
        assert!(service(r#"{"internalTrafficPolicy":"Local"}"#).local);
        assert!(service(r#"{"internalTrafficPolicy":"Cluster","externalTrafficPolicy":"Local"}"#).local);
        assert!(!service(r#"{"internalTrafficPolicy":"Cluster"}"#).local && !service("{}").local);
    }

    #[test]
    fn target_ports() {
        let service = service(
            r#"{"ports":[{"port":80},{"port":81,"targetPort":"web"},{"port":82,"targetPort":8082}]}"#,
        );
        let targets: Vec<_> = service.ports.into_iter().map(|port| port.target).collect();
        assert_eq!(
            targets,
            [TargetPort::Number(80), TargetPort::Named("web".into()), TargetPort::Number(8082)]
        );
    }

    #[test]
    fn what_cannot_be_read_says_where() {
        let error =
            Service::decode(r#"{"metadata":{"name":"s"},"spec":{"clusterIP":"nonsense"}}"#).unwrap_err();
        assert_eq!(error.to_string(), r#"spec.clusterIP: "nonsense" is not an IP address"#);
        assert!(Service::decode(r#"{"spec":{"selector":["a"]}}"#).is_err());
    }
}
