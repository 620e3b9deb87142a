//! The clusters whose names are served: an index, its watches, and the zones made of it.
//!
//! ```text
//!   kubernetes directive ─▶ where the cluster is ─▶ Cluster: index ◀── watches (one set a cluster)
//!                                                     └─▶ zone ◀── follower (one a zone)
//! ```
//!
//! Clusters and zones outlive configurations: a reload that leaves a directive as it is finds its zone as it was, synced. What
//! no configuration uses any more ends when the next one is in place. Watches begin when a configuration is in place too, so
//! that the zones are there to be told of what is listed.

use std::{net::IpAddr, sync::Arc};

use callsign_dns::{
    Latency, Pods, Zone, ZoneConfig,
    plugin::{self, Meters, StartError},
    plugins::kubernetes::{ClusterAccess, KubernetesConfig},
};
use callsign_shared::{
    Feed, Index,
    index::Source,
    watch::{self, Contacts, Scope, SyncState},
};
use parking_lot::Mutex;
use tokio::{runtime::Handle, sync::SetOnce, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    client,
    requests::Requests,
    watches::{ClusterMeter, ToldCluster},
};

/// How many changes a zone takes in before others get their turn.
const ZONE_BATCH: usize = 256;

/// The progress of a cluster's watches, once they have begun.
pub(crate) type Syncing = Arc<SetOnce<Arc<SyncState>>>;

/// All clusters of a process.
pub(crate) struct Clusters {
    settings: ClusterSettings,
    all: Mutex<Vec<Cluster>>,
}

/// What holds for every cluster.
pub(crate) struct ClusterSettings {
    /// The cluster of directives that name none; `None`: that of the environment, which is looked at when it is needed.
    pub(crate) default: Option<kube::Config>,
    /// The metrics of the process.
    pub(crate) meters: Arc<Meters>,
    /// The runtime that watches.
    pub(crate) watching: Handle,
    /// Ends everything.
    pub(crate) stop: CancellationToken,
    /// Where endpoints of Services with a selector come from.
    pub(crate) source: Source,
    /// The addresses under which clients reach this process.
    pub(crate) own_addresses: Vec<IpAddr>,
}

/// One cluster.
struct Cluster {
    access: ClusterAccess,
    config: kube::Config,
    scope: Scope,
    index: Arc<Index>,
    sync: Syncing,
    #[expect(dead_code, reason = "metrics tell of it as long as it is here")]
    told: Arc<ToldCluster>,
    /// Kept without zones: the controllers use it.
    pinned: bool,
    zones: Vec<Served>,
    stop: CancellationToken,
    watches: Option<JoinSet<()>>,
}

struct Served {
    zone: Arc<Zone>,
    config: ZoneConfig,
    #[expect(dead_code, reason = "following ends with it")]
    follower: JoinSet<()>,
}

impl Clusters {
    /// No clusters yet.
    pub(crate) fn new(settings: ClusterSettings) -> Self {
        Self { settings, all: Mutex::default() }
    }

    /// The index of the default cluster, which is kept and watched with at least this scope.
    ///
    /// # Errors
    /// When it cannot be told where that cluster is.
    pub(crate) fn pin(&self, scope: Scope) -> Result<Arc<Index>, StartError> {
        let mut cluster = self.open(&ClusterAccess::default(), scope)?;
        cluster.pinned = true;
        let index = Arc::clone(&cluster.index);
        self.all.lock().push(cluster);
        Ok(index)
    }

    /// Starts the watches of every cluster that has none, and returns the progress of the default one's.
    pub(crate) fn watch(&self) -> Option<Arc<SyncState>> {
        let _inside = self.settings.watching.enter();
        let mut all = self.all.lock();
        for cluster in all.iter_mut().filter(|cluster| cluster.watches.is_none()) {
            cluster.watch(&self.settings);
        }
        let default = all.iter().find(|cluster| cluster.access == ClusterAccess::default())?;
        default.sync.get().cloned()
    }

    /// How requests to the API server are counted, for the cluster of this configuration.
    pub(crate) fn requests(&self, config: &kube::Config) -> Requests {
        Requests::of(&self.settings.meters, &config.cluster_url)
    }

