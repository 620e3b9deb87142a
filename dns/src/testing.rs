//! A small cluster for tests, and chains of plugins without sockets.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use callsign_shared::{
    Index,
    index::{Indexed, Source},
    object::{EndpointSlice, Namespace, Node, Pod, Service},
};
use futures::future::BoxFuture;
use hickory_proto::{
    rr::{Name, Record, RecordType},
    serialize::binary::BinEncodable,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    answer::{Asked, CLASS_IN, Edns, Question, Request, Transport, UDP_PAYLOAD, write_reply},
    block::{Block, Config, Route, Router},
    corefile::{Corefile, Files},
    plugin::{
        Changes, Clusters, Internal, Meters, Next, Plugin, Query, Quick, Quickly, Reply, StartError,
        TtlBounds, World,
    },
    plugins::kubernetes::KubernetesConfig,
    server::Peer,
    zone::{Zone, ZoneConfig},
};

/// Applies an object of any kind.
pub(crate) fn apply(index: &Index, object: &Value) {
    fn read<T: Indexed>(index: &Index, object: &Value) {
        index.apply(T::decode(&object.to_string()).unwrap_or_else(|error| panic!("{object}: {error}")));
    }
    match object["kind"].as_str().unwrap() {
        "Namespace" => read::<Namespace>(index, object),
        "Node" => read::<Node>(index, object),
        "Service" => read::<Service>(index, object),
        "Pod" => read::<Pod>(index, object),
        "EndpointSlice" => read::<EndpointSlice>(index, object),
        kind => panic!("unknown kind {kind}"),
    }
}

pub(crate) fn namespace(name: &str) -> Value {
    json!({"kind": "Namespace", "metadata": {"name": name}})
}

pub(crate) fn service(name: &str, spec: Value) -> Value {
    json!({"kind": "Service", "metadata": {"name": name, "namespace": "ns"}, "spec": spec})
}

/// A ready pod with this address, `app: <app>`.
pub(crate) fn pod(name: &str, app: &str, ip: &str) -> Value {
    json!({
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "ns", "labels": {"app": app}},
        "spec": {"nodeName": "node", "containers": [{"ports": [{"name": "web", "containerPort": 8080}]}]},
        "status": {"podIP": ip, "conditions": [{"type": "Ready", "status": "True"}]},
    })
}

/// Services of every kind: `vip` (10.96.0.1, dual stack), `heads` (pods 10.0.0.1 to 3), `big` (pods 10.1.0.0 to
/// 10.1.0.149), and aliases.
pub(crate) fn index() -> Arc<Index> {
    let index = Index::new();
    let web = json!([{"name": "web", "port": 80, "targetPort": "web"}, {"name": "dns", "port": 53, "protocol": "UDP"}]);
    let headless = |app: &str| json!({"clusterIP": "None", "ipFamilies": ["IPv4"], "selector": {"app": app}, "ports": web});
    let external = |target: &str| json!({"type": "ExternalName", "externalName": target});
    let objects = [
        namespace("ns"),
        namespace("empty"),
        json!({"kind": "Node", "metadata": {"name": "node"}}),
        service(
            "vip",
            json!({"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1", "fd00::1"], "ports": web}),
        ),
        service("heads", headless("heads")),
        service("big", headless("big")),
        service("out", external("www.example.com")),
        service("inside", external("heads.ns.svc.cluster.local")),
        service("nowhere", external("nosuch.ns.svc.cluster.local")),
        service("ping", external("pong.ns.svc.cluster.local")),
        service("pong", external("ping.ns.svc.cluster.local")),
        service("address", external("192.0.2.1")),
    ];
    objects.iter().for_each(|object| apply(&index, object));
    for at in 1..=3 {
        apply(&index, &pod(&format!("heads-{at}"), "heads", &format!("10.0.0.{at}")));
    }
    for at in 0..150 {
        apply(&index, &pod(&format!("big-{at}"), "big", &format!("10.1.0.{at}")));
    }
    for at in 0..12 {
        let target = if at == 11 { "vip".to_owned() } else { format!("chain-{}", at + 1) };
        apply(&index, &service(&format!("chain-{at}"), external(&format!("{target}.ns.svc.cluster.local"))));
    }
    Arc::new(index)
}

/// The usual configuration, from memberships.
pub(crate) fn zone_config() -> ZoneConfig {
    ZoneConfig { source: Source::Memberships, ..ZoneConfig::cluster("cluster.local").unwrap() }
}

