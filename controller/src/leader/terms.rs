//! Terms: the controller runs while its candidate leads, and again when it leads again.

use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{candidate::Standing, metrics::Metrics};
use crate::controller::Controller;

/// The terms of one candidate.
#[derive(Debug)]
pub struct Terms {
    standing: watch::Receiver<Standing>,
    metrics: Metrics,
}

impl Terms {
    pub(super) fn new(standing: watch::Receiver<Standing>, metrics: Metrics) -> Self {
        Self { standing, metrics }
    }

    /// Runs the controller in every term, until `stop`. Returns when the last write is answered, or its grace is over.
    pub async fn run(mut self, controller: &Controller, stop: CancellationToken) {
        while let Some(Some(since)) = stop.run_until_cancelled(self.next()).await {
            self.metrics.started(since.elapsed());
            let term = stop.child_token();
            tokio::join!(controller.run(term.clone()), async {
                tokio::select! {
                    () = self.after(since) => {}
                    () = stop.cancelled() => {}
                }
                term.cancel();
            });
        }
    }

    /// Waits for a term; `None` when there will be none any more.
    async fn next(&mut self) -> Option<Instant> {
        self.standing.wait_for(|standing| standing.leading.is_some()).await.ok()?.leading
    }

    /// Waits for the end of the term that began then.
    async fn after(&mut self, since: Instant) {
        // A candidate that is gone leads no more.
        let _ = self.standing.wait_for(|standing| standing.leading != Some(since)).await;
    }
}