    fn open(&self, access: &ClusterAccess, scope: Scope) -> Result<Cluster, StartError> {
        let config = match &self.settings.default {
            Some(config) if *access == ClusterAccess::default() => config.clone(),
            _ => client::access(access).map_err(|error| StartError(format!("plugin/kubernetes: {error}")))?,
        };
        let (index, sync) = (Arc::new(Index::new()), Syncing::default());
        let told = Arc::new(ToldCluster {
            host: config.cluster_url.authority().map(ToString::to_string).unwrap_or_default(),
            index: Arc::clone(&index),
            sync: Arc::clone(&sync),
            controller: scope.controller,
        });
        self.settings.meters.of::<ClusterMeter>().add_cluster(&told);
        Ok(Cluster {
            access: access.clone(),
            config,
            scope,
            index,
            sync,
            told,
            pinned: false,
            zones: Vec::new(),
            stop: self.settings.stop.child_token(),
            watches: None,
        })
    }
}

impl plugin::Clusters for Clusters {
    fn zone(&self, directive: &KubernetesConfig) -> Result<Arc<Zone>, StartError> {
        let mut config = directive.zone.clone();
        config.source = self.settings.source;
        config.own_addresses.clone_from(&self.settings.own_addresses);
        let scope = Scope {
            pods: config.pods == Pods::Verified,
            targets: config.endpoint_pod_names,
            controller: false,
        };
        let mut all = self.all.lock();
        let fits = |cluster: &Cluster| cluster.access == directive.cluster && cluster.scope.covers(scope);
        if !all.iter().any(fits) {
            all.push(self.open(&directive.cluster, scope)?);
        }
        let cluster = all.iter_mut().find(|cluster| fits(cluster));
        let cluster = cluster.ok_or_else(|| StartError("no cluster".to_owned()))?;
        Ok(cluster.zone(config, &self.settings))
    }

    fn keep(&self, used: &[Arc<Zone>]) {
        let mut gone = Vec::new();
        {
            let mut all = self.all.lock();
            for cluster in all.iter_mut() {
                cluster.zones.retain(|served| used.iter().any(|zone| Arc::ptr_eq(zone, &served.zone)));
            }
            gone.extend(all.extract_if(.., |cluster| cluster.zones.is_empty() && !cluster.pinned));
        }
        for cluster in gone {
            cluster.stop.cancel();
        }
        self.watch();
    }
}

impl Cluster {
    fn zone(&mut self, config: ZoneConfig, settings: &ClusterSettings) -> Arc<Zone> {
        if let Some(served) = self.zones.iter().find(|served| served.config == config) {
            return Arc::clone(&served.zone);
        }
        let zone = Arc::new(Zone::new(config.clone(), Arc::clone(&self.index)));
        settings.meters.of::<ClusterMeter>().add_zone(&zone);
        let feed = self.index.subscribe(zone.interest());
        let latency = Latency::new(settings.meters.of(), Arc::clone(&self.index));
        let mut follower = JoinSet::new();
        let following = follow(Arc::clone(&zone), feed, latency, Arc::clone(&self.sync));
        follower.spawn_on(following, &settings.watching);
        self.zones.push(Served { zone: Arc::clone(&zone), config, follower });
        zone
    }

    fn watch(&mut self, settings: &ClusterSettings) {
        let requests = Requests::of(&settings.meters, &self.config.cluster_url);
        let contacts = Contacts::default();
        let client = match client::watching(self.config.clone(), &requests, &contacts) {
            Ok(client) => client,
            Err(error) => {
                // Certificates were read with the configuration; what is left is a matter of TLS itself.
                warn!(%error, cluster = %self.config.cluster_url, "cannot be watched");
                return;
            }
        };
        let (sync, watches) = watch::start(&client, &contacts, &self.index, self.scope, &self.stop);
        let _ = self.sync.set(sync);
        self.watches = Some(watches);
    }
}

/// Feeds the index's changes to the zone, and says when the first sync is in it.
async fn follow(zone: Arc<Zone>, feed: Feed, latency: Latency, sync: Syncing) {
    let synced = async {
        sync.wait().await.wait().await;
    };
    let mut synced = std::pin::pin!(synced);
    loop {
        if zone.is_synced() {
            feed.changed().await;
        } else {
            tokio::select! {
                () = feed.changed() => {}
                () = &mut synced => {
                    // What was marked before the last list ended is still in the feed.
                    while !feed.is_empty() {
                        latency.apply(&zone, &feed.take(ZONE_BATCH));
                        tokio::task::yield_now().await;
                    }
                    zone.set_synced();
                }
            }
        }
        latency.apply(&zone, &feed.take(ZONE_BATCH));
        // A long relist must not keep this thread for itself.
        tokio::task::yield_now().await;
    }
}
