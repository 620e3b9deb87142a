//! What a name is in the cluster: which answers are right depends on it.

use callsign_dns::zone::{Found, Kind, Place, Zone};
use hickory_proto::rr::Name;

/// What a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// In a zone of the cluster, which was not looked at.
    Unknown,
    /// Not one of the cluster's.
    Outside,
    /// Not there, and nothing is below it.
    Nothing,
    /// Not there, below a name made of an address: `x.10-0-0-1.ns.pod.cluster.local`.
    BelowPod,
    /// A zone's own name.
    Apex,
    /// `ns.dns`, which SOA records name.
    NameServer,
    /// An ExternalName Service.
    Alias,
    /// There, or names are below it.
    There,
}

/// The zones whose names are the cluster's.
#[derive(Clone, Debug)]
pub(crate) struct Zones {
    /// In lower case, with the dot at the end.
    names: Vec<String>,
    /// Whether one of them is written with capital letters in the configuration.
    pub(crate) mixed_case: bool,
}

impl Zones {
    /// These zones; `mixed_case` says whether one of them is written with capital letters where the other server reads it.
    pub(crate) fn new<'a>(names: impl IntoIterator<Item = &'a Name>, mixed_case: bool) -> Self {
        Self { names: names.into_iter().map(|name| name.to_string().to_lowercase()).collect(), mixed_case }
    }

    /// Whether a name, in lower case with the dot at its end, is in one of them.
    pub(crate) fn hold(&self, name: &str) -> bool {
        self.names.iter().any(|zone| {
            name.strip_suffix(zone.as_str()).is_some_and(|before| before.is_empty() || before.ends_with('.'))
        })
    }
}

impl Standing {
    /// What a name is in this cluster. What is not there and in a zone of `passed_on` is asked of others.
    pub(crate) fn of(zone: &Zone, passed_on: &Zones, name: &Name) -> Self {
        let passed_on = passed_on.hold(&name.to_string().to_lowercase());
        zone.look(name, |found| match found {
            Found::Outside => Self::Outside,
            Found::In { place, zone_labels } => match place {
                Place::Nothing if passed_on => Self::Outside,
                Place::Empty if passed_on && name.to_string().to_lowercase().ends_with(".arpa.") => {
                    Self::Outside
                }
                Place::Nothing if is_below_pod(name, zone_labels) => Self::BelowPod,
                Place::Nothing => Self::Nothing,
                Place::Apex => Self::Apex,
                Place::NameServer => Self::NameServer,
                Place::Service(names) if matches!(names.kind, Kind::External(_)) => Self::Alias,
                _ => Self::There,
            },
        })
    }

    /// What can be said of a name without looking at the cluster.
    pub(crate) fn without_cluster(zones: &Zones, name: &Name) -> Self {
        if zones.hold(&name.to_string().to_lowercase()) { Self::Unknown } else { Self::Outside }
    }
}

/// Whether a name has labels before those of a pod's name.
fn is_below_pod(name: &Name, zone_labels: usize) -> bool {
    let labels: Vec<&[u8]> = name.iter().collect();
    let Some(inner) = labels.len().checked_sub(zone_labels).and_then(|count| labels.get(..count)) else {
        return false;
    };
    matches!(inner, [_, .., _, _, pod] if pod.eq_ignore_ascii_case(b"pod"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::diff) fn zones() -> Zones {
        let names = ["cluster.local.", "in-addr.arpa."].map(|name| name.parse::<Name>().unwrap());
        Zones::new(&names, false)
    }

    #[test]
    fn names_and_zones() {
        let zones = zones();
        for inside in ["cluster.local.", "a.cluster.local.", "1.in-addr.arpa."] {
            assert!(zones.hold(inside), "{inside}");
        }
        for outside in [".", "local.", "acluster.local.", "cluster.local.example."] {
            assert!(!zones.hold(outside), "{outside}");
        }
        let below = |name: &str| is_below_pod(&name.parse().unwrap(), 2);
        assert!(below("x.10-0-0-1.ns.pod.cluster.local."));
        assert!(below("y.x.10-0-0-1.ns.POD.cluster.local."));
        assert!(!below("10-0-0-1.ns.pod.cluster.local.") && !below("x.web.ns.svc.cluster.local."));
    }
}
