//! Minor writes: those that change nothing for traffic, and so may wait for one that does ([`pace`](crate::pace)).
//!
//! A write is minor if all it changes is endpoints that are not ready before and after, while the Service has ready ones
//! under the same ports. Where it has none, proxies fall back to endpoints that are terminating but still serve, and people
//! look for those that do not become ready: then nothing is minor. Where nodes send traffic to their own endpoints only,
//! each of them falls back by itself, and what still serves counts like what is ready (KEP-1669). Labels, ports, owners,
//! hints and the like are never minor, nor is a Service's first object of a kind.

use callsign_shared::{
    Labels, ServiceView,
    object::{
        AddressType, EndpointPort, EndpointSlice, Endpoints, EndpointsAddress, Family, SliceEndpoint,
        well_known,
    },
};

use crate::plan::{Role, Write};

/// Whether a write of a slice may wait.
pub fn slice(write: &Write<EndpointSlice>, view: &ServiceView) -> bool {
    let Role::Selecting(service) = Role::of(view) else { return false };
    let usable = |endpoint: &&SliceEndpoint| {
        endpoint.is_ready() || service.local && endpoint.conditions.serving == Some(true)
    };
    let has_usable = |slice: &EndpointSlice| slice.endpoints.iter().any(|endpoint| usable(&endpoint));
    let (object, minor) = match write {
        // Without endpoints it is the one that says that there are none.
        Write::Create(new) => {
            let first = !view.slices.iter().any(|slice| is_sibling(slice, new));
            (new, !first && !new.endpoints.is_empty() && !has_usable(new))
        }
        Write::Update { current, new } => {
            let same_around = current.meta.labels == new.meta.labels
                && same_but_trigger(&current.annotations, &new.annotations)
                && (&current.owners, &current.finalizers) == (&new.owners, &new.finalizers)
                && current.ports == new.ports;
            let (before, after) = (current.endpoints.iter(), new.endpoints.iter());
            (new, same_around && before.filter(usable).eq(after.filter(usable)))
        }
        Write::Delete { current } => {
            let last = view.slices.iter().filter(|slice| is_sibling(slice, current)).count() <= 1;
            (&**current, !last && !has_usable(current))
        }
    };
    let family = match object.address_type {
        AddressType::V4 => Family::V4,
        AddressType::V6 => Family::V6,
        AddressType::Fqdn | AddressType::Other => return false,
    };
    let others = || view.members.iter().filter(|member| member.answers(family));
    let under = |port: &EndpointPort| others().any(|other| other.ports.iter().any(|p| p.name == port.name));
    minor && others().next().is_some() && object.ports.iter().flatten().all(under)
}

/// Whether a write of the Endpoints may wait.
pub fn endpoints(write: &Write<Endpoints>, view: &ServiceView) -> bool {
    let Role::Selecting(_) = Role::of(view) else { return false };
    let Write::Update { current, new } = write else { return false };
    let ready = |endpoints: &Endpoints| -> Vec<(Vec<EndpointsAddress>, _)> {
        let subsets = endpoints.subsets.iter().filter(|subset| !subset.addresses.is_empty());
        subsets.map(|subset| (subset.addresses.clone(), subset.ports.clone())).collect()
    };
    let usable = ready(new);
    !usable.is_empty()
        && current.meta.labels == new.meta.labels
        && same_but_trigger(&current.annotations, &new.annotations)
        && ready(current) == usable
}

/// Whether they are of the same family and made by the same controller.
fn is_sibling(slice: &EndpointSlice, other: &EndpointSlice) -> bool {
    slice.address_type == other.address_type
        && slice.managed_by() == other.managed_by()
        && !slice.meta.deleting
}

