//! What lives behind the API server: tasks that watch the store and write to it, as a control plane does.
//!
//! Each is level-triggered: an event only says where to look, and what is to be done follows from the objects as they
//! are. They write through the same path as everybody else, and their own writes come back to them as events.

mod follow;
mod garbage;
mod kubelet;
mod kubernetes;
mod namespaces;
mod owned;
mod workloads;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::follow::Follower;
use super::options::Options;
use super::rules::ApiError;
use super::store::Store;

/// Makes the nodes the options ask for.
pub(super) fn boot(store: &Store, options: &Options) -> Result<(), ApiError> {
    options
        .kubelet
        .nodes
        .iter()
        .enumerate()
        .try_for_each(|(index, (name, zone))| kubelet::node::make(store, index, name, zone))
}

/// Starts those the options ask for.
pub(super) fn start(store: &Arc<Store>, options: &Options, stop: &CancellationToken, tasks: &TaskTracker) {
    let store = || Arc::clone(store);
    let run = |task: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
        let stop = stop.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = task => {}
            }
        });
    };
    if options.default_objects {
        run(Box::pin(kubernetes::run(store())));
    }
    if options.namespaces {
        run(Box::pin(namespaces::run(store())));
    }
    if options.garbage {
        run(Box::pin(garbage::run(store())));
    }
    if options.kubelet.runs {
        run(Box::pin(kubelet::run(store(), options.kubelet.clone())));
    }
    if options.workloads {
        run(Box::pin(workloads::run(store())));
    }
}

/// Says what a write of an actor came to when it came to nothing. A conflict, an object that is gone or a namespace
/// that is going away are the ordinary course of things.
fn told<T>(who: &'static str, result: Result<T, ApiError>) -> Option<T> {
    match result {
        Ok(done) => Some(done),
        Err(error) => {
            if !matches!(error.code, 403 | 404 | 409) {
                tracing::warn!(who, %error, "cannot write");
            }
            None
        }
    }
}
