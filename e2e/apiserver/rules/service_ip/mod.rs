//! The addresses and node ports of Services: who has which, and who gets the next one.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value;

use super::error::FieldError;

/// What is allocated. A clone is a transaction: throw it away and nothing happened.
#[derive(Clone, Debug, Default)]
pub struct Allocator {
    addresses: BTreeSet<IpAddr>,
    node_ports: BTreeSet<u16>,
}

impl Allocator {
    /// Nothing allocated.
    pub fn new() -> Self {
        Self::default()
    }

    /// Fills families, cluster IPs and node ports of a Service that is created (`old` is none) or updated, and gives
    /// back what an update no longer needs. Nothing has changed when it fails.
    pub fn allocate(&mut self, _new: &mut Value, _old: Option<&Value>) -> Result<(), Vec<FieldError>> {
        Ok(())
    }

    /// Gives back everything a deleted Service had.
    pub fn release(&mut self, _service: &Value) {}

    /// Marks what a stored Service has.
    pub fn import(&mut self, _service: &Value) {}
}
