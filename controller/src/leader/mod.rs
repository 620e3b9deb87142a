//! Leader election: of several replicas one writes, and another takes its place when it is gone.
//!
//! ```text
//!               ┌─ election (pure): what to do, given the Lease and the time
//!   Candidate ──┤
//!               └─ Lease ◀── get, create, update, watch ──▶ API server
//!       │ until when             │ who leads
//!       ▼                        ▼
//!     gate                    terms ──run, stop──▶ Controller
//! ```
//!
//! * Every replica watches and indexes everything, so whoever takes over begins to write at once. One that loses the Lease
//!   goes on to answer, and is a candidate again.
//! * The [`Gate`](crate::Gate) is told until which moment the Lease is ours; it closes by the clock, not by this task.
//! * Whoever ends gives the Lease back, when its last write is answered. Others watch the Lease and take it at once; where
//!   they may not watch it, they look each retry period.
//! * A holder whose process is certainly dead is not waited for ([`identity`]).
//!
//! The Lease is the one that client-go writes, and `kubectl get lease` tells the holder. The crate kube-lease-manager is not
//! used: it compares others' renewal times with its own wall clock, patches without a resource version, does not watch,
//! and does not tell when a renewal was begun, which is the moment the gate needs.

mod candidate;
mod ear;
pub mod election;
pub mod identity;
mod metrics;
mod terms;

pub use candidate::{Candidate, Config, Standing};
pub use election::Timing;
pub use identity::Identity;
pub use terms::Terms;
