//! The addresses and node ports of Services: who has which, and who gets the next one.
//!
//! The rules are those of `pkg/registry/core/service/storage/alloc.go`. What is allocated dynamically comes from the
//! upper part of a range, so that the lower part is there for addresses people choose; it comes in order, so that a
//! sandbox started twice looks the same twice. Addresses that were given back are used again last.

mod families;
mod node_ports;
mod pool;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::{Value, json};

use self::pool::{NodePorts, Range};
use super::error::FieldError;
use super::value::{items, set, strings, text};

/// What is allocated. A clone is a transaction: throw it away and nothing happened.
#[derive(Clone, Debug)]
pub struct Allocator {
    v4: Range,
    v6: Range,
    node_ports: NodePorts,
}

impl Default for Allocator {
    fn default() -> Self {
        Self::new()
    }
}

impl Allocator {
    /// The ranges 10.96.0.0/16, fd00:10:96::/112 and 30000-32767. 10.96.0.1 belongs to `default/kubernetes`.
    pub fn new() -> Self {
        let mut v4 = Range::new(Ipv4Addr::new(10, 96, 0, 0).into());
        v4.mark(Ipv4Addr::new(10, 96, 0, 1).into());
        let v6 = Range::new(Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, 0).into());
        Self { v4, v6, node_ports: NodePorts::new(30_000, 32_767) }
    }

    /// Fills families, cluster IPs and node ports of a Service that is created (`old` is none) or updated, and gives
    /// back what an update no longer needs. Nothing has changed when it fails.
    pub fn allocate(&mut self, new: &mut Value, old: Option<&Value>) -> Result<(), Vec<FieldError>> {
        let mut service = new.clone();
        let mut next = self.clone();
        families::init(&mut service, old)?;
        next.cluster_ips(&mut service, old)?;
        next.service_node_ports(&mut service, old)?;
        *self = next;
        *new = service;
        Ok(())
    }

    /// Gives back everything a deleted Service had.
    pub fn release(&mut self, service: &Value) {
        for address in addresses(service) {
            self.range(address).free(address);
        }
        for (protocol, port) in node_ports::held(service) {
            self.node_ports.free(&protocol, port);
        }
    }

    /// Marks what a stored Service has.
    pub fn import(&mut self, service: &Value) {
        for address in addresses(service) {
            self.range(address).mark(address);
        }
        for (protocol, port) in node_ports::held(service) {
            self.node_ports.mark(&protocol, port);
        }
    }

    fn range(&mut self, address: IpAddr) -> &mut Range {
        if address.is_ipv4() { &mut self.v4 } else { &mut self.v6 }
    }

    fn cluster_ips(&mut self, service: &mut Value, old: Option<&Value>) -> Result<(), Vec<FieldError>> {
        let before: Vec<IpAddr> = old.map(addresses).unwrap_or_default();
        let mut kept = Vec::new();
        let headless = strings(service, &["spec", "clusterIPs"]).first() == Some(&"None");
        if text(service, &["spec", "type"]) != "ExternalName" && !headless {
            let wanted: Vec<String> =
                strings(service, &["spec", "clusterIPs"]).into_iter().map(str::to_owned).collect();
            let families: Vec<bool> = strings(service, &["spec", "ipFamilies"])
                .into_iter()
                .map(|family| family == "IPv6")
                .collect();
            for (index, is_v6) in families.into_iter().enumerate() {
                let range = if is_v6 { &mut self.v6 } else { &mut self.v4 };
                let address = match wanted.get(index).map(|text| (text, text.parse::<IpAddr>())) {
                    Some((text, Ok(address))) => {
                        if !before.contains(&address) {
                            range.allocate(address).map_err(|why| {
                                let detail = format!("failed to allocate IP {text}: {why}");
                                vec![FieldError::invalid("spec.clusterIPs", json!(wanted), detail)]
                            })?;
                        }
                        address
                    }
                    _ => range.next().ok_or_else(|| {
                        let why = "failed to allocate a serviceIP: range is full";
                        vec![FieldError::internal("spec.clusterIPs", why)]
                    })?,
                };
                kept.push(address);
            }
            let texts: Vec<String> = kept.iter().map(ToString::to_string).collect();
            if let Some(first) = texts.first() {
                set(service, &["spec", "clusterIP"], first.as_str());
                set(service, &["spec", "clusterIPs"], json!(texts));
            }
        }
        for address in before.into_iter().filter(|address| !kept.contains(address)) {
            self.range(address).free(address);
        }
        Ok(())
    }
}

/// The cluster IPs a Service holds.
fn addresses(service: &Value) -> Vec<IpAddr> {
    if text(service, &["spec", "type"]) == "ExternalName" {
        return Vec::new();
    }
    items(service, &["spec", "clusterIPs"])
        .iter()
        .filter_map(Value::as_str)
        .filter_map(|address| address.parse().ok())
        .collect()
}
