//! What was seen of a cluster, before anything is concluded from it. IO fills these in; checks read them and nothing else.

use std::{collections::BTreeMap, fmt, net::SocketAddr, time::Duration};

use jiff::Timestamp;

use super::{
    metrics::Samples,
    objects::{Budget, Deployment, Lease, Named, Node, Pod, Service, Slice},
};

/// Something that was looked at, or why it could not be.
pub(super) type Known<T> = Result<T, Missing>;

/// Why something is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// The caller has no right to; what for: `list pods in kube-system`.
    Forbidden(String),
    /// It is not there.
    Absent(String),
    /// It was tried and failed: what, and how.
    Failed(String, String),
    /// Nobody asked, since something before it is not known either.
    NotAsked(String),
}

/// The API server.
#[derive(Clone, Debug)]
pub(super) struct ApiFacts {
    pub(super) url: String,
    /// `v1.36.2`, or why there is no answer.
    pub(super) version: Result<String, ApiFailure>,
    pub(super) latency: Duration,
    /// `discovery.k8s.io/v1` and the like.
    pub(super) groups: Known<Vec<String>>,
}

/// Why the API server cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ApiFailure {
    /// Nobody listens.
    Refused(String),
    /// No answer in time.
    Silent(String),
    /// No TLS connection, or a certificate that is not trusted.
    Tls(String),
    /// Its name has no address.
    NoAddress(String),
    /// 401.
    Unauthorized(String),
    /// Anything else.
    Other(String),
}

/// What the checks of a running cluster read.
#[derive(Clone, Debug)]
pub(super) struct Cluster {
    /// The API server's time.
    pub(super) now: Timestamp,
    /// The Service that pods ask.
    pub(super) front: Front,
    /// The Service of Callsign's own, where it has one.
    pub(super) own_front: Option<Front>,
    /// Callsign's pods.
    pub(super) own: Known<Vec<Pod>>,
    /// What pods say of themselves, by `namespace/name`.
    pub(super) pages: BTreeMap<String, Pages>,
    /// The Deployments in Callsign's namespace.
    pub(super) deployments: Known<Vec<Deployment>>,
    /// The PodDisruptionBudgets there.
    pub(super) budgets: Known<Vec<Budget>>,
    /// The Service `default/kubernetes`.
    pub(super) kubernetes: Known<Service>,
    pub(super) writers: Writers,
}

/// A Service, and who stands behind it.
#[derive(Clone, Debug)]
pub(super) struct Front {
    pub(super) service: Known<Service>,
    /// Its slices.
    pub(super) slices: Known<Vec<Slice>>,
    /// The pods that it selects.
    pub(super) behind: Known<Vec<Pod>>,
}

/// Who writes endpoints.
#[derive(Clone, Debug)]
pub(super) struct Writers {
    /// Lease kube-system/kube-controller-manager.
    pub(super) manager_lease: Known<Lease>,
    /// kube-controller-manager's pods, where they are to be seen.
    pub(super) manager_pods: Known<Vec<Pod>>,
    /// The Leases of Callsign's controllers.
    pub(super) own_leases: Known<Vec<Lease>>,
    /// Some of the cluster's EndpointSlices.
    pub(super) sample: Known<Vec<Slice>>,
}

/// What a pod says of itself.
#[derive(Clone, Debug)]
pub(super) struct Pages {
    /// Status and body of `/ready`.
    pub(super) ready: Known<(u16, String)>,
    pub(super) metrics: Known<Samples>,
    /// The end of the log of the container that ended last, where one did.
    pub(super) last_words: Known<String>,
}

/// What accounts may do.
#[derive(Clone, Debug)]
pub(super) struct PermissionFacts {
    /// Each account, with what it was found to be allowed.
    pub(super) accounts: Known<Vec<AccountFacts>>,
    /// What the caller may not create, of what an installation has; with --pre.
    pub(super) install: Option<Known<Vec<String>>>,
}

/// An account of Callsign's pods.
#[derive(Clone, Debug)]
pub(super) struct AccountFacts {
    /// `kube-system/callsign`
    pub(super) account: String,
    pub(super) duty: super::rights::Duty,
    /// What it was asked for, and whether it may.
    pub(super) answers: Vec<(super::rights::Asked, Known<bool>)>,
    /// Things it has no use for, and whether it may do them.
    pub(super) beyond: Vec<(super::rights::Asked, Known<bool>)>,
}

