//! IO: what is seen of a cluster and of a server. Nothing is concluded here.

pub(super) mod answers;
mod ask;
mod asker;
mod corefile;
mod permissions;

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, stream};
use http::StatusCode;
use jiff::Timestamp;
use kube::Client;
use serde_json::Value;

use asker::Asker;

use super::{
    facts::{
        ApiFacts, ApiFailure, Cluster, CorefileFacts, Front, InstallFacts, Known, Missing, Pages,
        PermissionFacts, Writers,
    },
    metrics::Samples,
    objects::{Budget, ConfigMap, Deployment, Lease, Pod, Service},
    rights::{self, Duty},
    software::{self, Software},
};
use crate::args::{HealthArgs, InstallMode};

/// Pods whose pages are read at most, and at once.
const MOST_PODS: usize = 100;
const AT_ONCE: usize = 8;
/// Namespaces with pods of Callsign's that are looked at, at most.
const MOST_NAMESPACES: usize = 5;

/// Looks at one cluster.
pub(super) struct Gatherer<'a> {
    asker: Asker,
    url: String,
    args: &'a HealthArgs,
    /// The namespace of the account that this process runs as, in a pod.
    account: Option<String>,
}

impl<'a> Gatherer<'a> {
    pub(super) fn new(client: Client, url: String, args: &'a HealthArgs, account: Option<String>) -> Self {
        Self { asker: Asker::new(client), url, args, account }
    }

    /// Whether the API server answers, and what it serves.
    pub(super) async fn api(&self) -> ApiFacts {
        let first = self.asker.get("/version").await;
        let version = first.and_then(|answer| {
            let json: Value = serde_json::from_str(&answer.text).unwrap_or_default();
            match json.get("gitVersion").and_then(Value::as_str) {
                Some(version) if answer.status.is_success() => Ok(version.to_owned()),
                // Where /version is closed to the caller the server answers all the same.
                _ if answer.status == StatusCode::FORBIDDEN => Ok("of unknown version".to_owned()),
                _ => Err(ApiFailure::Other(format!("{} at /version: not an API server?", answer.status))),
            }
        });
        let mut facts = ApiFacts {
            url: self.url.clone(),
            version,
            latency: std::time::Duration::ZERO,
            groups: Err(Missing::NotAsked("the API server does not answer".to_owned())),
        };
        if facts.version.is_err() {
            return facts;
        }
        match self.asker.get("/apis").await {
            // The second request: its connection is there.
            Ok(answer) if answer.status.is_success() => {
                facts.latency = answer.took;
                facts.groups = Ok(groups(&answer.text));
            }
            Ok(answer) => {
                facts.groups = Err(Missing::Failed("read /apis".to_owned(), answer.status.to_string()));
            }
            // That it says who is not known to it may come only now: /version is open to all.
            Err(failure) => facts.version = Err(failure),
        }
        facts
    }

    /// What runs.
    pub(super) async fn cluster(&self) -> Cluster {
        let (namespace, name) = &self.args.service;
        let now = async {
            let answer = self.asker.get("/version").await.ok();
            answer.and_then(|answer| answer.at).unwrap_or_else(Timestamp::now)
        };
        let lease = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kube-controller-manager";
        let (now, service, own, kubernetes, manager_lease, manager_pods, sample) = futures::join!(
            now,
            self.service(namespace, name),
            self.own(),
            self.asker.object::<Service>(
                "/api/v1/namespaces/default/services/kubernetes",
                "get services kubernetes in default",
            ),
            self.asker.object::<Lease>(lease, "get leases kube-controller-manager in kube-system"),
            self.asker.list::<Pod>(
                "/api/v1/namespaces/kube-system/pods",
                "&labelSelector=component%3Dkube-controller-manager",
                "list pods in kube-system",
            ),
            self.asker.sample("/apis/discovery.k8s.io/v1/endpointslices", "list endpointslices"),
        );
        let beside = self.beside(&own).await;
        let own_service = beside.services.into_iter().find(|found| is_other(found, service.as_ref().ok()));
        let (front, own_front) = futures::join!(self.front(service), async {
            match own_service {
                Some(service) => Some(self.front(Ok(service)).await),
                None => None,
            }
        });
        let own = with_those_behind(own, &front.behind);
        let pages = self.pages(&own, &front.behind).await;
        Cluster {
            now,
            front,
            own_front,
            own,
            pages,
            deployments: beside.deployments,
            budgets: beside.budgets,
            kubernetes,
            writers: Writers { manager_lease, manager_pods, own_leases: beside.leases, sample },
        }
    }

