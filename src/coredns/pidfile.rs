//! The file with the process's id (`-pidfile`).

use std::{path::PathBuf, sync::Arc};

use tracing::error;

/// Where it is, if one is wanted.
#[derive(Clone)]
pub(super) struct PidFile(Option<Arc<PathBuf>>);

impl PidFile {
    /// A file at this path, not written yet.
    pub(super) fn at(path: Option<PathBuf>) -> Self {
        Self(path.map(Arc::new))
    }

    /// Writes it. That it cannot be written is no reason not to serve.
    pub(super) fn write(&self) {
        let Some(path) = &self.0 else { return };
        if let Err(error) = std::fs::write(&**path, format!("{}\n", std::process::id())) {
            error!("Could not write pidfile: open {}: {error}", path.display());
        }
    }

    /// Removes it, if it is there.
    pub(super) fn remove(&self) {
        if let Some(path) = &self.0 {
            let _ = std::fs::remove_file(&**path);
        }
    }
}
