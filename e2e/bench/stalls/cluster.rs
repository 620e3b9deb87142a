//! The cluster that is asked about, as an index and a zone, and the writer that changes it.

use std::{net::Ipv4Addr, sync::Arc, time::Instant};

use anyhow::{Context, Result};
use callsign_dns::{Zone, ZoneConfig};
use callsign_shared::{
    Feed, Index,
    index::Indexed,
    object::{Decode, EndpointSlice, Namespace, Service},
};

/// How many namespaces the Services are spread over.
const NAMESPACES: usize = 100;
/// The most endpoints of a slice.
const FULL: usize = 100;
/// Endpoints of the large Service.
pub(crate) const LARGE: usize = 5000;
/// Endpoints of each other headless Service.
const USUAL: usize = 100;
/// Changes that are taken from the feed at once.
const BATCH: usize = 256;

/// How large the cluster is.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    /// Services with an address of their own and no endpoints.
    pub(crate) plain: usize,
    /// Headless Services of a hundred endpoints with hostnames.
    pub(crate) headless: usize,
}

/// A headless Service.
#[derive(Clone, Copy)]
pub(crate) struct Headless {
    /// Its number: part of its name and of its endpoints' addresses.
    pub(crate) number: usize,
    pub(crate) endpoints: usize,
}

/// An index, a zone that follows it, and the means to change both.
pub(crate) struct Cluster {
    pub(crate) zone: Arc<Zone>,
    pub(crate) size: Size,
    index: Arc<Index>,
    feed: Feed,
    version: u64,
    random: fastrand::Rng,
}

/// How long an update took, nanoseconds.
#[derive(Clone, Copy, Default)]
pub(crate) struct Took {
    /// Reading the JSON.
    pub(crate) decode: u64,
    /// Taking it into the index.
    pub(crate) index: u64,
    /// Taking the change into the zone: after it the change is answered.
    pub(crate) zone: u64,
}

