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
//! * [`write`](mod@write) makes the bodies.

pub mod endpoints;
mod mirror;
pub mod plan;
mod ports;
pub mod slices;
pub mod trigger;
pub mod write;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod testing;
