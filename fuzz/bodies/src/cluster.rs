//! A small cluster, and listeners' handlers that answer for it: as a Corefile has it, and by the slow way alone.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use callsign_dns::{
    block::{Block, Config, Route, Router},
    corefile::{Corefile, Files},
    plugin::{
        Changes, Clusters, Meters, Next, Plugin, Query, Quick, Quickly, Reply, Setup, StartError, World,
    },
    plugins::kubernetes::KubernetesConfig,
    server::{Front, Shared},
    zone::{Zone, ZoneConfig},
};
use callsign_shared::{
    Index,
    index::{Indexed, Source},
    object::{EndpointSlice, Endpoints, Namespace, Node, Pod, Service},
};
use futures::future::BoxFuture;
use hickory_proto::rr::Name;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// Applies an object of any kind to an index.
///
/// # Errors
/// When it is none of the kinds, or cannot be read.
pub fn apply(index: &Index, object: &str) -> Result<(), String> {
    fn read<T: Indexed>(index: &Index, object: &str) -> Result<(), String> {
        T::decode(object).map(|object| index.apply(object)).map_err(|error| error.to_string())
    }
    let value: Value = serde_json::from_str(object).map_err(|error| error.to_string())?;
    match value["kind"].as_str() {
        Some("Namespace") => read::<Namespace>(index, object),
        Some("Node") => read::<Node>(index, object),
        Some("Service") => read::<Service>(index, object),
        Some("Pod") => read::<Pod>(index, object),
        Some("EndpointSlice") => read::<EndpointSlice>(index, object),
        Some("Endpoints") => read::<Endpoints>(index, object),
        other => Err(format!("no kind: {other:?}")),
    }
}

/// Services of every kind: `vip` (10.96.0.1, dual stack), `heads` (three pods, one with a hostname), `big` (150 pods), a
/// Service without ports, and aliases: out of the zone, into it, to nowhere and in circles.
fn objects() -> Vec<Value> {
    let ports = json!([{"name": "web", "port": 80, "targetPort": "web"}, {"name": "dns", "port": 53, "protocol": "UDP"}]);
    let service = |name: &str, spec: Value| json!({"kind": "Service", "metadata": {"name": name, "namespace": "ns"}, "spec": spec});
    let headless = |app: &str| json!({"clusterIP": "None", "ipFamilies": ["IPv4"], "selector": {"app": app}, "ports": ports});
    let alias = |target: &str| json!({"type": "ExternalName", "externalName": target});
    let pod = |name: String, app: &str, ip: String, hostname: Option<&str>| {
        json!({
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "ns", "labels": {"app": app}},
            "spec": {
                "nodeName": "node",
                "hostname": hostname,
                "subdomain": hostname.map(|_| app),
                "containers": [{"ports": [{"name": "web", "containerPort": 8080}]}],
            },
            "status": {"podIP": ip, "conditions": [{"type": "Ready", "status": "True"}]},
        })
    };
    let mut objects = vec![
        json!({"kind": "Namespace", "metadata": {"name": "ns"}}),
        json!({"kind": "Namespace", "metadata": {"name": "empty"}}),
        json!({"kind": "Node", "metadata": {"name": "node"}}),
        service(
            "vip",
            json!({"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1", "fd00::1"], "ports": ports}),
        ),
        service("bare", json!({"clusterIP": "10.96.0.2"})),
        service("heads", headless("heads")),
        service("big", headless("big")),
        service("out", alias("www.example.com")),
        service("inside", alias("heads.ns.svc.cluster.local")),
        service("nowhere", alias("nosuch.ns.svc.cluster.local")),
        service("ping", alias("pong.ns.svc.cluster.local")),
        service("pong", alias("ping.ns.svc.cluster.local")),
    ];
    for at in 1..=3 {
        let hostname = (at == 1).then_some("first");
        objects.push(pod(format!("heads-{at}"), "heads", format!("10.0.0.{at}"), hostname));
    }
    for at in 0..150 {
        objects.push(pod(format!("big-{at}"), "big", format!("10.1.0.{at}"), None));
    }
    objects
}

/// Every `kubernetes` directive serves the small cluster.
struct OneCluster(Arc<Index>);

impl Clusters for OneCluster {
    fn zone(&self, config: &KubernetesConfig) -> Result<Arc<Zone>, StartError> {
        let config = ZoneConfig { source: Source::Memberships, ..config.zone.clone() };
        let zone = Zone::new(config, Arc::clone(&self.0));
        zone.set_synced();
        Ok(Arc::new(zone))
    }

    fn keep(&self, _: &[Arc<Zone>]) {}
}

/// No files and no variables.
#[derive(Clone, Copy, Debug)]
pub struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _: &Path) -> std::io::Result<String> {
        Err(std::io::ErrorKind::NotFound.into())
    }

    fn glob(&self, _: &Path) -> std::io::Result<Vec<PathBuf>> {
        Ok(Vec::new())
    }

    fn variable(&self, _: &str) -> Option<String> {
        None
    }
}

/// A plugin that passes everything on, and has it asked the slow way.
#[derive(Debug)]
struct Slowly;

impl Setup for Slowly {
    fn describe(&self) -> Vec<String> {
        Vec::new()
    }

    fn start(&self, _: &World) -> Result<Arc<dyn Plugin>, StartError> {
        Ok(Arc::new(Self))
    }
}

impl Plugin for Slowly {
    fn name(&self) -> &'static str {
        "slowly"
    }

    fn quick(&self, _: &Quick<'_>, _: &mut Vec<u8>) -> Quickly {
        Quickly::Slow
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> BoxFuture<'a, Reply> {
        next.serve(query)
    }
}

/// The two handlers of a Corefile.
pub struct Fronts {
    /// As it is served.
    pub usual: Front,
    /// With nothing answered the quick way.
    pub slow: Front,
}

impl Fronts {
    /// Starts a Corefile's blocks over the small cluster. Within a runtime.
    ///
    /// # Panics
    /// When the Corefile is wrong.
    pub fn start(corefile: &str) -> Self {
        let index = Index::new();
        objects().iter().for_each(|object| apply(&index, &object.to_string()).unwrap());
        let clusters: Arc<dyn Clusters> = Arc::new(OneCluster(Arc::new(index)));
        let start = |slowly: bool| {
            let parsed = Corefile::parse("Corefile", corefile, &NoFiles).unwrap();
            let mut router = Router::new("dns://:53".into());
            for mut config in Config::read(&parsed, 53).unwrap().blocks {
                if slowly {
                    config.chain.insert(0, Box::new(Slowly));
                }
                let world = World {
                    stop: CancellationToken::new(),
                    meters: Arc::new(Meters::default()),
                    clusters: Arc::clone(&clusters),
                    zones: config.zones(),
                    changes: Changes::default(),
                    root: PathBuf::new(),
                    listens: Vec::new(),
                    loop_is_fatal: false,
                };
                let block = Arc::new(Block::start(&config, &world).unwrap());
                for zone in config.zones() {
                    let name: Arc<str> = Name::to_ascii(&zone).into();
                    router.add(&zone, Route { zone: name, block: Arc::clone(&block), metrics: None });
                }
            }
            Front::new(Arc::new(router), Arc::new(Shared::default()))
        };
        Self { usual: start(false), slow: start(true) }
    }
}
