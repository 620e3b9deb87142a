//! What of a listener may change while it runs: a reload turns these instead of closing the port.

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use rustls::ServerConfig;

use super::{
    Limits,
    metrics::{HttpsMetrics, TcpMetrics},
};
use crate::block::Scheme;

/// How a listener speaks, its limits and its certificate.
#[derive(Debug)]
pub(super) struct Knobs {
    /// How it is spoken to.
    pub(super) scheme: Scheme,
    /// Bounds on what clients may cost. Connections keep those that they began with.
    pub(super) limits: ArcSwap<Limits>,
    /// Certificate and key; without them streams are not encrypted.
    pub(super) tls: ArcSwapOption<ServerConfig>,
    /// Where answers over HTTPS are counted.
    pub(super) https: Arc<HttpsMetrics>,
    /// Where connections are counted.
    pub(super) tcp: Arc<TcpMetrics>,
}

impl Knobs {
    /// Those of plain DNS.
    pub(super) fn plain(limits: Limits) -> Self {
        Self {
            scheme: Scheme::Dns,
            limits: ArcSwap::from_pointee(limits),
            tls: ArcSwapOption::empty(),
            https: Arc::default(),
            tcp: Arc::default(),
        }
    }
}
