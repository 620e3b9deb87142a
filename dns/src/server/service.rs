//! Serves configurations, one after another, without closing a socket that the next one needs.
//!
//! ```text
//!   Config ─▶ start every plugin ─▶ bind what is new ─▶ swap the routers ─▶ stop what is old
//!                   │ fails                │ fails
//!                   └──────────────────────┴─▶ nothing has changed
//! ```

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use rustls::ServerConfig;
use tokio::{runtime::Handle, sync::Mutex, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{Front, Limits, Server, Shared, knobs::Knobs, tls};
use crate::{
    block::{Block, BlockConfig, BlockKey, Config, Route, Router, Scheme, Timeouts},
    plugin::{Changes, Clusters, Meters, StartError, World},
};

/// What does not change from one configuration to the next.
#[derive(Clone)]
pub struct Settings {
    /// Bounds on what clients may cost.
    pub limits: Limits,
    /// The metrics of the process.
    pub meters: Arc<Meters>,
    /// The clusters' zones.
    pub clusters: Arc<dyn Clusters>,
    /// The runtime that serves.
    pub runtime: Handle,
    /// A detected loop ends the process.
    pub loop_is_fatal: bool,
}

/// Why a configuration is not served. The one before it still is.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A plugin cannot start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// An address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] io::Error),
}

/// The serving side of a process.
pub struct Service {
    settings: Settings,
    shared: Arc<Shared>,
    listeners: Mutex<HashMap<Listen, Running>>,
    current: ArcSwapOption<Loaded>,
    stop: CancellationToken,
}

/// A configuration that is being served.
pub struct Loaded {
    /// What it says.
    pub config: Config,
    /// Its blocks, in the same order.
    pub blocks: Vec<Arc<Block>>,
    /// Which plugins of each block have been ready.
    seen_ready: Vec<Vec<AtomicBool>>,
    stop: CancellationToken,
}

/// What a socket is for. `None` is every address of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Listen {
    scheme: Scheme,
    ip: Option<IpAddr>,
    port: u16,
}

/// How a listener is to speak.
struct Manner {
    limits: Limits,
    tls: Option<Arc<ServerConfig>>,
}

/// A listener that is not served yet.
struct Bound {
    listen: Listen,
    front: Arc<Front>,
    knobs: Arc<Knobs>,
    server: Server<Front>,
}

struct Running {
    front: Arc<Front>,
    knobs: Arc<Knobs>,
    addresses: Vec<SocketAddr>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// How long plugins of a configuration that was replaced go on for questions that are still being answered.
const AFTERGLOW: Duration = Duration::from_secs(10);

impl Service {
    /// A service of nothing yet. Everything ends with `stop`.
    pub fn new(settings: Settings, stop: CancellationToken) -> Self {
        let shared = Arc::new(Shared::default());
        settings.meters.edit(|registry| shared.tallies.register(registry));
        Self { settings, shared, listeners: Mutex::default(), current: ArcSwapOption::empty(), stop }
    }

