//! Lean objects: of each watched kind only the fields that decide an endpoint, a write or an answer.
//!
//! A pod of a real cluster is 5 to 20 kB of JSON, most of it managed fields, environment and volumes. Decoding goes from
//! the text straight into these structs; what is not named here is skipped by the JSON reader and never allocated.
//!
//! Decoding is forgiving where the API server is: absent and `null` mean the default. What cannot be right (a number
//! where text must be, a selector that is a list) fails with [`DecodeError`], and [`Watched`] carries that failure with
//! the object's name, so that one bad object is logged and skipped and its watch goes on.

mod address;
mod endpoints;
mod identity;
mod meta;
mod namespace;
mod node;
mod pod;
mod port;
mod ready;
mod service;
mod slice;
mod stamp;
mod target;
mod watched;
mod writers;

pub use address::{AddressText, Family, is_special, parse_ip};
pub use endpoints::{Endpoints, EndpointsAddress, Subset};
pub use identity::{ResourceVersion, Uid};
pub use meta::{Meta, OwnerReference};
pub use namespace::Namespace;
pub use node::Node;
pub use pod::{ContainerPort, Phase, Pod, Readiness};
pub use port::{EndpointPort, Protocol};
pub use ready::{AnsweredSlice, ReadyAddresses};
pub use service::{ClusterIp, Service, ServicePort, ServiceType, TargetPort, TrafficDistribution};
pub use slice::{AddressType, Conditions, EndpointSlice, ForName, Hints, SliceAddress, SliceEndpoint};
pub use stamp::Stamp;
pub use target::{Target, TargetRef};
pub use watched::{Decode, DecodeError, Watched};
pub use writers::ForeignWrites;

/// Labels, annotations and values that the endpoint controllers and DNS read or write.
pub mod well_known {
    /// On an EndpointSlice: the Service it belongs to (KEP-752).
    pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
    /// On an EndpointSlice: who writes it.
    pub const SLICE_MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
    /// [`SLICE_MANAGED_BY`] of slices made from selectors.
    pub const SLICE_CONTROLLER: &str = "endpointslice-controller.k8s.io";
    /// [`SLICE_MANAGED_BY`] of slices mirrored from Endpoints.
    pub const MIRRORING_CONTROLLER: &str = "endpointslicemirroring-controller.k8s.io";
    /// On Endpoints: do not mirror when `"true"`.
    pub const SKIP_MIRROR: &str = "endpointslice.kubernetes.io/skip-mirror";
    /// On Endpoints: who writes it (KEP-4974).
    pub const ENDPOINTS_MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
    /// [`ENDPOINTS_MANAGED_BY`] of Endpoints made from selectors.
    pub const ENDPOINTS_CONTROLLER: &str = "endpoint-controller";
    /// On Endpoints and EndpointSlices of headless Services, with an empty value.
    pub const HEADLESS: &str = "service.kubernetes.io/headless";
    /// On Endpoints and EndpointSlices: when the change behind the write happened.
    pub const LAST_CHANGE_TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";
    /// On Endpoints that hold not all addresses.
    pub const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
    /// On Endpoints that are a leader election lock of old clients.
    pub const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
    /// kubectl's own record; never mirrored.
    pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
    /// On a Node: its zone.
    pub const ZONE: &str = "topology.kubernetes.io/zone";
    /// On a Service: `Auto` asks for topology hints.
    pub const TOPOLOGY_MODE: &str = "service.kubernetes.io/topology-mode";
    /// The older name of [`TOPOLOGY_MODE`], which wins over it.
    pub const TOPOLOGY_HINTS: &str = "service.kubernetes.io/topology-aware-hints";
    /// Callsign in `managedFields`.
    pub const FIELD_MANAGER: &str = "callsign";
    /// The program whose endpoint controllers Callsign takes the place of, in `managedFields`.
    pub const KUBE_CONTROLLER_MANAGER: &str = "kube-controller-manager";
    /// On a Service that asks whether any controller makes endpoints for it. Callsign never does.
    pub const CANARY: &str = "callsign.dev/canary";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Key, Labels, Membership, Name};

    /// What there is one of for each pod decides what a large cluster takes. A field more is to be a decision.
    #[test]
    fn what_a_pod_takes() {
        let sizes = [
            ("Name", size_of::<Option<Name>>(), 8),
            ("Labels", size_of::<Labels>(), 8),
            ("Key", size_of::<Key>(), 16),
            ("Pod", size_of::<Pod>(), 184),
            ("Membership", size_of::<Membership>(), 56),
            ("Target", size_of::<Option<Target>>(), 8),
            ("TargetRef", size_of::<TargetRef>(), 64),
            ("SliceEndpoint", size_of::<SliceEndpoint>(), 80),
            ("EndpointsAddress", size_of::<EndpointsAddress>(), 40),
        ];
        for (what, bytes, most) in sizes {
            assert!(bytes <= most, "{what} takes {bytes} bytes");
        }
    }
}
