//! Health, readiness, metrics and the journal over HTTP.
//!
//! `/health` says that the process answers at all, `/ready` that every kind it watches has been listed, that it could lead
//! where there is leader election, that its controllers may work, and that it is not ending. Readiness names what is missing
//! and why, so that `kubectl describe pod` shows the cause. `/journal`, beside `/metrics`, tells what the controllers wrote
//! and why, a JSON object a line, the newest last. Listeners that share an address share a server.

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use axum::{
    Router,
    extract::Query,
    http::StatusCode,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
    routing::get,
};
use callsign_controller::Standing;
use callsign_dns::{plugin::Meters, server::Service};
use callsign_shared::{Journal, Key, journal, watch::SyncState};
use serde::Deserialize;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{args::AdminArgs, duty::Duty};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the three endpoints report.
pub(crate) struct Status {
    /// How far the watches are.
    pub(crate) sync: Arc<SyncState>,
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

/// Listens for all three and serves until the set is dropped.
///
/// # Errors
/// When an address cannot be listened on; the error names it.
pub(crate) async fn start(args: &AdminArgs, status: Status) -> io::Result<JoinSet<()>> {
    let status = Arc::new(status);
    let mut routers: BTreeMap<SocketAddr, (Vec<&'static str>, Router)> = BTreeMap::new();
    let mut add = |what, address: SocketAddr, router: Router| {
        // Port 0 is a different port each time.
        let shared = (address.port() != 0).then(|| routers.remove(&address)).flatten();
        let (mut names, routes) = shared.unwrap_or_default();
        names.push(what);
        routers.insert(address, (names, routes.merge(router)));
    };
    let mut separate = Vec::new();
    let endpoints = [
        ("health", args.health_listen, Router::new().route("/health", get(async || "OK"))),
        ("ready", args.ready_listen, Router::new().route("/ready", ready(&status))),
        ("metrics", args.metrics_listen, figures(&status)),
    ];
    for (what, address, router) in endpoints {
        if address.port() == 0 {
            separate.push((address, (vec![what], router)));
        } else {
            add(what, address, router);
        }
    }
    separate.extend(routers);
    let mut tasks = JoinSet::new();
    for (address, (names, router)) in separate {
        let listener = bind(address).await?;
        let address = listener.local_addr()?;
        for what in names {
            info!(what, %address, "listening");
        }
        tasks.spawn(async move {
            // Serving ends only when the set is dropped.
            let _ = axum::serve(listener, router).await;
        });
    }
    Ok(tasks)
}

fn ready(status: &Arc<Status>) -> axum::routing::MethodRouter {
    let status = Arc::clone(status);
    get(async move || {
        if status.ending.is_cancelled() {
            return (StatusCode::SERVICE_UNAVAILABLE, "ending\n".to_owned());
        }
        let unsynced = status.sync.unsynced();
        if unsynced.is_empty() {
            return match (&status.service, refused(&status)) {
                (Some(service), _) if !service.unready().is_empty() => {
                    (StatusCode::SERVICE_UNAVAILABLE, "zone: loading\n".to_owned())
                }
                (_, Some(reason)) => {
                    (StatusCode::SERVICE_UNAVAILABLE, format!("leader election: {reason}\n"))
                }
                _ => match status.duty.as_ref().and_then(Duty::missing) {
                    Some(missing) => (StatusCode::SERVICE_UNAVAILABLE, format!("{missing}\n")),
                    None => (StatusCode::OK, "OK".to_owned()),
                },
            };
        }
        let lines = unsynced.iter().map(|kind| format!("{kind}\n")).collect();
        (StatusCode::SERVICE_UNAVAILABLE, lines)
    })
}

fn figures(status: &Arc<Status>) -> Router {
    let router = Router::new().route("/metrics", metrics(status));
    match &status.journal {
        Some(journal) => {
            let journal = Arc::clone(journal);
            router.route("/journal", get(async move |query| lines(&journal, query)))
        }
        None => router,
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

/// Why this process may not take part in leader election. Who leads does not matter: a follower is ready. Nor does a
/// permission that is taken away from a replica that answers DNS: it goes on to, as it does when the API server is gone.
fn refused(status: &Status) -> Option<String> {
    let standing = status.standing.as_ref()?.borrow();
    let answers_on = standing.admitted && status.service.is_some();
    standing.refused.clone().filter(|_| !answers_on)
}

fn metrics(status: &Arc<Status>) -> axum::routing::MethodRouter {
    let status = Arc::clone(status);
    get(async move || match status.meters.encode() {
        Ok(page) => ([(CONTENT_TYPE, OPEN_METRICS)], page).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    })
}

/// A wildcard of IPv6 serves both families; where there is no IPv6, that of IPv4 stands in.
async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let bound = match TcpListener::bind(address).await {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse && address.ip().is_unspecified() => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        bound => bound,
    };
    bound.map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address} (tcp): {error}")))
}
