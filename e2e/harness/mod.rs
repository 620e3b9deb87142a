//! What the black-box tests and the benchmarks share: a cluster to write to, the binary to run, questions to ask, and
//! the recorded cases to compare with.
//!
//! Nothing here knows Callsign's code: the tests see a process, an API server and sockets, so the same suite runs against
//! a cluster (`CALLSIGN_E2E_KUBECONFIG`) and could run against any other implementation.

pub mod answers;
pub mod build;
pub mod case;
pub mod chart;
pub mod cluster;
pub mod in_place;
pub mod kubelet;
pub mod namespace;
pub mod objects;
pub mod packets;
pub mod process;
pub mod proxy;
pub mod replicas;
pub mod resolver;
pub mod scrape;
pub mod stand_in;
pub mod upstream;
pub mod world;
