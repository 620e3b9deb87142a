//! Metrics of the watches.

use std::sync::Arc;

use callsign_shared::watch::SyncState;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
};

/// The state of all watches at the time of the scrape.
#[derive(Debug)]
pub(crate) struct Watches(pub(crate) Arc<SyncState>);

impl Collector for Watches {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let help = "Objects that are kept though the last list lacks them, until another list confirms that they are gone";
        let name = "callsign_watch_doubted_objects";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (kind, doubted) in self.0.doubted() {
            let count = i64::try_from(doubted).unwrap_or(i64::MAX);
            ConstGauge::new(count).encode(family.encode_family(&[("kind", kind)])?)?;
        }
        Ok(())
    }
}
