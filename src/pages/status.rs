//! What the pages say.
//!
//! `/health` says that the process answers at all, `/ready` that it may be sent questions. For a Corefile that is up to its
//! plugins, which are named as CoreDNS names them. For flags it is that every kind that is watched has been listed, that the
//! process could lead where there is leader election, that its controllers may work, and that it is not ending; what is
//! missing is told with its reason, so that `kubectl describe pod` shows the cause. `/journal`, beside `/metrics`, tells what
//! the controllers wrote and why, a JSON object a line, the newest last.

use std::sync::Arc;

use axum::{
    extract::Query,
    http::{HeaderMap, StatusCode, Uri, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use callsign_controller::Standing;
use callsign_dns::{plugin::Meters, server::Service};
use callsign_shared::{Journal, Key, journal, watch::SyncState};
use serde::Deserialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::exposition::Form;
use crate::duty::Duty;

/// What the pages report.
pub(crate) struct Status {
    /// How far the watches are; `None` where it is up to the plugins.
    pub(crate) sync: Option<Arc<SyncState>>,
    /// How far they are, for saying what plugins wait for.
    pub(crate) watches: Option<Arc<SyncState>>,
    /// DNS, where it is served: what has been listed is ready when it is answered.
    pub(crate) service: Option<Arc<Service>>,
    /// Where its candidate stands, where there is leader election.
    pub(crate) standing: Option<watch::Receiver<Standing>>,
    /// The controllers, where there are any.
    pub(crate) duty: Option<Duty>,
    /// Cancelled when the process begins to end: not ready from then on.
    pub(crate) ending: CancellationToken,
    /// All metrics.
    pub(crate) meters: Arc<Meters>,
    /// What the controllers wrote, where they run.
    pub(crate) journal: Option<Arc<Journal>>,
}

/// `?service=ns/name&namespace=ns&since=seq&limit=n`, each as wished.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct JournalQuery {
    service: Option<String>,
    namespace: Option<String>,
    since: Option<u64>,
    limit: Option<usize>,
}

impl Status {
    /// Whether the process is ready, and if not why.
    pub(super) fn ready(&self) -> Response {
        match self.missing() {
            None => "OK".into_response(),
            Some(missing) => (StatusCode::SERVICE_UNAVAILABLE, missing).into_response(),
        }
    }

    fn missing(&self) -> Option<String> {
        if self.ending.is_cancelled() {
            return Some("ending\n".to_owned());
        }
        let Some(sync) = &self.sync else { return self.plugins_missing() };
        let unsynced = sync.unsynced();
        if !unsynced.is_empty() {
            return Some(unsynced.iter().map(|kind| format!("{kind}\n")).collect());
        }
        if self.service.as_ref().is_some_and(|service| !service.unready().is_empty()) {
            return Some("zone: loading\n".to_owned());
        }
        if let Some(reason) = self.refused() {
            return Some(format!("leader election: {reason}\n"));
        }
        self.duty.as_ref().and_then(Duty::missing).map(|missing| format!("{missing}\n"))
    }

    /// The plugins that are not ready, in CoreDNS's form: their names. A line follows for each kind that the API server does
    /// not let us read, or that failed otherwise.
    fn plugins_missing(&self) -> Option<String> {
        let unready = self.service.as_ref()?.unready();
        if unready.is_empty() {
            return None;
        }
        let names = unready.join(",");
        info!(target: "plugin/ready", "Plugins not ready: {names:?}");
        let unsynced = self.watches.iter().flat_map(|watches| watches.unsynced());
        let failed = unsynced.filter(|kind| kind.error.is_some());
        Some(failed.fold(names, |text, kind| format!("{text}\nkubernetes: {kind}")))
    }

    /// Why this process may not take part in leader election. Who leads does not matter: a follower is ready. Nor does a
    /// permission that is taken away from a replica that answers DNS: it goes on to, as it does when the API server is
    /// gone.
    fn refused(&self) -> Option<String> {
        let standing = self.standing.as_ref()?.borrow();
        let answers_on = standing.admitted && self.service.is_some();
        standing.refused.clone().filter(|_| !answers_on)
    }

    /// All metrics.
    pub(super) fn metrics(&self, headers: &HeaderMap) -> Response {
        let form = Form::wanted(headers);
        match self.meters.encode() {
            Ok(page) => ([(CONTENT_TYPE, form.content_type())], form.of(page)).into_response(),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        }
    }

    /// What the controllers wrote, where there are any.
    pub(super) fn journal(&self, uri: &Uri) -> Response {
        let Some(journal) = &self.journal else { return StatusCode::NOT_FOUND.into_response() };
        match Query::try_from_uri(uri) {
            Ok(asked) => lines(journal, asked),
            Err(rejected) => rejected.into_response(),
        }
    }
}

/// Entries of the journal, a line each.
fn lines(journal: &Journal, Query(asked): Query<JournalQuery>) -> Response {
    let service = match asked.service.as_deref().map(|service| service.split_once('/')) {
        Some(None) => return (StatusCode::BAD_REQUEST, "service: want namespace/name\n").into_response(),
        Some(Some((namespace, name))) => Some(Key::new(namespace, name)),
        None => None,
    };
    let namespace = asked.namespace.map(Into::into);
    let query = journal::Query { service, namespace, since: asked.since, limit: asked.limit };
    let mut page = Vec::new();
    for entry in journal.read(&query) {
        if let Err(error) = serde_json::to_writer(&mut page, &*entry) {
            return (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response();
        }
        page.push(b'\n');
    }
    ([(CONTENT_TYPE, "application/jsonl")], page).into_response()
}
