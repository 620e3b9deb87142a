//! `controllers`: who writes Endpoints and EndpointSlices: exactly one has to.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::{
    codes,
    facts::Cluster,
    finding::Item,
    objects::{Lease, Pod},
    rights::Duty,
};

/// A Lease may be renewed this much later than it says.
const SLACK: SignedDuration = SignedDuration::from_secs(30);
/// The three controllers of kube-controller-manager, by the names that `--controllers` knows them under.
const CONTROLLERS: [[&str; 2]; 3] = [
    ["endpoints-controller", "endpoint"],
    ["endpointslice-controller", "endpointslice"],
    ["endpointslice-mirroring-controller", "endpointslicemirroring"],
];
/// Writers under these names, in `managedFields`.
const MANAGER: &str = "kube-controller-manager";
const CALLSIGN: &str = "callsign";
/// How old a write may be to tell that its writer is still there.
const RECENT: SignedDuration = SignedDuration::from_mins(10);

/// What is known of kube-controller-manager's endpoint controllers.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Manager {
    /// They run, and why that is known.
    On(String),
    /// They wrote not long ago: what, and when. Right after a takeover that says nothing of now.
    Wrote(String),
    /// They do not.
    Off(String),
    Unknown(String),
}

/// Who writes.
pub(super) fn check(cluster: &Cluster) -> Vec<Item> {
    let pods = match &cluster.own {
        Ok(pods) => pods,
        Err(missing) => return vec![Item::not_checked("who writes endpoints", missing)],
    };
    let writers: Vec<&Pod> =
        pods.iter().filter(|pod| !pod.is_leaving() && Duty::of(pod) == Some(Duty::Writer)).collect();
    let manager = manager(cluster);
    let mut items = Vec::new();
    let metrics = || {
        let all = writers.iter().filter_map(|pod| cluster.pages.get(&pod.metadata.path()));
        all.filter_map(|pages| pages.metrics.as_ref().ok())
    };
    let stands_down =
        metrics().any(|metrics| metrics.sum("callsign_controller_foreign_manager_active") > 0.0);
    let fixed = "turn its controllers off (docs/controller.md#taking-over-from-kube-controller-manager), or install \
                 mode dns";
    match (writers.is_empty(), &manager) {
        (false, _) if stands_down => items.push(codes::WRITERS_TWO_KINDS.is(
            "Callsign has seen another controller write endpoints, and writes nothing",
            fixed,
        )),
        // The guard looks for writers all the time.
        (false, Manager::Wrote(why)) if metrics().any(|metrics| metrics.has("callsign_controller_foreign_manager_active")) => {
            items.push(Item::good(format!("Callsign writes endpoints, and its guard has seen nobody else do so since {why}")));
        }
        (false, Manager::On(why) | Manager::Wrote(why)) => items.push(codes::WRITERS_TWO_KINDS.is(
            format!("Callsign is to write endpoints, and kube-controller-manager does: {why}"),
            fixed,
        )),
        (false, Manager::Off(why)) => items.push(Item::good(format!(
            "Callsign writes endpoints, and kube-controller-manager does not: {why}"
        ))),
        (false, Manager::Unknown(why)) => {
            items.push(Item::good("Callsign writes endpoints, and has seen nobody else do so"));
            items.push(Item::not_checked("kube-controller-manager's endpoint controllers", why));
        }
        (true, Manager::On(why) | Manager::Wrote(why)) => {
            items.push(Item::good(format!("kube-controller-manager writes endpoints: {why}")));
        }
        (true, Manager::Off(why)) => items.push(codes::WRITERS_NONE.is(
            format!("nobody writes endpoints: no Callsign pod does, and kube-controller-manager does not: {why}"),
            "turn its endpoint controllers on again, or install mode all-in-one or split: until then a pod that moves \
             is lost to its Service",
        )),
        (true, Manager::Unknown(why)) => {
            items.push(Item::not_checked("kube-controller-manager's endpoint controllers", why));
        }
    }
    let installations: BTreeSet<(&str, &str)> = writers
        .iter()
        .map(|pod| (pod.metadata.namespace.as_str(), pod.metadata.label("app.kubernetes.io/instance")))
        .collect();
    if installations.len() > 1 {
        let named: Vec<String> =
            installations.iter().map(|(namespace, name)| format!("{namespace}/{name}")).collect();
        items.push(codes::WRITERS_TWO_CALLSIGNS.is(
            format!("{} installations of Callsign write: {}", installations.len(), named.join(", ")),
            "each has a Lease of its own and undoes the other's writes: uninstall one, or give it mode dns",
        ));
    }
    let left =
        metrics().map(|metrics| metrics.sum("callsign_controller_services_left_alone")).fold(0.0, f64::max);
    if left > 0.0 {
        items.push(codes::WRITERS_LEFT_ALONE.is(
            format!("{left} Services are not written, since somebody else writes their endpoints"),
            "Events with the reason EndpointsWrittenByAnother name them and the writer",
        ));
    }
    if !writers.is_empty() {
        items.extend(leases(cluster));
    }
    items
}