    /// Serves this configuration instead of the one before.
    ///
    /// # Errors
    /// When a plugin cannot start or an address cannot be listened on. Then nothing has changed.
    pub async fn load(&self, config: Config) -> Result<(), LoadError> {
        let mut listeners = self.listeners.lock().await;
        let _inside = self.settings.runtime.enter();
        let stop = self.stop.child_token();
        // What has been started ends again unless the end of this function is reached.
        let undo = stop.clone().drop_guard();
        let blocks = config.blocks.iter().map(|block| self.start(block, &stop));
        let blocks: Vec<Arc<Block>> = blocks.collect::<Result<_, _>>()?;
        let routers = self.routers(&config, &blocks);
        let mut manners: BTreeMap<Listen, Manner> = BTreeMap::new();
        for listen in routers.keys() {
            manners.insert(*listen, self.manner(*listen, &config)?);
        }
        // A listener goes on unless it needs another number of sockets.
        let goes_on = |listen: &Listen, manner: &Manner| {
            let old = listeners.get(listen).map(|running| running.knobs.limits.load().udp_sockets);
            old.is_some_and(|old| old == manner.limits.udp_sockets || listen.scheme != Scheme::Dns)
        };
        let mut fresh = Vec::new();
        for (listen, router) in &routers {
            let Some(manner) = manners.remove(listen) else { continue };
            if goes_on(listen, &manner) {
                manners.insert(*listen, manner);
                continue;
            }
            let front = Arc::new(Front::new(Arc::clone(router), Arc::clone(&self.shared)));
            let ours = listen.port != 0 && listeners.keys().any(|other| other.port == listen.port);
            fresh.push(self.bind(*listen, manner, &front, ours)?);
        }
        // From here on nothing fails.
        self.enable(&routers);
        listeners.retain(|listen, running| {
            let (Some(router), Some(manner)) = (routers.get(listen), manners.remove(listen)) else {
                running.stop.cancel();
                return false;
            };
            running.front.replace(Arc::clone(router));
            running.knobs.limits.store(Arc::new(manner.limits));
            running.knobs.tls.store(manner.tls);
            true
        });
        for Bound { listen, front, knobs, server } in fresh {
            let stop = self.stop.child_token();
            let addresses = server.local_addrs().to_vec();
            let task = self.settings.runtime.spawn(server.run(stop.clone()));
            listeners.insert(listen, Running { front, knobs, addresses, stop, task });
        }
        undo.disarm();
        let used: Vec<_> = (blocks.iter().flat_map(|block| &block.plugins))
            .filter_map(|plugin| plugin.cluster().cloned())
            .collect();
        let seen_ready = blocks
            .iter()
            .map(|block| block.plugins.iter().map(|_| AtomicBool::new(false)).collect())
            .collect();
        let old = self.current.swap(Some(Arc::new(Loaded { config, blocks, seen_ready, stop })));
        self.settings.clusters.keep(&used);
        if let Some(old) = old {
            self.settings.runtime.spawn(async move {
                tokio::time::sleep(AFTERGLOW).await;
                old.stop.cancel();
            });
        }
        Ok(())
    }

    /// The configuration that is being served.
    pub fn current(&self) -> Option<Arc<Loaded>> {
        self.current.load_full()
    }

    /// The names of plugins that are not ready, each once, in alphabetical order: of the blocks with `ready`, or of all
    /// where none has it. A plugin that has been ready is not asked again, unless its block says so.
    pub fn unready(&self) -> Vec<&'static str> {
        let Some(loaded) = self.current() else { return vec!["configuration"] };
        let asked = loaded.config.blocks.iter().any(|block| block.ready.is_some());
        let mut names = Vec::new();
        for (config, (block, seen)) in
            loaded.config.blocks.iter().zip(loaded.blocks.iter().zip(&loaded.seen_ready))
        {
            if asked && config.ready.is_none() {
                continue;
            }
            let continuously = config.ready.as_ref().is_some_and(|ready| ready.continuously);
            for (plugin, seen) in block.plugins.iter().zip(seen) {
                if seen.load(Ordering::Relaxed) && !continuously {
                    continue;
                }
                let ready = plugin.ready();
                seen.store(ready, Ordering::Relaxed);
                if !ready {
                    names.push(plugin.name());
                }
            }
        }
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Every address that is listened on, with how it is spoken to.
    pub async fn addresses(&self) -> Vec<(Scheme, SocketAddr)> {
        let listeners = self.listeners.lock().await;
        let mut all: Vec<_> = (listeners.iter())
            .flat_map(|(listen, running)| running.addresses.iter().map(|address| (listen.scheme, *address)))
            .collect();
        all.sort_unstable();
        all
    }

    /// Waits for the end, which `stop` begins.
    pub async fn ended(&self) {
        let running: Vec<Running> = self.listeners.lock().await.drain().map(|(_, running)| running).collect();
        for running in running {
            let _ = running.task.await;
        }
    }

    fn start(&self, block: &BlockConfig, stop: &CancellationToken) -> Result<Arc<Block>, StartError> {
        let world = World {
            stop: stop.clone(),
            meters: Arc::clone(&self.settings.meters),
            clusters: Arc::clone(&self.settings.clusters),
            zones: block.zones(),
            changes: Changes::default(),
            root: PathBuf::from(&block.root),
            listens: listens(block).flat_map(|(listen, _)| listen.addresses()).collect(),
            loop_is_fatal: self.settings.loop_is_fatal,
        };
        Block::start(block, &world).map(Arc::new)
    }

