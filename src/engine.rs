//! The wiring: watches into the index, the index into zone and controllers, the zone behind sockets.
//!
//! There are three runtimes, and the kernel shares the cores between them. DNS has one: a relist decodes megabytes, and
//! in the same runtime questions would wait behind it. The controllers have one of a single thread: when hundreds of pods
//! turn ready at once, their writes must not keep the watches from telling DNS.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use callsign_controller::{Config as ControllerConfig, leader::Config as LeaderConfig};
use callsign_dns::{
    Latency, Pods, Zone, ZoneConfig,
    server::{ClusterHandler, Forward, ForwardLimits, Limits, Metrics, Server},
};
use callsign_shared::{
    Feed, Index,
    index::Source,
    watch::{self, Scope, SyncState},
};
use prometheus_client::registry::Registry;
use tokio::{
    runtime::{Handle, Runtime},
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    admin,
    args::{AdminArgs, DnsArgs, PodNames},
    client::client,
    exit::Exit,
    requests::Requests,
    watches::Watches,
    writing::Writing,
};

/// How many changes the zone takes in before others get their turn.
const ZONE_BATCH: usize = 256;

/// What to run.
pub(crate) struct Settings {
    /// DNS, and where to listen for it.
    pub(crate) dns: Option<(DnsArgs, Vec<SocketAddr>)>,
    /// The controllers.
    pub(crate) controller: Option<ControllerConfig>,
    /// The Lease that they write under; without one they write whatever others do.
    pub(crate) leader: Option<LeaderConfig>,
    /// Whether endpoints of Services with a selector are answered as the controllers see them.
    pub(crate) source: Source,
    /// Health, readiness and metrics.
    pub(crate) admin: Option<AdminArgs>,
}

/// Everything that runs.
pub(crate) struct Engine {
    sync: Arc<SyncState>,
    dns: Option<Dns>,
    stop: CancellationToken,
    ending: CancellationToken,
    writing: Option<Writing>,
    lameduck: Duration,
    #[expect(dead_code, reason = "the tasks end with the set")]
    tasks: Vec<JoinSet<()>>,
}

/// The serving side.
struct Dns {
    addresses: Vec<SocketAddr>,
    zone: Arc<Zone>,
    serving: JoinHandle<()>,
    #[expect(dead_code, reason = "serving ends with it")]
    runtime: Threads,
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
    ///
    /// # Errors
    /// When an address cannot be listened on, or a setting makes no sense.
    pub(crate) async fn start(cluster: &kube::Config, settings: Settings) -> Result<Self, Exit> {
        let index = Arc::new(Index::new());
        let (stop, ending) = (CancellationToken::new(), CancellationToken::new());
        let mut registry = Registry::default();
        let requests = Requests::register(&mut registry, &cluster.cluster_url);
        let verified = settings.dns.as_ref().is_some_and(|(dns, _)| dns.pods == PodNames::Verified);
        let dns = match &settings.dns {
            Some((args, listen)) => Some(dns(args, listen, settings.source, &index, &mut registry, &stop)?),
            None => None,
        };
        for address in dns.iter().flat_map(|dns| &dns.addresses) {
            info!(what = "dns", %address, "listening");
        }
        let scope = Scope { pods: verified, controller: settings.controller.is_some() };
        let mut tasks = Vec::new();
        // Before the watches: a feed that is there first need not be filled.
        let feed = dns.as_ref().map(|dns| index.subscribe(dns.zone.interest()));
        let (sync, watches) = watch::start(&client(cluster.clone(), &requests)?, &index, scope, &stop);
        tasks.push(watches);
        registry.register_collector(Box::new(Watches(Arc::clone(&sync))));
        let writing = match settings.controller {
            Some(config) => {
                let configs = (config, settings.leader);
                Some(Writing::start((cluster, &requests), configs, &index, &sync, &mut registry, &stop)?)
            }
            None => None,
        };
        if let (Some(dns), Some(feed)) = (&dns, feed) {
            let mut follower = JoinSet::new();
            let latency = Latency::register(&mut registry, Arc::clone(&index));
            follower.spawn(follow(Arc::clone(&dns.zone), feed, latency, Arc::clone(&sync)));
            tasks.push(follower);
        }
        let lameduck = settings.admin.as_ref().map_or(Duration::ZERO, |admin| admin.lameduck);
        if let Some(admin) = &settings.admin {
            let zone = dns.as_ref().map(|dns| Arc::clone(&dns.zone));
            let journal = writing.as_ref().map(Writing::journal);
            let standing = writing.as_ref().and_then(Writing::standing);
            let duty = writing.as_ref().map(|writing| writing.duty(zone.is_some()));
            let (sync, ending) = (Arc::clone(&sync), ending.clone());
            let status = admin::Status { sync, zone, standing, duty, ending, registry, journal };
            tasks.push(admin::start(admin, status).await.map_err(Exit::listen)?);
        }
        Ok(Self { sync, dns, stop, ending, writing, lameduck, tasks })
    }

