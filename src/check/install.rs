//! `install`: what an installation would meet: the platform, the namespace, the nodes.

use std::collections::BTreeSet;

use super::{
    codes,
    facts::InstallFacts,
    finding::Item,
    objects::{Node, Pod},
    rights::Duty,
    software::Software,
};
use crate::args::Strategy;

/// What runs a cluster, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Platform {
    Kubeadm,
    Kind,
    Minikube,
    K3s,
    Rke2,
    Eks,
    Gke,
    Aks,
    OpenShift,
    Unknown,
}

/// What there is to say before an installation.
pub(super) fn check(facts: &InstallFacts) -> Vec<Item> {
    let mut items = platform(facts);
    items.extend(there(facts));
    items.extend(pod_security(facts));
    items.extend(nodes(facts));
    items
}

impl Platform {
    fn of(facts: &InstallFacts) -> Self {
        let nodes = facts.nodes.as_deref().unwrap_or_default();
        let provider = |prefix: &str| nodes.iter().any(|node| node.spec.provider_id.starts_with(prefix));
        let labelled = |label: &str| nodes.iter().any(|node| node.metadata.labels.contains_key(label));
        let version = &facts.version;
        match () {
            () if facts.groups.iter().any(|group| group.starts_with("operator.openshift.io/")) => {
                Self::OpenShift
            }
            () if version.contains("-gke.") => Self::Gke,
            () if version.contains("-eks-") => Self::Eks,
            () if version.contains("+k3s") => Self::K3s,
            () if version.contains("+rke2") => Self::Rke2,
            () if labelled("kubernetes.azure.com/cluster") => Self::Aks,
            () if provider("kind://") => Self::Kind,
            () if labelled("minikube.k8s.io/name") => Self::Minikube,
            () if facts.kubeadm => Self::Kubeadm,
            () => Self::Unknown,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Kubeadm => "kubeadm",
            Self::Kind => "kind",
            Self::Minikube => "minikube",
            Self::K3s => "k3s",
            Self::Rke2 => "RKE2",
            Self::Eks => "EKS",
            Self::Gke => "GKE",
            Self::Aks => "AKS",
            Self::OpenShift => "OpenShift",
            Self::Unknown => "unknown",
        }
    }

    /// Why nobody but the platform may touch its DNS Service, or stand behind it.
    fn manages_dns(self) -> Option<&'static str> {
        match self {
            Self::OpenShift => {
                Some("the DNS operator owns the Service openshift-dns/dns-default and puts it back")
            }
            Self::Gke => Some("GKE's add-on manager owns kube-dns, or Cloud DNS answers outside the cluster"),
            _ => None,
        }
    }

    fn manages_controllers(self) -> bool {
        matches!(self, Self::Eks | Self::Gke | Self::Aks | Self::OpenShift)
    }

    /// What to know when taking over from the DNS server that it brings.
    fn advice(self) -> &'static str {
        match self {
            Self::Kubeadm | Self::Kind => {
                "keep the Deployment coredns, scaled to zero; later upgrades: --skip-phases=addon/coredns"
            }
            Self::Minikube => "scale the Deployment coredns to zero; minikube start puts it back",
            Self::K3s => {
                "--disable=coredns keeps k3s from putting CoreDNS back; save its ConfigMap coredns first"
            }
            Self::Rke2 => "the chart rke2-coredns is put back unless the configuration disables it",
            Self::Eks => "remove the add-on coredns with --preserve, or scale its Deployment to zero",
            Self::Aks => {
                "AKS puts its Deployment coredns back: join behind kube-dns beside it, or use a Service of your own"
            }
            Self::Gke | Self::OpenShift | Self::Unknown => "",
        }
    }
}

fn platform(facts: &InstallFacts) -> Vec<Item> {
    let platform = Platform::of(facts);
    let mut items = Vec::new();
    match platform.manages_dns() {
        Some(why) if facts.strategy != Strategy::Own => items.push(codes::INSTALL_PLATFORM.is(
            format!("{}: {why}", platform.name()),
            "use a Service of your own (--strategy own) and forward to it from the platform's DNS, or set it in pods' \
             dnsConfig",
        )),
        _ => {}
    }
    if facts.mode.writes() && platform.manages_controllers() {
        items.push(codes::INSTALL_CONTROLLERS.is(
            format!("{}: the flags of kube-controller-manager cannot be set", platform.name()),
            "install mode dns, which answers from the EndpointSlices that are there; or try the controllers with \
             --controller shadow",
        ));
    }
    if items.is_empty() {
        let advice = platform.advice();
        let said = match (platform, facts.strategy) {
            (Platform::Unknown, _) => "platform not recognised; nothing speaks against it".to_owned(),
            (_, Strategy::Own) => format!("platform {}", platform.name()),
            _ if advice.is_empty() => format!("platform {}", platform.name()),
            _ => format!("platform {}: {advice}", platform.name()),
        };
        items.push(Item::good(said));
    }
    items
}

