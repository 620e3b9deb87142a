//! Health, readiness, metrics and the journal over HTTP.
//!
//! ```text
//!   flags, or the blocks of a Corefile ─▶ Wanted: address → pages ─▶ bind what is new ─▶ (configuration loaded) ─▶ serve
//!                                                                        │ fails: nothing has changed
//! ```
//!
//! A listener offers one page or several. Another configuration changes what a listener offers and never closes one that
//! goes on to be wanted; new ones are bound before anything is changed, so that a port that somebody else has refuses the
//! configuration as a whole.

mod address;
mod exposition;
mod http;
mod poll;
mod status;

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use callsign_dns::block::Config;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;
use tracing::info;

pub(crate) use address::Address;
pub(crate) use poll::Polled;
pub(crate) use status::Status;

use crate::args::AdminArgs;

/// The pages of a process.
pub(crate) struct Pages {
    status: Arc<Status>,
    running: Mutex<BTreeMap<Address, Running>>,
    polled: Arc<Polled>,
}

/// A kind of page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    /// `/health`
    Health = 1,
    /// `/ready`
    Ready = 2,
    /// `/metrics`, and `/journal` where there is one
    Metrics = 4,
}

/// Which pages are offered where.
#[derive(Debug, Default)]
pub(crate) struct Wanted(Vec<(Address, Vec<Page>)>);

/// A listener, and what it offers.
struct Running {
    local: SocketAddr,
    offers: Arc<AtomicU8>,
    serving: Serving,
}

/// What ends with its listener.
#[expect(dead_code, reason = "the tasks end with it")]
struct Serving {
    pages: AbortOnDropHandle<()>,
    poll: Option<AbortOnDropHandle<()>>,
}

/// Listeners that are bound and not served yet, and what is to become of those that are.
pub(crate) struct Prepared {
    wanted: Wanted,
    bound: Vec<(Address, TcpListener)>,
}

impl Page {
    fn name(self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Ready => "ready",
            Self::Metrics => "metrics",
        }
    }
}

impl Wanted {
    /// The pages that flags ask for.
    pub(crate) fn of_flags(args: &AdminArgs) -> Self {
        let mut wanted = Self::default();
        wanted.add(args.health_listen.into(), Page::Health);
        wanted.add(args.ready_listen.into(), Page::Ready);
        wanted.add(args.metrics_listen.into(), Page::Metrics);
        wanted
    }

    /// The pages that the blocks of a configuration ask for.
    ///
    /// # Errors
    /// When the name of a host has no address.
    pub(crate) fn of_blocks(config: &Config) -> io::Result<Self> {
        let mut wanted = Self::default();
        for block in &config.blocks {
            if let Some(health) = &block.health {
                wanted.add(Address::resolve(&health.address)?, Page::Health);
            }
            if let Some(ready) = &block.ready {
                wanted.add(Address::resolve(&ready.address)?, Page::Ready);
            }
            if let Some(address) = &block.prometheus {
                wanted.add(Address::resolve(address)?, Page::Metrics);
            }
        }
        Ok(wanted)
    }

    /// Pages at one address share a listener; port 0 is a different port each time.
    fn add(&mut self, address: Address, page: Page) {
        let shared = self.0.iter_mut().find(|(known, _)| *known == address && address.port() != 0);
        match shared {
            Some((_, pages)) => pages.push(page),
            None => self.0.push((address, vec![page])),
        }
    }
}

impl Pages {
    /// No listeners yet. `polled` counts how long `/health` takes.
    pub(crate) fn new(status: Status, polled: Arc<Polled>) -> Self {
        Self { status: Arc::new(status), running: Mutex::default(), polled }
    }

    /// Binds what is not listened on yet.
    ///
    /// # Errors
    /// When an address cannot be listened on; the error names it. Nothing has changed then.
    pub(crate) fn prepare(&self, wanted: Wanted) -> io::Result<Prepared> {
        let running = self.running.lock();
        let mut bound = Vec::new();
        for (address, _) in &wanted.0 {
            if address.port() == 0 || !running.contains_key(address) {
                // A listener of ours that is about to go need not have gone yet.
                let ours = running.keys().any(|known| known.port() == address.port());
                bound.push((*address, address.bind(ours)?));
            }
        }
        Ok(Prepared { wanted, bound })
    }

    /// Serves what has been prepared and nothing else.
    pub(crate) fn serve(&self, prepared: Prepared) {
        let mut running = self.running.lock();
        running.retain(|address, _| prepared.wanted.0.iter().any(|(wanted, _)| wanted == address));
        let mut bound = prepared.bound.into_iter();
        for (address, pages) in prepared.wanted.0 {
            let offers = pages.iter().fold(0, |all, page| all | *page as u8);
            if let Some(old) = running.get_mut(&address).filter(|_| address.port() != 0) {
                let before = old.offers.swap(offers, Ordering::Relaxed);
                if (before ^ offers) & Page::Health as u8 != 0 {
                    old.serving.poll = self.poll(old.local, offers);
                }
                continue;
            }
            let Some((_, listener)) = bound.by_ref().find(|(other, _)| *other == address) else { continue };
            let Ok(local) = listener.local_addr() else { continue };
            for page in pages {
                info!(target: "listening", what = page.name(), address = %local, "listening");
            }
            let offers = Arc::new(AtomicU8::new(offers));
            let router =
                Router::new().fallback(answer).with_state((Arc::clone(&self.status), Arc::clone(&offers)));
            let poll = self.poll(local, offers.load(Ordering::Relaxed));
            let pages = AbortOnDropHandle::new(tokio::spawn(http::serve(listener, router)));
            // With port 0 the key is the port it got.
            let key = if address.port() == 0 { local.into() } else { address };
            running.insert(key, Running { local, offers, serving: Serving { pages, poll } });
        }
    }

    /// Asks the page every second, as CoreDNS does: what it takes tells how busy the process is.
    fn poll(&self, local: SocketAddr, offers: u8) -> Option<AbortOnDropHandle<()>> {
        let polls = offers & Page::Health as u8 != 0;
        polls.then(|| {
            AbortOnDropHandle::new(tokio::spawn(poll::every_second(local, Arc::clone(&self.polled))))
        })
    }
}

/// The page of this path, if this listener offers it.
async fn answer(
    State((status, offers)): State<(Arc<Status>, Arc<AtomicU8>)>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let offers = offers.load(Ordering::Relaxed);
    let page = match uri.path() {
        "/health" => Page::Health,
        "/ready" => Page::Ready,
        "/metrics" | "/journal" => Page::Metrics,
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    if offers & page as u8 == 0 {
        return StatusCode::NOT_FOUND.into_response();
    }
    match page {
        Page::Health => "OK".into_response(),
        Page::Ready => status.ready(),
        Page::Metrics if uri.path() == "/journal" => status.journal(&uri),
        Page::Metrics => status.metrics(&headers),
    }
}
