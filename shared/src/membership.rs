//! Who is an endpoint, and why: the one rule that controller, DNS and explanations read.
//!
//! A membership is about one pod that a Service's selector matches. It says how the pod stands (ready, serving,
//! terminating), under which name and with which ports, and, where it is left out, the reason. Nothing else in the house
//! looks at a pod's phase or conditions.
//!
//! ```text
//!                         finished or no address (0)    node unknown           otherwise
//!   EndpointSlice         absent                        absent (1)             present, with its conditions
//!   Endpoints             absent                        present (2)            present (2)
//!   DNS                   absent                        absent (1)             present when `ready`
//! ```
//! (0) or only a [special](crate::object::is_special) one; (1) present when the Service publishes not-ready addresses;
//! (2) not while terminating, unless it publishes those; and only under the ports that the pod has.
//!
//! The rules are Kubernetes': `staging/src/k8s.io/endpointslice/{utils.go,reconciler.go,util/controller_utils.go}` and
//! `pkg/controller/endpoint/endpoints_controller.go`.

use std::{fmt, net::IpAddr, sync::Arc};

use thin_vec::ThinVec;

use crate::{
    name::Name,
    object::{EndpointPort, Family, Node, Pod, Service, ServicePort, Stamp, TargetPort, is_special},
};

/// The decision about one pod and one Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The pod.
    pub pod: Arc<Pod>,
    /// The zone of its Node.
    pub zone: Option<Name>,
    /// Its name under the Service: set when `spec.subdomain` is the Service's name and `spec.hostname` is set.
    pub hostname: Option<Name>,
    /// May receive traffic: (serving and not terminating), or the Service publishes not-ready addresses.
    pub ready: bool,
    /// The pod's Ready condition is True.
    pub serving: bool,
    /// The pod is being deleted.
    pub terminating: bool,
    /// The Service's ports at this pod, in the Service's order; named target ports the pod lacks are left out.
    pub ports: Arc<[EndpointPort]>,
    /// Named target ports that no container of the pod has.
    pub missing_ports: ThinVec<Name>,
    /// Whether the Service publishes not-ready addresses.
    pub publish_not_ready: bool,
    /// Whether the pod's Node is known. A pod without a known Node is no endpoint until it is.
    pub node_known: bool,
}

/// Why a pod that the selector matches receives no traffic, or not all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its phase is Succeeded or Failed.
    Finished,
    /// It has no IP address yet.
    NoAddress,
    /// It has an address that nothing can be sent to from elsewhere, and that the API server takes in no endpoint.
    SpecialAddress {
        /// The address.
        address: IpAddr,
    },
    /// It has none of the families of the Service.
    WrongFamily,
    /// Its Node is not known (or it has none).
    NodeUnknown,
    /// It is being deleted.
    Terminating,
    /// Its Ready condition is not True.
    NotReady {
        /// Since when.
        since: Option<Stamp>,
        /// The kubelet's words.
        message: Option<Name>,
    },
    /// A named target port that none of its containers has.
    NamedPortMissing {
        /// The name.
        port: Name,
    },
}

/// How a pod stands under a Service that selects it, in one word: ready, or the first thing that keeps it from traffic.
/// Every membership has exactly one, so that counts of them add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It receives traffic under every port.
    Ready,
    /// It receives traffic, but not under a port whose named target it lacks.
    NamedPortMissing,
    /// Its Ready condition is not True.
    NotReady,
    /// It is being deleted.
    Terminating,
    /// Its Node is not known (or it has none).
    NodeUnknown,
    /// It has no address of the Service's families.
    WrongFamily,
    /// All its addresses of those families are special ones.
    SpecialAddress,
    /// It has no IP address yet.
    NoAddress,
    /// Its phase is Succeeded or Failed.
    Finished,
}

impl Standing {
    /// All of them, those that receive traffic first.
    pub const ALL: [Self; 9] = [
        Self::Ready,
        Self::NamedPortMissing,
        Self::NotReady,
        Self::Terminating,
        Self::NodeUnknown,
        Self::WrongFamily,
        Self::SpecialAddress,
        Self::NoAddress,
        Self::Finished,
    ];

    /// As it stands in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::NamedPortMissing => "named_port_missing",
            Self::NotReady => "not_ready",
            Self::Terminating => "terminating",
            Self::NodeUnknown => "node_unknown",
            Self::WrongFamily => "wrong_family",
            Self::SpecialAddress => "special_address",
            Self::NoAddress => "no_address",
            Self::Finished => "finished",
        }
    }
}

