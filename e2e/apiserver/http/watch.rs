//! Watches: a stream of lines that reads on in the log at the client's pace.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::stream;
use http::Response;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Http;
use super::form::{View, line};
use super::list::{invalid_options, selects};
use super::params::{Params, VersionMatch};
use super::respond::stream as respond_stream;
use super::route::Target;
use crate::apiserver::faults::{Faults, Gate};
use crate::apiserver::log::{Change, Event, Lost, Place};
use crate::apiserver::object::{Key, Object, encode};
use crate::apiserver::rules::ApiError;
use crate::apiserver::store::{Scope, Store};

/// Events and initial objects that go into one chunk.
const CHUNK: usize = 256;

/// A running watch.
struct Watch {
    store: Arc<Store>,
    faults: Arc<Faults>,
    stop: CancellationToken,
    target: Target,
    params: Params,
    view: View,
    initial: VecDeque<Arc<Object>>,
    /// The version of the initial objects, until the bookmark that ends them is sent.
    ends_initial: Option<u64>,
    place: Place,
    /// Everything up to here is sent.
    known: u64,
    /// The newest version the client has seen, from an object or a bookmark.
    told: u64,
    first: bool,
    bell: watch::Receiver<u64>,
    switches: watch::Receiver<u64>,
    gate: Gate,
    bookmark_every: Duration,
    next_bookmark: Instant,
    end: Instant,
}

impl Http {
    pub(super) fn watch(
        &self,
        target: Target,
        params: Params,
        view: View,
        keep: Option<usize>,
    ) -> Result<Response<Body>, ApiError> {
        let streams_list = self.check_watch(&params)?;
        let version = params.version.unwrap_or_default();
        let starts_with_objects = streams_list || (version == 0 && params.initial_events != Some(false));
        let bell = self.store.bell(target.kind);
        let switches = self.faults.changes();
        let gate = self.faults.gate(target.kind);
        let (initial, place, known) = if starts_with_objects {
            let (objects, newest, place) = self.store.list_and_place(target.kind, target.scope());
            let selected = objects.into_iter().filter(|object| selects(&params, object));
            let initial = selected.take(keep.unwrap_or(usize::MAX)).collect();
            (initial, place, newest)
        } else if version == 0 {
            let (_, newest, place) = self.store.list_and_place(target.kind, Scope::Namespace(""));
            (VecDeque::new(), place, newest)
        } else {
            match self.store.place_after(target.kind, version) {
                Ok(place) => (VecDeque::new(), place, version),
                Err(Lost) => return Ok(self.too_old(version)),
            }
        };
        let timeout = params.timeout_seconds.filter(|seconds| *seconds > 0).map(Duration::from_secs);
        let now = Instant::now();
        let watch = Watch {
            store: Arc::clone(&self.store),
            faults: Arc::clone(&self.faults),
            stop: self.stop.clone(),
            ends_initial: (streams_list && params.bookmarks).then_some(known),
            told: if starts_with_objects { 0 } else { known },
            bookmark_every: self.options.bookmarks,
            next_bookmark: now + self.options.bookmarks,
            end: now + timeout.unwrap_or(self.options.watch_timeout),
            first: true,
            target,
            params,
            view,
            initial,
            place,
            known,
            bell,
            switches,
            gate,
        };
        let lines =
            stream::unfold(watch, |mut watch| async move { watch.next().await.map(|chunk| (chunk, watch)) });
        Ok(respond_stream(Body::from_stream(lines)))
    }

    /// Whether this is a streaming list, or why it cannot be had.
    fn check_watch(&self, params: &Params) -> Result<bool, ApiError> {
        match (params.initial_events, params.version_match) {
            (None, None) => Ok(false),
            (None, Some(_)) => Err(invalid_options(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            )),
            (Some(_), _) if self.faults.refuses_streaming_lists() => Err(invalid_options(
                "sendInitialEvents",
                "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled",
            )),
            (Some(initial), Some(VersionMatch::NotOlderThan)) => Ok(initial),
            (Some(_), _) => Err(invalid_options(
                "resourceVersionMatch",
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            )),
        }
    }

