//! Watches: from an API server into the index.
//!
//! One task a kind lists and watches for ever. A list goes into the index object by object as it arrives, so nothing is
//! held twice; what the list did not name is removed at its end. Until then, and while the API server is away, the index
//! keeps what it knew. A list that lacks most of what is known must be confirmed by a second one (`relist`).
//!
//! Lists are streamed (`sendInitialEvents`, KEP-3157) where the server can; a server that refuses gets paged lists for
//! the rest of the process. An object that cannot be read is logged once and skipped, and its last good form stays.

mod contact;
mod failure;
mod relist;
mod sync;

use std::{
    collections::{HashMap, HashSet},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use backon::ExponentialBuilder;
use futures::StreamExt;
use kube::{
    Api, Client,
    runtime::{
        utils::Backoff,
        watcher::{self, Event, ExponentialBackoff},
    },
};
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

pub use contact::{Contact, Contacts, Open};
pub use failure::WatchFailure;
use failure::{Recovery, describe, recovery};
use relist::Doubt;
use sync::Progress;
pub use sync::{SyncState, Unsynced, Watching};

use crate::{
    index::{Index, Indexed},
    name::Key,
    object::{AnsweredSlice, EndpointSlice, Endpoints, Namespace, Node, Pod, Service, Watched},
};

/// How long a watch may last before it is taken up again from where it was, seconds. A connection that died without a
/// word is noticed five seconds later, so this bounds how stale the index can silently be.
const WATCH_SECONDS: u32 = 60;

/// Objects of a page, where lists are not streamed. A page is in memory as a whole, and a slice has the text of up to a
/// thousand endpoints.
const PAGE: u32 = 500;
const PAGE_OF_SLICES: u32 = 50;

/// Delays after errors: from this one, doubling, to [`SLOWEST_RETRY`], with jitter.
const FIRST_RETRY: Duration = Duration::from_millis(50);
const SLOWEST_RETRY: Duration = Duration::from_secs(10);
/// After this long without an error the delays start over.
const CALM: Duration = Duration::from_secs(60);

/// What is watched besides Services, EndpointSlices and Namespaces.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scope {
    /// Pods, for memberships or for verified pod names.
    pub pods: bool,
    /// Nodes and Endpoints, and all of the slices: the controllers need them. Without controllers only that part of a
    /// slice is kept which is answered.
    pub controller: bool,
    /// Where only that part is kept: the names of what endpoints stand for too.
    pub targets: bool,
}

impl Scope {
    /// Whether what is watched in this scope is all that is watched in another.
    pub fn covers(self, other: Self) -> bool {
        self.controller || !other.controller && (self.pods || !other.pods) && (self.targets || !other.targets)
    }
}

/// Starts a watch of each kind in `scope`. The tasks end with `cancel`; aborting the set ends them too. Whoever made
/// `client` notes in `contacts` what the API server says to it.
pub fn start(
    client: &Client,
    contacts: &Contacts,
    index: &Arc<Index>,
    scope: Scope,
    cancel: &CancellationToken,
) -> (Arc<SyncState>, JoinSet<()>) {
    let mut tasks = JoinSet::new();
    let mut sync = SyncState::default();
    let mut spawn = Spawn { client, contacts, index, cancel, sync: &mut sync, tasks: &mut tasks };
    // Nodes before pods: a pod on an unknown Node is decided twice.
    if scope.controller {
        spawn.watch::<Node>();
        spawn.watch::<Endpoints>();
    }
    spawn.watch::<Namespace>();
    spawn.watch::<Service>();
    match scope {
        Scope { controller: true, .. } => spawn.watch::<EndpointSlice>(),
        Scope { targets: true, .. } => spawn.watch::<AnsweredSlice<true>>(),
        _ => spawn.watch::<AnsweredSlice<false>>(),
    }
    if scope.pods || scope.controller {
        spawn.watch::<Pod>();
    }
    (Arc::new(sync), tasks)
}

