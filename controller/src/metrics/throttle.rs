//! What holds requests back, at the time of the scrape.

use std::sync::Arc;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use super::signed;
use crate::write::{By, Throttle};

/// Tells the state of the throttle.
#[derive(Debug)]
pub(super) struct ThrottleState(pub(super) Arc<Throttle>);

impl Collector for ThrottleState {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let help = "Requests that were turned away or held back, by what did it";
        let mut family =
            encoder.encode_descriptor("callsign_controller_throttled", help, None, MetricType::Counter)?;
        for by in By::ALL {
            ConstCounter::new(self.0.throttled(by)).encode(family.encode_family(&[("by", by.as_str())])?)?;
        }
        let help = "How many Services may be written at once, as the API server answers";
        let family =
            encoder.encode_descriptor("callsign_controller_request_window", help, None, MetricType::Gauge)?;
        ConstGauge::new(signed(self.0.window())).encode(family)
    }
}
