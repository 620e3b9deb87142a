//! The embedded API server and the harness of the black-box tests.
//!
//! [`apiserver`] is a test double and a sandbox, never a product: it keeps everything in memory, trusts everybody and
//! knows eleven kinds. It exists so that Callsign can be tried and tested with real HTTP, the stock `kubectl` and
//! kube-rs where no cluster is at hand.

pub mod apiserver;
#[cfg(feature = "harness")]
pub mod harness;
#[cfg(feature = "harness")]
pub mod load;
