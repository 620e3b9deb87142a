//! Looking at zone files again and again.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::SystemTime,
};

use super::{
    Served,
    directive::{LoadError, Loaded, load},
};
use crate::{plugin::World, plugins::reading::name_text};

/// What is known of files without reading them: length and time of the last change; `None` of what is not there.
type Stamps = BTreeMap<PathBuf, Option<(u64, Option<SystemTime>)>>;

/// Looks at each zone's file until the configuration ends, and tells of zones that have changed; of all at the beginning.
pub(super) fn follow(world: &World, served: &[Arc<Served>]) {
    for served in served {
        let (served, changes, stop) = (Arc::clone(served), world.changes.clone(), world.stop.clone());
        tokio::spawn(async move {
            if served.data.load().is_some() {
                changes.tell(&served.zone);
            }
            if served.reload.is_zero() {
                return;
            }
            let mut watched = Watched { files: BTreeSet::from([served.path.clone()]), ..Watched::default() };
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(served.reload) => {}
                }
                let look = tokio::task::spawn_blocking({
                    let served = Arc::clone(&served);
                    move || {
                        let changed = watched.look(&served);
                        (watched, changed)
                    }
                });
                let Ok((back, changed)) = look.await else { return };
                watched = back;
                if changed {
                    changes.tell(&served.zone);
                }
            }
        });
    }
}

#[derive(Default)]
struct Watched {
    /// The files that the zone was read from last.
    files: BTreeSet<PathBuf>,
    stamps: Stamps,
    /// What was said about a bad file: once is enough.
    complaint: Option<String>,
}

impl Watched {
    /// Reads the files if they are others than before; whether the zone is another.
    fn look(&mut self, served: &Served) -> bool {
        let stamps = stamps(&self.files);
        if stamps == self.stamps {
            return false;
        }
        let first = self.stamps.is_empty();
        self.stamps = stamps;
        let (zone, path) = (name_text(&served.zone), served.path.display().to_string());
        let Loaded { data, files } = match load(served) {
            Ok(loaded) => loaded,
            Err(LoadError { message, .. }) => {
                if self.complaint.as_ref() != Some(&message) {
                    tracing::error!(target: "plugin/file", "Parsing zone {zone:?}: {message}");
                    self.complaint = Some(message);
                }
                return false;
            }
        };
        self.complaint = None;
        if files != self.files {
            self.files = files;
            self.stamps = self::stamps(&self.files);
        }
        // What was read at the start is not another for being looked at for the first time.
        let known = served.data.load().as_ref().map(|data| data.serial);
        if known == Some(data.serial) && (!served.by_time || first) {
            return false;
        }
        let serial = data.serial;
        served.data.store(Some(Arc::new(data)));
        tracing::info!(target: "plugin/file", "Successfully reloaded zone {zone:?} in {path:?} with {serial} SOA serial");
        true
    }
}

fn stamps(files: &BTreeSet<PathBuf>) -> Stamps {
    let stamp = |path: &PathBuf| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.len(), metadata.modified().ok()))
    };
    files.iter().map(|path| (path.clone(), stamp(path))).collect()
}
