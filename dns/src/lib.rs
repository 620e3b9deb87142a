//! Callsign's DNS: the cluster's names, the answers, and the sockets around them.
//!
//! ```text
//!   index ──Change──▶ zone ──▶ plugins ──▶ block ◀── server (udp · tcp · tls · https)
//!                                ▲           ▲
//!   Corefile ──▶ directives ─────┴───────────┘        answer: bytes ⇄ questions and replies
//! ```
//!
//! * [`zone`] holds every name of the cluster as RRsets that are ready to be copied, and follows the index's changes.
//! * [`mod@answer`] reads requests, resolves names of a zone and writes answers; all of it pure.
//! * [`work`] counts what tests bound.
//! * [`folded`] is a name as it is compared.
//! * [`corefile`] is text into directives, [`block`] is directives into what is served, [`plugin`] is what a step of a block's
//!   chain is, and [`plugins`] are the steps.
//! * [`latency`] measures how long a change takes to be answered.
//! * [`server`] has the sockets and the limits. IO is there, and in the plugins that ask others or read files.

pub mod answer;
pub mod block;
pub mod corefile;
pub mod folded;
pub mod latency;
pub mod plugin;
pub mod plugins;
mod presentation;
pub mod server;
pub mod work;
pub mod zone;

/// The CoreDNS whose directives, messages and metrics these are, and ourselves.
pub const VERSION: &str = concat!("1.13.1+callsign-", env!("CARGO_PKG_VERSION"));

pub use answer::{Outcome, Transport, answer};
pub use latency::Latency;
pub use zone::{Pods, Zone, ZoneConfig};

#[cfg(test)]
mod testing;
