//! What was not let through, by client.
//!
//! Clients whose addresses are made up are as many as there are addresses: those that are told apart are the first
//! [`CLIENTS`], the others are one. Counting is an addition to a number; it takes no lock and no memory.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter},
    registry::Registry,
};

use crate::plugin::Meter;

/// The most clients that are told apart; a power of two.
const CLIENTS: usize = 1024;
/// In how many places one of them may stand.
const PLACES: usize = 8;
/// What the others are called.
const OTHERS: &str = "other";

/// Both counters.
#[derive(Debug)]
pub(super) struct RrlMetrics {
    pub(super) responses: Arc<Exceeded>,
    pub(super) requests: Arc<Exceeded>,
}

/// A counter by client.
#[derive(Debug)]
pub(super) struct Exceeded {
    hasher: RandomState,
    clients: Box<[Client]>,
    others: AtomicU64,
}

#[derive(Debug, Default)]
struct Client {
    ip: OnceLock<IpAddr>,
    count: AtomicU64,
}

impl Default for Exceeded {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            clients: (0..CLIENTS).map(|_| Client::default()).collect(),
            others: AtomicU64::new(0),
        }
    }
}

impl Exceeded {
    /// Counts one of a client's.
    pub(super) fn count(&self, ip: IpAddr) {
        let first = self.hasher.hash_one(ip) as usize;
        let mut places = (0..PLACES).filter_map(|at| self.clients.get((first + at) % CLIENTS));
        let ours = places.find(|client| *client.ip.get_or_init(|| ip) == ip);
        ours.map_or(&self.others, |client| &client.count).fetch_add(1, Ordering::Relaxed);
    }

    fn encode(&self, name: &str, help: &str, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for client in &self.clients {
            if let Some(ip) = client.ip.get() {
                let labels = [("client_ip", ip.to_string())];
                let count = ConstCounter::new(client.count.load(Ordering::Relaxed));
                count.encode(family.encode_family(&labels)?)?;
            }
        }
        match self.others.load(Ordering::Relaxed) {
            0 => Ok(()),
            count => ConstCounter::new(count).encode(family.encode_family(&[("client_ip", OTHERS)])?),
        }
    }
}

#[derive(Debug)]
struct Page(Arc<Exceeded>, Arc<Exceeded>);

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Counter of responses exceeding QPS limit.";
        self.0.encode("coredns_rrl_responses_exceeded", help, &mut encoder)?;
        let help = "Counter of requests exceeding QPS limit.";
        self.1.encode("coredns_rrl_requests_exceeded", help, &mut encoder)
    }
}

impl Meter for RrlMetrics {
    fn register(registry: &mut Registry) -> Self {
        let metrics = Self { responses: Arc::default(), requests: Arc::default() };
        let page = Page(Arc::clone(&metrics.responses), Arc::clone(&metrics.requests));
        registry.register_collector(Box::new(page));
        metrics
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::plugin::Meters;

    #[test]
    fn clients_are_counted_and_too_many_are_one() {
        let meters = Meters::default();
        let metrics = meters.of::<RrlMetrics>();
        for number in 0..5000_u32 {
            metrics.responses.count(Ipv4Addr::from(number).into());
        }
        for _ in 0..3 {
            metrics.requests.count(Ipv4Addr::LOCALHOST.into());
        }
        let page = meters.encode().unwrap();
        assert!(page.contains("coredns_rrl_requests_exceeded_total{client_ip=\"127.0.0.1\"} 3\n"), "{page}");
        let name = "coredns_rrl_responses_exceeded_total{";
        let lines: Vec<&str> = page.lines().filter(|line| line.starts_with(name)).collect();
        assert!(lines.len() <= CLIENTS + 1, "{} lines", lines.len());
        let total: u64 =
            lines.iter().map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum();
        assert_eq!(total, 5000);
        assert!(lines.iter().any(|line| line.contains("client_ip=\"other\"")));
    }
}
