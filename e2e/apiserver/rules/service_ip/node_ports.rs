//! The node ports of a Service, and its node port for health checks.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Allocator;
use crate::apiserver::rules::error::FieldError;
use crate::apiserver::rules::strategy::service::needs_health_check;
use crate::apiserver::rules::value::{flag, items, items_mut, number, set, text};

/// The protocol under which a health check's port is booked.
const HEALTH: &str = "healthCheck";

/// The node ports a Service holds.
pub(super) fn held(service: &Value) -> Vec<(String, u16)> {
    let ports = items(service, &["spec", "ports"])
        .iter()
        .filter_map(|port| Some((text(port, &["protocol"]).to_owned(), wanted(port)?)));
    let health = number(service, &["spec", "healthCheckNodePort"]).map(|port| (HEALTH.to_owned(), port));
    ports
        .chain(health.filter(|(_, port)| *port != 0))
        .filter_map(|(protocol, port)| Some((protocol, u16::try_from(port).ok()?)))
        .collect()
}

impl Allocator {
    pub(super) fn service_node_ports(
        &mut self,
        service: &mut Value,
        old: Option<&Value>,
    ) -> Result<(), Vec<FieldError>> {
        let before = old.map(held).unwrap_or_default();
        let kind = text(service, &["spec", "type"]).to_owned();
        let automatic = kind == "NodePort"
            || (kind == "LoadBalancer" && flag(service, &["spec", "allocateLoadBalancerNodePorts"]));
        if automatic || kind == "LoadBalancer" {
            self.port_list(service, &before, automatic)?;
        }
        if needs_health_check(service) {
            self.health_check(service, &before)?;
        }
        let after = held(service);
        for (protocol, port) in before.into_iter().filter(|port| !after.contains(port)) {
            self.node_ports.free(&protocol, port);
        }
        Ok(())
    }

    /// Each port takes what it asks for; ports of the same number share one node port over their protocols.
    fn port_list(
        &mut self,
        service: &mut Value,
        before: &[(String, u16)],
        automatic: bool,
    ) -> Result<(), Vec<FieldError>> {
        let mut by_port: BTreeMap<i64, u16> = BTreeMap::new();
        for port in items(service, &["spec", "ports"]) {
            if let (Some(number), Some(node_port)) = (number(port, &["port"]), wanted(port)) {
                by_port.entry(number).or_insert(u16::try_from(node_port).unwrap_or_default());
            }
        }
        let mut ours: Vec<u16> = before.iter().map(|(_, port)| *port).collect();
        for (index, port) in items_mut(service, &["spec", "ports"]).enumerate() {
            let protocol = text(port, &["protocol"]).to_owned();
            let service_port = number(port, &["port"]).unwrap_or_default();
            let node_port = match wanted(port) {
                Some(wanted) => match ours.iter().find(|port| i64::from(**port) == wanted) {
                    Some(own) => {
                        self.node_ports.mark(&protocol, *own);
                        *own
                    }
                    None => self.node_ports.allocate(&protocol, wanted).map_err(|why| {
                        vec![FieldError::invalid(format!("spec.ports[{index}].nodePort"), wanted, why)]
                    })?,
                },
                None if !automatic => continue,
                None => match by_port.get(&service_port).filter(|port| ours.contains(port)) {
                    Some(shared) => {
                        self.node_ports.mark(&protocol, *shared);
                        *shared
                    }
                    None => {
                        // The twin that comes later in the list may have asked for a number.
                        let asked = by_port.get(&service_port).copied();
                        let free = match asked {
                            Some(asked) => self.node_ports.allocate(&protocol, i64::from(asked)).ok(),
                            None => self.node_ports.next(&protocol),
                        };
                        free.ok_or_else(|| {
                            let why = "failed to allocate a nodePort: range is full";
                            vec![FieldError::internal(format!("spec.ports[{index}].nodePort"), why)]
                        })?
                    }
                },
            };
            set(port, &["nodePort"], node_port);
            by_port.entry(service_port).or_insert(node_port);
            ours.push(node_port);
        }
        Ok(())
    }

    fn health_check(&mut self, service: &mut Value, before: &[(String, u16)]) -> Result<(), Vec<FieldError>> {
        const FIELD: &str = "spec.healthCheckNodePort";
        let wanted = number(service, &["spec", "healthCheckNodePort"]).unwrap_or_default();
        if before.iter().any(|(protocol, port)| protocol == HEALTH && i64::from(*port) == wanted) {
            return Ok(());
        }
        let port = if wanted == 0 {
            let why = "failed to allocate a HealthCheck NodePort: range is full";
            self.node_ports.next(HEALTH).ok_or_else(|| vec![FieldError::internal(FIELD, why)])?
        } else {
            self.node_ports.allocate(HEALTH, wanted).map_err(|why| {
                let why = format!("failed to allocate requested HealthCheck NodePort {wanted}: {why}");
                vec![FieldError::internal(FIELD, why)]
            })?
        };
        set(service, &["spec", "healthCheckNodePort"], port);
        Ok(())
    }
}

fn wanted(port: &Value) -> Option<i64> {
    number(port, &["nodePort"]).filter(|port| *port != 0)
}
