//! What each duty needs to be allowed: the one table that accounts are held against. A test holds the chart's roles against
//! it too.

use std::fmt;

use super::objects::Pod;
use super::software;

/// What a process does, as far as rights go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Duty {
    /// Answers from slices.
    Dns,
    /// Computes endpoints and writes nothing.
    Shadow,
    /// Writes endpoints; answers too or not.
    Writer,
}

/// Where a right holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
    /// Everywhere.
    Cluster,
    /// In the namespace of the installation.
    Own,
    /// In kube-system.
    System,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Right {
    pub(super) scope: Scope,
    pub(super) group: &'static str,
    /// With its subresource: `services/finalizers`.
    pub(super) resource: &'static str,
    pub(super) verbs: &'static [&'static str],
    /// The one object it is about.
    pub(super) name: Option<&'static str>,
    /// What is lost without it; `None` where nothing works.
    pub(super) lost: Option<&'static str>,
}

/// One verb of a right, as the API server is asked for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Asked {
    pub(super) verb: &'static str,
    pub(super) group: &'static str,
    pub(super) resource: &'static str,
    pub(super) name: Option<&'static str>,
    /// `None` for everywhere.
    pub(super) namespace: Option<String>,
    pub(super) lost: Option<&'static str>,
}

const SLICES: &str = "discovery.k8s.io";
const READ: &[&str] = &["get", "list", "watch"];
const FOLLOW: &[&str] = &["list", "watch"];
const WRITE: &[&str] = &["get", "list", "watch", "create", "update", "delete"];

const fn cluster(group: &'static str, resource: &'static str, verbs: &'static [&'static str]) -> Right {
    Right { scope: Scope::Cluster, group, resource, verbs, name: None, lost: None }
}

const fn without(right: Right, lost: &'static str) -> Right {
    Right { lost: Some(lost), ..right }
}

const fn on(right: Right, name: &'static str) -> Right {
    Right { name: Some(name), ..right }
}

const fn at(scope: Scope, right: Right) -> Right {
    Right { scope, ..right }
}

const DNS: &[Right] = &[
    cluster("", "services", FOLLOW),
    cluster("", "namespaces", FOLLOW),
    cluster(SLICES, "endpointslices", FOLLOW),
];

const SHADOW: &[Right] = &[
    cluster("", "services", FOLLOW),
    cluster("", "pods", FOLLOW),
    cluster("", "nodes", FOLLOW),
    cluster("", "namespaces", FOLLOW),
    cluster("", "endpoints", FOLLOW),
    cluster(SLICES, "endpointslices", FOLLOW),
];

const OPENSHIFT: &str = "on OpenShift endpoints outside the pods' range are refused";
const FINALIZERS: &str = "where OwnerReferencesPermissionEnforcement is on, objects cannot be created";

const WRITER: &[Right] = &[
    cluster("", "services", READ),
    cluster("", "pods", FOLLOW),
    cluster("", "nodes", FOLLOW),
    cluster("", "namespaces", FOLLOW),
    cluster("", "endpoints", WRITE),
    cluster(SLICES, "endpointslices", WRITE),
    without(cluster("", "endpoints/restricted", &["create"]), OPENSHIFT),
    without(cluster(SLICES, "endpointslices/restricted", &["create"]), OPENSHIFT),
    without(cluster("", "services/finalizers", &["update"]), FINALIZERS),
    without(cluster("", "endpoints/finalizers", &["update"]), FINALIZERS),
    without(
        cluster("events.k8s.io", "events", &["create", "patch"]),
        "no Events tell what keeps a Service from answering",
    ),
    without(
        at(Scope::Own, cluster("", "services", &["create", "delete"])),
        "the guard sets out no canaries and goes by objects alone",
    ),
    at(Scope::Own, cluster("coordination.k8s.io", "leases", &["create"])),
    at(Scope::Own, on(cluster("coordination.k8s.io", "leases", &["get", "update"]), LEASE)),
    without(
        at(Scope::Own, on(cluster("coordination.k8s.io", "leases", &["watch"]), LEASE)),
        "a handover takes up to --leader-elect-retry-period",
    ),
    without(
        at(Scope::System, on(cluster("coordination.k8s.io", "leases", &["get"]), "kube-controller-manager")),
        "the first start waits for --guard-wait",
    ),
];

