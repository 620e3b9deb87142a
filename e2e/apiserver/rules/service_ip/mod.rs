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
use super::value::{set, strings, text};

/// What is allocated. A change that may still fail further down can be tried on a clone.
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
        families::init(&mut service, old)?;
        let before = old.map(Held::of).unwrap_or_default();
        let mut taken = Held::default();
        let cursors = (self.v4.cursor(), self.v6.cursor(), self.node_ports.cursor());
        let done = self
            .cluster_ips(&mut service, &before, &mut taken)
            .and_then(|()| self.service_node_ports(&mut service, &before, &mut taken));
        if let Err(errors) = done {
            self.free(&taken);
            self.v4.set_cursor(cursors.0);
            self.v6.set_cursor(cursors.1);
            self.node_ports.set_cursor(cursors.2);
            return Err(errors);
        }
        let after = Held::of(&service);
        self.free(&Held {
            addresses: before.addresses.into_iter().filter(|held| !after.addresses.contains(held)).collect(),
            ports: before.ports.into_iter().filter(|held| !after.ports.contains(held)).collect(),
        });
        *new = service;
        Ok(())
    }

    /// Gives back everything a deleted Service had.
    pub fn release(&mut self, service: &Value) {
        self.free(&Held::of(service));
    }

    /// Marks what a stored Service has.
    pub fn import(&mut self, service: &Value) {
        let held = Held::of(service);
        for address in held.addresses {
            self.range(address).mark(address);
        }
        for (protocol, port) in held.ports {
            self.node_ports.mark(&protocol, port);
        }
    }

    fn free(&mut self, held: &Held) {
        for address in &held.addresses {
            self.range(*address).free(*address);
        }
        for (protocol, port) in &held.ports {
            self.node_ports.free(protocol, *port);
        }
    }

    fn range(&mut self, address: IpAddr) -> &mut Range {
        if address.is_ipv4() { &mut self.v4 } else { &mut self.v6 }
    }

    fn cluster_ips(
        &mut self,
        service: &mut Value,
        before: &Held,
        taken: &mut Held,
    ) -> Result<(), Vec<FieldError>> {
        let wanted: Vec<String> =
            strings(service, &["spec", "clusterIPs"]).into_iter().map(str::to_owned).collect();
        let headless = wanted.first().is_some_and(|first| first == "None");
        if text(service, &["spec", "type"]) == "ExternalName" || headless {
            return Ok(());
        }
        let families: Vec<bool> =
            strings(service, &["spec", "ipFamilies"]).into_iter().map(|family| family == "IPv6").collect();
        let mut addresses = Vec::new();
        for (index, is_v6) in families.into_iter().enumerate() {
            let range = if is_v6 { &mut self.v6 } else { &mut self.v4 };
            let address = match wanted.get(index).map(|text| (text, text.parse::<IpAddr>())) {
                Some((_, Ok(address))) if before.addresses.contains(&address) => address,
                Some((text, Ok(address))) => {
                    range.allocate(address).map_err(|why| {
                        let detail = format!("failed to allocate IP {text}: {why}");
                        vec![FieldError::invalid("spec.clusterIPs", json!(wanted), detail)]
                    })?;
                    taken.addresses.push(address);
                    address
                }
                _ => {
                    let address = range.next().ok_or_else(|| {
                        let why = "failed to allocate a serviceIP: range is full";
                        vec![FieldError::internal("spec.clusterIPs", why)]
                    })?;
                    taken.addresses.push(address);
                    address
                }
            };
            addresses.push(address.to_string());
        }
        if let Some(first) = addresses.first() {
            set(service, &["spec", "clusterIP"], first.as_str());
            set(service, &["spec", "clusterIPs"], json!(addresses));
        }
        Ok(())
    }
}

/// What one Service holds.
#[derive(Debug, Default)]
struct Held {
    addresses: Vec<IpAddr>,
    /// Node ports by protocol; a health check's port has a protocol of its own.
    ports: Vec<(String, u16)>,
}

impl Held {
    fn of(service: &Value) -> Self {
        let addresses = if text(service, &["spec", "type"]) == "ExternalName" {
            Vec::new()
        } else {
            strings(service, &["spec", "clusterIPs"])
                .into_iter()
                .filter_map(|text| text.parse().ok())
                .collect()
        };
        Self { addresses, ports: node_ports::held(service) }
    }
}
