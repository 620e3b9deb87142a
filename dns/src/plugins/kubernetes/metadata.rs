//! What the plugin knows about a question and who asks it (`coredns` `plugin/kubernetes/metadata.go`).

use hickory_proto::rr::Name;

use super::Kubernetes;
use crate::{
    plugin::{Label, Query},
    zone::is_reverse,
};

impl Kubernetes {
    /// The labels of CoreDNS, as `kubernetes/<label>`. Those of the client need `pods verified`.
    pub(super) fn describe_query(&self, query: &Query, add: &mut dyn FnMut(Label, String)) {
        if let Some(pod) = self.zone.client(query.peer.address.ip()) {
            add(Label::Borrowed("kubernetes/client-namespace"), pod.meta.key.namespace.to_string());
            add(Label::Borrowed("kubernetes/client-pod-name"), pod.meta.key.name.to_string());
            for (label, value) in pod.meta.labels.iter() {
                add(Label::Owned(format!("kubernetes/client-label/{label}")), value.to_string());
            }
        }
        let name = query.name();
        let zones = self.zone.config().zones.iter().filter(|zone| zone.zone_of(name));
        let Some(zone) = zones.max_by_key(|zone| zone.num_labels()) else { return };
        if is_reverse(zone) {
            return add(Label::Borrowed("kubernetes/parse-error"), ERROR.to_owned());
        }
        match Parts::read(name, zone) {
            Some(parts) => {
                add(Label::Borrowed("kubernetes/port-name"), parts.port);
                add(Label::Borrowed("kubernetes/protocol"), parts.protocol);
                add(Label::Borrowed("kubernetes/endpoint"), parts.endpoint);
                add(Label::Borrowed("kubernetes/service"), parts.service);
                add(Label::Borrowed("kubernetes/namespace"), parts.namespace);
                add(Label::Borrowed("kubernetes/kind"), parts.kind);
            }
            None => add(Label::Borrowed("kubernetes/parse-error"), ERROR.to_owned()),
        }
    }
}

const ERROR: &str = "invalid query name";

/// The labels of a name by what they mean.
#[derive(Debug, Default, PartialEq, Eq)]
struct Parts {
    port: String,
    protocol: String,
    endpoint: String,
    service: String,
    namespace: String,
    kind: String,
}

impl Parts {
    /// Reads a name in a zone; `None` where no name has such labels.
    fn read(name: &Name, zone: &Name) -> Option<Self> {
        let below = name.iter().len().saturating_sub(zone.iter().len());
        let mut labels: Vec<String> = (name.iter().take(below))
            .map(|label| String::from_utf8_lossy(label).to_ascii_lowercase())
            .collect();
        let bare = |label: String| label.strip_prefix('_').unwrap_or(&label).to_owned();
        let mut parts = Self::default();
        let Some(kind) = labels.pop() else { return Some(parts) };
        if kind != "svc" && kind != "pod" {
            return None;
        }
        if labels.is_empty() {
            return Some(parts);
        }
        parts.kind = kind;
        parts.namespace = labels.pop().unwrap_or_default();
        parts.service = labels.pop().unwrap_or_default();
        match (labels.pop(), labels.pop(), labels.is_empty()) {
            (endpoint, None, _) => parts.endpoint = endpoint.unwrap_or_default(),
            (Some(protocol), Some(port), true) => (parts.protocol, parts.port) = (bare(protocol), bare(port)),
            _ => return None,
        }
        Some(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str) -> Option<[String; 6]> {
        let zone = Name::from_ascii("cluster.local.").unwrap();
        let parts = Parts::read(&Name::from_ascii(format!("{name}cluster.local.")).unwrap(), &zone)?;
        Some([parts.port, parts.protocol, parts.endpoint, parts.service, parts.namespace, parts.kind])
    }

    #[test]
    fn labels_have_their_meaning() {
        for (name, wanted) in [
            ("", ["", "", "", "", "", ""]),
            ("svc.", ["", "", "", "", "", ""]),
            ("ns.svc.", ["", "", "", "", "ns", "svc"]),
            ("WEB.ns.svc.", ["", "", "", "web", "ns", "svc"]),
            ("host.web.ns.svc.", ["", "", "host", "web", "ns", "svc"]),
            ("_http._tcp.web.ns.svc.", ["http", "tcp", "", "web", "ns", "svc"]),
            ("10-0-0-1.ns.pod.", ["", "", "", "10-0-0-1", "ns", "pod"]),
        ] {
            assert_eq!(read(name).unwrap(), wanted, "{name}");
        }
        for name in ["ns.other.", "a._b._tcp.web.ns.svc."] {
            assert_eq!(read(name), None, "{name}");
        }
    }
}