/// The Lease of the controllers.
pub(super) const LEASE: &str = "callsign-controller";

/// What DNS has no use for and would be a danger.
const BEYOND_DNS: &[Right] = &[
    cluster("", "secrets", &["get"]),
    cluster("", "pods", &["create"]),
    cluster("", "endpoints", &["update"]),
    cluster(SLICES, "endpointslices", &["update"]),
];

/// The same of the controllers.
const BEYOND_WRITER: &[Right] = &[
    cluster("", "secrets", &["get"]),
    cluster("", "configmaps", &["update"]),
    cluster("", "pods", &["create"]),
    cluster("", "services", &["update"]),
];

/// What DNS needs besides where it knows pods (`pods verified`).
pub(super) fn of_pods() -> &'static [Right] {
    const PODS: &[Right] = &[cluster("", "pods", FOLLOW)];
    PODS
}

impl Duty {
    /// What a pod does, as its arguments say; `None` for one that is not Callsign's.
    pub(super) fn of(pod: &Pod) -> Option<Self> {
        let container = software::container(pod)?;
        let words: Vec<&str> = container.command.iter().chain(&container.args).map(String::as_str).collect();
        let flag = |name: &str| {
            let assigned = words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            let next = || words.iter().skip_while(|word| **word != name).nth(1).copied();
            assigned.or_else(next)
        };
        let commands = ["dns", "serve", "controller", "sandbox", "check"];
        match words.iter().find(|word| commands.contains(*word)) {
            Some(&"serve") => Some(match flag("--controller") {
                Some("off") => Self::Dns,
                Some("shadow") => Self::Shadow,
                _ => Self::Writer,
            }),
            Some(&"controller") if words.contains(&"--shadow") => Some(Self::Shadow),
            Some(&"controller") => Some(Self::Writer),
            Some(&"sandbox" | &"check") => None,
            // In the place of CoreDNS.
            _ => Some(Self::Dns),
        }
    }

    /// What it needs.
    pub(super) fn rights(self) -> &'static [Right] {
        match self {
            Self::Dns => DNS,
            Self::Shadow => SHADOW,
            Self::Writer => WRITER,
        }
    }

    /// What it should not have.
    pub(super) fn beyond(self) -> &'static [Right] {
        if self == Self::Dns { BEYOND_DNS } else { BEYOND_WRITER }
    }

    /// As people say it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Dns => "DNS",
            Self::Shadow => "shadow",
            Self::Writer => "writing",
        }
    }
}

