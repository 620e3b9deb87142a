//! What the controller puts into the [journal](callsign_shared::journal): every write that was acknowledged, and in shadow
//! mode every write that would be made.

use std::sync::Arc;

use callsign_shared::{
    Key, ServiceView,
    journal::{Listing, Wrote},
};

use crate::{
    plan::Write,
    sync::Syncer,
    synced::Synced,
    write::{Failure, Outcome},
};

impl Syncer {
    /// Records a write if it was acknowledged.
    pub(crate) fn record<T: Synced>(
        &self,
        key: &Key,
        write: &Write<T>,
        outcome: &Result<Outcome<T>, Failure>,
    ) {
        let new = match outcome {
            Ok(Outcome::Written(object)) if !matches!(write, Write::Delete { .. }) => Some(&**object),
            // A deletion, also one that waits for finalizers.
            Ok(Outcome::Written(_) | Outcome::Deleted) => None,
            Ok(Outcome::Dropped) | Err(_) => return,
        };
        self.enter(key, old(write), new, false);
    }

    /// Records a write that would be made.
    pub(crate) fn record_shadow<T: Synced>(&self, key: &Key, write: &Write<T>) {
        let new = match write {
            Write::Create(new) | Write::Update { new, .. } => Some(new),
            Write::Delete { .. } => None,
        };
        self.enter(key, old(write), new, true);
    }

    fn enter<T: Listing>(&self, key: &Key, old: Option<&T>, new: Option<&T>, shadow: bool) {
        let view = self.index.view(key);
        let view =
            view.unwrap_or_else(|| Arc::new(ServiceView { key: key.clone(), ..ServiceView::default() }));
        let has_pod = |key: &Key| self.index.pod(key).is_some();
        self.journal.record(&Wrote { view: &view, has_pod: &has_pod, old, new, shadow });
    }
}

fn old<T>(write: &Write<T>) -> Option<&T> {
    match write {
        Write::Create(_) => None,
        Write::Update { current, .. } | Write::Delete { current } => Some(current),
    }
}
