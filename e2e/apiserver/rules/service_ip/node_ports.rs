//! The node ports of a Service, and its node port for health checks.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Allocator, Held};
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
        before: &Held,
        taken: &mut Held,
    ) -> Result<(), Vec<FieldError>> {
        let kind = text(service, &["spec", "type"]).to_owned();
        let automatic = kind == "NodePort"
            || (kind == "LoadBalancer" && flag(service, &["spec", "allocateLoadBalancerNodePorts"]));
        if automatic || kind == "LoadBalancer" {
            self.port_list(service, before, taken, automatic)?;
        }
        if needs_health_check(service) {
            self.health_check(service, before, taken)?;
        }
        Ok(())
    }

    /// Each port takes what it asks for; ports of the same number share one node port over their protocols.
    fn port_list(
        &mut self,
        service: &mut Value,
        before: &Held,
        taken: &mut Held,
        automatic: bool,
    ) -> Result<(), Vec<FieldError>> {
        let asked: Vec<(i64, i64)> = items(service, &["spec", "ports"])
            .iter()
            .filter_map(|port| Some((number(port, &["port"])?, wanted(port)?)))
            .collect();
        let mut given: BTreeMap<i64, u16> = BTreeMap::new();
        let mut ours: Vec<u16> = before.ports.iter().map(|(_, port)| *port).collect();
        for (index, port) in items_mut(service, &["spec", "ports"]).enumerate() {
            let protocol = text(port, &["protocol"]).to_owned();
            let service_port = number(port, &["port"]).unwrap_or_default();
            let field = || format!("spec.ports[{index}].nodePort");
            let wish = match wanted(port) {
                Some(wanted) => Some(wanted),
                None if !automatic => continue,
                // A twin of another protocol shares its number, even when it stands later in the list.
                None => given.get(&service_port).copied().map(i64::from).or_else(|| {
                    asked.iter().find(|(port, _)| *port == service_port).map(|(_, wanted)| *wanted)
                }),
            };
            let node_port = match wish {
                Some(wish) => match ours.iter().copied().find(|port| i64::from(*port) == wish) {
                    Some(own) => {
                        self.node_ports.mark(&protocol, own);
                        own
                    }
                    None => self
                        .node_ports
                        .allocate(&protocol, wish)
                        .map_err(|why| vec![FieldError::invalid(field(), wish, why)])?,
                },
                None => self.node_ports.next(&protocol).ok_or_else(|| {
                    vec![FieldError::internal(field(), "failed to allocate a nodePort: range is full")]
                })?,
            };
            let held = (protocol, node_port);
            if !before.ports.contains(&held) {
                taken.ports.push(held);
            }
            set(port, &["nodePort"], node_port);
            given.entry(service_port).or_insert(node_port);
            ours.push(node_port);
        }
        Ok(())
    }

    fn health_check(
        &mut self,
        service: &mut Value,
        before: &Held,
        taken: &mut Held,
    ) -> Result<(), Vec<FieldError>> {
        const FIELD: &str = "spec.healthCheckNodePort";
        let wanted = number(service, &["spec", "healthCheckNodePort"]).unwrap_or_default();
        if before.ports.iter().any(|(protocol, port)| protocol == HEALTH && i64::from(*port) == wanted) {
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
        taken.ports.push((HEALTH.to_owned(), port));
        set(service, &["spec", "healthCheckNodePort"], port);
        Ok(())
    }
}

fn wanted(port: &Value) -> Option<i64> {
    number(port, &["nodePort"]).filter(|port| *port != 0)
}
