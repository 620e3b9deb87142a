//! `service`: the Service that pods ask, and who stands behind it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    codes,
    facts::{Front, Pages},
    finding::Item,
    objects::{Pod, Service, ServicePort, Slice},
    software::Software,
};

/// The most names that are told of a kind.
const SHOWN: usize = 5;

/// What there is to say of a Service. `pages` are what pods say, by their names.
pub(super) fn check(name: &str, front: &Front, pages: &BTreeMap<String, Pages>) -> Vec<Item> {
    let service = match &front.service {
        Ok(service) => service,
        Err(missing) if missing.is_absent() => {
            return vec![codes::SERVICE_MISSING.is(
                format!(
                    "there is no Service {name}, and none with the label k8s-app=kube-dns in its namespace"
                ),
                "name the Service that pods ask with --service; its address is the nameserver in a pod's \
                 /etc/resolv.conf and the kubelet's clusterDNS",
            )];
        }
        Err(missing) => return vec![Item::not_checked(format!("Service {name}"), missing)],
    };
    let mut items = shape(service);
    match &front.behind {
        Ok(pods) => items.extend(targets(service, pods)),
        Err(missing) => items.push(Item::not_checked("the pods of the Service", missing)),
    }
    match (&front.slices, &front.behind) {
        (Ok(slices), Ok(pods)) => items.extend(behind(pages, service, slices, pods)),
        (Ok(slices), Err(_)) => items.extend(ready(service, slices)),
        (Err(missing), _) => items.push(Item::not_checked("the endpoints of the Service", missing)),
    }
    items
}

/// The Service by itself.
fn shape(service: &Service) -> Vec<Item> {
    let path = service.metadata.path();
    let ips = addresses(service);
    let mut items = Vec::new();
    if ips.is_empty() {
        items.push(codes::SERVICE_NO_ADDRESS.is(
            format!("Service {path} has no cluster IP"),
            "pods need one address to ask: give the Service a clusterIP, that of the kubelet's clusterDNS",
        ));
    }
    let absent: Vec<&str> =
        ["UDP", "TCP"].into_iter().filter(|protocol| port(service, protocol).is_none()).collect();
    if !absent.is_empty() {
        items.push(codes::SERVICE_PORTS.is(
            format!("Service {path} has no port 53 over {}", absent.join(" and ")),
            "add it: questions come over UDP, and over TCP when an answer is too large",
        ));
    }
    if service.spec.selector.is_empty() {
        items.push(codes::SERVICE_SELECTOR.is(
            format!("Service {path} has no selector: its endpoints are written by hand"),
            "give it a selector, such as k8s-app: kube-dns, unless something else writes its EndpointSlices",
        ));
    }
    if items.is_empty() {
        items.push(Item::good(format!("Service {path} at {}, port 53 over UDP and TCP", ips.join(", "))));
    }
    items
}

/// The addresses of a Service.
pub(super) fn addresses(service: &Service) -> Vec<String> {
    let spec = &service.spec;
    let all =
        if spec.cluster_ips.is_empty() { std::slice::from_ref(&spec.cluster_ip) } else { &spec.cluster_ips };
    all.iter().filter(|ip| !ip.is_empty() && *ip != "None").cloned().collect()
}

fn port<'a>(service: &'a Service, protocol: &str) -> Option<&'a ServicePort> {
    let its = |port: &ServicePort| if port.protocol.is_empty() { "TCP" } else { &port.protocol } == protocol;
    service.spec.ports.iter().find(|port| port.port == 53 && its(port))
}

