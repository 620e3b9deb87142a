//! Counters of connections over TCP, TLS and HTTPS.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use super::add_one;

/// Connections of all listeners of a process.
#[derive(Debug, Default)]
pub(in super::super) struct TcpMetrics {
    opened: AtomicU64,
    closed: AtomicU64,
    refused: AtomicU64,
    evicted: AtomicU64,
}

impl TcpMetrics {
    /// A connection was let in.
    pub(in super::super) fn opened(&self) {
        add_one(&self.opened);
    }

    /// A connection that had been let in has ended.
    pub(in super::super) fn closed(&self) {
        add_one(&self.closed);
    }

    /// A connection was not let in.
    pub(in super::super) fn refused(&self) {
        add_one(&self.refused);
    }

    /// An idle connection was ended for want of its place.
    pub(in super::super) fn evicted(&self) {
        add_one(&self.evicted);
    }

    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let [opened, closed, refused, evicted] =
            [&self.opened, &self.closed, &self.refused, &self.evicted].map(|all| all.load(Ordering::Relaxed));
        let open = i64::try_from(opened.saturating_sub(closed)).unwrap_or(i64::MAX);
        let help = "Connections over TCP, TLS and HTTPS that are open.";
        let gauge = MetricType::Gauge;
        ConstGauge::new(open).encode(encoder.encode_descriptor(
            "callsign_dns_tcp_connections_open",
            help,
            None,
            gauge,
        )?)?;
        for (name, help, count) in [
            ("callsign_dns_tcp_connections", "Connections that were let in.", opened),
            (
                "callsign_dns_tcp_connections_refused",
                "Connections that were not let in: as many as may be open are, and none of them is idle.",
                refused,
            ),
            (
                "callsign_dns_tcp_connections_evicted",
                "Idle connections that were ended for want of their places.",
                evicted,
            ),
        ] {
            let counter = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(count).encode(counter)?;
        }
        Ok(())
    }
}