/// Each verb of rights, for an installation in this namespace.
pub(super) fn asked(rights: &[Right], namespace: &str) -> Vec<Asked> {
    let of = |right: &Right| {
        let Right { group, resource, name, lost, .. } = *right;
        let namespace = match right.scope {
            Scope::Cluster => None,
            Scope::Own => Some(namespace.to_owned()),
            Scope::System => Some("kube-system".to_owned()),
        };
        right
            .verbs
            .iter()
            .map(move |verb| Asked { verb, group, resource, name, namespace: namespace.clone(), lost })
            .collect::<Vec<_>>()
    };
    rights.iter().flat_map(of).collect()
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        if let Some(name) = self.name {
            write!(f, " {name}")?;
        }
        match &self.namespace {
            Some(namespace) => write!(f, " in {namespace}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::{super::objects::Container, *};

    fn pod(args: &[&str]) -> Pod {
        let args = args.iter().map(|word| (*word).to_owned()).collect();
        let container = Container { name: "callsign".to_owned(), args, ..Container::default() };
        let mut pod = Pod::default();
        pod.spec.containers.push(container);
        pod
    }

    #[test]
    fn arguments_tell_the_duty() {
        let cases: [(&[&str], Option<Duty>); 9] = [
            (&["dns", "--corefile", "/etc/callsign/Corefile"], Some(Duty::Dns)),
            (&["serve", "--corefile", "x"], Some(Duty::Writer)),
            (&["serve", "--controller", "shadow"], Some(Duty::Shadow)),
            (&["serve", "--controller=off"], Some(Duty::Dns)),
            (&["controller"], Some(Duty::Writer)),
            (&["controller", "--shadow"], Some(Duty::Shadow)),
            (&["-conf", "/etc/coredns/Corefile"], Some(Duty::Dns)),
            (&[], Some(Duty::Dns)),
            (&["check", "--only", "answers"], None),
        ];
        for (args, wanted) in cases {
            assert_eq!(Duty::of(&pod(args)), wanted, "{args:?}");
        }
    }

    /// Every verb of every role that the chart binds to an account: (where, group, resource, verb, name).
    type Row = (Scope, String, String, String, Option<String>);

    fn rows(rights: &[Right]) -> BTreeSet<Row> {
        let of = |right: &Right| {
            let Right { scope, group, resource, verbs, name, .. } = *right;
            let verbs = verbs.iter().map(move |verb| {
                (scope, group.to_owned(), resource.to_owned(), (*verb).to_owned(), name.map(str::to_owned))
            });
            verbs.collect::<Vec<_>>()
        };
        rights.iter().flat_map(of).collect()
    }

    /// The same of what the chart renders, for an account of this name.
    fn rendered(preset: &str, account: &str) -> BTreeSet<Row> {
        let path = format!("{}/charts/golden/{preset}.yaml", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        let objects: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        let texts = |value: &Value| -> Vec<String> {
            value.as_array().into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect()
        };
        let bindings = objects
            .iter()
            .filter(|object| object["kind"].as_str().is_some_and(|kind| kind.ends_with("Binding")));
        let mut rows = BTreeSet::new();
        for binding in bindings.filter(|binding| binding["subjects"][0]["name"] == account) {
            let role = objects.iter().find(|object| {
                object["kind"] == binding["roleRef"]["kind"]
                    && object["metadata"]["name"] == binding["roleRef"]["name"]
            });
            let role = role.unwrap();
            let scope = match role["kind"].as_str() {
                Some("ClusterRole") => Scope::Cluster,
                _ if role["metadata"]["name"].as_str().unwrap().ends_with("-kcm-lease") => Scope::System,
                _ => Scope::Own,
            };
            for rule in role["rules"].as_array().unwrap() {
                let names = texts(&rule["resourceNames"]);
                let names: Vec<Option<String>> =
                    if names.is_empty() { vec![None] } else { names.into_iter().map(Some).collect() };
                for group in texts(&rule["apiGroups"]) {
                    for resource in texts(&rule["resources"]) {
                        for verb in texts(&rule["verbs"]) {
                            let row = |name: &Option<String>| {
                                (scope, group.clone(), resource.clone(), verb.clone(), name.clone())
                            };
                            rows.extend(names.iter().map(row));
                        }
                    }
                }
            }
        }
        rows
    }

    #[test]
    fn the_charts_roles_are_this_table() {
        for service in ["own", "join", "adopt"] {
            for (mode, account, duty) in [
                ("dns", "callsign", Duty::Dns),
                ("all-in-one", "callsign", Duty::Writer),
                ("split", "callsign", Duty::Dns),
                ("split", "callsign-controller", Duty::Writer),
            ] {
                let preset = format!("{mode}-{service}");
                assert_eq!(rendered(&preset, account), rows(duty.rights()), "{preset} {account}");
            }
        }
    }

    #[test]
    fn rights_are_asked_for_one_by_one() {
        let all = asked(Duty::Writer.rights(), "dns");
        assert!(all.len() < 50, "a bound on the questions: {}", all.len());
        let texts: Vec<String> = all.iter().map(ToString::to_string).collect();
        for wanted in [
            "watch services",
            "delete endpointslices.discovery.k8s.io",
            "create services in dns",
            "update leases.coordination.k8s.io callsign-controller in dns",
            "get leases.coordination.k8s.io kube-controller-manager in kube-system",
        ] {
            assert!(texts.iter().any(|text| text == wanted), "{wanted}: {texts:?}");
        }
        assert_eq!(asked(Duty::Dns.rights(), "dns").len(), 6);
        // Nothing that a duty needs is beyond it.
        for duty in [Duty::Dns, Duty::Shadow, Duty::Writer] {
            let needs = asked(duty.rights(), "n");
            for beyond in asked(duty.beyond(), "n") {
                assert!(!needs.iter().any(|need| Asked { lost: None, ..need.clone() } == beyond), "{beyond}");
            }
        }
    }
}