fn same_but_trigger(one: &Labels, other: &Labels) -> bool {
    let others = |labels: &'_ Labels| -> Vec<_> {
        let pairs = labels.iter().filter(|(key, _)| *key != well_known::LAST_CHANGE_TRIGGER_TIME);
        pairs.map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    others(one) == others(other)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        plan::Limits,
        testing::{Cluster, node, pod, service},
    };

    fn unready(name: &str, ip: &str) -> Value {
        let mut pod = pod("n", name, "web", ip);
        pod["status"]["conditions"] = json!([{"type": "Ready", "status": "False"}]);
        pod
    }

    /// A Service with the pod `a`, written, and then `change`.
    fn verdicts(first: Value, change: impl FnOnce(&Cluster)) -> (Vec<bool>, Vec<bool>) {
        let cluster = Cluster::default();
        cluster.apply(node("node-a", "zone-a"));
        cluster.apply(service("n", "web"));
        cluster.apply(first);
        cluster.settle(Limits::default());
        change(&cluster);
        let view = cluster.view("n", "web");
        let (slices, objects) = cluster.plan(&view, Limits::default());
        (
            slices.writes.iter().map(|write| slice(write, &view)).collect(),
            objects.writes.iter().map(|write| endpoints(write, &view)).collect(),
        )
    }

    #[test]
    fn what_is_not_ready_may_wait_where_others_are() {
        let ready = || pod("n", "a", "web", "10.0.0.1");
        assert_eq!(
            verdicts(ready(), |cluster| cluster.apply(unready("b", "10.0.0.2"))),
            (vec![true], vec![true])
        );
        assert_eq!(
            verdicts(ready(), |cluster| cluster.apply(pod("n", "b", "web", "10.0.0.2"))),
            (vec![false], vec![false]),
            "a ready one"
        );
        assert_eq!(
            verdicts(unready("a", "10.0.0.1"), |cluster| cluster.apply(unready("b", "10.0.0.2"))),
            (vec![false], vec![false]),
            "nobody is ready"
        );
        assert_eq!(
            verdicts(ready(), |cluster| cluster.apply(unready("a", "10.0.0.1"))),
            (vec![false], vec![false]),
            "the last ready one goes"
        );
        let labelled = |cluster: &Cluster| {
            cluster.apply(unready("b", "10.0.0.2"));
            let mut service = service("n", "web");
            service["metadata"]["labels"] = json!({"a": "b"});
            cluster.apply(service);
        };
        assert_eq!(verdicts(ready(), labelled), (vec![false], vec![false]), "labels");
    }

    /// Verdicts about slices only, of a Service, its pods, and `change`.
    fn slice_verdicts(service: Value, pods: [Value; 2], change: Value) -> Vec<bool> {
        let cluster = Cluster::default();
        cluster.apply(node("node-a", "zone-a"));
        cluster.apply(service);
        pods.into_iter().for_each(|pod| cluster.apply(pod));
        cluster.settle(Limits::default());
        cluster.apply(change);
        let view = cluster.view("n", "web");
        let (slices, _) = cluster.plan(&view, Limits::default());
        slices.writes.iter().map(|write| slice(write, &view)).collect()
    }

    fn terminating(serving: bool) -> Value {
        let mut pod = if serving { pod("n", "b", "web", "10.0.0.2") } else { unready("b", "10.0.0.2") };
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        pod
    }

    #[test]
    fn where_nodes_send_to_their_own_what_still_serves_counts() {
        for (policy, minor) in [("Cluster", true), ("Local", false)] {
            let mut service = service("n", "web");
            service["spec"]["externalTrafficPolicy"] = json!(policy);
            let pods = [pod("n", "a", "web", "10.0.0.1"), terminating(true)];
            assert_eq!(slice_verdicts(service, pods, terminating(false)), [minor], "{policy}");
        }
    }

    #[test]
    fn what_is_ready_under_another_port_does_not_count() {
        let with_port = |mut pod: Value, port: &str| {
            let port = json!({"name": port, "containerPort": 80});
            pod["spec"]["containers"] = json!([{"name": "c", "ports": [port]}]);
            pod
        };
        let mut service = service("n", "web");
        let port = |name: &str, port: u16| json!({"name": name, "port": port, "targetPort": name});
        service["spec"]["ports"] = json!([port("a", 1), port("b", 2)]);
        for (name, minor) in [("a", true), ("b", false)] {
            let ready = with_port(pod("n", "a", "web", "10.0.0.1"), "a");
            let pods = [ready, with_port(terminating(true), name)];
            let verdicts = slice_verdicts(service.clone(), pods, with_port(terminating(false), name));
            assert_eq!(verdicts, [minor], "{name}");
        }
    }
}
