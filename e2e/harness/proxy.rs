//! A client of a Service, as programs in a cluster are: kube-proxy's choice of a backend, and a stub resolver's patience.
//!
//! The backends are those of the Service's EndpointSlices, followed by a watch. A question goes to one of them by chance; one
//! that is not answered is asked again, of whichever backend is chosen then, and is lost after [`TRIES`].

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::{Result, ensure};
use futures::StreamExt;
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind},
    runtime::watcher::{self, Event},
};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::task::JoinSet;

use super::{answers::Exchange, resolver::Resolver};

/// How often a question is asked.
const TRIES: usize = 3;
/// How long each time.
const PATIENCE: Duration = Duration::from_millis(800);
/// The pause between two questions of a client.
const PAUSE: Duration = Duration::from_millis(4);
/// Clients at the same time.
const CLIENTS: usize = 4;

/// A question and the data of its answer, sorted; for `NXDOMAIN` nothing but that.
#[derive(Clone, Debug)]
pub struct Known {
    /// The name.
    pub name: &'static str,
    /// The type.
    pub kind: &'static str,
    /// `NOERROR` or `NXDOMAIN`.
    pub rcode: &'static str,
    /// The data.
    pub data: Vec<String>,
}

/// What became of the questions so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Answered rightly, by the address that was asked.
    pub answered: BTreeMap<IpAddr, u64>,
    /// Answered rightly over TCP.
    pub over_tcp: u64,
    /// Asked again.
    pub retried: u64,
    /// Answered wrongly or never: what was asked, of whom, what came.
    pub failed: Vec<String>,
}

/// Clients that ask without pause, until they are dropped.
#[derive(Debug)]
pub struct Clients {
    backends: Arc<Mutex<Backends>>,
    counts: Arc<Mutex<Counts>>,
    #[expect(dead_code, reason = "asking ends with it")]
    tasks: JoinSet<()>,
}