    /// A router for each listener.
    fn routers(&self, config: &Config, blocks: &[Arc<Block>]) -> BTreeMap<Listen, Arc<Router>> {
        let mut routers: BTreeMap<Listen, Router> = BTreeMap::new();
        for (block_config, block) in config.blocks.iter().zip(blocks) {
            for (listen, key) in listens(block_config) {
                let router = routers.entry(listen).or_insert_with(|| Router::new(listen.label().into()));
                let zone: Arc<str> = crate::presentation::written(&key.zone).into();
                let view = block.view.as_ref().map_or("", |view| view.name()).into();
                let metrics = block.counted.then(|| self.shared.tallies.of(&router.server, &zone, &view));
                router.add(&key.zone, Route { zone, block: Arc::clone(block), metrics });
            }
        }
        let dropped = blocks.iter().any(|block| block.counted);
        let dropped = |router: &Router| {
            dropped.then(|| self.shared.tallies.of(&router.server, &"dropped".into(), &"".into()))
        };
        let finished = routers.into_iter().map(|(listen, mut router)| {
            router.dropped = dropped(&router);
            (listen, Arc::new(router))
        });
        finished.collect()
    }

    /// Says which plugins are served.
    fn enable(&self, routers: &BTreeMap<Listen, Arc<Router>>) {
        let served = routers.values().flat_map(|router| {
            router.routes().map(|route| (Arc::clone(&router.server), Arc::clone(&route.zone), &*route.block))
        });
        self.shared.tallies.enable(served);
    }

    /// How a listener is to speak: its scheme, the limits and the certificate of the first block that has some.
    fn manner(&self, listen: Listen, config: &Config) -> Result<Manner, StartError> {
        let mut limits = self.settings.limits.clone();
        let on = |block: &&BlockConfig| listens(block).any(|(other, _)| other == listen);
        let blocks: Vec<&BlockConfig> = config.blocks.iter().filter(on).collect();
        limits.udp_sockets = blocks.iter().find_map(|block| block.sockets).unwrap_or(limits.udp_sockets);
        if let Some(timeouts) =
            blocks.iter().map(|block| block.timeouts).find(|some| *some != Timeouts::default())
        {
            limits.tcp_read = timeouts.read.unwrap_or(limits.tcp_read);
            limits.tcp_idle = timeouts.idle.unwrap_or(limits.tcp_idle);
            limits.tcp_write = timeouts.write.unwrap_or(limits.tcp_write);
            limits.tcp_queries = timeouts.queries;
        }
        if listen.scheme == Scheme::Https {
            let most = blocks.iter().find_map(|block| block.https_connections).filter(|most| *most > 0);
            limits.tcp_connections = most.unwrap_or(limits.tcp_connections);
        }
        let tls = match blocks.iter().find_map(|block| block.tls.as_ref()) {
            Some(files) if listen.scheme != Scheme::Dns => {
                let read = tls::config(files, listen.scheme);
                Some(read.map_err(|error| StartError(format!("plugin/tls: {error}")))?)
            }
            _ => None,
        };
        Ok(Manner { limits, tls })
    }

    /// Binds a listener. With `ours` the port may be one of this process, whose listener is about to go.
    fn bind(&self, listen: Listen, manner: Manner, front: &Arc<Front>, ours: bool) -> io::Result<Bound> {
        let knobs = Arc::new(Knobs {
            scheme: listen.scheme,
            limits: ArcSwap::from_pointee(manner.limits),
            tls: ArcSwapOption::from(manner.tls),
            https: self.shared.tallies.https(&listen.label().into()),
            tcp: self.shared.tallies.tcp(),
        });
        let server = Server::bind_as(Arc::clone(&knobs), &listen.addresses(), Arc::clone(front), ours)?;
        Ok(Bound { listen, front: Arc::clone(front), knobs, server })
    }
}

impl Listen {
    /// As metrics and logs name it: `dns://:53`, `dns://10.0.0.1:53`.
    fn label(&self) -> String {
        match self.ip {
            Some(ip) => format!("{}://{}", self.scheme, SocketAddr::new(ip, self.port)),
            None => format!("{}://:{}", self.scheme, self.port),
        }
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        match self.ip {
            Some(ip) => vec![SocketAddr::new(ip, self.port)],
            None => {
                vec![(Ipv4Addr::UNSPECIFIED, self.port).into(), (Ipv6Addr::UNSPECIFIED, self.port).into()]
            }
        }
    }
}

/// What a block listens on, and under which keys.
fn listens(block: &BlockConfig) -> impl Iterator<Item = (Listen, &BlockKey)> {
    block.keys.iter().flat_map(|key| {
        let ips = block.bind.iter().copied().map(Some);
        let all = block.bind.is_empty().then_some(None);
        ips.chain(all).map(move |ip| (Listen { scheme: key.scheme, ip, port: key.port }, key))
    })
}