    /// The Service that pods ask: that of the name, else one that carries its label.
    async fn service(&self, namespace: &str, name: &str) -> Known<Service> {
        let path = format!("/api/v1/namespaces/{namespace}/services");
        let named =
            self.asker.object(format!("{path}/{name}"), format!("get services {name} in {namespace}")).await;
        if !named.as_ref().is_err_and(Missing::is_absent) {
            return named;
        }
        let what = format!("list services in {namespace}");
        let labelled: Vec<Service> =
            self.asker.list(&path, "&labelSelector=k8s-app%3Dkube-dns", &what).await.unwrap_or_default();
        labelled.into_iter().next().map_or(named, Ok)
    }

    /// What stands beside Callsign's pods, in their namespaces; in the one that was named where there are none.
    async fn beside(&self, own: &Known<Vec<Pod>>) -> Beside {
        let pods = own.iter().flatten().filter(|pod| Duty::of(pod).is_some());
        let mut namespaces: BTreeSet<String> = pods.map(|pod| pod.metadata.namespace.clone()).collect();
        if namespaces.is_empty() {
            namespaces.insert(self.args.namespace.clone());
        }
        let of_callsign = "&labelSelector=app.kubernetes.io%2Fname%3Dcallsign";
        let mut all = Beside {
            deployments: Ok(Vec::new()),
            budgets: Ok(Vec::new()),
            leases: Ok(Vec::new()),
            services: Vec::new(),
        };
        for namespace in namespaces.iter().take(MOST_NAMESPACES) {
            let lease =
                format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{}", rights::LEASE);
            let (deployments, budgets, lease, services) = futures::join!(
                self.asker.list(
                    format!("/apis/apps/v1/namespaces/{namespace}/deployments"),
                    of_callsign,
                    format!("list deployments in {namespace}"),
                ),
                self.asker.list(
                    format!("/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets"),
                    "",
                    format!("list poddisruptionbudgets in {namespace}"),
                ),
                self.asker.object::<Lease>(lease, format!("get leases {} in {namespace}", rights::LEASE)),
                self.asker.list::<Service>(
                    format!("/api/v1/namespaces/{namespace}/services"),
                    of_callsign,
                    format!("list services in {namespace}"),
                ),
            );
            add(&mut all.deployments, deployments);
            add(&mut all.budgets, budgets);
            match lease {
                Err(missing) if missing.is_absent() => {}
                lease => add(&mut all.leases, lease.map(|lease| vec![lease])),
            }
            all.services.extend(services.unwrap_or_default());
        }
        all
    }

    /// A Service, and who stands behind it.
    async fn front(&self, service: Known<Service>) -> Front {
        let unknown = |missing: &Missing| Missing::NotAsked(missing.to_string());
        let (slices, behind) = match &service {
            Ok(service) => futures::join!(self.slices(service), self.behind(service)),
            Err(missing) => (Err(unknown(missing)), Err(unknown(missing))),
        };
        Front { service, slices, behind }
    }

    async fn slices(&self, service: &Service) -> Known<Vec<super::objects::Slice>> {
        let (namespace, name) = (&service.metadata.namespace, &service.metadata.name);
        let path = format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices");
        let query = format!("&labelSelector=kubernetes.io%2Fservice-name%3D{name}");
        self.asker.list(&path, &query, format!("list endpointslices in {namespace}")).await
    }

    /// The pods that a Service selects.
    async fn behind(&self, service: &Service) -> Known<Vec<Pod>> {
        let namespace = &service.metadata.namespace;
        let selector = &service.spec.selector;
        if selector.is_empty() {
            return Ok(Vec::new());
        }
        // Label names and values need no escapes but the slash.
        let selector: Vec<String> =
            selector.iter().map(|(name, value)| format!("{}%3D{value}", name.replace('/', "%2F"))).collect();
        let path = format!("/api/v1/namespaces/{namespace}/pods");
        let query = format!("&labelSelector={}", selector.join("%2C"));
        self.asker.list(&path, &query, format!("list pods in {namespace}")).await
    }

