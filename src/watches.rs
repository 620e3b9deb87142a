//! Metrics of what is known of the clusters, and of how it comes in: watches, endpoints, zones.
//!
//! Everything is counted where it changes and put together here at the scrape. A cluster or a zone that no configuration has
//! any more is not told of: it is held weakly.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Weak},
};

use callsign_dns::{Zone, plugin::Meter};
use callsign_shared::{Index, membership::Standing, watch::Watching};
use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

/// The metrics of all clusters of a process.
#[derive(Debug)]
pub(crate) struct ClusterMeter(Arc<Told>);

/// A cluster that is told of as long as somebody has it.
pub(crate) struct ToldCluster {
    /// Where its API server is.
    pub(crate) host: String,
    /// What is known of it.
    pub(crate) index: Arc<Index>,
    /// Its watches, once they have begun.
    pub(crate) sync: crate::clusters::Syncing,
    /// Whether it has memberships: pods are watched for its controllers.
    pub(crate) controller: bool,
}

/// What is told of.
#[derive(Default)]
struct Told {
    clusters: Mutex<Vec<Weak<ToldCluster>>>,
    zones: Mutex<Vec<Weak<Zone>>>,
}

impl Meter for ClusterMeter {
    fn register(registry: &mut Registry) -> Self {
        let told = Arc::<Told>::default();
        registry.register_collector(Box::new(Page(Arc::clone(&told))));
        Self(told)
    }
}

impl ClusterMeter {
    /// Tells of a cluster.
    pub(crate) fn add_cluster(&self, cluster: &Arc<ToldCluster>) {
        let mut clusters = self.0.clusters.lock();
        clusters.retain(|cluster| cluster.strong_count() > 0);
        clusters.push(Arc::downgrade(cluster));
    }

    /// Tells of a zone.
    pub(crate) fn add_zone(&self, zone: &Arc<Zone>) {
        let mut zones = self.0.zones.lock();
        zones.retain(|zone| zone.strong_count() > 0);
        zones.push(Arc::downgrade(zone));
    }
}

/// What is told of the watches of one kind at one API server, of which there may be several.
#[derive(Debug)]
struct Kind {
    watching: Watching,
    objects: usize,
}

/// What is told of the zones of one name.
#[derive(Debug, Default)]
struct ZoneFigures {
    unsynced: bool,
    services: usize,
    endpoints: usize,
}

#[derive(Debug)]
struct Page(Arc<Told>);

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let clusters: Vec<Arc<ToldCluster>> = {
            let clusters = self.0.clusters.lock();
            clusters.iter().filter_map(Weak::upgrade).collect()
        };
        encode_watches(&kinds(&clusters), &mut encoder)?;
        encode_endpoints(&clusters, &mut encoder)?;
        let zones: Vec<Arc<Zone>> = {
            let zones = self.0.zones.lock();
            zones.iter().filter_map(Weak::upgrade).collect()
        };
        encode_zones(&zones, &mut encoder)
    }
}