/// Whether somebody was here before.
fn there(facts: &InstallFacts) -> Vec<Item> {
    let pods = match &facts.pods {
        Ok(pods) => pods,
        Err(missing) => return vec![Item::not_checked("installations that are there", missing)],
    };
    let mut items = Vec::new();
    let own = |pod: &&Pod| {
        Software::of(pod, None) == Software::Callsign && Duty::of(pod).is_some() && !pod.is_leaving()
    };
    let found: BTreeSet<String> = pods
        .iter()
        .filter(own)
        .map(|pod| format!("{}/{}", pod.metadata.namespace, pod.metadata.label("app.kubernetes.io/instance")))
        .collect();
    if found.is_empty() {
        items.push(Item::good("no installation of Callsign is there"));
    } else {
        items.push(codes::INSTALL_THERE.is(
            format!("Callsign runs already: {}", found.into_iter().collect::<Vec<_>>().join(", ")),
            "upgrade it (helm upgrade), or look at its health without --pre; two that write would fight",
        ));
    }
    let host = pods.iter().filter(|pod| {
        let mut ports = pod.spec.containers.iter().flat_map(|container| &container.ports);
        ports.any(|port| port.host_port == Some(53) || (pod.spec.host_network && port.container_port == 53))
    });
    let names: Vec<String> = host.map(|pod| pod.metadata.path()).take(5).collect();
    if !names.is_empty() {
        items.push(codes::INSTALL_HOST_PORT.is(
            format!("{} have port 53 of their nodes", names.join(", ")),
            "that matters with hostNetwork or hostPort only: two servers of one port are not put on one node; \
             NodeLocal DNSCache goes on as it is, and asks whoever stands behind the Service",
        ));
    }
    items
}

/// Whether the namespace admits the chart's pods (Pod Security Standards 1.28).
fn pod_security(facts: &InstallFacts) -> Vec<Item> {
    let namespace = match &facts.namespace {
        Ok(namespace) => namespace,
        Err(missing) if missing.is_absent() => {
            return vec![codes::INSTALL_NAMESPACE.is(
                format!("namespace {} is not there", facts.namespace_name),
                "make it, or give helm --create-namespace; kube-system has the API priority that writers want",
            )];
        }
        Err(missing) => return vec![Item::not_checked("the namespace's Pod Security", missing)],
    };
    // NET_BIND_SERVICE is the one capability that `restricted` lets be added; a fresh installation needs no more.
    let name = &facts.namespace_name;
    match namespace.metadata.label("pod-security.kubernetes.io/enforce") {
        level @ ("" | "privileged" | "baseline" | "restricted") => {
            let level = if level.is_empty() { "no Pod Security level" } else { level };
            vec![Item::good(format!("namespace {name} has {level}, which the pods keep to"))]
        }
        level => vec![codes::INSTALL_POD_SECURITY.is(
            format!("namespace {name} enforces the Pod Security level {level:?}, which there is not"),
            "the API server takes a level that it does not know for restricted or refuses pods: write privileged, \
             baseline or restricted",
        )],
    }
}