struct Spawn<'a> {
    client: &'a Client,
    contacts: &'a Contacts,
    index: &'a Arc<Index>,
    cancel: &'a CancellationToken,
    sync: &'a mut SyncState,
    tasks: &'a mut JoinSet<()>,
}

impl Spawn<'_> {
    fn watch<T: Indexed + Clone + std::fmt::Debug>(&mut self)
    where
        T::Api: kube::Resource<DynamicType = ()>,
    {
        let progress = self.sync.add(T::PLURAL, self.contacts);
        let watch = Watch::<T> {
            api: Api::all(self.client.clone()),
            index: Arc::clone(self.index),
            progress,
            listed: None,
            doubt: None,
            bad: HashMap::new(),
        };
        let cancel = self.cancel.clone();
        self.tasks.spawn(async move {
            cancel.run_until_cancelled(watch.run()).await;
        });
    }
}

/// The watch of one kind.
struct Watch<T> {
    api: Api<Watched<T>>,
    index: Arc<Index>,
    progress: Arc<Progress>,
    /// The keys of a list that is under way.
    listed: Option<HashSet<Key>>,
    /// The last list, if it is not believed.
    doubt: Option<Doubt>,
    /// Objects that could not be read, with what was wrong: the same is not logged again.
    bad: HashMap<Key, String>,
}

impl<T: Indexed + Clone + std::fmt::Debug> Watch<T> {
    async fn run(mut self) {
        let mut streaming = true;
        let delays = ExponentialBuilder::default().with_min_delay(FIRST_RETRY).with_max_delay(SLOWEST_RETRY);
        let mut delays = ExponentialBackoff::from(delays.without_max_times().with_jitter());
        let mut last_error = None::<Instant>;
        loop {
            let config = watcher::Config::default().timeout(WATCH_SECONDS);
            let page = if T::SLOT == EndpointSlice::SLOT { PAGE_OF_SLICES } else { PAGE };
            let config = if streaming { config.streaming_lists() } else { config.page_size(page) };
            let mut events = pin!(watcher::watcher(self.api.clone(), config));
            loop {
                let event = tokio::select! {
                    biased;
                    event = events.next() => event,
                    () = self.doubted() => {
                        // The list that begins now has its time.
                        self.doubt.iter_mut().for_each(|doubt| doubt.put_off(Instant::now()));
                        break;
                    }
                };
                let error = match event {
                    None => break,
                    Some(Ok(event)) => {
                        // That a list begins is no success, and one that leads to the next error is none either.
                        if matches!(event, Event::Apply(_) | Event::Delete(_)) {
                            delays.reset();
                        }
                        self.take(event);
                        continue;
                    }
                    Some(Err(error)) => error,
                };
                let recovery = recovery(&error, streaming);
                if matches!(recovery, Recovery::RelistPaged) {
                    info!(kind = T::PLURAL, "the API server has no streaming lists; listing by page");
                    streaming = false;
                    break;
                }
                self.report(&error);
                if last_error.replace(Instant::now()).is_some_and(|last| last.elapsed() > CALM) {
                    delays.reset();
                }
                tokio::time::sleep(delays.next().unwrap_or(SLOWEST_RETRY)).await;
                if matches!(recovery, Recovery::Relist) {
                    break;
                }
            }
        }
    }