    /// Callsign's pods: in all namespaces where the caller may look there, else in its own.
    async fn own(&self) -> Known<Vec<Pod>> {
        let query = "&labelSelector=app.kubernetes.io%2Fname%3Dcallsign";
        let everywhere = self.asker.list("/api/v1/pods", query, "list pods").await;
        if !matches!(everywhere, Err(Missing::Forbidden(_))) {
            return everywhere;
        }
        let namespace = &self.args.namespace;
        let path = format!("/api/v1/namespaces/{namespace}/pods");
        self.asker.list(&path, query, format!("list pods in {namespace}")).await
    }

    /// What pods say of themselves.
    async fn pages(&self, own: &Known<Vec<Pod>>, behind: &Known<Vec<Pod>>) -> BTreeMap<String, Pages> {
        let mut pods: BTreeMap<String, &Pod> = BTreeMap::new();
        for pod in own.iter().chain(behind).flatten().filter(|pod| !pod.is_leaving()) {
            pods.entry(pod.metadata.path()).or_insert(pod);
        }
        let each = pods.into_iter().take(MOST_PODS).map(async |(path, pod)| (path, self.pages_of(pod).await));
        stream::iter(each).buffer_unordered(AT_ONCE).collect().await
    }

    async fn pages_of(&self, pod: &Pod) -> Pages {
        let (namespace, name) = (&pod.metadata.namespace, &pod.metadata.name);
        let mut pages = Pages::default();
        if let Some(container) = ended(pod) {
            let path = format!(
                "/api/v1/namespaces/{namespace}/pods/{name}/log?container={container}&previous=true&tailLines=20&limitBytes=16384"
            );
            pages.last_words =
                self.asker.page(&path, &format!("get pods/log in {namespace}")).await.map(|(_, text)| text);
        }
        let running = pod.status.phase == "Running" && !pod.status.pod_ip.is_empty();
        if !running || pod.status.container_statuses.iter().any(|status| status.state.waiting.is_some()) {
            let why = || Missing::NotAsked(format!("{name} does not run"));
            (pages.ready, pages.metrics) = (Err(why()), Err(why()));
            return pages;
        }
        let what = format!("get pods/proxy in {namespace}");
        let page = async |port: &str, path: &str| {
            let path = format!("/api/v1/namespaces/{namespace}/pods/{name}:{port}/proxy/{path}");
            self.asker.page(&path, &what).await
        };
        let (ready, metrics) = futures::join!(
            async {
                match Software::of(pod, None) {
                    Software::Callsign => page(&ready_port(pod), "ready").await,
                    other => Err(Missing::NotAsked(format!("{name} is {other}"))),
                }
            },
            async { page(&port(pod, "metrics").unwrap_or_else(|| "9153".to_owned()), "metrics").await },
        );
        pages.ready = ready;
        pages.metrics = metrics.and_then(|(status, page)| match status {
            200 => Ok(Samples::read(&page)),
            status => Err(Missing::Failed(format!("read {name}/metrics"), status.to_string())),
        });
        pages
    }

    /// The configuration of DNS.
    pub(super) async fn corefile(&self, cluster: &Cluster) -> Result<CorefileFacts, crate::exit::Exit> {
        corefile::gather(&self.asker, self.args, cluster).await
    }

    /// What accounts may do.
    pub(super) async fn permissions(&self, cluster: &Cluster, corefile: &str) -> PermissionFacts {
        permissions::gather(&self.asker, self.args, cluster, corefile, self.account.as_deref()).await
    }