impl Cluster {
    pub(crate) fn new(size: Size) -> Result<Self> {
        let index = Arc::new(Index::new());
        for number in 0..NAMESPACES {
            apply::<Namespace>(&index, &format!(r#"{{"metadata":{{"name":"ns-{number}"}}}}"#))?;
        }
        for number in 0..size.plain {
            let [.., a, b] = (number as u32).to_be_bytes();
            apply::<Service>(&index, &service("vip", number, &format!("10.96.{a}.{b}")))?;
        }
        let mut version = 1;
        for headless in std::iter::once(Headless::LARGE).chain((1..=size.headless).map(Headless::usual)) {
            apply::<Service>(&index, &service("heads", headless.number, "None"))?;
            for slice in 0..headless.slices() {
                version += 1;
                apply::<EndpointSlice>(&index, &headless.slice(slice, version, None))?;
            }
        }
        let feed = index.subscribe(callsign_shared::index::Interest::default());
        let zone = Zone::new(ZoneConfig::cluster("cluster.local")?, Arc::clone(&index));
        while !feed.is_empty() {
            zone.apply(&feed.take(BATCH));
        }
        zone.set_synced();
        Ok(Self { zone: Arc::new(zone), size, index, feed, version, random: fastrand::Rng::with_seed(7) })
    }

    /// Adds a headless Service of this many endpoints.
    pub(crate) fn add(&mut self, number: usize, endpoints: usize) -> Result<Headless> {
        let headless = Headless { number, endpoints };
        apply::<Service>(&self.index, &service("heads", number, "None"))?;
        for slice in 0..headless.slices() {
            self.version += 1;
            apply::<EndpointSlice>(&self.index, &headless.slice(slice, self.version, None))?;
        }
        self.zone.apply(&self.feed.take(BATCH));
        Ok(headless)
    }

    /// A headless Service of the usual size.
    pub(crate) fn any(&mut self) -> Headless {
        Headless::usual(self.random.usize(1..=self.size.headless))
    }

    /// A slice of the Service as it is after one of its endpoints, chosen anew each time, has turned unready: the one before
    /// it is ready again.
    pub(crate) fn changed(&mut self, headless: Headless) -> String {
        self.version += 1;
        let slice = self.random.usize(0..headless.slices());
        let here = headless.endpoints.saturating_sub(slice * FULL).min(FULL);
        // With one endpoint there is nothing to choose from: it goes and comes.
        let unready = if here > 1 {
            Some(self.random.usize(0..here))
        } else {
            self.version.is_multiple_of(2).then_some(0)
        };
        headless.slice(slice, self.version, unready)
    }

    /// Takes in a slice as a watch and a follower would.
    pub(crate) fn take_in(&self, slice: &str) -> Result<Took> {
        let began = Instant::now();
        let slice = EndpointSlice::decode(slice).context("a slice of this program's")?;
        let decode = nanoseconds(began);
        let began = Instant::now();
        self.index.apply(slice);
        let index = nanoseconds(began);
        let began = Instant::now();
        while !self.feed.is_empty() {
            self.zone.apply(&self.feed.take(BATCH));
        }
        Ok(Took { decode, index, zone: nanoseconds(began) })
    }
}

impl Headless {
    /// The large one.
    pub(crate) const LARGE: Self = Self { number: 0, endpoints: LARGE };

    fn usual(number: usize) -> Self {
        Self { number, endpoints: USUAL }
    }

    pub(crate) fn name(self) -> String {
        format!("heads-{}.ns-{}.svc.cluster.local", self.number, self.number % NAMESPACES)
    }

    /// The address of an endpoint: no two Services share one.
    pub(crate) fn address(self, endpoint: usize) -> Ipv4Addr {
        let base = if self.number == 0 { 0 } else { LARGE + (self.number - 1) * USUAL };
        Ipv4Addr::from(0x0a80_0000 + (base + endpoint) as u32)
    }

    fn slices(self) -> usize {
        self.endpoints.div_ceil(FULL)
    }

    /// As the endpointslice controller writes it.
    fn slice(self, slice: usize, version: u64, unready: Option<usize>) -> String {
        let Self { number, endpoints } = self;
        let namespace = number % NAMESPACES;
        let here = endpoints.saturating_sub(slice * FULL).min(FULL);
        let endpoints: Vec<String> = (0..here)
            .map(|at| {
                let endpoint = slice * FULL + at;
                let ready = unready != Some(at);
                format!(
                    r#"{{"addresses":["{}"],"conditions":{{"ready":{ready},"serving":{ready},"terminating":false}},"hostname":"heads-{number}-{endpoint}","targetRef":{{"kind":"Pod","namespace":"ns-{namespace}","name":"heads-{number}-{endpoint}","uid":"6ba7b810-9dad-11d1-80b4-{number:04x}{endpoint:08x}"}},"nodeName":"node-{}","zone":"zone-{}"}}"#,
                    self.address(endpoint),
                    endpoint % 1000,
                    endpoint % 3,
                )
            })
            .collect();
        format!(
            r#"{{"metadata":{{"name":"heads-{number}-{slice:05}","namespace":"ns-{namespace}","uid":"7ba7b810-9dad-11d1-80b4-{number:04x}{slice:08x}","resourceVersion":"{version}","labels":{{"kubernetes.io/service-name":"heads-{number}","endpointslice.kubernetes.io/managed-by":"endpointslice-controller.k8s.io","service.kubernetes.io/headless":""}}}},"addressType":"IPv4","endpoints":[{}],"ports":[{{"name":"http","port":8080,"protocol":"TCP"}},{{"name":"metrics","port":9090,"protocol":"TCP"}}]}}"#,
            endpoints.join(",")
        )
    }
}

/// The name of a Service with an address of its own.
pub(crate) fn plain(number: usize) -> String {
    format!("vip-{number}.ns-{}.svc.cluster.local", number % NAMESPACES)
}

fn service(prefix: &str, number: usize, address: &str) -> String {
    format!(
        r#"{{"metadata":{{"name":"{prefix}-{number}","namespace":"ns-{}","resourceVersion":"1"}},"spec":{{"clusterIP":"{address}","clusterIPs":["{address}"],"ipFamilies":["IPv4"],"selector":{{"app":"{prefix}-{number}"}},"ports":[{{"name":"http","port":80,"targetPort":8080}},{{"name":"metrics","port":9090,"targetPort":9090}}]}}}}"#,
        number % NAMESPACES
    )
}

fn apply<T: Indexed>(index: &Index, object: &str) -> Result<()> {
    index.apply(T::decode(object).with_context(|| object.to_owned())?);
    Ok(())
}

/// Since then, in nanoseconds.
pub(crate) fn nanoseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