/// Each slice's backends.
#[derive(Debug, Default)]
struct Backends(BTreeMap<String, Vec<Backend>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Backend {
    ip: IpAddr,
    udp: Option<u16>,
    tcp: Option<u16>,
    ready: bool,
    serving: bool,
}

impl Clients {
    /// Clients of a Service. `reach` says where a port of a pod is on this machine.
    pub fn start(
        client: Client,
        namespace: &str,
        service: &str,
        reach: impl Fn(IpAddr, u16) -> SocketAddr + Clone + Send + Sync + 'static,
        questions: Vec<Known>,
    ) -> Self {
        let (backends, counts) = (Arc::<Mutex<Backends>>::default(), Arc::<Mutex<Counts>>::default());
        let mut tasks = JoinSet::new();
        let kind = GroupVersionKind::gvk("discovery.k8s.io", "v1", "EndpointSlice");
        let api = Api::namespaced_with(client, namespace, &ApiResource::from_gvk(&kind));
        tasks.spawn(follow(api, format!("kubernetes.io/service-name={service}"), Arc::clone(&backends)));
        for at in 0..CLIENTS {
            let (backends, counts) = (Arc::clone(&backends), Arc::clone(&counts));
            let (reach, questions) = (reach.clone(), questions.clone());
            tasks.spawn(async move {
                while backends.lock().chosen(|backend| backend.udp).is_empty() {
                    tokio::time::sleep(PAUSE).await;
                }
                for turn in at.. {
                    let Some(question) = questions.get(turn % questions.len().max(1)) else { return };
                    // Most questions are asked over UDP.
                    ask(question, turn % 7 == 0, &backends, &counts, &reach).await;
                    tokio::time::sleep(PAUSE).await;
                }
            });
        }
        Self { backends, counts, tasks }
    }

    /// What became of the questions so far.
    pub fn counts(&self) -> Counts {
        self.counts.lock().clone()
    }

    /// The addresses that are asked now.
    pub fn backends(&self) -> Vec<IpAddr> {
        self.backends.lock().chosen(|backend| backend.udp).into_iter().map(|(ip, _)| ip).collect()
    }
}

impl Counts {
    /// What has been answered since, by address.
    pub fn since(&self, before: &Self) -> BTreeMap<IpAddr, u64> {
        let since = |ip: &IpAddr, now: u64| now - before.answered.get(ip).copied().unwrap_or_default();
        self.answered.iter().map(|(ip, now)| (*ip, since(ip, *now))).filter(|(_, count)| *count > 0).collect()
    }

    /// Sees that nothing was answered wrongly or never.
    ///
    /// # Errors
    /// With the first that was.
    pub fn are_good(&self) -> Result<()> {
        let shown: Vec<&String> = self.failed.iter().take(5).collect();
        ensure!(self.failed.is_empty(), "{} questions failed: {shown:#?}", self.failed.len());
        Ok(())
    }
}

impl Backends {
    /// Those that are asked: who is ready, or while nobody is, who still serves.
    fn chosen(&self, port: impl Fn(&Backend) -> Option<u16>) -> Vec<(IpAddr, u16)> {
        let of = |good: fn(&Backend) -> bool| -> Vec<(IpAddr, u16)> {
            let all = self.0.values().flatten().filter(|backend| good(backend));
            all.filter_map(|backend| Some((backend.ip, port(backend)?))).collect()
        };
        let ready = of(|backend| backend.ready);
        if ready.is_empty() { of(|backend| backend.serving) } else { ready }
    }
}

async fn follow(api: Api<DynamicObject>, selector: String, backends: Arc<Mutex<Backends>>) {
    let config = watcher::Config::default().labels(&selector);
    let mut events = std::pin::pin!(watcher::watcher(api, config));
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(slice) | Event::InitApply(slice)) => {
                let found = backends_of(&slice.data);
                backends.lock().0.insert(slice.name_any(), found);
            }
            Ok(Event::Delete(slice)) => drop(backends.lock().0.remove(&slice.name_any())),
            Ok(Event::Init) => backends.lock().0.clear(),
            Ok(Event::InitDone) => {}
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

fn backends_of(slice: &Value) -> Vec<Backend> {
    let list = |field: &str| slice.get(field).and_then(Value::as_array).into_iter().flatten();
    let port = |name: &str| {
        let port = list("ports").find(|port| port.get("name").and_then(Value::as_str) == Some(name))?;
        u16::try_from(port.get("port")?.as_u64()?).ok()
    };
    let (udp, tcp) = (port("dns"), port("dns-tcp"));
    let backend = |endpoint: &Value| {
        let is = |name: &str| endpoint.pointer(&format!("/conditions/{name}")) == Some(&Value::Bool(true));
        let ip = endpoint.pointer("/addresses/0")?.as_str()?.parse().ok()?;
        Some(Backend { ip, udp, tcp, ready: is("ready"), serving: is("serving") })
    };
    list("endpoints").filter_map(backend).collect()
}

async fn ask(
    question: &Known,
    tcp: bool,
    backends: &Mutex<Backends>,
    counts: &Mutex<Counts>,
    reach: &impl Fn(IpAddr, u16) -> SocketAddr,
) {
    let mut last = "nobody to ask".to_owned();
    for again in 0..TRIES {
        if again > 0 {
            counts.lock().retried += 1;
        }
        let chosen = backends.lock().chosen(|backend| if tcp { backend.tcp } else { backend.udp });
        let Some((ip, port)) = fastrand::choice(chosen) else {
            tokio::time::sleep(PATIENCE).await;
            continue;
        };
        match once(reach(ip, port), question, tcp).await {
            Ok(answer) => {
                let mut counts = counts.lock();
                match check(question, &answer) {
                    Ok(()) => {
                        *counts.answered.entry(ip).or_default() += 1;
                        counts.over_tcp += u64::from(tcp);
                    }
                    Err(error) => counts.failed.push(format!("{ip}: {error}")),
                }
                return;
            }
            Err(error) => last = format!("{ip}: {error:#}"),
        }
    }
    counts.lock().failed.push(format!("{} {}: {last}", question.name, question.kind));
}

async fn once(server: SocketAddr, question: &Known, tcp: bool) -> Result<Exchange> {
    let asking = async {
        let resolver = Resolver::new(server).await?;
        if tcp {
            resolver.ask_over_tcp(question.name, question.kind).await
        } else {
            resolver.ask(question.name, question.kind).await
        }
    };
    tokio::time::timeout(PATIENCE, asking).await?
}

fn check(question: &Known, answer: &Exchange) -> Result<()> {
    let mut data: Vec<&str> =
        answer.answer.iter().map(|line| line.splitn(4, ' ').nth(3).unwrap_or_default()).collect();
    data.sort_unstable();
    let right = answer.rcode == question.rcode && data.iter().eq(question.data.iter());
    ensure!(right, "wanted {question:?}, found {answer:?}");
    Ok(())
}