    /// Where DNS is answered.
    #[cfg(feature = "sandbox")]
    pub(crate) fn dns_addresses(&self) -> &[SocketAddr] {
        self.dns.as_ref().map_or(&[], |dns| &dns.addresses)
    }

    /// Waits until everything watched has been listed and, where there is DNS, is answered.
    pub(crate) async fn ready(&self) {
        self.sync.wait().await;
        while self.dns.as_ref().is_some_and(|dns| !dns.zone.is_synced()) {
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
            info!("synced");
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
        let lameduck = async {
            if !self.lameduck.is_zero() {
                info!(seconds = self.lameduck.as_secs_f64(), "answering on, not ready");
                tokio::time::sleep(self.lameduck).await;
            }
        };
        tokio::join!(handover, lameduck);
        self.stop.cancel();
        if let Some(writing) = writing {
            writing.end().await;
        }
        if let Some(dns) = self.dns.take() {
            // Serving ends within its own grace.
            let _ = dns.serving.await;
        }
        Ok(())
    }
}

async fn ended(writing: &mut Option<Writing>) -> Exit {
    match writing {
        Some(writing) => writing.ended().await,
        None => std::future::pending().await,
    }
}

fn dns(
    args: &DnsArgs,
    listen: &[SocketAddr],
    source: Source,
    index: &Arc<Index>,
    registry: &mut Registry,
    stop: &CancellationToken,
) -> Result<Dns, Exit> {
    let mut config = ZoneConfig::cluster(&args.cluster_domain).map_err(Exit::configuration)?;
    config.ttl = args.ttl;
    config.source = source;
    config.pods = match args.pods {
        PodNames::Disabled => Pods::Disabled,
        PodNames::Insecure => Pods::Insecure,
        PodNames::Verified => Pods::Verified,
    };
    config.own_addresses =
        if args.own_address.is_empty() { own_addresses() } else { args.own_address.clone() };
    let zone = Arc::new(Zone::new(config, Arc::clone(index)));
    let (runtime, handle) = threads("dns", None)?;
    let port = listen.first().map_or(0, SocketAddr::port);
    let metrics = Arc::new(Metrics::new(format!("dns://:{port}")));
    metrics.register(registry);
    let forward =
        (!args.upstream.is_empty()).then(|| Forward::new(args.upstream.clone(), ForwardLimits::default()));
    let handler = Arc::new(ClusterHandler::new(Arc::clone(&zone), forward, metrics));
    let server = {
        let _inside = handle.enter();
        Server::bind(listen, handler, Limits::default()).map_err(Exit::listen)?
    };
    let addresses = server.local_addrs().to_vec();
    if let Some(own) = args.upstream.iter().find(|upstream| is_own(**upstream, &addresses)) {
        let why = format!("--upstream {own}: that is this server, which would ask itself for ever");
        return Err(Exit::configuration(anyhow::anyhow!(why)));
    }
    let serving = handle.spawn(server.run(stop.clone()));
    Ok(Dns { addresses, zone, serving, runtime })
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

/// Feeds the index's changes to the zone, and says when the first sync is in it.
async fn follow(zone: Arc<Zone>, feed: Feed, latency: Latency, sync: Arc<SyncState>) {
    loop {
        if !zone.is_synced() {
            tokio::select! {
                () = feed.changed() => {}
                () = sync.wait() => {
                    // What was marked before the last list ended is still in the feed.
                    while !feed.is_empty() {
                        latency.apply(&zone, &feed.take(ZONE_BATCH));
                        tokio::task::yield_now().await;
                    }
                    zone.set_synced();
                }
            }
        } else {
            feed.changed().await;
        }
        latency.apply(&zone, &feed.take(ZONE_BATCH));
        // A long relist must not keep this thread for itself.
        tokio::task::yield_now().await;
    }
}