/// Before an installation that writes: kube-controller-manager's must be off.
pub(super) fn before(cluster: &Cluster, writes: bool) -> Vec<Item> {
    let mut items = Vec::new();
    match (manager(cluster), writes) {
        (Manager::On(why) | Manager::Wrote(why), true) => items.push(codes::WRITERS_STILL_ON.is(
            format!("kube-controller-manager writes endpoints: {why}"),
            "give it --controllers=*,-endpoints-controller,-endpointslice-controller,-endpointslice-mirroring-controller \
             (kubeadm: keep bootstrapsigner,tokencleaner); Callsign would stand down, not ready, until then",
        )),
        (Manager::On(why) | Manager::Wrote(why), false) => {
            items.push(Item::good(format!("kube-controller-manager writes endpoints: {why}")));
        }
        (Manager::Off(why), true) => {
            items.push(Item::good(format!("kube-controller-manager does not write endpoints: {why}")));
        }
        (Manager::Off(why), false) => items.push(codes::WRITERS_NONE.is(
            format!("nobody writes endpoints: {why}"),
            "mode dns answers from what others write: turn kube-controller-manager's endpoint controllers on, or \
             install mode all-in-one or split",
        )),
        (Manager::Unknown(why), _) => {
            items.push(Item::not_checked("kube-controller-manager's endpoint controllers", why));
        }
    }
    items
}

/// What there is to know of kube-controller-manager: its arguments tell for sure, then what it wrote, then its Lease.
fn manager(cluster: &Cluster) -> Manager {
    let writers = &cluster.writers;
    let pods = writers.manager_pods.as_deref().unwrap_or_default();
    let flags: Vec<Option<&str>> = pods.iter().filter(|pod| !pod.is_leaving()).map(flag).collect();
    if let Some(first) = flags.first() {
        let on = CONTROLLERS.map(|names| is_on(first.unwrap_or("*"), names));
        let said = first.map_or("it has no --controllers".to_owned(), |list| format!("--controllers={list}"));
        return match on {
            [true, true, true] => Manager::On(said),
            [false, false, false] => Manager::Off(said),
            _ => Manager::On(format!("{said} turns off only some of the three")),
        };
    }
    if let Some((slice, at)) = last_write(cluster) {
        return Manager::Wrote(format!("it wrote EndpointSlice {slice} at {at}"));
    }
    match &writers.manager_lease {
        Ok(lease) if is_held(lease, cluster.now) => Manager::Unknown(format!(
            "it runs (Lease {MANAGER} is held); its arguments are not to be seen, and it wrote nothing lately"
        )),
        Ok(_) => Manager::Off(format!("its Lease {MANAGER} is not held")),
        Err(missing) if missing.is_absent() => {
            Manager::Off(format!("there is no Lease kube-system/{MANAGER}"))
        }
        Err(missing) => Manager::Unknown(missing.to_string()),
    }
}

/// `--controllers` of a pod.
fn flag(pod: &Pod) -> Option<&str> {
    let words =
        pod.spec.containers.iter().flat_map(|container| container.command.iter().chain(&container.args));
    words.filter_map(|word| word.strip_prefix("--controllers=")).next_back()
}

/// Whether a list such as `*,-endpoints-controller` has a controller: its own entry counts before the star
/// (Kubernetes `staging/src/k8s.io/controller-manager/pkg/…/IsControllerEnabled`).
fn is_on(list: &str, names: [&str; 2]) -> bool {
    let entries = || list.split(',').map(str::trim);
    let named = entries().find_map(|entry| match entry.strip_prefix('-') {
        Some(off) if names.contains(&off) => Some(false),
        None if names.contains(&entry) => Some(true),
        _ => None,
    });
    named.unwrap_or_else(|| entries().any(|entry| entry == "*"))
}

/// The newest recent write of kube-controller-manager among the slices, where Callsign did not write later.
fn last_write(cluster: &Cluster) -> Option<(String, Timestamp)> {
    let slices = cluster.writers.sample.as_deref().unwrap_or_default();
    let newest = slices.iter().filter_map(|slice| {
        let at = |manager: &str| {
            let its = slice.metadata.managed_fields.iter().filter(|fields| fields.manager == manager);
            its.filter_map(|fields| fields.time.parse::<Timestamp>().ok()).max()
        };
        let theirs = at(MANAGER)?;
        let recent = cluster.now.duration_since(theirs) <= RECENT;
        (recent && at(CALLSIGN).is_none_or(|ours| ours < theirs)).then(|| (slice.metadata.path(), theirs))
    });
    newest.max_by_key(|(_, at)| *at)
}