impl Membership {
    /// Decides about `pod`, which `service` selects. `node` is the pod's Node if it is known.
    pub fn decide(service: &Service, pod: &Arc<Pod>, node: Option<&Node>) -> Self {
        let serving = pod.readiness.ready;
        let terminating = pod.meta.deleting;
        let mut missing_ports = ThinVec::new();
        let ports = (service.ports.iter())
            .filter_map(|port| match port_at(port, pod) {
                Some(number) => Some(EndpointPort {
                    name: Some(port.name.clone()),
                    port: Some(number),
                    protocol: port.protocol,
                    app_protocol: port.app_protocol.clone(),
                }),
                None => {
                    if let TargetPort::Named(name) = &port.target {
                        missing_ports.push(name.clone());
                    }
                    None
                }
            })
            .collect();
        let named_here = pod.subdomain.as_ref() == Some(&service.meta.key.name)
            && pod.meta.key.namespace == service.meta.key.namespace;
        Self {
            zone: node.and_then(|node| node.zone.clone()),
            hostname: pod.hostname.clone().filter(|_| named_here),
            ready: service.publish_not_ready || (serving && !terminating),
            serving,
            terminating,
            ports,
            missing_ports,
            publish_not_ready: service.publish_not_ready,
            node_known: node.is_some(),
            pod: Arc::clone(pod),
        }
    }

    /// Whether it is listed in the Service's EndpointSlices of `family`.
    pub fn in_slices(&self, family: Family) -> bool {
        self.is_live()
            && (self.node_known || self.publish_not_ready)
            && self.addresses(family).next().is_some()
    }

    /// Whether it is listed in the Service's Endpoints, under the ports it has, when `family` is the Service's primary.
    pub fn in_endpoints(&self, family: Family) -> bool {
        self.is_live()
            && (!self.terminating || self.publish_not_ready)
            && self.addresses(family).next().is_some()
    }

    /// Whether it is among `addresses` of its subset; otherwise it is among `notReadyAddresses`.
    pub fn ready_in_endpoints(&self) -> bool {
        self.publish_not_ready || self.serving
    }

    /// Whether DNS answers with it.
    pub fn answers(&self, family: Family) -> bool {
        self.ready && self.in_slices(family)
    }

    /// Its addresses of `family`, in the pod's order. Special ones are left out: one of them would have the API server
    /// refuse the whole object, and with it everybody else's endpoints.
    pub fn addresses(&self, family: Family) -> impl Iterator<Item = IpAddr> + '_ {
        self.pod.addresses(family).filter(|ip| !is_special(*ip))
    }

    /// How it stands under a Service of these families. Several things may be wrong at once: see [`Self::reasons`].
    pub fn standing(&self, families: &[Family]) -> Standing {
        let has = |family: &Family| self.addresses(*family).next().is_some();
        let has_any = |family: &Family| self.pod.addresses(*family).next().is_some();
        if self.pod.finished() {
            Standing::Finished
        } else if self.pod.ips.is_empty() {
            Standing::NoAddress
        } else if !families.iter().any(has) {
            if families.iter().any(has_any) { Standing::SpecialAddress } else { Standing::WrongFamily }
        } else if !self.node_known && !self.publish_not_ready {
            Standing::NodeUnknown
        } else if self.ready {
            if self.missing_ports.is_empty() { Standing::Ready } else { Standing::NamedPortMissing }
        } else if self.terminating {
            Standing::Terminating
        } else {
            Standing::NotReady
        }
    }

    /// Everything that keeps it, or one of its ports, from traffic, the first reason first. Empty when nothing does.
    pub fn reasons(&self, families: &[Family]) -> Vec<Reason> {
        if self.pod.finished() {
            return vec![Reason::Finished];
        }
        if self.pod.ips.is_empty() {
            return vec![Reason::NoAddress];
        }
        let special = self.pod.ips.iter().copied().filter(|ip| is_special(*ip));
        let mut reasons: Vec<_> = special.map(|address| Reason::SpecialAddress { address }).collect();
        if !families.iter().any(|family| self.pod.addresses(*family).next().is_some()) {
            reasons.push(Reason::WrongFamily);
        }
        if !self.node_known && !self.publish_not_ready {
            reasons.push(Reason::NodeUnknown);
        }
        if self.terminating && !self.ready {
            reasons.push(Reason::Terminating);
        }
        if !self.serving && !self.ready {
            let readiness = &self.pod.readiness;
            reasons.push(Reason::NotReady { since: readiness.since, message: readiness.message.clone() });
        }
        reasons.extend(self.missing_ports.iter().map(|port| Reason::NamedPortMissing { port: port.clone() }));
        reasons
    }

    fn is_live(&self) -> bool {
        !self.pod.finished() && !self.pod.ips.is_empty()
    }
}

