//! Posting: one Event at a time, within the limits.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::{sync::mpsc, time::Instant};

use super::{
    Post,
    limit::{Bucket, Buckets, OF_ALL},
};
use crate::gate::Gate;

/// The longest note that the API server takes is 1024 bytes.
const LONGEST_NOTE: usize = 1000;

/// How long posting one may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long none is tried after one was forbidden.
const FORBIDDEN_FOR: Duration = Duration::from_secs(600);

/// How long none is tried when the API server has too much to do.
const OVERLOADED_FOR: Duration = Duration::from_secs(30);

/// Who an Event is said to come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// Upstream's endpoint-slice-controller
    Slices,
    /// Upstream's endpoint-controller
    Endpoints,
    /// Upstream's endpoint-slice-mirroring-controller
    Mirroring,
    /// Nobody upstream.
    Callsign,
}

/// Posts what comes out of the queue.
pub(crate) struct Poster {
    queue: mpsc::Receiver<Post>,
    recorders: [(Source, Recorder); 4],
    of_object: Buckets<(Source, &'static str, callsign_shared::Key)>,
    of_all: Bucket,
    silent_until: Option<Instant>,
    complained: bool,
}

impl Source {
    fn name(self) -> &'static str {
        match self {
            Self::Slices => "endpoint-slice-controller",
            Self::Endpoints => "endpoint-controller",
            Self::Mirroring => "endpoint-slice-mirroring-controller",
            Self::Callsign => "callsign",
        }
    }
}

impl Poster {
    pub(super) fn new(client: Client, queue: mpsc::Receiver<Post>) -> Self {
        // The instance of a reporter made from a name is the name of this host.
        let recorder =
            |source: Source| (source, Recorder::new(client.clone(), Reporter::from(source.name())));
        Self {
            queue,
            recorders: [Source::Slices, Source::Endpoints, Source::Mirroring, Source::Callsign].map(recorder),
            of_object: Buckets::default(),
            of_all: Bucket::new(OF_ALL, Instant::now()),
            silent_until: None,
            complained: false,
        }
    }

    /// The next Event. Cancelling loses nothing.
    pub(super) async fn next(&mut self) -> Post {
        match self.queue.recv().await {
            Some(post) => post,
            // The sender lives as long as this.
            None => std::future::pending().await,
        }
    }

    /// Empties the queue: what was found while this replica wrote is another's to tell now.
    pub(super) fn forget(&mut self) {
        while self.queue.try_recv().is_ok() {}
    }

    /// Posts an Event, when its turn comes, and says what came of it.
    pub(super) async fn post(&mut self, post: &Post, gate: &Gate) -> &'static str {
        if self.silent_until.is_some_and(|until| Instant::now() < until) {
            return "dropped";
        }
        if !self.of_object.take((post.source, post.kind, post.key.clone()), Instant::now()) {
            return "limited";
        }
        while let Err(wait) = self.of_all.take(Instant::now()) {
            tokio::time::sleep(wait).await;
        }
        let recorder = self.recorders.iter().find(|(source, _)| *source == post.source);
        let Some((_, recorder)) = recorder.filter(|_| gate.check().is_ok()) else { return "dropped" };
        let event = Event {
            type_: if post.warning { EventType::Warning } else { EventType::Normal },
            reason: post.reason.to_owned(),
            note: Some(shortened(&post.note).to_owned()),
            action: "Syncing".to_owned(),
            secondary: None,
        };
        let about = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some(post.kind.to_owned()),
            namespace: Some(post.key.namespace.to_string()),
            name: Some(post.key.name.to_string()),
            uid: Some(post.uid.to_string()).filter(|uid| !uid.is_empty()),
            ..ObjectReference::default()
        };
        match tokio::time::timeout(PATIENCE, recorder.publish(&event, &about)).await {
            Ok(Ok(())) => "posted",
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => self.forbidden(&status),
            Ok(Err(error)) => {
                if matches!(&error, kube::Error::Api(status) if matches!(status.code, 429 | 503)) {
                    self.silent_until = Some(Instant::now() + OVERLOADED_FOR);
                }
                tracing::debug!(object = %post.key, reason = post.reason, %error, "cannot post an Event");
                "failed"
            }
            Err(_) => "failed",
        }
    }

    /// In a namespace that is ending nothing is made; otherwise it is the role that lacks a rule.
    fn forbidden(&mut self, status: &kube::core::Status) -> &'static str {
        let causes = status.details.iter().flat_map(|details| &details.causes);
        if causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating") {
            return "dropped";
        }
        self.silent_until = Some(Instant::now() + FORBIDDEN_FOR);
        if !std::mem::replace(&mut self.complained, true) {
            tracing::warn!(error = %status.message, "Events are forbidden; none will be posted");
        }
        "forbidden"
    }
}

fn shortened(note: &str) -> &str {
    let end = (0..=LONGEST_NOTE.min(note.len())).rev().find(|at| note.is_char_boundary(*at));
    note.get(..end.unwrap_or_default()).unwrap_or_default()
}

impl std::fmt::Debug for Poster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Poster").field("silent_until", &self.silent_until).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_cut_between_characters() {
        assert_eq!(shortened("short"), "short");
        let long = "ä".repeat(600);
        assert_eq!(shortened(&long), "ä".repeat(500));
        assert_eq!(shortened(&format!("x{long}")).len(), 999);
    }
}
