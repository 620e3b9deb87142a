//! Port lists as keys: what makes two endpoints fit into one object.

use callsign_shared::object::EndpointPort;

/// The ports of a group of endpoints, sorted and spelled the way EndpointSlices spell them, so that equal groups are
/// equal keys. No ports and an absent list are the same key (kubernetes/kubernetes#133474).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PortKey(Vec<EndpointPort>);

impl PortKey {
    /// The key of a port list.
    pub(crate) fn new(ports: &[EndpointPort]) -> Self {
        let named = |port: &EndpointPort| EndpointPort {
            name: Some(port.name.clone().unwrap_or_default()),
            ..port.clone()
        };
        let mut ports: Vec<_> = ports.iter().map(named).collect();
        ports.sort();
        Self(ports)
    }

    /// The list to write into a slice. An empty one is written as null, which is how API servers store it.
    pub(crate) fn into_ports(self) -> Option<Vec<EndpointPort>> {
        (!self.0.is_empty()).then_some(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_spelling_do_not_matter() {
        let port = |name: Option<&str>, number| EndpointPort {
            name: name.map(Into::into),
            port: Some(number),
            ..EndpointPort::default()
        };
        assert_eq!(
            PortKey::new(&[port(Some("a"), 1), port(None, 2)]),
            PortKey::new(&[port(Some(""), 2), port(Some("a"), 1)])
        );
        assert_ne!(PortKey::new(&[port(None, 1)]), PortKey::new(&[]));
        assert_eq!(PortKey::new(&[]).into_ports(), None);
    }
}