/// The synced zone of [`index`].
pub(crate) fn zone() -> Zone {
    let zone = Zone::new(zone_config(), index());
    zone.set_synced();
    zone
}

/// No files and no variables.
pub(crate) struct NoFiles;

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

/// Every `kubernetes` directive serves the small cluster.
struct OneCluster;

impl Clusters for OneCluster {
    fn zone(&self, config: &KubernetesConfig) -> Result<Arc<Zone>, StartError> {
        let zone = Zone::new(ZoneConfig { source: Source::Memberships, ..config.zone.clone() }, index());
        zone.set_synced();
        Ok(Arc::new(zone))
    }

    fn keep(&self, _: &[Arc<Zone>]) {}
}

/// What plugins start with in tests.
pub(crate) fn world() -> World {
    World {
        stop: CancellationToken::new(),
        meters: Arc::new(Meters::default()),
        clusters: Arc::new(OneCluster),
        zones: vec![Name::root()],
        changes: Changes::default(),
        root: PathBuf::new(),
        listens: Vec::new(),
        loop_is_fatal: false,
    }
}

/// A Corefile's configuration, or what is wrong with it.
pub(crate) fn config(text: &str) -> Result<Config, crate::corefile::Error> {
    Config::read(&Corefile::parse("Corefile", text, &NoFiles)?, 53)
}

/// The blocks of a Corefile, all on one listener. Within a runtime.
pub(crate) fn router(text: &str) -> Arc<Router> {
    router_in(text, &world())
}

/// The same, started with this.
pub(crate) fn router_in(text: &str, world: &World) -> Arc<Router> {
    let mut router = Router::new("dns://:53".into());
    for block in &config(text).unwrap_or_else(|error| panic!("{error}")).blocks {
        let world = World { zones: block.zones(), ..world.clone() };
        let started = Arc::new(Block::start(block, &world).unwrap());
        for zone in block.zones() {
            let name = zone.to_ascii().into();
            router.add(&zone, Route { zone: name, block: Arc::clone(&started), metrics: None });
        }
    }
    Arc::new(router)
}

/// One block of these plugins, for every name.
pub(crate) fn router_of(plugins: Vec<Arc<dyn Plugin>>) -> Arc<Router> {
    let mut router = Router::new("dns://:53".into());
    let block = Arc::new(Block { quick: plugins.clone(), plugins, ..Block::nothing() });
    router.add(&Name::root(), Route { zone: ".".into(), block, metrics: None });
    Arc::new(router)
}

/// A question for a name over UDP, with an OPT, from 10.240.0.1.
pub(crate) fn query(name: &str, qtype: RecordType) -> Query {
    let question = Question { name: Name::from_ascii(name).unwrap(), qtype, qclass: CLASS_IN };
    let request = Request {
        id: 7,
        opcode: 0,
        recursion_desired: true,
        authentic_data: false,
        checking_disabled: false,
        question: question.clone(),
        has_question: true,
        serial: None,
        edns: Some(Edns { payload: 1232, version: 0, dnssec_ok: false, has_options: false }),
    };
    let mut query = Query {
        question,
        request: Arc::new(request),
        options: Vec::new(),
        peer: Peer {
            address: "10.240.0.1:40212".parse().unwrap(),
            local: "10.96.0.10:53".parse().unwrap(),
            transport: Transport::Udp,
        },
        started: Instant::now(),
        size: 0,
        server: "dns://:53".into(),
        zone: ".".into(),
        block: Arc::new(Block::nothing()),
        router: Arc::new(Router::new("dns://:53".into())),
        metadata: Vec::new(),
        internal: Internal::default(),
        hurried: false,
        metrics: None,
    };
    query.size = packet(&query).len();
    query
}

/// Asks a router a question.
pub(crate) async fn ask(router: &Arc<Router>, name: &str, qtype: RecordType) -> Reply {
    let mut query = Query { router: Arc::clone(router), ..query(name, qtype) };
    router.serve(&mut query).await
}

