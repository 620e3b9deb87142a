//! The writing side: the controllers, and the candidate that says when they may run.
//!
//! The controllers have a runtime of their own. The candidate has not: however much there is to write, the Lease is renewed,
//! through connections that wait for nobody's writes.

use std::{future::pending, sync::Arc, time::Duration};

use callsign_controller::{
    Config as ControllerConfig, Controller, Gate, Standing,
    leader::{Candidate, Config as LeaderConfig},
};
use callsign_shared::{Index, Journal, watch::SyncState};
use prometheus_client::registry::Registry;
use tokio::{
    sync::watch,
    task::{JoinError, JoinHandle},
};
use tokio_util::sync::CancellationToken;

use crate::{
    client::client,
    duty::Duty,
    engine::{Threads, threads},
    exit::Exit,
    requests::Requests,
};

/// How long the controllers and the candidate may take to end. Each keeps to less by itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// The controllers, and their candidate if there is leader election.
pub(crate) struct Writing {
    stop: CancellationToken,
    running: JoinHandle<()>,
    journal: Arc<Journal>,
    gate: Arc<Gate>,
    campaign: Option<Campaign>,
    #[expect(dead_code, reason = "writing ends with it")]
    runtime: Threads,
}

/// A candidate at work.
struct Campaign {
    running: JoinHandle<()>,
    standing: watch::Receiver<Standing>,
    /// Cancelled when nothing is being written any more.
    drained: CancellationToken,
}

impl Writing {
    /// Starts the controllers, which wait for the first sync: nothing is written from half of the state. With `leader` they
    /// wait for the Lease as well, and it is not asked for before that either.
    ///
    /// # Errors
    /// When there is no client to be made of the cluster's configuration.
    pub(crate) fn start(
        (cluster, requests): (&kube::Config, &Requests),
        (config, leader): (ControllerConfig, Option<LeaderConfig>),
        index: &Arc<Index>,
        sync: &Arc<SyncState>,
        registry: &mut Registry,
        stop: &CancellationToken,
    ) -> Result<Self, Exit> {
        let stop = stop.child_token();
        let (runtime, handle) = threads("controller", Some(1))?;
        let writes = {
            let _inside = handle.enter();
            client(cluster.clone(), requests)?
        };
        let gate = Arc::<Gate>::default();
        let controller = Controller::new(Arc::clone(index), writes, config, Arc::clone(&gate), registry);
        let journal = Arc::clone(controller.journal());
        let (synced, end) = (Arc::clone(sync), stop.clone());
        let Some(leader) = leader else {
            let running = handle.spawn(async move {
                if end.run_until_cancelled(synced.wait()).await.is_some() {
                    controller.run(end).await;
                }
            });
            return Ok(Self { stop, running, journal, gate, campaign: None, runtime });
        };
        let candidate =
            Candidate::new(client(cluster.clone(), requests)?, leader, Arc::clone(&gate), registry);
        let (standing, terms) = (candidate.standing(), candidate.terms());
        let running = handle.spawn(async move { terms.run(&controller, end).await });
        let (end, drained) = (stop.clone(), CancellationToken::new());
        let campaign = tokio::spawn({
            let (synced, drained) = (Arc::clone(sync), drained.clone());
            async move {
                if end.run_until_cancelled(synced.wait()).await.is_some() {
                    candidate.run(end, drained).await;
                }
            }
        });
        let campaign = Campaign { running: campaign, standing, drained };
        Ok(Self { stop, running, journal, gate, campaign: Some(campaign), runtime })
    }

    /// What was written, and why.
    pub(crate) fn journal(&self) -> Arc<Journal> {
        Arc::clone(&self.journal)
    }

    /// Its part in readiness, in a process that answers DNS or does not.
    pub(crate) fn duty(&self, answers_dns: bool) -> Duty {
        Duty::new(Arc::clone(&self.gate), self.standing(), answers_dns)
    }

    /// Where its candidate stands, if it has one.
    pub(crate) fn standing(&self) -> Option<watch::Receiver<Standing>> {
        self.campaign.as_ref().map(|campaign| campaign.standing.clone())
    }

    /// Whether somebody else may write when this has ended: then it should end early.
    pub(crate) fn hands_over(&self) -> bool {
        self.campaign.is_some()
    }

    /// Waits for a part to end, which none does by itself unless it fails.
    pub(crate) async fn ended(&mut self) -> Exit {
        let campaign = async {
            match &mut self.campaign {
                Some(campaign) => (&mut campaign.running).await,
                None => pending().await,
            }
        };
        tokio::select! {
            ended = &mut self.running => failed("the controller", ended),
            ended = campaign => failed("leader election", ended),
        }
    }

    /// Stops to write, waits for the answers to what is being written, and then gives the Lease back.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        // Its failure, if it failed, is of no more interest.
        let _ = tokio::time::timeout(PATIENCE, self.running).await;
        if let Some(campaign) = self.campaign {
            campaign.drained.cancel();
            let _ = tokio::time::timeout(PATIENCE, campaign.running).await;
        }
    }
}

fn failed(what: &str, ended: Result<(), JoinError>) -> Exit {
    match ended {
        Ok(()) => Exit::from(anyhow::anyhow!("{what} ended by itself")),
        Err(error) => Exit::from(anyhow::anyhow!("{what} failed: {error}")),
    }
}