fn nodes(facts: &InstallFacts) -> Vec<Item> {
    let nodes = match &facts.nodes {
        Ok(nodes) => nodes,
        Err(missing) => return vec![Item::not_checked("the nodes", missing)],
    };
    let runs = |node: &&Node| {
        let info = &node.status.node_info;
        info.operating_system == "linux" && ["amd64", "arm64"].contains(&info.architecture.as_str())
    };
    let able = nodes.iter().filter(runs).filter(|node| !node.spec.unschedulable).count();
    match able {
        0 => {
            let kinds: BTreeSet<String> = nodes
                .iter()
                .map(|node| {
                    format!(
                        "{}/{}",
                        node.status.node_info.operating_system, node.status.node_info.architecture
                    )
                })
                .collect();
            vec![codes::INSTALL_NODES.is(
                format!(
                    "no schedulable node is linux/amd64 or linux/arm64: there are {}",
                    kinds.into_iter().collect::<Vec<_>>().join(", ")
                ),
                "add such a node, uncordon one, or build the image for your architecture",
            )]
        }
        1 => vec![codes::INSTALL_ONE_NODE.is(
            "one node can run it: both pods will be there",
            "nothing on a cluster of one node; else names go with that node",
        )],
        able => vec![Item::good(format!("{able} nodes can run it"))],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::{facts::Missing, finding::ids, objects::Named, testing},
        *,
    };
    use crate::args::InstallMode;

    fn node(os: &str, arch: &str, more: &serde_json::Value) -> Node {
        let mut value = json!({"metadata": {"name": "n"}, "spec": {},
            "status": {"nodeInfo": {"operatingSystem": os, "architecture": arch}}});
        json_patch::merge(&mut value, more);
        serde_json::from_value(value).unwrap()
    }

    fn facts() -> InstallFacts {
        let two = || node("linux", "amd64", &json!({}));
        InstallFacts {
            mode: InstallMode::Dns,
            strategy: Strategy::Own,
            namespace_name: "kube-system".to_owned(),
            namespace: Ok(Named::default()),
            nodes: Ok(vec![two(), two()]),
            version: "v1.36.2".to_owned(),
            groups: Vec::new(),
            kubeadm: true,
            pods: Ok(Vec::new()),
        }
    }

    fn found(change: impl Fn(&mut InstallFacts)) -> Vec<&'static str> {
        let mut facts = facts();
        change(&mut facts);
        ids(&check(&facts))
    }

    #[test]
    fn platforms_are_known() {
        let of = |change: &dyn Fn(&mut InstallFacts)| {
            let mut facts = facts();
            facts.kubeadm = false;
            change(&mut facts);
            Platform::of(&facts)
        };
        let version =
            |version: &'static str| move |facts: &mut InstallFacts| version.clone_into(&mut facts.version);
        let nodes = |more: serde_json::Value| {
            move |facts: &mut InstallFacts| facts.nodes = Ok(vec![node("linux", "amd64", &more)])
        };
        assert_eq!(of(&|facts| facts.kubeadm = true), Platform::Kubeadm);
        assert_eq!(of(&version("v1.33.1+k3s1")), Platform::K3s);
        assert_eq!(of(&version("v1.33.1+rke2r1")), Platform::Rke2);
        assert_eq!(of(&version("v1.33.1-eks-abc")), Platform::Eks);
        assert_eq!(of(&version("v1.33.1-gke.100")), Platform::Gke);
        assert_eq!(of(&nodes(json!({"spec": {"providerID": "kind://docker/kind/cp"}}))), Platform::Kind);
        assert_eq!(
            of(&nodes(json!({"metadata": {"labels": {"minikube.k8s.io/name": "m"}}}))),
            Platform::Minikube
        );
        assert_eq!(
            of(&nodes(json!({"metadata": {"labels": {"kubernetes.azure.com/cluster": "c"}}}))),
            Platform::Aks
        );
        assert_eq!(
            of(&|facts| facts.groups = vec!["operator.openshift.io/v1".to_owned()]),
            Platform::OpenShift
        );
        assert_eq!(of(&|_| {}), Platform::Unknown);
    }

    #[test]
    fn managed_dns_and_controllers_are_errors() {
        assert_eq!(found(|_| {}), [""; 0]);
        let gke = |strategy, mode| {
            found(move |facts| {
                "v1.33.1-gke.100".clone_into(&mut facts.version);
                (facts.strategy, facts.mode) = (strategy, mode);
            })
        };
        assert_eq!(gke(Strategy::Own, InstallMode::Dns), [""; 0]);
        assert_eq!(gke(Strategy::Join, InstallMode::Dns), ["CHK802"]);
        assert_eq!(gke(Strategy::Adopt, InstallMode::Split), ["CHK802", "CHK803"]);
        let openshift = |facts: &mut InstallFacts| {
            facts.groups = vec!["operator.openshift.io/v1".to_owned()];
            facts.strategy = Strategy::Join;
        };
        assert_eq!(found(openshift), ["CHK802"]);
        assert_eq!(found(|facts| facts.mode = InstallMode::Split), [""; 0], "kubeadm's can be set");
    }

    #[test]
    fn namespaces_pods_and_nodes() {
        let labelled = |level: &str| -> Named {
            serde_json::from_value(
                json!({"metadata": {"name": "n", "labels": {"pod-security.kubernetes.io/enforce": level}}}),
            )
            .unwrap()
        };
        assert_eq!(found(|facts| facts.namespace = Ok(labelled("restricted"))), [""; 0]);
        assert_eq!(found(|facts| facts.namespace = Ok(labelled("strict"))), ["CHK804"]);
        assert_eq!(found(|facts| facts.namespace = Err(Missing::Absent("namespace".to_owned()))), ["CHK807"]);
        let callsign = || testing::pod("kube-system", "a", "callsign:1", true);
        assert_eq!(found(|facts| facts.pods = Ok(vec![callsign()])), ["CHK801"]);
        let local = |facts: &mut InstallFacts| {
            let mut pod = testing::pod("kube-system", "node-local", "k8s-dns-node-cache:1", true);
            pod.spec.host_network = true;
            facts.pods = Ok(vec![pod]);
        };
        assert_eq!(found(local), ["CHK808"]);
        assert_eq!(found(|facts| facts.nodes = Ok(vec![node("windows", "amd64", &json!({}))])), ["CHK805"]);
        let cordoned = node("linux", "arm64", &json!({"spec": {"unschedulable": true}}));
        assert_eq!(found(|facts| facts.nodes = Ok(vec![cordoned.clone()])), ["CHK805"]);
        assert_eq!(found(|facts| facts.nodes = Ok(vec![node("linux", "arm64", &json!({}))])), ["CHK806"]);
        let blind = |facts: &mut InstallFacts| {
            facts.nodes = Err(Missing::Forbidden("list nodes".to_owned()));
            facts.pods = Err(Missing::Forbidden("list pods".to_owned()));
            facts.namespace = Err(Missing::Forbidden("get namespaces".to_owned()));
        };
        let mut blinded = facts();
        blind(&mut blinded);
        let unseen = check(&blinded).iter().filter(|item| matches!(item, Item::NotChecked { .. })).count();
        assert_eq!((found(blind), unseen), (vec![], 3));
    }
}
