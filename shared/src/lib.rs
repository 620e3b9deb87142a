//! The one index behind Callsign's two faces.
//!
//! ```text
//!   Kubernetes API ──list/watch──▶ watch ──▶ index ──Change──▶ controller, zone
//!                                              ▲
//!                                 membership ──┘  the one rule of who is an endpoint, and why
//! ```
//!
//! * [`object`] holds lean objects: only the fields that decide something, decoded straight from JSON.
//! * [`membership`] decides about one pod and one Service, and keeps the reason.
//! * Names and label sets are interned: what objects have in common is in memory once.
//! * [`index`] joins them under concurrent readers and tells its readers what changed.
//! * [`journal`] keeps what was written, and why.
//! * [`watch`] feeds the index from an API server.
//!
//! Nothing here writes to a cluster or answers a question; `controller` and `dns` do, and neither knows the other.

pub mod index;
mod intern;
pub mod journal;
pub mod labels;
pub mod membership;
pub mod name;
pub mod object;
pub mod texts;
pub mod watch;

pub use index::{Change, ChangeKey, Feed, Index, ServiceView};
pub use journal::Journal;
pub use labels::Labels;
pub use membership::{Membership, Reason};
pub use name::{Key, Name};
