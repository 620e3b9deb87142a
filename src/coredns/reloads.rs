//! Puts a changed file in the place of the one that is served: when it changes (`reload`), and at once at SIGUSR1.
//!
//! The file is named by its path and read as a whole each time, so it may be a ConfigMap's, whose folders are swapped by a
//! symbolic link. One that is wrong is told with its line, once, and what is served goes on with every listener; CoreDNS
//! closes its HTTP listeners before it reads.

use std::{sync::Arc, time::Duration};

use callsign_dns::{block::Reload, plugin::Meter};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::{Read, Source, comment};
use crate::{engine::Reloader, log::Levels};

/// What reloads, and what was tried last.
pub(crate) struct Reloads {
    source: Source,
    reloader: Reloader,
    /// What `debug` sets, where the log is CoreDNS's.
    levels: Option<Levels>,
    metrics: Arc<ReloadMetrics>,
    /// The hash of what is served.
    served: String,
    /// What was last found in the file: not tried again as long as it is the same.
    last: Result<String, String>,
}

/// Why a reload is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Because {
    Changed,
    Signal,
}

/// Metrics of `reload`.
#[derive(Debug)]
struct ReloadMetrics {
    failed: Counter,
    refused: Gauge,
    version: Family<VersionLabels, Gauge>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VersionLabels {
    hash: &'static str,
    value: String,
}

impl Meter for ReloadMetrics {
    fn register(registry: &mut Registry) -> Self {
        let metrics =
            Self { failed: Counter::default(), refused: Gauge::default(), version: Family::default() };
        registry.register(
            "coredns_reload_failed",
            "Counter of the number of failed reload attempts",
            metrics.failed.clone(),
        );
        registry.register(
            "callsign_corefile_refused",
            "1 while the Corefile that was last found is not served because something in it is wrong",
            metrics.refused.clone(),
        );
        registry.register(
            "coredns_reload_version_info",
            "A metric with a constant '1' value labeled by hash, and value which type of hash generated",
            metrics.version.clone(),
        );
        metrics
    }
}

impl Reloads {
    /// Reloads of `source`, of which this hash is served.
    pub(crate) fn new(source: Source, reloader: Reloader, levels: Option<Levels>, sha512: String) -> Self {
        let metrics = reloader.meter();
        Self { source, reloader, levels, metrics, last: Ok(sha512.clone()), served: sha512 }
    }

    /// Says what is served, where files are looked for.
    pub(crate) fn announce(&self) {
        self.metrics.version.clear();
        if self.setting().is_some() {
            let labels = VersionLabels { hash: "sha512", value: self.served.clone() };
            self.metrics.version.get_or_create(&labels).set(1);
            info!(target: "plugin/reload", "Running configuration SHA512 = {}", self.served);
        }
    }

    /// Reloads until the process ends: one that says goodbye does not begin anew.
    pub(crate) async fn run(mut self, signal: Arc<Notify>, end: CancellationToken) {
        while !end.is_cancelled() {
            let because = {
                let changes = async {
                    match self.setting() {
                        Some(setting) => tokio::time::sleep(wait(setting)).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    biased;
                    () = end.cancelled() => return,
                    () = signal.notified() => Because::Signal,
                    () = changes => Because::Changed,
                }
            };
            self.look(because).await;
        }
    }

    /// `reload` is the process's, wherever it stands; the last one counts.
    fn setting(&self) -> Option<Reload> {
        self.reloader.current()?.config.blocks.iter().rev().find_map(|block| block.reload)
    }

    async fn look(&mut self, because: Because) {
        let source = self.source.clone();
        let read = match tokio::task::spawn_blocking(move || source.read()).await {
            Ok(read) => read,
            Err(error) => Err(format!("reading failed: {error}")),
        };
        let found = read.as_ref().map(|read| read.sha512.clone()).map_err(Clone::clone);
        if because == Because::Changed && found == self.last {
            return;
        }
        self.last = found;
        info!("Reloading");
        let loaded = match read {
            Ok(Read { config, sha512 }) => {
                comment(&config);
                let debug = config.blocks.iter().any(|block| block.debug);
                self.reloader.load(config).await.map(|()| (sha512, debug)).map_err(|error| error.to_string())
            }
            Err(error) => Err(error),
        };
        match loaded {
            Ok((sha512, debug)) => {
                if let Some(levels) = &self.levels {
                    levels.debug(debug);
                }
                self.served = sha512;
                self.metrics.refused.set(0);
                self.announce();
                info!("Reloading complete");
            }
            Err(error) => {
                self.metrics.failed.inc();
                self.metrics.refused.set(1);
                error!("Restart failed: {error}");
                match because {
                    Because::Changed => {
                        error!(target: "plugin/reload", "Corefile changed but reload failed: {error}");
                    }
                    Because::Signal => error!("SIGUSR1: {error}"),
                }
            }
        }
    }
}

/// The time to the next look: replicas of one file do not all change at once.
fn wait(setting: Reload) -> Duration {
    let spread = 2.0 * fastrand::f64() - 1.0;
    let seconds = setting.interval.as_secs_f64() + spread * setting.jitter.as_secs_f64();
    Duration::from_secs_f64(seconds.max(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_spread_around_the_interval() {
        let setting = Reload { interval: Duration::from_secs(30), jitter: Duration::from_secs(15) };
        let waits: Vec<u64> = (0..500).map(|_| wait(setting).as_secs()).collect();
        assert!(waits.iter().all(|wait| (15..=45).contains(wait)), "{waits:?}");
        assert!(waits.iter().any(|wait| *wait < 22) && waits.iter().any(|wait| *wait > 38), "{waits:?}");
    }
}