/// Whether the Service's ports lead somewhere in every pod.
fn targets(service: &Service, pods: &[Pod]) -> Vec<Item> {
    let mut wrong: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for protocol in ["UDP", "TCP"] {
        let Some(port) = port(service, protocol) else { continue };
        for pod in pods.iter().filter(|pod| !pod.is_leaving() && !leads(port, protocol, pod)) {
            let target = match &port.target_port {
                Value::Null => port.port.to_string(),
                Value::String(name) => format!("{name:?}"),
                number => number.to_string(),
            };
            wrong.entry(format!("{protocol} {target}")).or_default().push(pod.metadata.name.clone());
        }
    }
    let told = wrong.into_iter().map(|(target, pods)| {
        codes::SERVICE_TARGET.is(
            format!("Service {} leads to port {target}, which {} not have", service.metadata.path(), some(&pods, "does", "do")),
            "behind a Service with a number all pods listen on that port: 53 with kubeadm's kube-dns, which needs \
             NET_BIND_SERVICE; with a name, name the container's port so, for that protocol",
        )
    });
    told.collect()
}

/// Whether a port of the Service is one of the pod's. Numbers lead anywhere; only a container that declares DNS ports, and
/// others, tells that nobody listens.
fn leads(port: &ServicePort, protocol: &str, pod: &Pod) -> bool {
    let mut declared = pod.spec.containers.iter().flat_map(|container| &container.ports).filter(|declared| {
        (if declared.protocol.is_empty() { "TCP" } else { &declared.protocol }) == protocol
    });
    match &port.target_port {
        Value::String(name) => declared.any(|declared| declared.name == *name),
        target => {
            let number = target.as_u64().unwrap_or_else(|| port.port.into());
            let dns: Vec<u64> = declared
                .filter(|declared| declared.name.starts_with("dns"))
                .map(|declared| declared.container_port.into())
                .collect();
            dns.is_empty() || dns.contains(&number)
        }
    }
}

/// `a does`, `a, b and 3 more do`
fn some(names: &[String], one: &str, many: &str) -> String {
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match names.len() {
        0 | 1 => format!("{shown} {one}"),
        count if count > SHOWN => format!("{shown} and {} more {many}", count - SHOWN),
        _ => format!("{shown} {many}"),
    }
}

/// Who stands behind the Service.
fn behind(pages: &BTreeMap<String, Pages>, service: &Service, slices: &[Slice], pods: &[Pod]) -> Vec<Item> {
    let mut items = ready(service, slices);
    let listed: BTreeSet<&str> = endpoints(slices).collect();
    let living: Vec<&Pod> = pods.iter().filter(|pod| !pod.is_leaving()).collect();
    let mut kinds: BTreeMap<Software, Vec<String>> = BTreeMap::new();
    for pod in living.iter().filter(|pod| pod.is_ready()) {
        let pages = pages.get(&pod.metadata.path());
        kinds.entry(Software::of(pod, pages)).or_default().push(pod.metadata.name.clone());
    }
    let counts: Vec<String> = kinds.iter().map(|(kind, pods)| format!("{} {kind}", pods.len())).collect();
    if let Some(pods) = kinds.get(&Software::Unknown) {
        items.push(codes::SERVICE_UNKNOWN.is(
            format!("{} behind it, and neither image nor metrics tell what", some(pods, "stands", "stand")),
            "look at what these pods are: they answer a part of all questions",
        ));
    }
    match kinds.len() {
        0 => {}
        1 => items.push(Item::good(format!("behind it: {}", counts.join(", ")))),
        _ => items.push(codes::SERVICE_MIXED.is(
            format!("behind it: {}; each answers its share of questions", counts.join(", ")),
            "during a migration that is the canary: compare them with `callsign diff`, then scale one to zero; else \
             take the label k8s-app from the pods that should not be there",
        )),
    }
    let unready: Vec<String> =
        living.iter().filter(|pod| !pod.is_ready()).map(|pod| pod.metadata.name.clone()).collect();
    if !unready.is_empty() {
        items.push(codes::SERVICE_NOT_READY.is(
            format!("{} selected and not ready", some(&unready, "is", "are")),
            "kubectl describe pod tells why; /ready of CoreDNS and Callsign names what is not synced",
        ));
    }
    // A pod that has just turned ready is written within seconds.
    let unwritten: Vec<String> = living
        .iter()
        .filter(|pod| {
            pod.is_ready() && !pod.status.pod_ip.is_empty() && !listed.contains(pod.metadata.name.as_str())
        })
        .map(|pod| pod.metadata.name.clone())
        .collect();
    if !unwritten.is_empty() && !service.spec.selector.is_empty() {
        items.push(codes::SERVICE_NOT_WRITTEN.is(
            format!("{} ready and in none of the Service's EndpointSlices", some(&unwritten, "is", "are")),
            "nobody writes endpoints, or with a lag: look at `controllers`; a pod that has just turned ready takes a \
             moment",
        ));
    }
    items
}