    /// What an installation would meet.
    pub(super) async fn install(&self, api: &ApiFacts) -> InstallFacts {
        let namespace = &self.args.namespace;
        let (found, nodes, kubeadm, pods) = futures::join!(
            self.asker
                .object(format!("/api/v1/namespaces/{namespace}"), format!("get namespaces {namespace}")),
            self.asker.list("/api/v1/nodes", "", "list nodes"),
            self.asker.object::<ConfigMap>(
                "/api/v1/namespaces/kube-system/configmaps/kubeadm-config",
                "get configmaps kubeadm-config in kube-system",
            ),
            self.asker.list(
                format!("/api/v1/namespaces/{namespace}/pods"),
                "",
                format!("list pods in {namespace}"),
            ),
        );
        InstallFacts {
            mode: self.args.mode,
            strategy: self.args.strategy,
            namespace_name: namespace.clone(),
            namespace: found,
            nodes,
            version: api.version.clone().unwrap_or_default(),
            groups: api.groups.clone().unwrap_or_default(),
            kubeadm: kubeadm.is_ok(),
            pods,
        }
    }

    /// Whether what is installed, or is to be, writes.
    pub(super) fn writes(&self, cluster: &Cluster) -> bool {
        if self.args.pre {
            return self.args.mode != InstallMode::Dns;
        }
        cluster.own.iter().flatten().any(|pod| Duty::of(pod) == Some(Duty::Writer))
    }
}

/// What stands beside Callsign's pods.
struct Beside {
    deployments: Known<Vec<Deployment>>,
    budgets: Known<Vec<Budget>>,
    leases: Known<Vec<Lease>>,
    /// With Callsign's label; where they may not be listed there are none.
    services: Vec<Service>,
}

/// Adds to what is known, or says why it is not.
fn add<T>(all: &mut Known<Vec<T>>, more: Known<Vec<T>>) {
    match (all.as_mut(), more) {
        (Ok(all), Ok(more)) => all.extend(more),
        (Ok(_), Err(missing)) => *all = Err(missing),
        (Err(_), _) => {}
    }
}

/// Whether a Service answers DNS and is not that which pods ask.
fn is_other(service: &Service, front: Option<&Service>) -> bool {
    let other = front.is_none_or(|front| front.metadata.path() != service.metadata.path());
    other && service.spec.ports.iter().any(|port| port.port == 53)
}

/// `discovery.k8s.io/v1` and the like.
fn groups(text: &str) -> Vec<String> {
    let json: Value = serde_json::from_str(text).unwrap_or_default();
    let groups = json.get("groups").and_then(Value::as_array).into_iter().flatten();
    let versions = groups.filter_map(|group| group.get("versions")?.as_array()).flatten();
    versions.filter_map(|version| version.get("groupVersion")?.as_str().map(str::to_owned)).collect()
}

/// Callsign's pods are also those behind the Service that are Callsign without the chart's labels: CoreDNS's Deployment with
/// another image.
fn with_those_behind(own: Known<Vec<Pod>>, behind: &Known<Vec<Pod>>) -> Known<Vec<Pod>> {
    let mut own = own?;
    for pod in behind.iter().flatten().filter(|pod| Software::of(pod, None) == Software::Callsign) {
        if !own.iter().any(|known| known.metadata.path() == pod.metadata.path()) {
            own.push(pod.clone());
        }
    }
    Ok(own)
}

/// The container that ended last, where what it said last is not in the status.
fn ended(pod: &Pod) -> Option<&str> {
    let statuses = pod.status.container_statuses.iter();
    let silent = statuses.filter(|status| {
        let ended = status.state.terminated.as_ref().or(status.last_state.terminated.as_ref());
        ended.is_some_and(|ended| ended.message.is_empty() && ended.exit_code != 0)
    });
    silent.map(|status| status.name.as_str()).next()
}

fn port(pod: &Pod, name: &str) -> Option<String> {
    let container = software::container(pod)?;
    container.ports.iter().find(|port| port.name == name).map(|port| port.container_port.to_string())
}

/// The port of `/ready`: the named one, else the readiness probe's, else CoreDNS's.
fn ready_port(pod: &Pod) -> String {
    let probe = || {
        let port = software::container(pod)?.readiness_probe.as_ref()?.pointer("/httpGet/port")?;
        port.as_u64().map(|port| port.to_string()).or_else(|| port_named(pod, port.as_str()?))
    };
    port(pod, "ready").or_else(probe).unwrap_or_else(|| "8181".to_owned())
}

fn port_named(pod: &Pod, name: &str) -> Option<String> {
    port(pod, name)
}