/// The watches by API server and kind.
fn kinds(clusters: &[Arc<ToldCluster>]) -> BTreeMap<(String, &'static str), Kind> {
    let mut kinds: BTreeMap<(String, &'static str), Kind> = BTreeMap::new();
    for cluster in clusters {
        let Some(sync) = cluster.sync.get() else { continue };
        let counts = cluster.index.counts();
        for watching in sync.watching() {
            let count = counts.iter().find(|(kind, _)| *kind == watching.kind);
            let new = Kind { objects: count.map_or(0, |(_, count)| *count), watching };
            let key = (cluster.host.clone(), new.watching.kind);
            match kinds.get_mut(&key) {
                Some(known) => known.join(&new),
                None => drop(kinds.insert(key, new)),
            }
        }
    }
    kinds
}

impl Kind {
    /// The worse of two watches of one kind; counts are added up.
    fn join(&mut self, other: &Self) {
        let (ours, theirs) = (&mut self.watching, &other.watching);
        ours.synced &= theirs.synced;
        ours.lag = ours.lag.max(theirs.lag);
        ours.lists += theirs.lists;
        ours.events += theirs.events;
        for ((_, count), (_, more)) in ours.failures.iter_mut().zip(theirs.failures) {
            *count += more;
        }
        ours.unreadable = ours.unreadable.max(theirs.unreadable);
        ours.doubted = ours.doubted.max(theirs.doubted);
        self.objects = self.objects.max(other.objects);
    }
}

/// A gauge of each kind: name, help, value.
type GaugeOfKind = (&'static str, &'static str, fn(&Kind) -> f64);

const GAUGES: [GaugeOfKind; 5] = [
    (
        "callsign_watch_synced",
        "1 once the kind has been listed completely; nothing is answered or written before every kind is",
        |kind| f64::from(u8::from(kind.watching.synced)),
    ),
    (
        "callsign_watch_lag_seconds",
        "For how long nothing has been heard of the kind while no watch of it is open; 0 while one is",
        |kind| kind.watching.lag.as_secs_f64(),
    ),
    ("callsign_watch_objects", "Objects of the kind that are known", |kind| kind.objects as f64),
    (
        "callsign_watch_unreadable_objects",
        "Objects that cannot be read; their last good form is kept",
        |kind| kind.watching.unreadable as f64,
    ),
    (
        "callsign_watch_doubted_objects",
        "Objects that are kept though the last list lacks them, until another list confirms that they are gone",
        |kind| kind.watching.doubted as f64,
    ),
];

fn encode_watches(
    kinds: &BTreeMap<(String, &'static str), Kind>,
    encoder: &mut DescriptorEncoder<'_>,
) -> fmt::Result {
    for (name, help, value) in GAUGES {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for ((host, kind), figures) in kinds {
            let labels = [("host", host.as_str()), ("kind", kind)];
            ConstGauge::new(value(figures)).encode(family.encode_family(&labels)?)?;
        }
    }
    let help =
        "Complete lists of the kind: one at the start, and one whenever there is no version to go on from";
    let mut family = encoder.encode_descriptor("callsign_watch_lists", help, None, MetricType::Counter)?;
    for ((host, kind), figures) in kinds {
        counted(&mut family, &[("host", host), ("kind", kind)], figures.watching.lists)?;
    }
    let help = "Changes of objects of the kind that its watch told of";
    let mut family = encoder.encode_descriptor("callsign_watch_events", help, None, MetricType::Counter)?;
    for ((host, kind), figures) in kinds {
        counted(&mut family, &[("host", host), ("kind", kind)], figures.watching.events)?;
    }
    let help = "Errors of lists and watches of the kind, by what was wrong";
    let mut family = encoder.encode_descriptor("callsign_watch_errors", help, None, MetricType::Counter)?;
    for ((host, kind), figures) in kinds {
        for (failure, count) in figures.watching.failures {
            let labels = [("host", host.as_str()), ("kind", kind), ("reason", failure.as_str())];
            counted(&mut family, &labels, count)?;
        }
    }
    Ok(())
}

fn counted(family: &mut MetricEncoder<'_>, labels: &[(&str, &str)], count: u64) -> fmt::Result {
    ConstCounter::new(count).encode(family.encode_family(&labels)?)
}

fn encode_endpoints(clusters: &[Arc<ToldCluster>], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let mut hosts: BTreeMap<&str, [(Standing, usize); Standing::ALL.len()]> = BTreeMap::new();
    for cluster in clusters.iter().filter(|cluster| cluster.controller) {
        hosts.insert(&cluster.host, cluster.index.standings());
    }
    if hosts.is_empty() {
        return Ok(());
    }
    let help = "Pods that Services select, a pod as often as Services select it, by how they stand: ready, or the first \
                thing that keeps them from traffic";
    let mut family = encoder.encode_descriptor("callsign_endpoints", help, None, MetricType::Gauge)?;
    for (host, standings) in hosts {
        for (standing, count) in standings {
            let labels = [("host", host), ("state", standing.as_str())];
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            ConstGauge::new(count).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn encode_zones(zones: &[Arc<Zone>], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let mut named: BTreeMap<String, ZoneFigures> = BTreeMap::new();
    for zone in zones {
        let figures = named.entry(zone.primary().to_ascii()).or_default();
        figures.unsynced |= !zone.is_synced();
        figures.services += zone.len();
        figures.endpoints += zone.endpoints();
    }
    if named.is_empty() {
        return Ok(());
    }
    type GaugeOfZone = (&'static str, &'static str, fn(&ZoneFigures) -> usize);
    let gauges: [GaugeOfZone; 3] = [
        (
            "callsign_zone_synced",
            "1 once the cluster's names are answered; until then they get SERVFAIL",
            |zone| usize::from(!zone.unsynced),
        ),
        ("callsign_zone_services", "Services that have names in the zone", |zone| zone.services),
        ("callsign_zone_endpoints", "Endpoints that have names in the zone", |zone| zone.endpoints),
    ];
    for (name, help, value) in gauges {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (zone, figures) in &named {
            let value = i64::try_from(value(figures)).unwrap_or(i64::MAX);
            ConstGauge::new(value).encode(family.encode_family(&[("zone", zone.as_str())])?)?;
        }
    }
    Ok(())
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Told").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use callsign_dns::{ZoneConfig, plugin::Meters};
    use callsign_shared::{
        object::{Decode, Pod, Service},
        watch::SyncState,
    };

    use super::*;

    fn cluster(host: &str, controller: bool) -> Arc<ToldCluster> {
        let sync = crate::clusters::Syncing::default();
        sync.set(Arc::new(SyncState::default())).unwrap();
        Arc::new(ToldCluster { host: host.to_owned(), index: Arc::default(), sync, controller })
    }

    fn value(meters: &Meters, sample: &str) -> Option<f64> {
        let page = meters.encode().unwrap();
        let line = page.lines().find_map(|line| line.strip_prefix(sample));
        line.map(|value| value.trim().parse().unwrap())
    }

    #[test]
    fn memberships_are_told_where_there_are_controllers() {
        let meters = Meters::default();
        let meter = meters.of::<ClusterMeter>();
        let (with, without) = (cluster("a:443", true), cluster("b:443", false));
        meter.add_cluster(&with);
        meter.add_cluster(&without);
        for cluster in [&with, &without] {
            let service = r#"{"metadata":{"name":"s","namespace":"n"},"spec":{"selector":{"app":"w"}}}"#;
            cluster.index.apply(Service::decode(service).unwrap());
            let pod = r#"{"metadata":{"name":"p","namespace":"n","labels":{"app":"w"}}}"#;
            cluster.index.apply(Pod::decode(pod).unwrap());
        }
        assert_eq!(value(&meters, "callsign_endpoints{host=\"a:443\",state=\"no_address\"}"), Some(1.0));
        assert_eq!(value(&meters, "callsign_endpoints{host=\"a:443\",state=\"ready\"}"), Some(0.0));
        assert_eq!(value(&meters, "callsign_endpoints{host=\"b:443\",state=\"no_address\"}"), None);
        drop(with);
        assert_eq!(value(&meters, "callsign_endpoints{host=\"a:443\",state=\"no_address\"}"), None, "gone");
    }

    #[test]
    fn zones_of_one_name_are_told_together() {
        let meters = Meters::default();
        let meter = meters.of::<ClusterMeter>();
        let index = Arc::new(Index::new());
        let service = r#"{"metadata":{"name":"s","namespace":"n"},"spec":{"clusterIP":"10.96.0.9"}}"#;
        index.apply(Service::decode(service).unwrap());
        let zone = || {
            let config = ZoneConfig::cluster("cluster.local").unwrap();
            Arc::new(Zone::new(config, Arc::clone(&index)))
        };
        let (one, other) = (zone(), zone());
        meter.add_zone(&one);
        meter.add_zone(&other);
        one.set_synced();
        let of = |name: &str| value(&meters, &format!("callsign_zone_{name}{{zone=\"cluster.local.\"}}"));
        assert_eq!((of("synced"), of("services"), of("endpoints")), (Some(0.0), Some(2.0), Some(0.0)));
        drop(other);
        assert_eq!((of("synced"), of("services")), (Some(1.0), Some(1.0)));
    }
}
