//! Labels, and what metrics call things.

use callsign_shared::{
    journal::Listing,
    object::{EndpointSlice, Endpoints, TrafficDistribution, well_known},
};
use prometheus_client::encoding::EncodeLabelSet;

use crate::{plan::Tally, queue::Class, write::Body};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct QueueName {
    pub(super) name: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct WriteLabels {
    pub(crate) kind: &'static str,
    pub(crate) verb: &'static str,
    pub(crate) result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct KindVerb {
    pub(crate) kind: &'static str,
    pub(crate) verb: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct KindLabel {
    pub(crate) kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct KindClass {
    pub(crate) kind: &'static str,
    pub(crate) class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct KindResult {
    pub(crate) kind: &'static str,
    pub(crate) result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ClassLabel {
    pub(crate) class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ResultLabel {
    pub(crate) result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct OperationLabel {
    pub(crate) operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct TrafficLabels {
    topology: &'static str,
    traffic_distribution: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct DistributionLabel {
    pub(super) traffic_distribution: &'static str,
}

/// A kind that is written and counted.
pub(crate) trait Counted: Body + Listing {
    /// Whether it is made from Endpoints rather than from a selector.
    fn is_mirrored(&self) -> bool;
}

impl Counted for EndpointSlice {
    fn is_mirrored(&self) -> bool {
        self.managed_by().is_some_and(|by| by == well_known::MIRRORING_CONTROLLER)
    }
}

impl Counted for Endpoints {
    fn is_mirrored(&self) -> bool {
        false
    }
}

impl TrafficLabels {
    /// Upstream's: a distribution counts only where the annotation does not take its place.
    pub(super) fn of(tally: &Tally) -> Self {
        if tally.topology_auto {
            return Self { topology: "Auto", traffic_distribution: "" };
        }
        Self { topology: "Disabled", traffic_distribution: tally.distribution.map_or("", distribution) }
    }
}

/// A distribution as the API spells it; one that nobody here knows as upstream counts it.
pub(super) fn distribution(distribution: TrafficDistribution) -> &'static str {
    match distribution {
        TrafficDistribution::PreferClose => "PreferClose",
        TrafficDistribution::PreferSameZone => "PreferSameZone",
        TrafficDistribution::PreferSameNode => "PreferSameNode",
        TrafficDistribution::Other => "ImplementationSpecific",
    }
}

/// All classes, the most urgent first.
pub(super) const CLASSES: [Class; 6] =
    [Class::Removal, Class::Addition, Class::Edit, Class::Echo, Class::Endpoints, Class::Startup];

/// The name of a class.
pub(crate) fn class(class: Class) -> &'static str {
    match class {
        Class::Removal => "removal",
        Class::Addition => "addition",
        Class::Edit => "edit",
        Class::Echo => "echo",
        Class::Endpoints => "endpoints",
        Class::Startup => "startup",
    }
}
