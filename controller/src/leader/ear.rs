//! The watch of the Lease: how a follower hears of a release at once.
//!
//! Nothing depends on it. A follower that hears nothing looks each retry period, and what it saw last is checked by the
//! version in its write.

use std::time::Duration;

use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api,
    api::{WatchEvent, WatchParams},
};
use tokio::time::Instant;

/// How long a watch of the Lease may last before it is begun again, seconds.
const WATCH_SECONDS: u32 = 290;

/// How long no watch is tried after one was refused, and after one failed.
const REFUSED: Duration = Duration::from_secs(60);
const FAILED: Duration = Duration::from_secs(1);

/// The watch of the Lease, while another leads.
#[derive(Default)]
pub(super) struct Ear {
    watch: Option<BoxStream<'static, kube::Result<WatchEvent<Lease>>>>,
    deaf_until: Option<Instant>,
    refused: bool,
}

impl Ear {
    /// Whether it is told of changes.
    pub(super) fn listens(&self) -> bool {
        self.watch.is_some()
    }

    /// Hears no more. What a watch had still to tell may be older than what a request tells.
    pub(super) fn close(&mut self) {
        self.watch = None;
    }

    /// Begins to watch from a version, unless it does already.
    pub(super) fn listen(&mut self, api: &Api<Lease>, name: &str, version: Option<&str>) {
        let deaf = self.deaf_until.is_some_and(|until| Instant::now() < until);
        let Some(version) = version.filter(|_| self.watch.is_none() && !deaf) else { return };
        let params = WatchParams::default().fields(&format!("metadata.name={name}")).timeout(WATCH_SECONDS);
        let (api, version) = (api.clone(), version.to_owned());
        let watch = stream::once(async move { api.watch(&params, &version).await.map(StreamExt::boxed) });
        self.watch = Some(watch.try_flatten().boxed());
    }

    /// The next event; never, while nothing is watched.
    pub(super) async fn next(&mut self) -> Option<kube::Result<WatchEvent<Lease>>> {
        match &mut self.watch {
            Some(watch) => watch.next().await,
            None => std::future::pending().await,
        }
    }

    /// Looking each retry period does as well, only later.
    pub(super) fn fail(&mut self, error: &kube::Error) {
        let refused = matches!(error, kube::Error::Api(status) if is_refusal(status.code));
        if refused && !self.refused {
            tracing::info!(%error, "may not watch the lease; looking at it each retry period");
        }
        tracing::debug!(%error, "the watch of the lease failed");
        self.refused = refused;
        self.watch = None;
        self.deaf_until = Some(Instant::now() + if refused { REFUSED } else { FAILED });
    }
}

/// Whether an answer says that it would be the same next time, unless somebody does something.
pub(super) fn is_refusal(code: u16) -> bool {
    (400..500).contains(&code) && !matches!(code, 408 | 409 | 410 | 429)
}
