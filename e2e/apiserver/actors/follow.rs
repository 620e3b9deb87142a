//! Following several kinds: first all objects, then every event.

use std::sync::Arc;

use tokio::sync::watch;

use crate::apiserver::faults::Gate;
use crate::apiserver::kind::Kind;
use crate::apiserver::log::{Change, Event, Place};
use crate::apiserver::object::Object;
use crate::apiserver::store::{Scope, Store};

/// Events read in one go.
const MOST: usize = 1024;

/// A reader of several kinds. Faults of watches do not concern it.
pub(super) struct Follower {
    store: Arc<Store>,
    places: Vec<(Kind, Place)>,
    bell: watch::Receiver<u64>,
}

/// What happened to an object, as far as an actor needs to know.
#[derive(Clone, Debug)]
pub(super) struct News {
    /// What it is, or was last.
    pub(super) object: Arc<Object>,
    /// What it was before, where that is known.
    pub(super) previous: Option<Arc<Object>>,
    /// Whether it is gone.
    pub(super) gone: bool,
}

impl Follower {
    /// A reader that starts with every object there is.
    pub(super) fn new(store: Arc<Store>, kinds: &[Kind]) -> (Self, Vec<News>) {
        let bell = store.any_bell();
        let mut news = Vec::new();
        let mut places = Vec::new();
        for kind in kinds {
            let (objects, _, place) = store.list_and_place(*kind, Scope::All);
            news.extend(objects.into_iter().map(News::there));
            places.push((*kind, place));
        }
        (Self { store, places, bell }, news)
    }

    /// Waits until something has happened.
    pub(super) async fn next(&mut self) -> Vec<News> {
        loop {
            self.bell.borrow_and_update();
            let news = self.read();
            if !news.is_empty() {
                return news;
            }
            // The store outlives its followers, so the bell is always there; without one nothing happens any more.
            if self.bell.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    fn read(&mut self) -> Vec<News> {
        let mut news = Vec::new();
        for (kind, place) in &mut self.places {
            match self.store.read(*kind, place, MOST, &Gate::default()) {
                Ok(batch) => news.extend(batch.events.into_iter().map(News::of)),
                // Fallen behind the log: start again from what there is. Deletions that were missed leave traces that
                // point to objects that are not there, which every actor checks.
                Err(_) => {
                    let (objects, _, end) = self.store.list_and_place(*kind, Scope::All);
                    *place = end;
                    news.extend(objects.into_iter().map(News::there));
                }
            }
        }
        news
    }
}

impl News {
    fn there(object: Arc<Object>) -> Self {
        Self { object, previous: None, gone: false }
    }

    fn of(event: Event) -> Self {
        Self { object: event.object, previous: event.previous, gone: event.change == Change::Deleted }
    }
}