/// A Corefile, wherever it comes from.
#[derive(Clone, Debug)]
pub(super) struct CorefileFacts {
    /// The file, or the ConfigMap.
    pub(super) source: String,
    pub(super) text: Known<String>,
    /// Files that it may import, by whole name.
    pub(super) files: Known<BTreeMap<String, String>>,
    /// Whether other files that it names are at hand: those of this machine.
    pub(super) on_disk: bool,
    /// The domain that the cluster has, and how that is known.
    pub(super) domain: (String, String),
    /// The DNS ports of the containers that serve it, where they are known.
    pub(super) ports: Vec<u16>,
    /// The addresses of the Service that pods ask.
    pub(super) service_ips: Vec<String>,
}

/// What an installation would meet.
#[derive(Clone, Debug)]
pub(super) struct InstallFacts {
    pub(super) mode: crate::args::InstallMode,
    pub(super) strategy: crate::args::Strategy,
    pub(super) namespace_name: String,
    pub(super) namespace: Known<Named>,
    pub(super) nodes: Known<Vec<Node>>,
    /// What gives the platform away: the version, API groups, the kubeadm ConfigMap.
    pub(super) version: String,
    pub(super) groups: Vec<String>,
    pub(super) kubeadm: bool,
    /// Pods of the namespace.
    pub(super) pods: Known<Vec<Pod>>,
}

/// What a DNS server answered.
#[derive(Clone, Debug)]
pub(super) struct AnswerFacts {
    pub(super) server: SocketAddr,
    /// How the server was chosen.
    pub(super) why: String,
    pub(super) domain: String,
    /// The addresses of `kubernetes.default`, where the API server tells.
    pub(super) kubernetes_ips: Vec<String>,
    /// Each question that was asked, with what came back.
    pub(super) probes: Vec<Probe>,
    /// The names that replicas gave themselves (NSID).
    pub(super) replicas: Vec<String>,
}

/// Why a question is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A of kubernetes.default, over UDP.
    Address,
    /// The same over TCP.
    Tcp,
    /// AAAA of kubernetes.default.
    OtherFamily,
    /// A name that does not exist.
    Absent,
    /// PTR of the address.
    Reverse,
    /// TXT dns-version.
    Version,
    /// A name outside the cluster.
    External,
    /// Who are you (version.bind).
    Software,
}

/// A question and what came back.
#[derive(Clone, Debug)]
pub(super) struct Probe {
    pub(super) purpose: Purpose,
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) reply: Result<Reply, String>,
    pub(super) took: Duration,
}

/// An answer, as far as it is looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reply {
    /// `NOERROR`
    pub(super) rcode: String,
    pub(super) authoritative: bool,
    pub(super) truncated: bool,
    /// The data of records of the type that was asked for.
    pub(super) data: Vec<String>,
    /// Whether the authority section has a SOA.
    pub(super) soa: bool,
    /// The UDP payload size of its OPT record, if it has one.
    pub(super) edns: Option<u16>,
    pub(super) nsid: Option<String>,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forbidden(what) => write!(f, "may not {what}"),
            Self::Absent(what) => write!(f, "there is no {what}"),
            Self::Failed(what, how) => write!(f, "could not {what}: {how}"),
            Self::NotAsked(why) => f.write_str(why),
        }
    }
}

impl AnswerFacts {
    /// Whether the server knows the Service `default/kubernetes` by the address that the API server tells: it is this cluster's.
    pub(super) fn knows_kubernetes(&self) -> bool {
        let replies =
            self.probes.iter().filter(|probe| matches!(probe.purpose, Purpose::Address | Purpose::Tcp));
        let mut data = replies.filter_map(|probe| probe.reply.as_ref().ok()).flat_map(|reply| &reply.data);
        data.any(|ip| self.kubernetes_ips.contains(ip))
    }
}

impl Missing {
    /// Whether it is known that there is no such thing.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent(_))
    }
}

impl Default for Pages {
    fn default() -> Self {
        let missing = || Missing::NotAsked("not asked for".to_owned());
        Self { ready: Err(missing()), metrics: Err(missing()), last_words: Err(missing()) }
    }
}
