//! What lives behind the API server: tasks that watch the store and write to it, as a control plane does.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::options::Options;
use super::store::Store;

/// Starts those the options ask for.
pub(super) fn start(
    _store: &Arc<Store>,
    _options: &Options,
    _stop: &CancellationToken,
    _tasks: &TaskTracker,
) {
}
