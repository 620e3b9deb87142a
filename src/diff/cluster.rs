//! The cluster that is asked about, followed while the questions are asked: its names, and what they should say.

use std::{sync::Arc, time::Duration};

use callsign_dns::{Outcome, Pods, Transport, Zone, ZoneConfig, answer::answer, plugin::Meters};
use callsign_shared::{
    Feed, Index,
    watch::{self, Contacts, Scope, SyncState},
};
use hickory_proto::{op::Message, rr::RecordType};
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    ask::Request,
    questions::Question,
    seen::Seen,
    standing::{Standing, Zones},
};
use crate::{client, exit::Exit, requests::Requests};

/// How many changes are taken in before others get their turn.
const BATCH: usize = 256;
/// How long a list may stand still, and how long after an error.
const PATIENCE: Duration = Duration::from_secs(30);
const AFTER_ERROR: Duration = Duration::from_secs(5);

/// A cluster, as its API server tells of it.
pub(crate) struct Cluster {
    /// Its objects.
    pub(crate) index: Arc<Index>,
    /// Its names.
    pub(crate) zone: Arc<Zone>,
    /// Zones whose names are asked of others where they are not there.
    passed_on: Zones,
    #[expect(dead_code, reason = "watching ends with it")]
    tasks: (JoinSet<()>, JoinSet<()>),
}

impl Cluster {
    /// Lists everything that has a name, and follows it from then on.
    ///
    /// # Errors
    /// When it cannot be listed; with what is missing, and why.
    pub(crate) async fn watch(
        config: kube::Config,
        zone: ZoneConfig,
        passed_on: Zones,
    ) -> Result<Self, Exit> {
        let url = config.cluster_url.clone();
        let client = client::client(config, &Requests::of(&Meters::default(), &url))?;
        let scope =
            Scope { pods: zone.pods == Pods::Verified, controller: false, targets: zone.endpoint_pod_names };
        let index = Arc::new(Index::new());
        let zone = Arc::new(Zone::new(zone, Arc::clone(&index)));
        let feed = index.subscribe(zone.interest());
        // The tasks end when their sets are dropped.
        let (sync, watches) =
            watch::start(&client, &Contacts::default(), &index, scope, &CancellationToken::new());
        if !listed(&sync).await {
            return Err(Exit::unreachable(anyhow::anyhow!("{url}: {}", missing(&sync))));
        }
        take(&zone, &feed).await;
        zone.set_synced();
        let mut follower = JoinSet::new();
        let following = Arc::clone(&zone);
        follower.spawn(async move {
            loop {
                feed.changed().await;
                take(&following, &feed).await;
            }
        });
        Ok(Self { index, zone, passed_on, tasks: (watches, follower) })
    }

    /// What a question's name is in it.
    pub(crate) fn standing(&self, question: &Question) -> Standing {
        Standing::of(&self.zone, &self.passed_on, &question.name)
    }

    /// What its objects make of a question, where they alone decide.
    pub(crate) fn derived(&self, question: &Question) -> Option<Seen> {
        let standing = self.standing(question);
        let of_server = matches!(standing, Standing::Outside | Standing::NameServer)
            || standing == Standing::Apex && question.kind == RecordType::NS;
        if of_server {
            return None;
        }
        let request = Request::new(question).ok()?;
        let mut reply = Vec::new();
        match answer(&self.zone, &request.bytes, Transport::Tcp, 0, &mut reply) {
            Outcome::Answered(_) => Some(Seen::of(&Message::from_vec(&reply).ok()?)),
            Outcome::Silent | Outcome::Elsewhere(_) | Outcome::Alias { .. } => None,
        }
    }
}

/// Waits until everything has been listed; false when that gets no further.
async fn listed(sync: &SyncState) -> bool {
    let mut last = ((0, 0), Instant::now());
    while !sync.is_synced() {
        let unsynced = sync.unsynced();
        let (count, kinds) = (unsynced.iter().map(|kind| kind.listed).sum::<usize>(), unsynced.len());
        if (count, kinds) != last.0 {
            last = ((count, kinds), Instant::now());
        }
        let patience = if unsynced.iter().any(|kind| kind.error.is_some()) { AFTER_ERROR } else { PATIENCE };
        if last.1.elapsed() > patience {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    true
}

async fn take(zone: &Zone, feed: &Feed) {
    while !feed.is_empty() {
        zone.apply(&feed.take(BATCH));
        tokio::task::yield_now().await;
    }
}

/// What is not listed, and why.
fn missing(sync: &SyncState) -> String {
    let kinds = sync.unsynced().into_iter().map(|unsynced| {
        let why = unsynced.error.map(|error| format!(": {error}")).unwrap_or_default();
        format!("{} cannot be listed{why}", unsynced.kind)
    });
    kinds.collect::<Vec<_>>().join("; ")
}