/// Whether there is a ready endpoint, of every family.
fn ready(service: &Service, slices: &[Slice]) -> Vec<Item> {
    let count = |family: Option<&str>| {
        let fits = |slice: &&Slice| family.is_none_or(|family| slice.address_type == family);
        let addresses: BTreeSet<&String> = slices
            .iter()
            .filter(fits)
            .flat_map(|slice| &slice.endpoints)
            .filter(|endpoint| endpoint.is_ready())
            .flat_map(|endpoint| &endpoint.addresses)
            .collect();
        addresses.len()
    };
    let path = service.metadata.path();
    let all = count(None);
    if all == 0 {
        return vec![codes::SERVICE_EMPTY.is(
            format!("Service {path} has no ready endpoint: no pod of the cluster can resolve a name"),
            "look at the pods that it selects; to get names back at once, scale up the server that was there before",
        )];
    }
    let mut items = vec![Item::good(format!(
        "{all} ready endpoint{} behind Service {path}",
        if all == 1 { "" } else { "s" }
    ))];
    for family in service.spec.ip_families.iter().filter(|family| count(Some(family)) == 0) {
        items.push(codes::SERVICE_FAMILY.is(
            format!("Service {path} has an {family} address and no ready {family} endpoint"),
            format!("the pods have no {family} address: take {family} from the Service's ipFamilies, or give pods one"),
        ));
    }
    items
}