fn is_held(lease: &Lease, now: Timestamp) -> bool {
    let lasts =
        SignedDuration::from_secs(lease.spec.lease_duration_seconds.unwrap_or(15).clamp(0, 86_400)) + SLACK;
    let renewed = lease.spec.renew_time.parse::<Timestamp>();
    !lease.spec.holder_identity.is_empty() && renewed.is_ok_and(|at| now.duration_since(at) <= lasts)
}

fn leases(cluster: &Cluster) -> Vec<Item> {
    match &cluster.writers.own_leases {
        Ok(leases) => leases
            .iter()
            .map(|lease| {
                let path = lease.metadata.path();
                if is_held(lease, cluster.now) {
                    return Item::good(format!("Lease {path} is held by {}", lease.spec.holder_identity));
                }
                codes::WRITERS_LEASE.is(
                    format!("Lease {path} is not held: last renewed {}", or_never(&lease.spec.renew_time)),
                    "no pod may or can renew it: see `servers` and `permissions`; delete it if no pod uses it",
                )
            })
            .collect(),
        Err(missing) if missing.is_absent() => Vec::new(),
        Err(missing) => vec![Item::not_checked("the Lease of the controllers", missing)],
    }
}

fn or_never(time: &str) -> &str {
    if time.is_empty() { "never" } else { time }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::{
        super::{
            facts::{Missing, Writers},
            finding::ids,
            objects::Slice,
            testing,
        },
        *,
    };

    const NOW: &str = "2026-01-01T00:00:00Z";

    fn lease(name: &str, renewed: &str) -> Lease {
        serde_json::from_value(json!({"metadata": {"namespace": "kube-system", "name": name},
            "spec": {"holderIdentity": "cp-1", "renewTime": renewed, "leaseDurationSeconds": 15}}))
        .unwrap()
    }

    fn manager_pod(arguments: &[&str]) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "kcm"},
            "spec": {"containers": [{"name": "kcm", "command": arguments}]}}))
        .unwrap()
    }

    fn slice(manager: &str, time: &str) -> Slice {
        serde_json::from_value(json!({"metadata": {"namespace": "n", "name": "s",
            "managedFields": [{"manager": manager, "time": time}]}}))
        .unwrap()
    }

    fn absent<T>(what: &str) -> Result<T, Missing> {
        Err(Missing::Absent(what.to_owned()))
    }

    /// A cluster with these pods of Callsign's, by instance and first argument, and without kube-controller-manager.
    fn cluster(own: &[(&str, &str)]) -> Cluster {
        let pods = own.iter().enumerate().map(|(number, (instance, command))| {
            let mut pod = testing::pod("kube-system", &format!("p{number}"), "callsign:1", true);
            pod.metadata.labels.insert("app.kubernetes.io/instance".to_owned(), (*instance).to_owned());
            pod.spec.containers[0].args = vec![(*command).to_owned()];
            pod
        });
        Cluster {
            own: Ok(pods.collect()),
            writers: Writers {
                manager_lease: absent("Lease"),
                manager_pods: Ok(Vec::new()),
                own_leases: Ok(vec![lease("callsign-controller", NOW)]),
                sample: Ok(Vec::new()),
            },
            ..testing::cluster()
        }
    }

    fn with(mut cluster: Cluster, change: impl Fn(&mut Cluster)) -> Vec<&'static str> {
        change(&mut cluster);
        ids(&check(&cluster))
    }

    const OFF: &str =
        "--controllers=*,-endpoints-controller,-endpointslice-controller,-endpointslice-mirroring-controller";

    #[test]
    fn exactly_one_writes() {
        let (serve, dns) = (cluster(&[("a", "serve"), ("a", "serve")]), cluster(&[("a", "dns")]));
        assert_eq!(with(serve.clone(), |_| {}), [""; 0]);
        assert_eq!(with(dns.clone(), |_| {}), ["CHK602"]);
        let on = |cluster: &mut Cluster| {
            cluster.writers.manager_pods = Ok(vec![manager_pod(&["kcm", "--controllers=*,bootstrapsigner"])]);
        };
        assert_eq!(with(serve.clone(), on), ["CHK601"]);
        assert_eq!(with(dns.clone(), on), [""; 0]);
        let off = |cluster: &mut Cluster| cluster.writers.manager_pods = Ok(vec![manager_pod(&["kcm", OFF])]);
        assert_eq!(with(serve.clone(), off), [""; 0]);
        assert_eq!(with(dns, off), ["CHK602"]);
        let some = |cluster: &mut Cluster| {
            cluster.writers.manager_pods = Ok(vec![manager_pod(&["kcm", "--controllers=*,-endpoint"])]);
        };
        assert_eq!(with(serve, some), ["CHK601"]);
        assert_eq!(with(cluster(&[("a", "serve"), ("b", "controller")]), |_| {}), ["CHK603"]);
    }

    #[test]
    fn where_arguments_are_hidden_writes_and_leases_tell() {
        let dns = || cluster(&[("a", "dns")]);
        let running = |cluster: &mut Cluster| {
            cluster.writers.manager_pods = Err(Missing::Forbidden("list pods in kube-system".to_owned()));
            cluster.writers.manager_lease = Ok(lease("kube-controller-manager", NOW));
        };
        let mut quiet = dns();
        running(&mut quiet);
        let items = check(&quiet);
        assert!(matches!(&items[..], [Item::NotChecked { why, .. }] if why.contains("it runs")), "{items:?}");
        let writing = |cluster: &mut Cluster| {
            running(cluster);
            cluster.writers.sample = Ok(vec![slice("kube-controller-manager", "2025-12-31T23:58:00Z")]);
        };
        assert_eq!(with(cluster(&[("a", "serve")]), writing), ["CHK601"]);
        let guarded = |cluster: &mut Cluster| {
            writing(cluster);
            let pages = testing::pages("callsign_controller_foreign_manager_active 0\n");
            cluster.pages = [("kube-system/p0".to_owned(), pages)].into();
        };
        assert_eq!(with(cluster(&[("a", "serve")]), guarded), [""; 0], "right after a takeover");
        let long_ago = |cluster: &mut Cluster| {
            running(cluster);
            cluster.writers.sample = Ok(vec![slice("kube-controller-manager", "2025-12-31T23:00:00Z")]);
        };
        assert_eq!(with(cluster(&[("a", "serve")]), long_ago), [""; 0]);
        let ended = |cluster: &mut Cluster| {
            cluster.writers.manager_lease = Ok(lease("kube-controller-manager", "2025-12-31T23:00:00Z"));
        };
        assert_eq!(with(dns(), ended), ["CHK602"]);
    }

    #[test]
    fn metrics_and_leases_tell() {
        let pages = |metrics: &str| -> BTreeMap<_, _> {
            [("kube-system/p0".to_owned(), testing::pages(metrics))].into()
        };
        let serve = || cluster(&[("a", "serve")]);
        let foreign =
            |cluster: &mut Cluster| cluster.pages = pages("callsign_controller_foreign_manager_active 1\n");
        assert_eq!(with(serve(), foreign), ["CHK601"]);
        let alone =
            |cluster: &mut Cluster| cluster.pages = pages("callsign_controller_services_left_alone 2\n");
        assert_eq!(with(serve(), alone), ["CHK605"]);
        let old = |cluster: &mut Cluster| {
            cluster.writers.own_leases = Ok(vec![lease("callsign-controller", "2025-12-31T23:00:00Z")]);
        };
        assert_eq!(with(serve(), old), ["CHK604"]);
        assert_eq!(
            with(cluster(&[("a", "serve")]), |cluster| cluster.own =
                Err(Missing::Forbidden("list pods".to_owned()))),
            [""; 0]
        );
    }

    #[test]
    fn before_an_installation() {
        let mut on = cluster(&[]);
        on.writers.manager_pods = Ok(vec![manager_pod(&["kcm"])]);
        assert_eq!(ids(&before(&on, true)), ["CHK606"]);
        assert_eq!(ids(&before(&on, false)), [""; 0]);
        on.writers.manager_pods = Ok(vec![manager_pod(&["kcm", OFF])]);
        assert_eq!(ids(&before(&on, true)), [""; 0]);
        assert_eq!(ids(&before(&on, false)), ["CHK602"]);
        let blind = testing::cluster();
        assert!(matches!(before(&blind, true)[..], [Item::NotChecked { .. }]));
    }

    #[test]
    fn lists_of_controllers() {
        let slices = CONTROLLERS[1];
        for (list, wanted) in [
            ("*", true),
            ("*,-endpointslice-controller", false),
            ("*,-endpointslice", false),
            ("endpointslice-controller,*", true),
            ("bootstrapsigner", false),
            ("-endpointslice-controller,*", false),
        ] {
            assert_eq!(is_on(list, slices), wanted, "{list}");
        }
    }
}