/// The most of a kubelet's message that is said.
const MESSAGE: usize = 200;

/// In words, as they stand in logs, Events and the journal: `not ready since 2026-01-01T00:00:00Z: probe failed`.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished => f.write_str("finished"),
            Self::NoAddress => f.write_str("no address yet"),
            Self::SpecialAddress { address } => write!(f, "address {address} can be no endpoint"),
            Self::WrongFamily => f.write_str("no address of the family"),
            Self::NodeUnknown => f.write_str("node not known"),
            Self::Terminating => f.write_str("terminating"),
            Self::NotReady { since, message } => {
                f.write_str("not ready")?;
                if let Some(since) = since {
                    write!(f, " since {since}")?;
                }
                if let Some(message) = message.as_deref().filter(|message| !message.is_empty()) {
                    let end = message.char_indices().nth(MESSAGE).map_or(message.len(), |(at, _)| at);
                    write!(f, ": {}", message.get(..end).unwrap_or_default())?;
                }
                Ok(())
            }
            Self::NamedPortMissing { port } => write!(f, "no port named {port}"),
        }
    }
}

/// The number of a Service's port at a pod: a named target is the first port of that name and protocol, containers
/// before sidecars (Kubernetes `endpointslice/utils.go`, `FindPort`).
fn port_at(port: &ServicePort, pod: &Pod) -> Option<i32> {
    match &port.target {
        TargetPort::Number(number) => Some(*number),
        TargetPort::Named(name) => {
            pod.ports.iter().find(|p| p.name == *name && p.protocol == port.protocol).map(|p| p.number)
        }
    }
}

#[cfg(test)]
mod tests {
    use smallvec::SmallVec;

    use super::*;
    use crate::object::{ContainerPort, Phase, Protocol, Readiness};

    fn service() -> Service {
        let mut service = Service::default();
        service.meta.key = crate::Key::new("n", "s");
        service
    }

    fn pod() -> Pod {
        let mut pod = Pod { readiness: Readiness { ready: true, ..Readiness::default() }, ..Pod::default() };
        pod.meta.key = crate::Key::new("n", "p");
        pod.ips.push("10.0.0.1".parse().unwrap());
        pod
    }

    fn decide(service: &Service, pod: Pod) -> Membership {
        Membership::decide(service, &Arc::new(pod), Some(&Node::default()))
    }

    /// (phase, deleting, ready, publishes not ready) → (in slices, in Endpoints, answers)
    #[test]
    fn the_table_of_the_module() {
        let cases = [
            ((Phase::Live, false, true, false), (true, true, true)),
            ((Phase::Live, false, false, false), (true, true, false)),
            ((Phase::Live, false, false, true), (true, true, true)),
            ((Phase::Live, true, true, false), (true, false, false)),
            ((Phase::Live, true, true, true), (true, true, true)),
            ((Phase::Live, true, false, true), (true, true, true)),
            ((Phase::Failed, false, true, true), (false, false, false)),
            ((Phase::Succeeded, false, true, false), (false, false, false)),
        ];
        for ((phase, deleting, ready, publish), wanted) in cases {
            let mut service = service();
            service.publish_not_ready = publish;
            let mut pod = Pod { phase, ..pod() };
            pod.meta.deleting = deleting;
            pod.readiness.ready = ready;
            let it = decide(&service, pod);
            let got = (it.in_slices(Family::V4), it.in_endpoints(Family::V4), it.answers(Family::V4));
            assert_eq!(got, wanted, "{phase:?} deleting={deleting} ready={ready} publish={publish}");
            assert!(!it.in_slices(Family::V6));
        }
    }

    #[test]
    fn an_unknown_node_keeps_it_out_of_slices_only() {
        let it = Membership::decide(&service(), &Arc::new(pod()), None);
        assert!(!it.in_slices(Family::V4) && it.in_endpoints(Family::V4));
        assert_eq!(it.reasons(&[Family::V4]), [Reason::NodeUnknown]);
        let publishing = Service { publish_not_ready: true, ..service() };
        assert!(Membership::decide(&publishing, &Arc::new(pod()), None).in_slices(Family::V4));
    }

