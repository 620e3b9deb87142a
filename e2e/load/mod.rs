//! What a name server is loaded with: a cluster, its records as others read them, questions, and what is to come back.
//!
//! ```text
//!   Cluster ──▶ objects for the API server      ──▶ Callsign, CoreDNS
//!           ──▶ records, as zone files          ──▶ NSD, Knot
//!           ──▶ Mix ──▶ questions               ──▶ all of them ──▶ Outcome, compared
//! ```
//!
//! Everything here is made from numbers and seeds, so each run and each server sees the same. Nothing here does IO.

pub mod cluster;
pub mod mix;
pub mod outcome;
pub mod question;
pub mod zone_file;