/// A query as it came.
pub(crate) fn packet(query: &Query) -> Vec<u8> {
    let request = &query.request;
    let flags = u16::from(request.opcode) << 11
        | u16::from(request.recursion_desired) << 8
        | u16::from(request.authentic_data) << 5
        | u16::from(request.checking_disabled) << 4;
    let words = [request.id, flags, 1, 0, 0, u16::from(request.edns.is_some())];
    let mut packet = words.map(u16::to_be_bytes).concat();
    packet.extend(query.question.name.to_bytes().unwrap());
    packet.extend([u16::from(query.question.qtype), query.question.qclass].map(u16::to_be_bytes).concat());
    if let Some(edns) = request.edns {
        // One of those for local use, without data.
        let option: &[u8] = if edns.has_options { &[0xfd, 0xe9, 0, 0] } else { &[] };
        packet.extend([0, 0, 41]);
        packet.extend(edns.payload.to_be_bytes());
        packet.extend([0, edns.version, if edns.dnssec_ok { 0x80 } else { 0 }, 0, 0, option.len() as u8]);
        packet.extend(option);
    }
    packet
}

/// What the quick way says to a question, if it answers it.
pub(crate) fn quickly(router: &Router, query: &Query) -> Option<Vec<u8>> {
    let packet = packet(query);
    let asked = Asked::read(&packet)?;
    let route = router.plain(&asked.name, asked.qtype).ok()??;
    let block = &route.block;
    let question = Quick {
        asked: &asked,
        peer: &query.peer,
        server: &router.server,
        started: query.started,
        rotation: 0,
        bounds: block.bounds(&asked.name),
        payload: block.payload,
    };
    let mut out = Vec::new();
    block.quick(&question, &mut out).map(|_| out)
}

/// Whether a plugin passes a question on at once.
pub(crate) fn passes(plugin: &Arc<dyn Plugin>, query: &Query) -> bool {
    let packet = packet(query);
    let asked = Asked::read(&packet).unwrap();
    let question = Quick {
        asked: &asked,
        peer: &query.peer,
        server: &query.server,
        started: query.started,
        rotation: 0,
        bounds: TtlBounds::default(),
        payload: UDP_PAYLOAD,
    };
    matches!(plugin.quick(&question, &mut Vec::new()), Quickly::Pass)
}

/// What the slow way says to a question, on the wire.
pub(crate) async fn slowly(router: &Arc<Router>, query: &Query) -> Vec<u8> {
    let mut query = Query { router: Arc::clone(router), ..query.clone() };
    let reply = router.serve(&mut query).await;
    let mut out = Vec::new();
    write_reply(&query.request, &reply, query.peer.transport, query.block.payload, &mut out);
    out
}

/// Asks one plugin a question; what it passes on is answered by `tail`.
pub(crate) async fn ask_one(
    plugin: Arc<dyn Plugin>,
    query: &mut Query,
    tail: impl Fn(&Query) -> Reply + Send + Sync + 'static,
) -> Reply {
    Next::new(&[plugin, Arc::new(Tail(tail))]).serve(query).await
}

/// The end of a chain.
struct Tail<F>(F);

impl<F: Fn(&Query) -> Reply + Send + Sync + 'static> Plugin for Tail<F> {
    fn name(&self) -> &'static str {
        "tail"
    }

    fn serve<'a>(&'a self, query: &'a mut Query, _: Next<'a>) -> BoxFuture<'a, Reply> {
        Box::pin(std::future::ready((self.0)(query)))
    }
}

/// A record as a zone file has it: `www.example.org. 60 A 192.0.2.1`.
pub(crate) fn record(text: &str) -> Record {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [name, ttl, kind, data @ ..] = words.as_slice() else { panic!("{text}") };
    let kind: RecordType = kind.parse().unwrap();
    let data = hickory_proto::rr::RData::try_from_str(kind, &data.join(" ")).unwrap();
    Record::from_rdata(Name::from_ascii(name).unwrap(), ttl.parse().unwrap(), data)
}

/// Collects what is logged by this thread: `LEVEL target: message`.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<parking_lot::Mutex<Vec<String>>>);

impl Lines {
    /// Begins to listen, until what is returned is dropped.
    pub(crate) fn listen(&self) -> tracing::subscriber::DefaultGuard {
        tracing::subscriber::set_default(self.clone())
    }

    /// What was logged so far.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock())
    }
}

impl tracing::Subscriber for Lines {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("plugin/")
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        struct Message(String);
        impl tracing::field::Visit for Message {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        let metadata = event.metadata();
        self.0.lock().push(format!("{} {}: {}", metadata.level(), metadata.target(), message.0));
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}