    #[test]
    fn a_special_address_is_no_endpoint() {
        let mut of_link = pod();
        of_link.ips = SmallVec::from_slice(&["169.254.1.1".parse().unwrap(), "fd00::1".parse().unwrap()]);
        let it = decide(&service(), of_link);
        assert!(!it.in_slices(Family::V4) && !it.in_endpoints(Family::V4) && !it.answers(Family::V4));
        assert!(it.in_slices(Family::V6));
        let address = "169.254.1.1".parse().unwrap();
        assert_eq!(it.reasons(&[Family::V4]), [Reason::SpecialAddress { address }]);
    }

    #[test]
    fn a_hostname_needs_the_services_subdomain() {
        let named = |subdomain: &str| {
            decide(&service(), Pod { hostname: Some("h".into()), subdomain: Some(subdomain.into()), ..pod() })
                .hostname
        };
        assert_eq!(named("s").as_deref(), Some("h"));
        assert_eq!(named("other"), None);
        assert_eq!(decide(&service(), Pod { subdomain: Some("s".into()), ..pod() }).hostname, None);
    }

    #[test]
    fn named_ports_match_name_and_protocol() {
        let port = |name: &str, target: &str| ServicePort {
            name: name.into(),
            protocol: Protocol::Tcp,
            port: 80,
            target: TargetPort::Named(target.into()),
            app_protocol: None,
        };
        let service = Service { ports: vec![port("a", "web"), port("b", "dns")], ..service() };
        let ports = Arc::from([
            ContainerPort { name: "dns".into(), number: 53, protocol: Protocol::Udp },
            ContainerPort { name: "web".into(), number: 8080, protocol: Protocol::Tcp },
            ContainerPort { name: "web".into(), number: 9090, protocol: Protocol::Tcp },
        ]);
        let it = decide(&service, Pod { ports, ..pod() });
        assert_eq!(it.ports.iter().map(|p| p.port).collect::<Vec<_>>(), [Some(8080)]);
        assert_eq!(it.reasons(&[Family::V4]), [Reason::NamedPortMissing { port: "dns".into() }]);
    }

    #[test]
    fn reasons_come_in_order() {
        let mut gone = pod();
        gone.meta.deleting = true;
        gone.readiness = Readiness { ready: false, since: None, message: Some("probe".into()) };
        let reasons = decide(&service(), gone).reasons(&[Family::V6]);
        let not_ready = Reason::NotReady { since: None, message: Some("probe".into()) };
        assert_eq!(reasons, [Reason::WrongFamily, Reason::Terminating, not_ready]);
        let no_address = Pod { ips: SmallVec::new(), ..pod() };
        assert_eq!(decide(&service(), no_address).reasons(&[Family::V4]), [Reason::NoAddress]);
    }

    /// A membership is ready exactly when nothing is found that keeps it from traffic, and its standing is among the reasons.
    #[test]
    fn a_standing_is_ready_or_the_first_reason() {
        let both = [Family::V4, Family::V6];
        let stands = |pod: Pod, families: &[Family]| {
            let it = decide(&service(), pod);
            let (standing, reasons) = (it.standing(families), it.reasons(families));
            assert_eq!(standing == Standing::Ready, reasons.is_empty(), "{standing:?} {reasons:?}");
            standing
        };
        let with = |edit: &dyn Fn(&mut Pod)| {
            let mut pod = pod();
            edit(&mut pod);
            stands(pod, &[Family::V4])
        };
        assert_eq!(stands(pod(), &both), Standing::Ready);
        assert_eq!(stands(pod(), &[Family::V6]), Standing::WrongFamily);
        assert_eq!(with(&|pod| pod.readiness.ready = false), Standing::NotReady);
        assert_eq!(with(&|pod| pod.meta.deleting = true), Standing::Terminating);
        assert_eq!(with(&|pod| pod.phase = Phase::Failed), Standing::Finished);
        assert_eq!(with(&|pod| pod.ips.clear()), Standing::NoAddress);
        assert_eq!(with(&|pod| pod.ips[0] = "127.0.0.1".parse().unwrap()), Standing::SpecialAddress);
        let unknown = Membership::decide(&service(), &Arc::new(pod()), None);
        assert_eq!(unknown.standing(&both), Standing::NodeUnknown);
        let mut it = decide(&service(), pod());
        it.missing_ports.push("web".into());
        assert_eq!(it.standing(&both), Standing::NamedPortMissing);
        let names: std::collections::BTreeSet<&str> = Standing::ALL.map(Standing::as_str).into();
        assert_eq!(names.len(), Standing::ALL.len());
    }
}
