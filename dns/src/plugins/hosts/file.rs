//! A hosts file that is followed.

use std::{
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};
use tokio_util::sync::CancellationToken;

use super::{Config, table::Table};
use crate::plugin::Meter;

/// The table of the file as it was last seen, with what the Corefile says besides.
pub(super) struct Followed {
    pub(super) config: Arc<Config>,
    pub(super) table: ArcSwap<Table>,
    path: PathBuf,
    meter: Arc<HostsMeter>,
}

/// How a file is known to be another: its time and its size.
type Seen = Option<(SystemTime, u64)>;

impl Followed {
    /// Reads the file, and follows it until the end. One that is not there may come.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub(super) fn start(
        path: PathBuf,
        config: Arc<Config>,
        meter: Arc<HostsMeter>,
        stop: &CancellationToken,
    ) -> io::Result<Arc<Self>> {
        let table = Table::read(&config.inline, &config.zones, config.reverse);
        let table = ArcSwap::from_pointee(table);
        let followed = Arc::new(Self { table, path, meter, config });
        let mut seen = None;
        match followed.look(&mut seen) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tracing::warn!(target: "plugin/hosts", "File does not exist: {}", followed.path.display());
            }
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
                let path = followed.path.display();
                tracing::warn!(target: "plugin/hosts", "Hosts file \"{path}\" is a directory");
            }
            Err(error) => return Err(error),
        }
        followed.count();
        if !followed.config.reload.is_zero() {
            tokio::spawn(Arc::clone(&followed).follow(seen, stop.clone()));
        }
        Ok(followed)
    }

    async fn follow(self: Arc<Self>, mut seen: Seen, stop: CancellationToken) {
        while tokio::time::timeout(self.config.reload, stop.cancelled()).await.is_err() {
            let this = Arc::clone(&self);
            let looked = tokio::task::spawn_blocking(move || {
                // A file that is gone or cannot be read leaves what was read.
                let _ = this.look(&mut seen);
                seen
            });
            seen = looked.await.unwrap_or(None);
        }
    }

    /// Reads the file if it is another than the one seen.
    fn look(&self, seen: &mut Seen) -> io::Result<()> {
        let metadata = std::fs::metadata(&self.path)?;
        let now = Some((metadata.modified()?, metadata.len()));
        if *seen == now {
            return Ok(());
        }
        let bytes = std::fs::read(&self.path)?;
        let config = &self.config;
        let text = format!("{}\n{}", String::from_utf8_lossy(&bytes), config.inline);
        let table = Table::read(&text, &config.zones, config.reverse);
        tracing::debug!(target: "plugin/hosts", "Parsed hosts file into {} entries", table.len());
        self.table.store(Arc::new(table));
        *seen = now;
        let modified = metadata.modified()?.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        self.meter.reloaded.set(i64::try_from(modified.as_secs()).unwrap_or(i64::MAX));
        self.count();
        Ok(())
    }

    fn count(&self) {
        let label = FileLabel { hostsfile: self.path.display().to_string() };
        let entries = i64::try_from(self.table.load().len()).unwrap_or(i64::MAX);
        self.meter.entries.get_or_create(&label).set(entries);
    }
}

/// What is counted of hosts files.
pub(super) struct HostsMeter {
    entries: Family<FileLabel, Gauge>,
    reloaded: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FileLabel {
    hostsfile: String,
}

impl Meter for HostsMeter {
    fn register(registry: &mut Registry) -> Self {
        let (entries, reloaded) = (Family::default(), Gauge::default());
        let help = "The combined number of entries in hosts and Corefile";
        registry.register("coredns_hosts_entries", help, Family::clone(&entries));
        let help = "The timestamp of the last reload of hosts file";
        registry.register("coredns_hosts_reload_timestamp_seconds", help, Gauge::clone(&reloaded));
        Self { entries, reloaded }
    }
}
