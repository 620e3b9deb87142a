//! Which server a pod is.

use std::fmt;

use super::{
    facts::Pages,
    objects::{Container, Pod},
};

/// A DNS server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Software {
    Callsign,
    CoreDns,
    /// NodeLocal DNSCache, which passes questions on.
    NodeLocal,
    /// The old kube-dns.
    KubeDns,
    Unknown,
}

impl Software {
    /// What a pod runs: what it says of itself, else what its image and its arguments say.
    pub(super) fn of(pod: &Pod, pages: Option<&Pages>) -> Self {
        let said = pages.and_then(|pages| pages.metrics.as_ref().ok());
        match said.and_then(|metrics| metrics.label("coredns_build_info", "version")) {
            Some(version) if version.contains("callsign") => return Self::Callsign,
            Some(_)
                if !pod
                    .spec
                    .containers
                    .iter()
                    .any(|container| Self::of_image(container) == Self::NodeLocal) =>
            {
                return Self::CoreDns;
            }
            _ => {}
        }
        let known =
            pod.spec.containers.iter().map(Self::of_image).find(|software| *software != Self::Unknown);
        known.unwrap_or(Self::Unknown)
    }

    fn of_image(container: &Container) -> Self {
        let image = container.image.rsplit('/').next().unwrap_or_default();
        let image = image.split(['@', ':']).next().unwrap_or_default();
        let command = container.command.first().map_or("", String::as_str);
        let program = command.rsplit('/').next().unwrap_or_default();
        match () {
            () if image.contains("callsign") || program == "callsign" => Self::Callsign,
            () if image.contains("node-cache") => Self::NodeLocal,
            () if image.contains("kube-dns") => Self::KubeDns,
            () if image.contains("coredns") || program == "coredns" => Self::CoreDns,
            // An image of any name: the container's tells, which the chart sets.
            () if container.name == "callsign" => Self::Callsign,
            () if container.name == "coredns" => Self::CoreDns,
            () => Self::Unknown,
        }
    }
}

/// The container of a pod that is the server.
pub(super) fn container(pod: &Pod) -> Option<&Container> {
    let containers = &pod.spec.containers;
    containers
        .iter()
        .find(|container| Software::of_image(container) != Software::Unknown)
        .or_else(|| containers.first())
}

/// The version of Callsign that a pod says it is: `0.1.0`.
pub(super) fn version(pages: &Pages) -> Option<&str> {
    let said = pages.metrics.as_ref().ok()?.label("coredns_build_info", "version")?;
    said.split_once("callsign-").map(|(_, version)| version)
}

impl fmt::Display for Software {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Callsign => "Callsign",
            Self::CoreDns => "CoreDNS",
            Self::NodeLocal => "NodeLocal DNSCache",
            Self::KubeDns => "kube-dns",
            Self::Unknown => "unknown",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::metrics::Samples, *};

    fn pod(name: &str, image: &str) -> Pod {
        let container = Container { name: name.to_owned(), image: image.to_owned(), ..Container::default() };
        let mut pod = Pod::default();
        pod.spec.containers.push(container);
        pod
    }

    fn says(version: &str) -> Pages {
        let page = format!("coredns_build_info{{version=\"{version}\"}} 1\n");
        Pages { metrics: Ok(Samples::read(&page)), ..Pages::default() }
    }

    #[test]
    fn images_and_pages_tell() {
        let cases = [
            ("callsign", "ghcr.io/callsign-dns/callsign:0.1.0", Software::Callsign),
            ("coredns", "registry.k8s.io/coredns/coredns:v1.13.1@sha256:00", Software::CoreDns),
            ("coredns", "r.example:5000/callsign@sha256:00", Software::Callsign),
            ("node-cache", "registry.k8s.io/dns/k8s-dns-node-cache:1.26", Software::NodeLocal),
            ("kubedns", "k8s.gcr.io/k8s-dns-kube-dns:1.14", Software::KubeDns),
            ("callsign", "mirror.example/dns:1", Software::Callsign),
            ("x", "callsign.example/other:1", Software::Unknown),
        ];
        for (name, image, wanted) in cases {
            assert_eq!(Software::of(&pod(name, image), None), wanted, "{name} {image}");
        }
        let odd = pod("x", "mirror.example/dns:1");
        assert_eq!(Software::of(&odd, Some(&says("1.13.1+callsign-0.1.0"))), Software::Callsign);
        assert_eq!(Software::of(&odd, Some(&says("1.13.1"))), Software::CoreDns);
        let local = pod("node-cache", "dns/k8s-dns-node-cache:1");
        assert_eq!(Software::of(&local, Some(&says("1.13.1"))), Software::NodeLocal);
        assert_eq!(version(&says("1.13.1+callsign-0.1.0")), Some("0.1.0"));
        assert_eq!(version(&says("1.13.1")), None);
    }
}