    /// Waits until there is a reason to list anew: the last list is not believed, or somebody doubts what is known. A list
    /// that is under way is not cut short: it may take longer than others wait before they doubt again.
    async fn doubted(&self) {
        if self.listed.is_some() {
            return std::future::pending().await;
        }
        let again = async {
            match &self.doubt {
                Some(doubt) => tokio::time::sleep_until(doubt.again).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = again => {}
            () = self.index.doubted::<T>() => info!(kind = T::PLURAL, "listing anew, as asked"),
        }
    }

    fn take(&mut self, event: Event<Watched<T>>) {
        match event {
            Event::Init => {
                debug!(kind = T::PLURAL, "listing");
                self.listed = Some(HashSet::new());
            }
            Event::InitApply(object) => {
                let key = object.key();
                self.apply(&key, object);
                if let Some(listed) = &mut self.listed {
                    listed.insert(key);
                    self.progress.listing(listed.len());
                }
            }
            Event::InitDone => {
                if let Some(listed) = self.listed.take() {
                    self.listed(&listed);
                }
                self.progress.synced();
            }
            Event::Apply(object) => {
                self.progress.event();
                let key = object.key();
                self.apply(&key, object);
            }
            Event::Delete(object) => {
                self.progress.event();
                let key = object.key();
                self.bad.remove(&key);
                self.progress.unreadable(self.bad.len());
                self.index.delete::<T>(&key);
            }
        }
    }

    /// Ends a list: removes what it lacks, if it is believed.
    fn listed(&mut self, listed: &HashSet<Key>) {
        let known = self.index.keys::<T>();
        let missing: Vec<Key> = known.iter().filter(|key| !listed.contains(*key)).cloned().collect();
        let before = self.doubt.is_some();
        let (gone, doubt) = relist::judge(known.len(), missing, self.doubt.take(), Instant::now());
        for key in &gone {
            self.index.delete::<T>(key);
        }
        self.bad.retain(|key, _| listed.contains(key));
        self.progress.unreadable(self.bad.len());
        let (kind, objects) = (T::PLURAL, listed.len());
        match &doubt {
            Some(doubt) => {
                let (known, missing) = (known.len(), doubt.missing.len());
                warn!(
                    kind,
                    objects,
                    known,
                    missing,
                    "a list lacks most of what is known; keeping it and listing again"
                );
            }
            None if before => warn!(kind, objects, removed = gone.len(), "a second list settled the doubt"),
            None => debug!(kind, objects, "listed"),
        }
        self.progress.doubted(doubt.as_ref().map_or(0, |doubt| doubt.missing.len()));
        self.doubt = doubt;
    }

    fn apply(&mut self, key: &Key, watched: Watched<T>) {
        match watched.object {
            Ok(object) => {
                if self.bad.remove(key).is_some() {
                    self.progress.unreadable(self.bad.len());
                }
                self.index.apply(object);
            }
            Err(error) => {
                let error = error.to_string();
                if self.bad.get(key) != Some(&error) {
                    warn!(kind = T::PLURAL, object = %key, %error, "skipping an object that cannot be read");
                    self.bad.insert(key.clone(), error);
                    self.progress.unreadable(self.bad.len());
                }
            }
        }
    }

    fn report(&self, error: &watcher::Error) {
        let text = describe(error);
        if self.progress.failed(WatchFailure::of(error), &text) {
            warn!(kind = T::PLURAL, error = %text, "watch failed; retrying");
        } else {
            debug!(kind = T::PLURAL, error = %text, "watch failed; retrying");
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    /// A list may take longer than whoever doubts what is known waits before asking again.
    #[tokio::test]
    async fn a_list_that_is_under_way_is_not_cut_short() {
        let config = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
        let index = Arc::new(Index::new());
        let mut watch = Watch::<Pod> {
            api: Api::all(Client::try_from(config).unwrap()),
            index: Arc::clone(&index),
            progress: SyncState::default().add(Pod::PLURAL, &Contacts::default()),
            listed: None,
            doubt: None,
            bad: HashMap::new(),
        };
        let is_doubted = |watch: &Watch<Pod>| watch.doubted().now_or_never().is_some();
        assert!(!is_doubted(&watch));
        index.doubt::<Pod>();
        assert!(is_doubted(&watch));
        watch.take(Event::Init);
        index.doubt::<Pod>();
        assert!(!is_doubted(&watch));
        watch.take(Event::InitDone);
        assert!(is_doubted(&watch), "a later list may tell more");
    }
}
