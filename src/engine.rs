//! The wiring: watches into the index, the index into zone and controllers, the zone behind sockets.
//!
//! There are three runtimes, and the kernel shares the cores between them. DNS has one: a relist decodes megabytes, and
//! in the same runtime questions would wait behind it. The controllers have one of a single thread: when hundreds of pods
//! turn ready at once, their writes must not keep the watches from telling DNS.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use callsign_controller::{Config as ControllerConfig, leader::Config as LeaderConfig};
use callsign_dns::{
    block::Config,
    plugin::{self, Meters},
    server::{self, Limits, LoadError, Loaded, Service},
};
use callsign_shared::{
    index::Source,
    watch::{Scope, SyncState},
};
use prometheus_client::{
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};
use tokio::runtime::{Handle, Runtime};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    args::AdminArgs,
    clusters::{ClusterSettings, Clusters},
    coredns::{REVISION, VERSION},
    exit::Exit,
    files,
    pages::{Pages, Status, Wanted},
    process::ProcessMetrics,
    writing::Writing,
};

/// What to run.
pub(crate) struct Settings {
    /// DNS.
    pub(crate) dns: Option<DnsSettings>,
    /// The controllers.
    pub(crate) controller: Option<ControllerConfig>,
    /// The Lease that they write under; without one they write whatever others do.
    pub(crate) leader: Option<LeaderConfig>,
    /// Whether endpoints of Services with a selector are answered as the controllers see them.
    pub(crate) source: Source,
    /// Health, readiness and metrics.
    pub(crate) admin: Admin,
}

/// Who says where health, readiness and metrics are, and how long to answer on when the end was asked for.
pub(crate) enum Admin {
    /// There are none.
    #[cfg(feature = "sandbox")]
    None,
    /// The flags.
    Flags(AdminArgs),
    /// The blocks.
    Blocks,
}

/// What DNS to serve.
pub(crate) struct DnsSettings {
    /// The server blocks.
    pub(crate) config: Config,
    /// The addresses under which clients reach this process; empty for those of the machine.
    pub(crate) own_addresses: Vec<std::net::IpAddr>,
    /// Servers that must not be this one.
    pub(crate) upstreams: Vec<SocketAddr>,
    /// A detected loop ends the process.
    pub(crate) loop_is_fatal: bool,
}

/// Everything that runs.
pub(crate) struct Engine {
    #[expect(dead_code, reason = "watching ends with it")]
    clusters: Arc<Clusters>,
    sync: Option<Arc<SyncState>>,
    dns: Option<Dns>,
    stop: CancellationToken,
    ending: CancellationToken,
    writing: Option<Writing>,
    admin: Admin,
    pages: Arc<Pages>,
    meters: Arc<Meters>,
}

/// The serving side.
struct Dns {
    service: Arc<Service>,
    addresses: Vec<SocketAddr>,
    #[expect(dead_code, reason = "serving ends with it")]
    runtime: Threads,
}

/// Puts another configuration in the place of the one that is served.
#[derive(Clone)]
pub(crate) struct Reloader {
    service: Arc<Service>,
    pages: Arc<Pages>,
    meters: Arc<Meters>,
}