fn endpoints(slices: &[Slice]) -> impl Iterator<Item = &str> {
    let targets =
        slices.iter().flat_map(|slice| &slice.endpoints).filter_map(|endpoint| endpoint.target_ref.as_ref());
    targets.map(|target| target.name.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::{facts::Missing, finding::ids, testing},
        *,
    };

    fn service(change: impl Fn(&mut Value)) -> Service {
        let mut service = json!({
            "metadata": {"namespace": "kube-system", "name": "kube-dns"},
            "spec": {"clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10"], "ipFamilies": ["IPv4"],
                "selector": {"k8s-app": "kube-dns"},
                "ports": [{"name": "dns", "protocol": "UDP", "port": 53, "targetPort": 53},
                    {"name": "dns-tcp", "protocol": "TCP", "port": 53, "targetPort": 53}]},
        });
        change(&mut service);
        serde_json::from_value(service).unwrap()
    }

    fn front(pods: &[(&str, &str, bool)]) -> Front {
        let behind: Vec<Pod> = pods
            .iter()
            .map(|(name, image, ready)| testing::pod("kube-system", name, image, *ready))
            .collect();
        let slice = testing::slice("kube-system", "kube-dns", &behind);
        Front { service: Ok(service(|_| {})), slices: Ok(vec![slice]), behind: Ok(behind) }
    }

    fn found(front: &Front) -> Vec<&'static str> {
        ids(&check("kube-system/kube-dns", front, &BTreeMap::new()))
    }

    const CALLSIGN: &str = "ghcr.io/callsign-dns/callsign:0.1.0";
    const COREDNS: &str = "registry.k8s.io/coredns/coredns:v1.13.1";

    #[test]
    fn one_server_is_good_two_are_a_canary() {
        let items = check(
            "kube-system/kube-dns",
            &front(&[("a", CALLSIGN, true), ("b", CALLSIGN, true)]),
            &BTreeMap::new(),
        );
        let texts: Vec<String> = items.iter().map(|item| format!("{item:?}")).collect();
        assert!(texts[2].contains("behind it: 2 Callsign"), "{texts:?}");
        assert_eq!(ids(&items), [""; 0]);
        let mixed = front(&[("a", CALLSIGN, true), ("b", COREDNS, true), ("c", COREDNS, true)]);
        let items = check("kube-system/kube-dns", &mixed, &BTreeMap::new());
        assert_eq!(ids(&items), ["CHK405"]);
        let message = &items.last().unwrap().finding().unwrap().message;
        assert!(message.starts_with("behind it: 1 Callsign, 2 CoreDNS"), "{message}");
        assert_eq!(found(&front(&[("a", "x/y:1", true)])), ["CHK409"]);
    }

    #[test]
    fn endpoints_are_counted() {
        assert_eq!(found(&front(&[("a", CALLSIGN, false)])), ["CHK404", "CHK406"]);
        assert_eq!(found(&front(&[])), ["CHK404"]);
        let unwritten = Front { slices: Ok(Vec::new()), ..front(&[("a", CALLSIGN, true)]) };
        assert_eq!(found(&unwritten), ["CHK404", "CHK407"]);
        let both = service(|service| service["spec"]["ipFamilies"] = json!(["IPv4", "IPv6"]));
        assert_eq!(found(&Front { service: Ok(both), ..front(&[("a", CALLSIGN, true)]) }), ["CHK408"]);
    }

    #[test]
    fn the_services_own_form() {
        let with = |change: fn(&mut Value)| {
            found(&Front { service: Ok(service(change)), ..front(&[("a", CALLSIGN, true)]) })
        };
        assert_eq!(with(|service| service["spec"]["ports"][1]["port"] = json!(54)), ["CHK402"]);
        assert_eq!(with(|service| service["spec"]["ports"][0]["targetPort"] = json!(1053)), ["CHK403"]);
        assert_eq!(with(|service| service["spec"]["ports"][0]["targetPort"] = json!("dns")), [""; 0]);
        assert_eq!(with(|service| service["spec"]["ports"][0]["targetPort"] = json!("domain")), ["CHK403"]);
        assert_eq!(with(|service| service["spec"]["ports"][0]["targetPort"] = json!("dns-tcp")), ["CHK403"]);
        let headless = |service: &mut Value| {
            service["spec"]["clusterIP"] = json!("None");
            service["spec"]["clusterIPs"] = json!(["None"]);
        };
        assert_eq!(with(headless), ["CHK410"]);
        assert_eq!(with(|service| service["spec"]["selector"] = json!({})), ["CHK411"]);
    }

    #[test]
    fn what_may_not_be_seen_is_told() {
        let forbidden = || Missing::Forbidden("list x".to_owned());
        let absent = Front { service: Err(Missing::Absent("Service".to_owned())), ..front(&[]) };
        assert_eq!(found(&absent), ["CHK401"]);
        let blind = Front { service: Err(forbidden()), ..front(&[]) };
        let wanted = [Item::not_checked("Service kube-system/kube-dns", "may not list x")];
        assert_eq!(check("kube-system/kube-dns", &blind, &BTreeMap::new()), wanted);
        let partly = Front { behind: Err(forbidden()), ..front(&[("a", CALLSIGN, true)]) };
        let items = check("kube-system/kube-dns", &partly, &BTreeMap::new());
        assert_eq!(
            items.iter().filter(|item| matches!(item, Item::NotChecked { .. })).count(),
            1,
            "{items:?}"
        );
        assert!(
            items.iter().any(|item| matches!(item, Item::Good(text) if text.contains("1 ready endpoint")))
        );
        let slices = Front { slices: Err(forbidden()), ..front(&[("a", CALLSIGN, true)]) };
        assert_eq!(ids(&check("kube-system/kube-dns", &slices, &BTreeMap::new())), [""; 0]);
    }

    #[test]
    fn many_names_are_summed_up() {
        let names: Vec<String> = (0..7).map(|n| format!("p{n}")).collect();
        assert_eq!(some(&names, "is", "are"), "p0, p1, p2, p3, p4 and 2 more are");
        assert_eq!(some(&names[..1], "is", "are"), "p0 is");
    }
}
