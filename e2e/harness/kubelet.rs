//! Pods whose containers are processes of this machine: what a node does with the pods that workloads make.
//!
//! The embedded API server gives pods their nodes; everything from there on is done here, over what the API offers to a
//! kubelet: a pod gets an address and runs, its readiness is what its process says, and a terminating pod stays until its
//! process has ended. A pod at `10.b.c.n` is a process at `127.b.c.n`, with its ports moved up by [`PORTS`]: loopback needs no
//! network, and high ports no rights. An API server takes no loopback addresses in EndpointSlices.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::cluster::text;
use crate::apiserver::{
    DeleteOptions, Key, KubeletOptions, Options, Part, Patch, Scope, Store, WriteOptions, kind::Kind,
};

/// How much higher a pod's ports are on this machine.
pub const PORTS: u16 = 20_000;

/// How often pods and processes are looked at.
const PERIOD: Duration = Duration::from_millis(20);

/// Starts what a pod's containers are.
pub trait Runtime: Send + Sync + 'static {
    /// Starts a pod's container at this address.
    fn start(&self, pod: Value, address: Ipv4Addr) -> BoxFuture<'_, Result<Box<dyn Container>>>;
}

/// A running container.
pub trait Container: Send {
    /// Whether its readiness probe succeeds.
    fn is_ready(&mut self) -> BoxFuture<'_, bool>;

    /// Ends it as a kubelet does: SIGTERM, and wait.
    fn end(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// A pod that was started.
#[derive(Clone, Debug)]
pub struct Started {
    /// Its name.
    pub name: String,
    /// Its first container's image.
    pub image: String,
    /// Its address in the cluster.
    pub ip: IpAddr,
}

/// The node agent, until it is dropped.
#[derive(Debug)]
pub struct Kubelet {
    net: [u8; 2],
    started: Arc<Mutex<Vec<Started>>>,
    #[expect(dead_code, reason = "the node's work ends with it")]
    tasks: JoinSet<()>,
}

/// An API server with workloads and a node, whose pods are left to a [`Kubelet`].
pub fn options() -> Options {
    let node = KubeletOptions {
        nodes: vec![("node-a".to_owned(), "zone-a".to_owned())],
        // It gives pods their node, and no more.
        start_delay: Duration::from_secs(24 * 3600),
        finishes_deletion: false,
        ..KubeletOptions::sandbox()
    };
    Options { kubelet: node, ..Options::sandbox(Options::default().listen) }
}

impl Kubelet {
    /// Runs the pods of a namespace.
    pub fn run(store: Arc<Store>, namespace: &str, runtime: Arc<dyn Runtime>) -> Self {
        // Other runs of the tests on this machine have other addresses.
        let net = [fastrand::u8(100..250), fastrand::u8(1..250)];
        let started = Arc::<Mutex<Vec<Started>>>::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(work(store, namespace.to_owned(), runtime, net, Arc::clone(&started)));
        Self { net, started, tasks }
    }

    /// Where a port of a pod is on this machine.
    pub fn reach(&self, ip: IpAddr, port: u16) -> SocketAddr {
        reach(self.net, ip, port)
    }

    /// Every pod that was started, those that have ended too.
    pub fn started(&self) -> Vec<Started> {
        self.started.lock().clone()
    }

    /// The same map without the kubelet, for tasks.
    pub fn reacher(&self) -> impl Fn(IpAddr, u16) -> SocketAddr + Clone + Send + Sync + 'static {
        let net = self.net;
        move |ip, port| reach(net, ip, port)
    }
}

fn reach(net: [u8; 2], ip: IpAddr, port: u16) -> SocketAddr {
    let last = if let IpAddr::V4(ip) = ip { ip.octets()[3] } else { 0 };
    SocketAddr::from((local(net, last), port.saturating_add(PORTS)))
}

fn local(net: [u8; 2], last: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, net[0], net[1], last)
}

async fn work(
    store: Arc<Store>,
    namespace: String,
    runtime: Arc<dyn Runtime>,
    net: [u8; 2],
    started: Arc<Mutex<Vec<Started>>>,
) {
    let mut known: BTreeMap<String, ()> = BTreeMap::new();
    let mut pods = JoinSet::new();
    let mut next = 1_u8;
    loop {
        let (all, _) = store.list(Kind::Pod, Scope::Namespace(&namespace));
        for object in all {
            let pod = &object.value;
            let uid = text(pod, "/metadata/uid").unwrap_or_default().to_owned();
            let placed = text(pod, "/spec/nodeName").is_some_and(|node| !node.is_empty());
            if !placed || known.insert(uid, ()).is_some() {
                continue;
            }
            let ip = Ipv4Addr::new(10, net[0], net[1], next);
            started.lock().push(Started {
                name: text(pod, "/metadata/name").unwrap_or_default().to_owned(),
                image: text(pod, "/spec/containers/0/image").unwrap_or_default().to_owned(),
                ip: ip.into(),
            });
            let life = Life { store: Arc::clone(&store), key: object.key.clone(), ip };
            pods.spawn(life.live(pod.clone(), local(net, next), Arc::clone(&runtime)));
            next = next.saturating_add(1);
        }
        while let Some(ended) = pods.try_join_next() {
            if let Ok(Err(error)) = ended {
                tracing::error!("a pod: {error:#}");
            }
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// One pod.
struct Life {
    store: Arc<Store>,
    key: Key,
    ip: Ipv4Addr,
}

impl Life {
    async fn live(self, pod: Value, address: Ipv4Addr, runtime: Arc<dyn Runtime>) -> Result<()> {
        let uid = text(&pod, "/metadata/uid").context("a uid")?.to_owned();
        self.say(false)?;
        let mut container = runtime.start(pod, address).await?;
        let mut ready = false;
        loop {
            let now = self.store.get(Kind::Pod, &self.key.namespace, &self.key.name);
            let Some(now) = now.filter(|now| text(&now.value, "/metadata/uid") == Some(&uid)) else {
                container.end().await;
                return Ok(());
            };
            if now.is_terminating() {
                container.end().await;
                let grace = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
                self.store.delete(Kind::Pod, &self.key, &grace).map_err(|error| anyhow!("{error:?}"))?;
                return Ok(());
            }
            let is_ready = container.is_ready().await;
            if is_ready != ready {
                ready = is_ready;
                self.say(ready)?;
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// Writes the pod's status.
    fn say(&self, ready: bool) -> Result<()> {
        let value = if ready { "True" } else { "False" };
        let conditions: Vec<Value> = ["PodScheduled", "Initialized"]
            .map(|kind| json!({"type": kind, "status": "True"}))
            .into_iter()
            .chain(["ContainersReady", "Ready"].map(|kind| json!({"type": kind, "status": value})))
            .collect();
        let ip = self.ip.to_string();
        let patch = json!({"status": {
            "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": conditions,
        }});
        let options = WriteOptions::by("kubelet");
        let written = self.store.patch(Kind::Pod, &self.key, Part::Status, &Patch::Merge(patch), &options);
        written.map(drop).map_err(|error| anyhow!("{}: {error:?}", self.key.name))
    }
}