    /// The real server says it in the stream: 200 and an ERROR.
    fn too_old(&self, version: u64) -> Response<Body> {
        let oldest = self.store.version();
        let error = ApiError::expired(format!("too old resource version: {version} ({oldest})"));
        respond_stream(Body::from(line("ERROR", &encode(&error.to_status()))))
    }
}

impl Watch {
    /// The next lines, or the end of the watch.
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        if let Some(chunk) = self.initial_chunk() {
            return Some(Ok(chunk));
        }
        loop {
            self.bell.borrow_and_update();
            self.switches.borrow_and_update();
            let gate = self.faults.gate(self.target.kind);
            if gate.drops.abrupt != self.gate.drops.abrupt {
                return Some(Err(io::Error::from(io::ErrorKind::ConnectionReset)));
            }
            if gate.drops != self.gate.drops || self.stop.is_cancelled() {
                return None;
            }
            // A watch that has fallen behind the log ends; its client starts again from what it knows.
            let Ok(batch) = self.store.read(self.target.kind, &mut self.place, CHUNK, &gate) else {
                return None;
            };
            let more = batch.known.is_none();
            let read = batch.events.last().map(|event| event.object.version);
            self.known = batch.known.or(read).unwrap_or(self.known).max(self.known);
            let chunk = self.lines(&batch.events);
            if !chunk.is_empty() {
                return Some(Ok(chunk));
            }
            if more && gate.is_open() {
                continue;
            }
            tokio::select! {
                () = self.stop.cancelled() => return None,
                _ = self.bell.changed() => {}
                _ = self.switches.changed() => {}
                () = tokio::time::sleep_until(self.end) => return None,
                // An event that a fault delays has no bell of its own.
                () = tokio::time::sleep(Duration::from_millis(1)), if more && !gate.delay.is_zero() => {}
                () = tokio::time::sleep_until(self.next_bookmark), if self.params.bookmarks => {
                    self.next_bookmark = Instant::now() + self.bookmark_every;
                    if self.known > self.told {
                        self.told = self.known;
                        return Some(Ok(self.view.bookmark(self.known, false)));
                    }
                }
            }
        }
    }

    /// Some of the objects a watch begins with, and behind the last of them the bookmark that says so.
    fn initial_chunk(&mut self) -> Option<Bytes> {
        let some = self.initial.len().min(CHUNK);
        let mut text = BytesMut::new();
        for object in self.initial.drain(..some) {
            text.extend_from_slice(&self.view.event(Change::Added.as_str(), &object, self.first));
            self.told = self.told.max(object.version);
            self.first = false;
        }
        if self.initial.is_empty()
            && let Some(version) = self.ends_initial.take()
        {
            text.extend_from_slice(&self.view.bookmark(version, true));
            self.told = version;
        }
        (!text.is_empty()).then(|| text.freeze())
    }

    fn lines(&mut self, events: &[Event]) -> Bytes {
        let mut text = BytesMut::new();
        for event in events {
            let Some((change, object)) = self.as_selected(event) else { continue };
            text.extend_from_slice(&self.view.event(change.as_str(), &object, self.first));
            self.told = object.version;
            self.first = false;
        }
        text.freeze()
    }

    /// What an event is to this watch: an object that enters its selection comes to be, one that leaves it is gone.
    fn as_selected(&self, event: &Event) -> Option<(Change, Arc<Object>)> {
        if event.lost || !in_scope(self.target.scope(), &event.object.key) {
            return None;
        }
        let now = event.change != Change::Deleted && selects(&self.params, &event.object);
        let before = event.previous.as_ref().filter(|previous| selects(&self.params, previous));
        match (before, now) {
            (None, true) => Some((Change::Added, Arc::clone(&event.object))),
            (Some(_), true) => Some((Change::Modified, Arc::clone(&event.object))),
            (Some(_), false) if event.change == Change::Deleted => {
                Some((Change::Deleted, Arc::clone(&event.object)))
            }
            // What it was when it was last seen, with the version at which it left.
            (Some(previous), false) => {
                Some((Change::Deleted, Arc::new(previous.at_version(event.object.version))))
            }
            (None, false) => None,
        }
    }
}

fn in_scope(scope: Scope<'_>, key: &Key) -> bool {
    match scope {
        Scope::All => true,
        Scope::Namespace(namespace) => &*key.namespace == namespace,
    }
}