/// A runtime that may be dropped from within another: it does not wait for its tasks.
pub(crate) struct Threads(Option<Runtime>);

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Engine {
    /// Listens and starts to watch. Returns when every socket is bound, long before anything is known of the cluster.
    /// `cluster` is the one that directives without an address mean; `None` for that of the environment.
    ///
    /// # Errors
    /// When an address cannot be listened on, or a setting makes no sense.
    pub(crate) async fn start(cluster: Option<&kube::Config>, settings: Settings) -> Result<Self, Exit> {
        files::raise();
        let (stop, ending) = (CancellationToken::new(), CancellationToken::new());
        let meters = Arc::new(Meters::default());
        meters.edit(build_info);
        meters.edit(|registry| registry.register_collector(Box::new(ProcessMetrics)));
        let own_addresses = match &settings.dns {
            Some(dns) if dns.own_addresses.is_empty() => own_addresses(),
            Some(dns) => dns.own_addresses.clone(),
            None => Vec::new(),
        };
        let clusters = Arc::new(Clusters::new(ClusterSettings {
            default: cluster.cloned(),
            meters: Arc::clone(&meters),
            watching: Handle::current(),
            stop: stop.clone(),
            source: settings.source,
            own_addresses,
        }));
        let controlled = match (&settings.controller, cluster) {
            (Some(_), Some(cluster)) => {
                let scope = Scope { controller: true, pods: true, targets: true };
                Some((clusters.pin(scope).map_err(Exit::configuration)?, cluster))
            }
            _ => None,
        };
        let dns = match settings.dns {
            Some(dns) => Some(Dns::start(dns, &clusters, &meters, &stop).await?),
            None => None,
        };
        for address in dns.iter().flat_map(|dns| &dns.addresses) {
            info!(target: "listening", what = "dns", %address, "listening");
        }
        let sync = clusters.watch();
        let writing = match (settings.controller, controlled, &sync) {
            (Some(config), Some((index, cluster)), Some(sync)) => {
                let (requests, configs) = (clusters.requests(cluster), (config, settings.leader));
                let start = |registry: &mut _| {
                    Writing::start((cluster, &requests), configs, &index, sync, registry, &stop)
                };
                Some(meters.edit(start)?)
            }
            _ => None,
        };
        let service = dns.as_ref().map(|dns| Arc::clone(&dns.service));
        let wanted = match (&settings.admin, &service) {
            (Admin::Flags(args), _) => Wanted::of_flags(args),
            (Admin::Blocks, Some(service)) => match service.current() {
                Some(loaded) => {
                    let wanted = tokio::task::block_in_place(|| Wanted::of_blocks(&loaded.config));
                    wanted.map_err(Exit::configuration)?
                }
                None => Wanted::default(),
            },
            _ => Wanted::default(),
        };
        let pages = Pages::new(
            Status {
                // Blocks say by themselves what they wait for; controllers wait for everything that is watched.
                watches: sync.clone(),
                sync: sync.clone().filter(|_| writing.is_some() || !matches!(settings.admin, Admin::Blocks)),
                standing: writing.as_ref().and_then(Writing::standing),
                duty: writing.as_ref().map(|writing| writing.duty(service.is_some())),
                journal: writing.as_ref().map(Writing::journal),
                ending: ending.clone(),
                meters: Arc::clone(&meters),
                service,
            },
            meters.of(),
        );
        pages.serve(pages.prepare(wanted).map_err(Exit::listen)?);
        let (admin, pages) = (settings.admin, Arc::new(pages));
        Ok(Self { clusters, sync, dns, stop, ending, writing, admin, pages, meters })
    }

    /// What puts another configuration in the place of the one that is served, where DNS is.
    pub(crate) fn reloader(&self) -> Option<Reloader> {
        let dns = self.dns.as_ref()?;
        Some(Reloader {
            service: Arc::clone(&dns.service),
            pages: Arc::clone(&self.pages),
            meters: Arc::clone(&self.meters),
        })
    }

    /// How long to answer on, not ready, when the end was asked for.
    fn lameduck(&self) -> Duration {
        match &self.admin {
            #[cfg(feature = "sandbox")]
            Admin::None => Duration::ZERO,
            Admin::Flags(args) => args.lameduck,
            Admin::Blocks => {
                let loaded = self.dns.as_ref().and_then(|dns| dns.service.current());
                let blocks = loaded.iter().flat_map(|loaded| &loaded.config.blocks);
                blocks.filter_map(|block| Some(block.health.as_ref()?.lameduck)).max().unwrap_or_default()
            }
        }
    }

    /// Where DNS is answered.
    #[cfg(feature = "sandbox")]
    pub(crate) fn dns_addresses(&self) -> &[SocketAddr] {
        self.dns.as_ref().map_or(&[], |dns| &dns.addresses)
    }

    /// Waits until everything watched has been listed and, where there is DNS, is answered.
    pub(crate) async fn ready(&self) {
        if let Some(sync) = &self.sync {
            sync.wait().await;
        }
        while self.dns.as_ref().is_some_and(|dns| !dns.service.unready().is_empty()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Serves until `end`: then not ready at once, answering for the lameduck time, and gone. A leader hands over at the
    /// beginning of that time; where nobody else would write, writing goes on to its end.
    ///
    /// # Errors
    /// When a part ended by itself.
    pub(crate) async fn run(mut self, end: CancellationToken) -> Result<(), Exit> {
        let mut writing = self.writing.take();
        let synced = async {
            self.ready().await;
            match (&self.admin, &self.sync) {
                (Admin::Blocks, None) => {}
                (Admin::Blocks, Some(_)) => info!(target: "plugin/kubernetes", "synced"),
                _ => info!("synced"),
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = end.cancelled() => {}
            () = synced => {}
            failed = ended(&mut writing) => return Err(failed),
        }
        self.ending.cancel();
        let handover = async {
            if let Some(leader) = writing.take_if(|writing| writing.hands_over()) {
                leader.end().await;
            }
        };
        let time = self.lameduck();
        let lameduck = async {
            if !time.is_zero() {
                match self.admin {
                    Admin::Blocks => {
                        info!(target: "plugin/health", "Going into lameduck mode for {time:?}");
                    }
                    _ => info!(seconds = time.as_secs_f64(), "answering on, not ready"),
                }
                tokio::time::sleep(time).await;
            }
        };
        tokio::join!(handover, lameduck);
        self.stop.cancel();
        if let Some(writing) = writing {
            writing.end().await;
        }
        if let Some(dns) = self.dns.take() {
            // Serving ends within its own grace.
            dns.service.ended().await;
        }
        Ok(())
    }
}

impl Reloader {
    /// Serves this configuration, and its pages, instead of the one before.
    ///
    /// # Errors
    /// When a plugin cannot start or an address cannot be listened on. Then nothing has changed.
    pub(crate) async fn load(&self, config: Config) -> Result<(), LoadError> {
        // Names of hosts are looked up.
        let wanted = tokio::task::block_in_place(|| Wanted::of_blocks(&config))?;
        let prepared = self.pages.prepare(wanted)?;
        self.service.load(config).await?;
        self.pages.serve(prepared);
        Ok(())
    }

    /// Metrics of the process.
    pub(crate) fn meter<M: plugin::Meter>(&self) -> Arc<M> {
        self.meters.of()
    }

    /// What is served.
    pub(crate) fn current(&self) -> Option<Arc<Loaded>> {
        self.service.current()
    }
}

async fn ended(writing: &mut Option<Writing>) -> Exit {
    match writing {
        Some(writing) => writing.ended().await,
        None => std::future::pending().await,
    }
}

impl Dns {
    async fn start(
        settings: DnsSettings,
        clusters: &Arc<Clusters>,
        meters: &Arc<Meters>,
        stop: &CancellationToken,
    ) -> Result<Self, Exit> {
        let (runtime, handle) = threads("dns", None)?;
        let service = Arc::new(Service::new(
            server::Settings {
                limits: Limits::default(),
                meters: Arc::clone(meters),
                clusters: Arc::clone(clusters) as Arc<dyn plugin::Clusters>,
                runtime: handle,
                loop_is_fatal: settings.loop_is_fatal,
            },
            stop.clone(),
        ));
        service.load(settings.config).await.map_err(|error| match error {
            LoadError::Listen(error) => Exit::listen(error),
            LoadError::Start(error) => Exit::configuration(error),
        })?;
        let addresses: Vec<_> = service.addresses().await.into_iter().map(|(_, address)| address).collect();
        if let Some(own) = settings.upstreams.iter().find(|upstream| is_own(**upstream, &addresses)) {
            let why = format!("--upstream {own}: that is this server, which would ask itself for ever");
            return Err(Exit::configuration(anyhow::anyhow!(why)));
        }
        Ok(Self { service, addresses, runtime })
    }
}

/// What this is, under CoreDNS's name and labels.
fn build_info(registry: &mut Registry) {
    let info = Family::<Vec<(&'static str, &'static str)>, Gauge>::default();
    let labels = vec![("version", VERSION), ("revision", REVISION), ("goversion", "none")];
    info.get_or_create(&labels).set(1);
    registry.register(
        "coredns_build_info",
        "A metric with a constant '1' value labeled by version, revision, and goversion from which it was built",
        info,
    );
}

/// A runtime with as many threads as there are cores, or with this many.
pub(crate) fn threads(name: &'static str, count: Option<usize>) -> Result<(Threads, Handle), Exit> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.thread_name(name).enable_all();
    if let Some(count) = count {
        builder.worker_threads(count);
    }
    let runtime =
        builder.build().map_err(|error| Exit::from(anyhow::Error::new(error).context("no threads")))?;
    let handle = runtime.handle().clone();
    Ok((Threads(Some(runtime)), handle))
}

/// The addresses of this machine by which clients could reach it.
fn own_addresses() -> Vec<std::net::IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot list this machine's addresses; NS records have none");
        Vec::new()
    });
    interfaces.iter().filter(|interface| !interface.is_loopback()).map(if_addrs::Interface::ip).collect()
}

/// Whether what is sent to this address arrives at one of ours.
fn is_own(address: SocketAddr, listening: &[SocketAddr]) -> bool {
    let here = |ip: std::net::IpAddr| ip.is_loopback() || own_addresses().contains(&ip);
    listening.iter().any(|own| {
        own.port() == address.port()
            && (own.ip() == address.ip()
                || own.ip().is_unspecified() && own.is_ipv4() == address.is_ipv4() && here(address.ip()))
    })
}
