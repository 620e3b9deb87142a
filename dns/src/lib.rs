//! Callsign's DNS: the cluster's names, the answers, and the sockets around them.
//!
//! ```text
//!   index ──Change──▶ zone ──▶ answer ◀──▶ server (udp · tcp)
//!                                │
//!                                └─ names of others ──▶ forward
//! ```
//!
//! * [`zone`] holds every name of the cluster as RRsets that are ready to be copied, and follows the index's changes.
//! * [`mod@answer`] is one pure function from a request to its answer.
//! * [`latency`] measures how long a change takes to be answered.
//! * [`server`] has the sockets, the limits and the forwarder; all IO is there.

pub mod answer;
pub mod block;
pub mod corefile;
pub mod latency;
pub mod plugin;
pub mod plugins;
mod presentation;
pub mod server;
pub mod zone;

/// The CoreDNS whose directives, messages and metrics these are, and ourselves.
pub const VERSION: &str = concat!("1.13.1+callsign-", env!("CARGO_PKG_VERSION"));

pub use answer::{Outcome, Transport, answer};
pub use latency::Latency;
pub use zone::{Pods, Zone, ZoneConfig};

#[cfg(test)]
mod testing;
