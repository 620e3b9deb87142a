//! Callsign's endpoint controllers: what Endpoints and EndpointSlices should be, and the least writes that make them so.
//!
//! ```text
//!   index ──Change──▶ queue ──▶ plan ──▶ write ──▶ Kubernetes API
//!                       ▲        ▲         │
//!                       │        └ overlay ┤ what was acknowledged and not yet seen
//!                       └──── retry ───────┘
//! ```
//!
//! * [`slices`] and [`endpoints`] plan: plain functions from a [`ServiceView`](callsign_shared::ServiceView) to
//!   [`Write`](plan::Write)s. They take the place of kube-controller-manager's endpoint-slice, endpoint-slice-mirroring
//!   and endpoint controllers, with the same labels, so that objects are taken over, and handed back, without a write.
//! * [`trigger`] keeps the times that consumers measure latency by.
//! * [`queue`] decides which Service is next; [`write`](mod@write) writes, and [`overlay`] remembers what was written until
//!   the watch tells of it.
//! * [`pace`] decides what may wait to be written with other changes, and [`minor`] what can afford to.
//! * [`gate`] says whether anything may be written at all: [`leader`] that only one replica does; [`guard`] closes it while
//!   another controller writes, [`fuse`] before most of what is there would be taken away.
//! * `events` posts Kubernetes Events, `journal` keeps what was written and why.
//! * [`Controller`] runs all that.

mod ask;
pub mod controller;
pub mod endpoints;
mod events;
pub mod fuse;
pub mod gate;
pub mod guard;
mod journal;
pub mod leader;
mod metrics;
pub mod minor;
mod mirror;
pub mod overlay;
pub mod pace;
pub mod plan;
mod ports;
pub mod queue;
pub mod slices;
mod sync;
mod synced;
pub mod trigger;
pub mod write;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod testing;

pub use controller::{Config, Controller, EndpointsMode, Mode};
pub use gate::{Closed, Gate, Holder};
pub use leader::{Candidate, Identity, Standing, Timing};
pub use pace::Patience;
pub use plan::Limits;
pub use write::Limit;
